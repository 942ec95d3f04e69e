//! Sealing the audit log beside the traffic.
//!
//! Every node seals what was committed since the last checkpoint. Nobody is told to: whoever
//! appends the next number first has sealed it, and the others find that out and go on behind it.
//! Whatever is interrupted before that has changed nothing.
//!
//! A node goes on only behind its own key's work, and only with the chain that it has seen: it
//! keeps the head that came last. What was cut off, or deleted as a whole, it does not seal anew.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keyward_core::audit::RecordedEvent;
use keyward_core::audit::chain::{Anchor, Bearer, ChainPublicKey, Checkpoint, EventSalt, UserSalt};
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;
use tokio::time::Instant;

use super::Keyward;
use crate::said_once::SaidOnce;
use crate::store::{StoreError, UnsealedPage};

impl Keyward {
    /// Seals every event that was committed by now, and answers how many it was; those that another
    /// process seals at the same time are not among them. A round of [`Keyward::run_background`];
    /// it may be dropped at any point.
    ///
    /// # Errors
    ///
    /// Where the store fails, or the chain is not to be gone on with. What was sealed by then is
    /// sealed.
    pub async fn seal_audit(&self) -> Result<u64, SealingError> {
        let began_at = self.clock.now();
        let key = self.keyring.chain_key();
        let mut sealed = 0;
        let mut last = self.last_own_checkpoint(&key.public()).await?;
        self.chain_head.reach(last.as_ref());
        let mut page: Option<UnsealedPage> = None;
        loop {
            let next = self.store.list_unsealed(last.as_ref(), page.as_ref(), EVENTS_MAX).await?;
            let salts = self.keep_salts(&next.events).await?;
            let salted: Vec<_> = next
                .events
                .iter()
                .map(|event| (event.clone(), event_salt(event, &salts)))
                .collect();
            // All events of a checkpoint are of one month, since they leave by the month.
            let month = |one: &(RecordedEvent, _)| one.0.at.start_of_month();
            for events in salted.chunk_by(|a, b| month(a) == month(b)) {
                let now = self.clock.now();
                let Some(checkpoint) = Checkpoint::seal(last.as_ref(), events, now, &key) else {
                    break;
                };
                if !self.store.append_checkpoint(&checkpoint, &next).await? {
                    return Ok(sealed);
                }
                sealed += events.len() as u64;
                last = Some(checkpoint);
                self.chain_head.reach(last.as_ref());
            }
            if next.is_last {
                self.sealed_until.reach(began_at);
                return Ok(sealed);
            }
            page = Some(next);
        }
    }

    /// How old an event can be that is not sealed yet; `None` where nothing is known, as before the
    /// first round. Asks nobody.
    pub(super) fn unsealed_for(&self) -> Option<Duration> {
        let until = self.sealed_until.time()?;
        Some(self.clock.now().since(until))
    }

    /// Seals until dropped, and tells the log now and then where the chain stands. What fails is
    /// said once, until something else does; a chain that is not to be gone on with, each minute.
    pub(super) async fn run_sealing(&self) {
        let mut said = SaidOnce::new();
        let (mut told, mut alarmed): (Option<Instant>, Option<Instant>) = (None, None);
        let is_due = |last: Option<Instant>, every| last.is_none_or(|at| at.elapsed() >= every);
        loop {
            tokio::time::sleep(self.spread(SEALED_EVERY)).await;
            let failed = match self.seal_audit().await {
                Ok(_) => Ok(()),
                Err(SealingError::Store(error)) => Err(error),
                Err(refusal) => {
                    if is_due(alarmed, ALARMED_EVERY) {
                        tracing::error!("audit events are not sealed: {refusal}");
                        alarmed = Some(Instant::now());
                    }
                    continue;
                }
            };
            if let Some(error) = said.news(failed) {
                tracing::error!("audit events are not sealed for now: {error}");
            }
            if is_due(told, HEAD_TOLD_EVERY)
                && let Some(head) = self.chain_head.seen()
            {
                tracing::info!(%head, "the audit log is sealed up to here");
                told = Some(Instant::now());
            }
        }
    }

    /// Seals what is left at an orderly end, as far as that takes no longer than a moment: the next
    /// start, or another node, goes on.
    pub(super) async fn seal_last(&self) {
        if let Ok(Err(error)) = tokio::time::timeout(LAST_PATIENCE, self.seal_audit()).await {
            tracing::warn!("the last audit events are not sealed yet: {error}");
        }
    }

