//! Accounts whose limits on trying begin anew.

use std::time::Duration;

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;

use super::MemoryStore;
use crate::store::{StoreError, UnlockStore, UnlockedAccount};

#[async_trait]
impl UnlockStore for MemoryStore {
    async fn unlock(&self, id: UserId, context: &AuditContext) -> Result<bool, StoreError> {
        let mut state = self.state();
        let Some(row) = state.users.get_mut(&id) else { return Ok(false) };
        let after = row.unlocked_at.map(|before| before.plus(Duration::from_millis(1)));
        row.unlocked_at = after.max(Some(context.at));
        if let Some(totp) = state.totps.get_mut(&id) {
            totp.tries_whole_at = None;
        }
        state.record(AuditEvent::of_user(AuditKind::UserUnlocked {}, id), context);
        Ok(true)
    }

    async fn list_unlocked(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<UnlockedAccount>, StoreError> {
        let state = self.state();
        let mut found: Vec<UnlockedAccount> = state
            .users
            .values()
            .filter_map(|row| {
                let at = row.unlocked_at.filter(|at| *at > since)?;
                Some(UnlockedAccount { email_key: row.email_key.clone(), at })
            })
            .collect();
        found.sort_by(|a, b| (b.at, &a.email_key).cmp(&(a.at, &b.email_key)));
        found.truncate(limit as usize);
        Ok(found)
    }
}
