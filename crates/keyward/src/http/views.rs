//! What answers look like: wire types, made from the service's and used for nothing else.

pub(super) mod shapes;

use serde::Serialize;
use serde_json::{Map, Value};

use keyward_core::access_token::Claims;
use keyward_core::audit::{MfaMethod, RecordedEvent};
use keyward_core::id::{SessionId, UserId};
use keyward_core::session::{AuthenticationMethod, RevocationReason, Session};
use keyward_core::time::Timestamp;

use crate::device_label;
use crate::service::{Challenge, KeyStanding};
use crate::store::User;

/// A user as clients see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UserView<'a> {
    id: String,
    email: &'a str,
    name: Option<&'a str>,
    roles: &'a [String],
    email_verified: bool,
    mfa_enabled: bool,
    created_at: String,
}

impl<'a> From<&'a User> for UserView<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            id: user.id.to_string(),
            email: &user.email,
            name: user.name.as_deref(),
            roles: &user.roles,
            email_verified: user.email_verified,
            mfa_enabled: user.mfa_enabled_at.is_some(),
            created_at: user.created_at.to_rfc3339(),
        }
    }
}

/// A user as administrators see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AdminUserView<'a> {
    #[serde(flatten)]
    user: UserView<'a>,
    disabled_at: Option<String>,
    last_login_at: Option<String>,
    last_logout_at: Option<String>,
    claims: &'a Map<String, Value>,
}

impl<'a> From<&'a User> for AdminUserView<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            user: UserView::from(user),
            disabled_at: user.disabled_at.map(Timestamp::to_rfc3339),
            last_login_at: user.last_login_at.map(Timestamp::to_rfc3339),
            last_logout_at: user.last_logout_at.map(Timestamp::to_rfc3339),
            claims: &user.claims,
        }
    }
}

/// Tokens in the body; the refresh token is never among them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokensView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) access_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_type: Option<&'static str>,
    pub(super) expires_in: u64,
    pub(super) csrf_token: &'a str,
}

impl std::fmt::Debug for TokensView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokensView")
    }
}

/// What register, login and a password change answer.
#[derive(Debug, Serialize)]
pub(super) struct SignedInView<'a> {
    pub(super) user: UserView<'a>,
    #[serde(flatten)]
    pub(super) tokens: TokensView<'a>,
}

/// What a login answers whose user has a second factor.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChallengeView<'a> {
    mfa_required: bool,
    mfa_token: &'a str,
    methods: &'a [MfaMethod],
    expires_in: u64,
}

impl<'a> From<&'a Challenge> for ChallengeView<'a> {
    fn from(challenge: &'a Challenge) -> Self {
        Self {
            mfa_required: true,
            mfa_token: challenge.token.expose(),
            methods: &challenge.methods,
            expires_in: challenge.expires_in.as_secs(),
        }
    }
}

impl std::fmt::Debug for ChallengeView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChallengeView")
    }
}

/// What introspection says of a good access token (RFC 7662, section 2.2).
#[derive(Debug, Serialize)]
pub(super) struct IntrospectionView<'a> {
    active: bool,
    token_type: &'static str,
    #[serde(flatten)]
    claims: &'a Claims,
}

impl<'a> From<&'a Claims> for IntrospectionView<'a> {
    fn from(claims: &'a Claims) -> Self {
        Self { active: true, token_type: "Bearer", claims }
    }
}

/// A key that signs or tags. Nothing of it is secret.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyView<'a> {
    id: &'a str,
    purpose: &'static str,
    algorithm: &'a str,
    state: &'static str,
    created_at: String,
    activates_at: String,
    compromised_at: Option<String>,
    gone_at: Option<String>,
}

impl<'a> From<&'a KeyStanding> for KeyView<'a> {
    fn from(key: &'a KeyStanding) -> Self {
        Self {
            id: &key.id,
            purpose: key.purpose.as_str(),
            algorithm: &key.algorithm,
            state: key.state.as_str(),
            created_at: key.created_at.to_rfc3339(),
            activates_at: key.activates_at.to_rfc3339(),
            compromised_at: key.compromised_at.map(Timestamp::to_rfc3339),
            gone_at: key.gone_at.map(Timestamp::to_rfc3339),
        }
    }
}

/// A session as its user or an administrator sees it, live or ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionView<'a> {
    id: String,
    /// Whether the request came from it; administrators have no use for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<bool>,
    created_at: String,
    last_used_at: String,
    expires_at: String,
    ip: Option<&'a str>,
    user_agent: Option<&'a str>,
    device: Option<String>,
    amr: Vec<&'static str>,
    #[serde(flatten)]
    end: Option<EndView>,
}

/// What an ended session adds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EndView {
    ended_at: String,
    reason: RevocationReason,
}

impl<'a> SessionView<'a> {
    /// The view of the session's user, for a request that came from the session `current`.
    pub(super) fn new(session: &'a Session, current: SessionId) -> Self {
        Self { current: Some(session.id == current), ..Self::of_any(session) }
    }

    /// The view of an administrator.
    pub(super) fn of_any(session: &'a Session) -> Self {
        let user_agent = session.device.user_agent.as_deref();
        Self {
            id: session.id.to_string(),
            current: None,
            created_at: session.created_at.to_rfc3339(),
            last_used_at: session.last_used_at.to_rfc3339(),
            expires_at: expiry(session).to_rfc3339(),
            ip: session.device.ip.as_deref(),
            user_agent,
            device: user_agent.and_then(device_label::of),
            amr: session.amr.iter().copied().map(AuthenticationMethod::as_str).collect(),
            end: session.revoked.map(|revocation| EndView {
                ended_at: revocation.at.to_rfc3339(),
                reason: revocation.reason,
            }),
        }
    }
}

/// An audit event as administrators see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventView<'a> {
    id: i64,
    at: String,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<SessionId>,
    ip: Option<&'a str>,
    user_agent: Option<&'a str>,
    request_id: Option<&'a str>,
    detail: Value,
}

impl<'a> From<&'a RecordedEvent> for EventView<'a> {
    fn from(event: &'a RecordedEvent) -> Self {
        Self {
            id: event.id,
            at: event.at.to_rfc3339(),
            r#type: &event.name,
            user_id: event.user_id,
            session_id: event.session_id,
            ip: event.device.ip.as_deref(),
            user_agent: event.device.user_agent.as_deref(),
            request_id: event.request_id.as_deref(),
            // A damaged detail is no reason to withhold the rest of the log.
            detail: serde_json::from_str(&event.detail).unwrap_or(Value::Null),
        }
    }
}

/// When the session ends if nobody uses it again.
fn expiry(session: &Session) -> Timestamp {
    session.idle_expires_at.min(session.expires_at)
}
