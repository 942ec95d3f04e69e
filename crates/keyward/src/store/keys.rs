//! Secret keys as a store holds them, and what is recorded of service keys.

use std::fmt;

use keyward_core::audit::AuditKind;
use keyward_core::service_key::ServiceKeyRecord;
use keyward_core::time::Timestamp;

/// A secret key as a store holds it: sealed with the master key, bound to its row.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its name: the `kid` of a signing key, a number from 1 to 255 for the others.
    pub id: String,
    /// What it serves.
    pub purpose: KeyPurpose,
    /// The `alg` of a signing key; the MAC's name for the others.
    pub algorithm: String,
    /// The sealed secret.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl KeyRecord {
    /// Whether this key serves this purpose in this way.
    pub fn is(&self, purpose: KeyPurpose, algorithm: &str) -> bool {
        self.purpose == purpose && self.algorithm == algorithm
    }
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRecord({} {})", self.purpose.as_str(), self.id)
    }
}

/// What a key serves; a key serves one thing only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Signs access tokens.
    AccessToken,
    /// Binds CSRF tokens to sessions.
    Csrf,
    /// Tags refresh tokens.
    RefreshToken,
}

impl KeyPurpose {
    /// The fixed name in stores and in the sealed key's associated data.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::Csrf => "csrf",
            Self::RefreshToken => "refresh_token",
        }
    }

    /// The purpose with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::AccessToken, Self::Csrf, Self::RefreshToken]
            .into_iter()
            .find(|purpose| purpose.as_str() == name)
    }
}

/// What is recorded of a service key that was made.
pub(super) fn service_key_created(key: &ServiceKeyRecord) -> AuditKind {
    AuditKind::ServiceKeyCreated {
        service_key_id: key.id,
        name: key.name.clone(),
        scopes: key.scopes.clone(),
    }
}
