//! The chain over the audit log.

use async_trait::async_trait;
use keyward_core::audit::chain::{Checkpoint, UserSalt};
use keyward_core::id::UserId;

use super::MemoryStore;
use super::state::State;
use crate::store::{ChainStore, StoreError, UnsealedPage};

impl State {
    /// Whether it could: its number may be taken.
    pub(super) fn append_checkpoint(&mut self, checkpoint: &Checkpoint) -> bool {
        let is_next = self.checkpoints.last().is_none_or(|last| last.number < checkpoint.number);
        if is_next {
            self.checkpoints.push(checkpoint.clone());
        }
        is_next
    }
}

#[async_trait]
impl ChainStore for MemoryStore {
    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        Ok(self.state().checkpoints.last().cloned())
    }

    async fn list_checkpoints(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        let state = self.state();
        let found = state.checkpoints.iter().filter(|checkpoint| checkpoint.number > after);
        Ok(found.take(limit as usize).cloned().collect())
    }

    async fn list_unsealed(
        &self,
        last: Option<&Checkpoint>,
        before: Option<&UnsealedPage>,
        limit: u32,
    ) -> Result<UnsealedPage, StoreError> {
        let state = self.state();
        let after = UnsealedPage::start_in_order(last, before);
        let ends = || state.checkpoints.iter().rev().find_map(|one| one.events.last());
        let after = after.or_else(ends).unwrap_or(0);
        let found = state.events.iter().filter(|event| event.id > after);
        Ok(UnsealedPage::in_order(found.take(limit as usize).cloned().collect(), limit))
    }

    async fn append_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        _: &UnsealedPage,
    ) -> Result<bool, StoreError> {
        Ok(self.state().append_checkpoint(checkpoint))
    }

    async fn keep_salts(
        &self,
        salts: Vec<(UserId, UserSalt)>,
    ) -> Result<Vec<(UserId, UserSalt)>, StoreError> {
        let mut state = self.state();
        let mut kept = Vec::with_capacity(salts.len());
        for (id, salt) in salts {
            if state.users.contains_key(&id) {
                kept.push((id, *state.salts.entry(id).or_insert(salt)));
            }
        }
        Ok(kept)
    }

    async fn find_salts(&self, users: Vec<UserId>) -> Result<Vec<(UserId, UserSalt)>, StoreError> {
        let state = self.state();
        Ok(users.into_iter().filter_map(|id| Some((id, *state.salts.get(&id)?))).collect())
    }
}
