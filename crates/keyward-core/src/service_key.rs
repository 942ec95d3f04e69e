//! Service keys: how another service, rather than a user, says who it is.
//!
//! ```text
//! kwk_ base64url( secret 32 )
//! ```
//!
//! The secret is random, so its SHA-256 is enough to find the key by and tells nothing about it. A
//! key does what its scopes name, until it expires or is revoked.

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use zeroize::Zeroizing;

use crate::encoding;
use crate::id::ServiceKeyId;
use crate::named::named;
use crate::time::Timestamp;

/// What every service key starts with. Secret scanners know keys by it: never change it.
pub const PREFIX: &str = "kwk_";

/// Random bytes in each key, fresh from the operating system's generator.
pub const SECRET_BYTES: usize = 32;

/// A service key in clear: it exists when it is made, and while a request that carries it is looked
/// at.
pub struct ServiceKey(Zeroizing<String>);

impl ServiceKey {
    /// Makes a key from fresh entropy.
    pub fn issue(secret: &[u8; SECRET_BYTES]) -> Self {
        let encoded = Zeroizing::new(encoding::encode(secret));
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + encoded.len()));
        text.push_str(PREFIX);
        text.push_str(&encoded);
        Self(text)
    }

    /// Reads a presented text. `None` for everything that has not the form of a key.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX)?;
        Zeroizing::new(encoding::decode_exact::<SECRET_BYTES>(encoded)?);
        Some(Self(Zeroizing::new(text.to_owned())))
    }

    /// The text for the service that will use the key. Keep it out of logs, errors and URLs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the store knows of this key.
    pub fn hash(&self) -> ServiceKeyHash {
        let digest = digest::digest(&digest::SHA256, self.0.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        ServiceKeyHash(bytes)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceKey")
    }
}

/// SHA-256 over the whole text of a key. It opens nothing, yet it stays out of logs as the hashes
/// of other secrets do.
#[derive(Clone, Copy)]
pub struct ServiceKeyHash([u8; 32]);

impl ServiceKeyHash {
    /// A hash as a store holds it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store holds.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for ServiceKeyHash {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for ServiceKeyHash {}

impl fmt::Debug for ServiceKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceKeyHash")
    }
}

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
            hash: ServiceKey::issue(&[7; SECRET_BYTES]).hash(),
            scopes: BTreeSet::from([Scope::AuditRead]),
            created_at: NOW,
            expires_at: None,
            revoked_at: None,
        }
    }

    #[test]
    fn one_key_has_one_text() {
        let key = ServiceKey::issue(&[0xff; SECRET_BYTES]);
        let text = key.expose();
        assert_eq!(text.len(), PREFIX.len() + 43);
        assert_eq!(ServiceKey::parse(text).map(|key| key.hash()), Some(key.hash()));
        let last_bit = format!("{}9", &text[..text.len() - 1]);
        for junk in [
            "",
            PREFIX,
            &text[PREFIX.len()..],
            &text[..text.len() - 1],
            &format!("{text}A"),
            &format!("{text}="),
            &format!(" {text}"),
            &format!("{text}\n"),
            &text.replace("kwk_", "kwr_"),
            &text.replace("kwk_", "KWK_"),
            &text.replace('_', "/"),
            &last_bit,
        ] {
            assert!(ServiceKey::parse(junk).is_none(), "{junk:?}");
        }
    }

    #[test]
    fn the_hash_is_sha_256_of_the_text() {
        let key = ServiceKey::issue(&[1; SECRET_BYTES]);
        let expected = digest::digest(&digest::SHA256, key.expose().as_bytes());
        assert_eq!(key.hash().as_bytes(), expected.as_ref());
        assert_ne!(key.hash(), ServiceKey::issue(&[2; SECRET_BYTES]).hash());
    }

    #[test]
    fn nothing_shows_itself() {
        let key = ServiceKey::issue(&[1; SECRET_BYTES]);
        assert_eq!(format!("{key:?} {:?}", key.hash()), "ServiceKey ServiceKeyHash");
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
