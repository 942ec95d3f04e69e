//! Accounts that come from elsewhere.

use async_trait::async_trait;
use keyward_core::audit::AuditContext;

use super::{Call, Layer};
use crate::store::{HashReplacement, ImportOutcome, ImportStore, ImportedUser, StoreError};

#[async_trait]
impl<L: Layer> ImportStore for L {
    async fn insert_users(
        &self,
        users: Vec<ImportedUser>,
        context: &AuditContext,
    ) -> Result<Vec<ImportOutcome>, StoreError> {
        self.pass(Call::InsertUsers, self.inner().insert_users(users, context)).await
    }

    async fn replace_hash(
        &self,
        replacement: HashReplacement,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.pass(Call::ReplaceHash, self.inner().replace_hash(replacement, context)).await
    }
}
