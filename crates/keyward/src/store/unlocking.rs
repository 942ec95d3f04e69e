//! Accounts whose limits on trying begin anew.
//!
//! The counts themselves are no business of a store, but for those of codes: what it holds is when
//! an operator said that they are to be forgotten, for every node to read.

use async_trait::async_trait;
use keyward_core::audit::AuditContext;
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;

use super::StoreError;

/// The part of a store by which operators unlock accounts.
#[async_trait]
pub trait UnlockStore {
    /// Marks the account as unlocked, later than ever before, and forgets the tries at codes of its
    /// second factor. Records `user.unlocked`. `false`: no such user, nothing happened.
    async fn unlock(&self, id: UserId, context: &AuditContext) -> Result<bool, StoreError>;

    /// The accounts that were last unlocked after `since`, the latest first, `limit` at most.
    async fn list_unlocked(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<UnlockedAccount>, StoreError>;
}

/// An account that was unlocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnlockedAccount {
    /// Its [`Email::key`](keyward_core::email::Email::key).
    pub email_key: String,
    /// When, for the last time.
    pub at: Timestamp,
}
