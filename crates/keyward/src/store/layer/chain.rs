//! [`ChainStore`], passed on.

use async_trait::async_trait;
use keyward_core::audit::chain::{Checkpoint, UserSalt};
use keyward_core::id::UserId;

use super::{Call, Layer};
use crate::store::{ChainStore, StoreError, UnsealedPage};

#[async_trait]
impl<L: Layer> ChainStore for L {
    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.pass(Call::LastCheckpoint, self.inner().last_checkpoint()).await
    }

    async fn list_checkpoints(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        self.pass(Call::ListCheckpoints, self.inner().list_checkpoints(after, limit)).await
    }

    async fn list_unsealed(
        &self,
        last: Option<&Checkpoint>,
        before: Option<&UnsealedPage>,
        limit: u32,
    ) -> Result<UnsealedPage, StoreError> {
        self.pass(Call::ListUnsealed, self.inner().list_unsealed(last, before, limit)).await
    }

    async fn append_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        page: &UnsealedPage,
    ) -> Result<bool, StoreError> {
        self.pass(Call::AppendCheckpoint, self.inner().append_checkpoint(checkpoint, page)).await
    }

    async fn keep_salts(
        &self,
        salts: Vec<(UserId, UserSalt)>,
    ) -> Result<Vec<(UserId, UserSalt)>, StoreError> {
        self.pass(Call::KeepSalts, self.inner().keep_salts(salts)).await
    }

    async fn find_salts(&self, users: Vec<UserId>) -> Result<Vec<(UserId, UserSalt)>, StoreError> {
        self.pass(Call::FindSalts, self.inner().find_salts(users)).await
    }
}
