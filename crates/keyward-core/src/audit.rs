//! Audit events: immutable records of what matters for security.
//!
//! An event that belongs to a state change commits with it or not at all. No variant can carry a
//! password, a token, a code, a secret or a hash of one: there is no field to put it in.

pub mod chain;
mod kind;
mod ranges;
mod verification;

use std::time::Duration;

use serde::Serialize;

use crate::id::{ServiceKeyId, SessionId, UserId};
use crate::service_key::Scope;
use crate::session::{Device, RevocationReason};
use crate::time::Timestamp;

pub use kind::{AuditKind, LoginFailure, MfaMethod, RefreshRefusal, RegisteredBy};
pub use ranges::{IdRanges, InvalidRanges};
pub use verification::{Damage, DamageKind, Verification, Verified};

/// Where and when something happened: the part of an event that every request brings along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditContext {
    /// When.
    pub at: Timestamp,
    /// From where.
    pub device: Device,
    /// The request's id, as the answer carries it in `X-Request-Id`; `None` on the command line.
    pub request_id: Option<String>,
    /// Who did it, where it was done by an admin route. Otherwise it was the user whom the event
    /// concerns, a stranger, or the operator.
    pub actor: Option<Actor>,
}

impl AuditContext {
    /// What the kind and this context add to an event, as the JSON object that is stored.
    pub fn detail(&self, kind: &AuditKind) -> String {
        let detail = Detail { kind, actor: self.actor };
        serde_json::to_string(&detail).unwrap_or_else(|_| "{}".to_owned())
    }
}

/// The caller of an admin route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Actor {
    /// A service, by its key.
    #[serde(rename = "serviceKeyId")]
    ServiceKey(ServiceKeyId),
    /// A user, by role.
    #[serde(rename = "userId")]
    User(UserId),
}

#[derive(Serialize)]
struct Detail<'a> {
    #[serde(flatten)]
    kind: &'a AuditKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Actor>,
}

/// One event, not yet stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// What happened.
    pub kind: AuditKind,
    /// Whom it concerns.
    pub user_id: Option<UserId>,
    /// Which session it concerns.
    pub session_id: Option<SessionId>,
}

impl AuditEvent {
    /// An event about a session and its user.
    pub const fn of_session(kind: AuditKind, user_id: UserId, session_id: SessionId) -> Self {
        Self { kind, user_id: Some(user_id), session_id: Some(session_id) }
    }

    /// An event about a user.
    pub const fn of_user(kind: AuditKind, user_id: UserId) -> Self {
        Self { kind, user_id: Some(user_id), session_id: None }
    }

    /// An event about nobody known.
    pub const fn of_nobody(kind: AuditKind) -> Self {
        Self { kind, user_id: None, session_id: None }
    }
}

/// An event as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Rises with each event; later events have larger ids.
    pub id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// The name, as [`AuditKind::name`] gives it.
    pub name: String,
    /// Whom it concerns.
    pub user_id: Option<UserId>,
    /// Which session it concerns.
    pub session_id: Option<SessionId>,
    /// From where.
    pub device: Device,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// A JSON object, as [`AuditContext::detail`] makes it.
    pub detail: String,
}

/// From when on there can be events of a user or session that was made then: none is older, unless
/// the clock was set back since, by a day at most.
pub fn events_since(made_at: Timestamp) -> Timestamp {
    made_at.minus(Duration::from_secs(24 * 60 * 60))
}

impl Serialize for RevocationReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_rfc3339())
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn context(actor: Option<Actor>) -> AuditContext {
        let at = Timestamp::from_secs(0);
        AuditContext { at, device: Device::default(), request_id: None, actor }
    }

    #[test]
    fn detail_is_an_object_with_camel_case_fields() {
        let detail = |kind| context(None).detail(&kind);
        let kind = AuditKind::SessionReuseDetected { generation: 1, current_generation: 2 };
        assert_eq!(detail(kind), r#"{"generation":1,"currentGeneration":2}"#);
        assert_eq!(detail(AuditKind::LoginSucceeded {}), "{}");
        let resealed =
            AuditKind::KeyRotated { purpose: "master", key_id: None, compromised: false };
        assert_eq!(detail(resealed), r#"{"purpose":"master","compromised":false}"#);
        let revoked = AuditKind::SessionRevoked { reason: RevocationReason::LogoutAll };
        assert_eq!(detail(revoked), r#"{"reason":"logout_all"}"#);
        let purged = AuditKind::AuditPurged { until: Timestamp::from_secs(0) };
        assert_eq!(detail(purged), r#"{"until":"1970-01-01T00:00:00.000Z"}"#);
        let created = AuditKind::ServiceKeyCreated {
            service_key_id: ServiceKeyId::from_bytes([1; 16]),
            name: "drill".to_owned(),
            scopes: BTreeSet::from([Scope::UsersWrite, Scope::AuditRead]),
        };
        let expected = r#"{"serviceKeyId":"01010101-0101-0101-0101-010101010101","name":"drill","#;
        let expected = expected.to_owned() + r#""scopes":["audit:read","users:write"]}"#;
        assert_eq!(detail(created), expected);
    }

    #[test]
    fn detail_says_who_did_it() {
        let id = [1; 16];
        let text = "01010101-0101-0101-0101-010101010101";
        let by_user = context(Some(Actor::User(UserId::from_bytes(id))));
        let expected = format!(r#"{{"actor":{{"userId":"{text}"}}}}"#);
        assert_eq!(by_user.detail(&AuditKind::UserDeleted {}), expected);
        let by_service = context(Some(Actor::ServiceKey(ServiceKeyId::from_bytes(id))));
        let revoked = AuditKind::SessionRevoked { reason: RevocationReason::Admin };
        let expected = format!(r#"{{"reason":"admin","actor":{{"serviceKeyId":"{text}"}}}}"#);
        assert_eq!(by_service.detail(&revoked), expected);
    }

    #[test]
    fn names_are_sorted_and_distinct() {
        assert!(AuditKind::NAMES.is_sorted_by(|a, b| a < b));
    }
}
