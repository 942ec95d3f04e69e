//! [`UnlockStore`], passed on.

use async_trait::async_trait;
use keyward_core::audit::AuditContext;
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;

use super::{Call, Layer};
use crate::store::{StoreError, UnlockStore, UnlockedAccount};

#[async_trait]
impl<L: Layer> UnlockStore for L {
    async fn unlock(&self, id: UserId, context: &AuditContext) -> Result<bool, StoreError> {
        self.pass(Call::Unlock, self.inner().unlock(id, context)).await
    }

    async fn list_unlocked(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<UnlockedAccount>, StoreError> {
        self.pass(Call::ListUnlocked, self.inner().list_unlocked(since, limit)).await
    }
}
