//! Accounts that come from elsewhere.

use async_trait::async_trait;
use keyward_core::audit::AuditContext;

use super::MemoryStore;
use super::state::{State, UserRow};
use crate::store::{HashReplacement, ImportOutcome, ImportStore, ImportedUser, StoreError};

#[async_trait]
impl ImportStore for MemoryStore {
    async fn insert_users(
        &self,
        users: Vec<ImportedUser>,
        context: &AuditContext,
    ) -> Result<Vec<ImportOutcome>, StoreError> {
        let mut state = self.state();
        Ok(users.into_iter().map(|user| insert(&mut state, user, context)).collect())
    }

    async fn replace_hash(
        &self,
        replacement: HashReplacement,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        let row = state.users.get_mut(&replacement.user_id);
        let Some(row) = row.filter(|row| row.account.password_hash == replacement.from) else {
            return Ok(false);
        };
        row.account.password_hash = replacement.to.clone();
        state.record(replacement.rehashed(), context);
        Ok(true)
    }
}

fn insert(state: &mut State, imported: ImportedUser, context: &AuditContext) -> ImportOutcome {
    let ImportedUser { user, claims, created_at } = imported;
    let mut rows = state.users.values();
    if let Some(row) = rows.find(|row| row.email_key == user.email.key()) {
        return ImportOutcome::EmailTaken(row.account.user.id);
    }
    if state.users.contains_key(&user.id) {
        return ImportOutcome::IdTaken;
    }
    let mut row = UserRow::new(&user, created_at);
    row.account.user.claims = claims;
    state.users.insert(user.id, row);
    state.record(user.registered(), context);
    ImportOutcome::Inserted
}