    /// The last checkpoint, if it is to be gone on behind. What is sealed vouches for all before
    /// it: so nothing is sealed behind what somebody wrote who has not the key.
    async fn last_own_checkpoint(
        &self,
        key: &ChainPublicKey,
    ) -> Result<Option<Checkpoint>, SealingError> {
        // Before the store is asked, which then comes as far as that at least.
        let seen = self.chain_head.seen();
        let last = self.store.last_checkpoint().await?;
        if let Some(last) = last.as_ref().filter(|last| !last.is_sealed_by(key)) {
            return Err(SealingError::Foreign(last.number));
        }
        match seen {
            Some(head) if !self.comes_by(head, last.as_ref()).await? => {
                Err(SealingError::Lost(head))
            }
            _ => Ok(last),
        }
    }

    /// Whether the chain that ends with `last` comes by this head, or has been purged so far.
    async fn comes_by(&self, head: Anchor, last: Option<&Checkpoint>) -> Result<bool, StoreError> {
        let Some(end) = last.filter(|last| last.number >= head.number) else { return Ok(false) };
        if end.number == head.number {
            return Ok(end.anchor() == head);
        }
        let kept = self.store.list_checkpoints(head.number - 1, 1).await?;
        Ok(kept.first().is_none_or(|one| one.number > head.number || one.anchor() == head))
    }

    /// Salts for whoever the events tell an address or a browser of.
    async fn keep_salts(
        &self,
        events: &[RecordedEvent],
    ) -> Result<BTreeMap<UserId, UserSalt>, StoreError> {
        let fresh: BTreeMap<UserId, UserSalt> =
            bearers(events).map(|id| (id, UserSalt::from_bytes(self.random()))).collect();
        if fresh.is_empty() {
            return Ok(fresh);
        }
        // Most have theirs, and need no write.
        let mut kept: BTreeMap<_, _> =
            self.store.find_salts(fresh.keys().copied().collect()).await?.into_iter().collect();
        let lacking: Vec<_> = fresh.into_iter().filter(|(id, _)| !kept.contains_key(id)).collect();
        if !lacking.is_empty() {
            kept.extend(self.store.keep_salts(lacking).await?);
        }
        Ok(kept)
    }
}

/// The head that this process has seen last. Only the memory of whoever has sealed it can tell that
/// a chain is gone as a whole.
#[derive(Debug, Default)]
pub(super) struct ChainHead(Mutex<Option<Anchor>>);

impl ChainHead {
    fn seen(&self) -> Option<Anchor> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, checkpoint: Option<&Checkpoint>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let further = |one: &&Checkpoint| seen.is_none_or(|seen| seen.number < one.number);
        if let Some(checkpoint) = checkpoint.filter(further) {
            *seen = Some(checkpoint.anchor());
        }
    }
}

/// When the last round began that came to its end: what was committed by then is sealed.
#[derive(Debug, Default)]
pub(super) struct SealedUntil(Mutex<Option<Timestamp>>);

impl SealedUntil {
    fn time(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, began_at: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(began_at);
    }
}

/// Why events were not sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealingError {
    /// The last checkpoint, of this number, is not signed with the master key of this process.
    Foreign(u64),
    /// This process has seen the chain come by this head, and it does not any more.
    Lost(Anchor),
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for SealingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(number) => write!(
                f,
                "checkpoint {number} is not signed with the master key of this process: start \
                 again with the one that `keyward key reseal` has sealed the keys with, or find \
                 out with `keyward audit verify` who else wrote to the database"
            ),
            Self::Lost(head) => write!(
                f,
                "the chain came by {head} and does not any more: somebody has written to the \
                 database, or put a backup back. Find out what is missing, then start again"
            ),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SealingError {}

impl From<StoreError> for SealingError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

pub(super) fn bearers(events: &[RecordedEvent]) -> impl Iterator<Item = UserId> {
    events.iter().filter_map(|event| match Bearer::of(event) {
        Bearer::User(id) => Some(id),
        Bearer::Nobody | Bearer::Unknown => None,
    })
}

pub(super) fn event_salt(
    event: &RecordedEvent,
    salts: &BTreeMap<UserId, UserSalt>,
) -> Option<EventSalt> {
    let salt = event.user_id.and_then(|id| salts.get(&id));
    salt.map(|salt| salt.of_event(event.id))
}

/// How many events are read at once, and covered by a checkpoint at most: it is 32 KiB then.
pub(super) const EVENTS_MAX: u32 = 1000;

/// The longest time for which an event that was committed is not sealed, while the store is well.
const SEALED_EVERY: Duration = Duration::from_secs(30);

/// How long an orderly end waits for the last events to be sealed.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// How often the log is told where the chain stands.
const HEAD_TOLD_EVERY: Duration = Duration::from_secs(60 * 60);

/// How often it is said, at most, that the chain is not to be gone on with.
const ALARMED_EVERY: Duration = Duration::from_secs(60);
