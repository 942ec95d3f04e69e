//! Service keys: how another service, rather than a user, says who it is.
//!
//! A key does what its scopes name, until it expires or is revoked.

use std::collections::BTreeSet;

use crate::id::ServiceKeyId;
use crate::named::named;
use crate::opaque_token::{Kind, OpaqueToken};
use crate::secret_hash::SecretHash;
use crate::time::Timestamp;

/// A service key in clear: it exists when it is made, and while a request that carries it is looked
/// at.
pub type ServiceKey = OpaqueToken<ForServices>;

/// What the store knows of a service key.
pub type ServiceKeyHash = SecretHash<ServiceKey>;

/// The kind of token that a service brings.
#[derive(Debug)]
pub enum ForServices {}

impl Kind for ForServices {
    const NAME: &'static str = "ServiceKey";
    const PREFIX: &'static str = PREFIX;
}

/// What every service key starts with.
pub const PREFIX: &str = "kwk_";

/// Everything about a key but the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceKeyRecord {
    /// Names the key everywhere; never a secret.
    pub id: ServiceKeyId,
    /// What its users recognise it by; see [`is_name`](crate::text::is_name).
    pub name: String,
    /// Finds the record of a presented key.
    pub hash: ServiceKeyHash,
    /// What it may be used for.
    pub scopes: BTreeSet<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused by decision; such a key is never accepted again.
    pub revoked_at: Option<Timestamp>,
}

impl ServiceKeyRecord {
    /// Whether the key is accepted at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

named! {
    /// What a service key may be used for.
    Scope {
        /// Reading the audit log.
        AuditRead = "audit:read",
        /// Asking whether a token is good.
        Introspect = "introspect",
        /// Rotating signing keys.
        KeysWrite = "keys:write",
        /// Following revocations.
        Revocations = "revocations",
        /// Listing sessions.
        SessionsRead = "sessions:read",
        /// Opening and ending sessions.
        SessionsWrite = "sessions:write",
        /// Reading statistics.
        StatsRead = "stats:read",
        /// Reading accounts.
        UsersRead = "users:read",
        /// Making, changing and deleting accounts.
        UsersWrite = "users:write",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn record() -> ServiceKeyRecord {
        ServiceKeyRecord {
            id: ServiceKeyId::from_bytes([1; 16]),
            name: "drill".to_owned(),
            hash: ServiceKey::issue(&[7; 32]).hash(),
            scopes: BTreeSet::from([Scope::AuditRead]),
            created_at: NOW,
            expires_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_lives_until_it_expires_or_is_revoked() {
        assert!(record().is_live(Timestamp::from_secs(i64::MAX)));
        let expiring = ServiceKeyRecord { expires_at: Some(NOW), ..record() };
        assert!(expiring.is_live(Timestamp::from_millis(NOW.millis() - 1)));
        assert!(!expiring.is_live(NOW));
        let revoked = ServiceKeyRecord { revoked_at: Some(NOW), ..record() };
        assert!(!revoked.is_live(NOW) && !revoked.is_live(Timestamp::from_secs(0)));
    }

    #[test]
    fn scopes_are_sorted_by_name() {
        assert!(Scope::ALL.is_sorted_by_key(|scope| scope.as_str()));
    }
}
