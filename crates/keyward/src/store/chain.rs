//! The chain over the audit log: what is not sealed yet, and the checkpoints.
//!
//! A refresh appends its event and knows nothing of this. Whoever seals reads what was committed
//! since the last checkpoint, and appends the next one if nobody else was quicker.

use async_trait::async_trait;
use keyward_core::audit::RecordedEvent;
use keyward_core::audit::chain::{Checkpoint, UserSalt};
use keyward_core::id::UserId;

use super::StoreError;

/// The part of a store that the chain needs.
#[async_trait]
pub trait ChainStore {
    /// The last checkpoint.
    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError>;

    /// Checkpoints with higher numbers than this one, rising.
    async fn list_checkpoints(&self, after: u64, limit: u32)
    -> Result<Vec<Checkpoint>, StoreError>;

    /// Events that no checkpoint covers, in the order of their ids, at most `limit`: those behind
    /// `last`, the last checkpoint, which may cover none itself, or, where a page came before, what
    /// follows it. Pages that follow each other hold every event once that was committed before the
    /// first of them was read, in whatever order transactions commit.
    async fn list_unsealed(
        &self,
        last: Option<&Checkpoint>,
        before: Option<&UnsealedPage>,
        limit: u32,
    ) -> Result<UnsealedPage, StoreError>;

    /// Appends a checkpoint which covers the first events of this page. `false`: its number is
    /// taken, another process was quicker, and nothing was changed.
    async fn append_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        page: &UnsealedPage,
    ) -> Result<bool, StoreError>;

    /// The salts of these users, as far as they exist. Who exists and has none is given the one
    /// that comes along. Of several processes that do so at once all are answered the same salt.
    async fn keep_salts(
        &self,
        salts: Vec<(UserId, UserSalt)>,
    ) -> Result<Vec<(UserId, UserSalt)>, StoreError>;

    /// The salts that these users have.
    async fn find_salts(&self, users: Vec<UserId>) -> Result<Vec<(UserId, UserSalt)>, StoreError>;
}

/// Some events that are not sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsealedPage {
    /// The events, in the order of their ids.
    pub events: Vec<RecordedEvent>,
    /// Whether this was all.
    pub is_last: bool,
    /// What of the log the pages are about.
    #[cfg(feature = "postgres")]
    pub(super) window: Option<super::postgres::Window>,
}

impl UnsealedPage {
    /// The page of a store whose transactions commit in the order of the ids.
    pub(super) fn in_order(events: Vec<RecordedEvent>, limit: u32) -> Self {
        let is_last = events.len() < limit as usize;
        Self {
            events,
            is_last,
            #[cfg(feature = "postgres")]
            window: None,
        }
    }

    /// Behind which id the events follow, in such a store. `None`: checkpoints before the last one
    /// say so, since it covers no event.
    pub(super) fn start_in_order(last: Option<&Checkpoint>, before: Option<&Self>) -> Option<i64> {
        let read = before.and_then(|page| page.events.last()).map(|event| event.id);
        read.or_else(|| last.map_or(Some(0), |last| last.events.last()))
    }
}
