//! Sealed keys.

use keyward_core::audit::chain::Checkpoint;
use keyward_core::audit::{AuditContext, AuditEvent};
use keyward_core::time::Timestamp;

use super::state::State;
use crate::store::keys::MASTER_KEY_ROTATED;
use crate::store::{KeyRecord, KeyRotation, Resealed};

impl State {
    /// See `Store::rotate_key`.
    pub(super) fn rotate_key(&mut self, rotation: KeyRotation, context: &AuditContext) -> bool {
        if !rotation.fits(&self.keys) {
            return false;
        }
        let event = rotation.event();
        let KeyRotation { key, compromised, gone, .. } = rotation;
        self.keys.retain(|other| other.purpose != key.purpose || !gone.contains(&other.id));
        if compromised {
            for other in self.keys.iter_mut().filter(|other| other.purpose == key.purpose) {
                other.compromised_at.get_or_insert(context.at);
            }
        }
        self.keys.push(key);
        self.keys.sort_by(|a, b| order(a).cmp(&order(b)));
        if let Some(event) = event {
            self.record(event, context);
        }
        true
    }

    /// See `Store::reseal_keys`.
    pub(super) fn reseal_keys(
        &mut self,
        keys: Vec<Resealed>,
        hand_over: Option<Checkpoint>,
        context: &AuditContext,
    ) -> bool {
        if !self.keys.iter().eq(keys.iter().map(|resealed| &resealed.key)) {
            return false;
        }
        if hand_over.is_some_and(|checkpoint| !self.append_checkpoint(&checkpoint)) {
            return false;
        }
        for (key, resealed) in self.keys.iter_mut().zip(keys) {
            key.sealed = resealed.sealed;
        }
        self.record(AuditEvent::of_nobody(MASTER_KEY_ROTATED), context);
        true
    }
}

fn order(key: &KeyRecord) -> (Timestamp, &'static str, &str) {
    (key.created_at, key.purpose.as_str(), &key.id)
}
