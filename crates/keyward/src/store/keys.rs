//! What becomes of secret keys, and what is recorded of it and of service keys.

use keyward_core::audit::{AuditEvent, AuditKind};
use keyward_core::keys::{KeyRecord, newest};
use keyward_core::service_key::ServiceKeyRecord;

/// A new key, and what becomes of those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRotation {
    /// The new key.
    pub key: KeyRecord,
    /// The newest key of its purpose, as the caller read it. `None`: there is none.
    pub replaces: Option<KeyRecord>,
    /// Whether every other key of the purpose is marked as compromised.
    pub compromised: bool,
    /// The ids of keys of the purpose that are gone by now.
    pub gone: Vec<String>,
}

impl KeyRotation {
    /// Whether the keys that are there are still those that the caller read. The seal is compared
    /// too: a key sealed with a master key that was replaced meanwhile would open to nobody.
    pub(super) fn fits(&self, present: &[KeyRecord]) -> bool {
        newest(present, self.key.purpose) == self.replaces.as_ref()
    }

    /// What is recorded. The first key of a purpose takes no other's place.
    pub(super) fn event(&self) -> Option<AuditEvent> {
        self.replaces.as_ref()?;
        Some(AuditEvent::of_nobody(AuditKind::KeyRotated {
            purpose: self.key.purpose.as_str(),
            key_id: Some(self.key.id.clone()),
            compromised: self.compromised,
        }))
    }
}

/// A key, and the seal that it gets instead of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    /// The key as the caller read it.
    pub key: KeyRecord,
    /// The same secret under another master key.
    pub sealed: Vec<u8>,
}

/// What is recorded of a service key that was made.
pub(super) fn service_key_created(key: &ServiceKeyRecord) -> AuditKind {
    AuditKind::ServiceKeyCreated {
        service_key_id: key.id,
        name: key.name.clone(),
        scopes: key.scopes.clone(),
    }
}

/// What [`Store::reseal_keys`](super::Store::reseal_keys) records.
pub(super) const MASTER_KEY_ROTATED: AuditKind =
    AuditKind::KeyRotated { purpose: "master", key_id: None, compromised: false };
