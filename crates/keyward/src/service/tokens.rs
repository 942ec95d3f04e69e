//! Handing out tokens: what a sign-in and a refresh answer.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::access_token::{self, Claims};
use keyward_core::device_token::DeviceToken;
use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::{RefreshToken, TagTrust};
use keyward_core::session::Session;
use keyward_core::time::Timestamp;

use super::{ClientInfo, Keyward};
use crate::store::{NewSession, User};

/// What a client needs to act for a session.
pub struct Tokens {
    /// The signed access token. Keep it out of logs.
    pub access_token: AccessToken,
    /// How long the access token lives.
    pub expires_in: Duration,
    /// The refresh token for the cookie.
    pub refresh_token: RefreshToken,
    /// For the device cookie, where something was proven by which the browser is known.
    pub device_token: Option<DeviceToken>,
    /// Bound to the session; the same for its whole life.
    pub csrf_token: String,
    /// The session, as of the commit that these tokens follow.
    pub session: Session,
    /// Its user, as of the same commit.
    pub user: User,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, user, .. } = self;
        f.debug_struct("Tokens")
            .field("session", session)
            .field("user", user)
            .finish_non_exhaustive()
    }
}

/// An access token's text.
pub struct AccessToken(String);

impl AccessToken {
    /// The text for the answer. Keep it out of logs, errors and URLs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken")
    }
}

impl Keyward {
    /// Signs an access token for a session whose state was committed or read at `now`.
    ///
    /// `iat` is that time and not a later one: a revocation that is committed afterwards outlives
    /// every token issued before it, however long the answer took.
    ///
    /// `exp` is the session's own end at the latest, by either timeout. A session that has timed
    /// out is not ended any more, so whoever follows the revocations is told nothing of it.
    pub(super) fn issue_tokens(
        &self,
        user: User,
        session: Session,
        refresh_token: RefreshToken,
        now: Timestamp,
    ) -> Tokens {
        let policy = &self.policy.access_token;
        let exp = now.plus(policy.ttl).min(session.idle_expires_at).min(session.expires_at);
        let claims = Claims {
            iss: policy.issuer.clone(),
            aud: policy.audience.clone(),
            sub: user.id,
            client_id: policy.client_id.clone(),
            sid: session.id,
            jti: URL_SAFE_NO_PAD.encode(self.random::<16>()),
            iat: now.secs(),
            exp: exp.secs(),
            auth_time: session.auth_time.secs(),
            amr: session.amr.iter().map(|method| method.as_str().to_owned()).collect(),
            roles: user.roles.clone(),
            email: user.email.clone(),
            extra: user.claims.clone(),
        };
        let keys = self.keys();
        Tokens {
            access_token: AccessToken(access_token::issue(&claims, keys.signing())),
            expires_in: exp.since(now),
            refresh_token,
            device_token: None,
            csrf_token: keys.csrf().issue(session.id),
            session,
            user,
        }
    }

    /// A session of generation 0 with its first refresh token.
    pub(super) fn new_session(
        &self,
        user_id: UserId,
        supersedes: Option<&RefreshToken>,
        client: &ClientInfo,
        now: Timestamp,
    ) -> (NewSession, RefreshToken) {
        let id = SessionId::new(now, self.random());
        let token = RefreshToken::issue(id, 0, &self.random(), self.keys().mac());
        let policy = &self.policy.rotation;
        let session = Session::open(id, user_id, token.hash(), policy, client.device(), now);
        let new = NewSession {
            session,
            // A tag of a compromised key proves nothing: whoever holds that key could end anybody's
            // session by signing in.
            supersedes: supersedes
                .filter(|token| token.trust() == TagTrust::Sound)
                .map(RefreshToken::session_id),
            sessions_max: self.policy.accounts.sessions_max,
            notice: None,
        };
        (new, token)
    }
}
