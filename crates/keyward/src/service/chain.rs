//! The chain over the audit log: sealed beside the traffic, and verified by whoever asks.
//!
//! Every node seals what was committed since the last checkpoint. Nobody is told to: whoever
//! appends the next number first has sealed it, and the others find that out and go on behind it.
//! Whatever is interrupted before that has changed nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use keyward_core::audit::chain::{
    Anchor, Bearer, ChainKey, ChainPublicKey, Checkpoint, EventSalt, UserSalt,
};
use keyward_core::audit::{RecordedEvent, Verification, Verified};
use keyward_core::id::UserId;
use keyward_core::keys::MasterKey;
use tokio::time::Instant;

use super::Keyward;
use crate::said_once::SaidOnce;
use crate::store::{AuditFilter, AuditOrder, Store, StoreError, UnsealedPage};

/// The key that signs the chain, of the installation with this master key.
pub fn chain_key(master_key: &MasterKey) -> ChainPublicKey {
    ChainKey::from_seed(&master_key.derive(ChainKey::PURPOSE)).public()
}

impl Keyward {
    /// Seals every event that was committed by now, and answers how many it was; those that another
    /// process seals at the same time are not among them. A round of [`Keyward::run_background`];
    /// it may be dropped at any point.
    ///
    /// # Errors
    ///
    /// Where the store fails. What was sealed by then is sealed.
    pub async fn seal_audit(&self) -> Result<u64, StoreError> {
        let key = self.keyring.chain_key();
        let mut sealed = 0;
        let mut last = self.store.last_checkpoint().await?;
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
            }
            if next.is_last {
                return Ok(sealed);
            }
            page = Some(next);
        }
    }

    /// Where the chain stands; `None` before the first checkpoint. Written down elsewhere, it shows
    /// whether the end of the chain was cut off or written anew since.
    ///
    /// # Errors
    ///
    /// Where the store fails.
    pub async fn audit_head(&self) -> Result<Option<Anchor>, StoreError> {
        Ok(self.store.last_checkpoint().await?.map(|last| last.anchor()))
    }

    /// Seals until dropped, and tells the log now and then where the chain stands. What fails is
    /// said once, until something else does.
    pub(super) async fn run_sealing(&self) {
        let mut said = SaidOnce::new();
        let mut told: Option<Instant> = None;
        loop {
            tokio::time::sleep(self.until_next_sealing()).await;
            if let Some(error) = said.news(self.seal_audit().await.map(drop)) {
                tracing::error!("audit events are not sealed for now: {error}");
            }
            if told.is_none_or(|told| told.elapsed() >= HEAD_TOLD_EVERY)
                && let Ok(Some(head)) = self.audit_head().await
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

    /// Nodes that started together do not stay together.
    fn until_next_sealing(&self) -> Duration {
        let part = u32::from(u16::from_be_bytes(self.random()));
        SEALED_EVERY / 2 + SEALED_EVERY / 2 * part / u32::from(u16::MAX)
    }
}

/// What a walk through the log and its chain comes by.
#[derive(Debug)]
pub enum ChainWalk<'a> {
    /// An event, with the salt of what is personal in it; before the checkpoint that covers it.
    Event(&'a RecordedEvent, Option<EventSalt>),
    /// A checkpoint.
    Checkpoint(&'a Checkpoint),
    /// An event that is not sealed yet. It may have come before.
    Unsealed(&'a RecordedEvent, Option<EventSalt>),
}

/// Walks through a store's log and its chain, and tells `seen` of each step, in the order that
/// [`Verification`] asks for. Holds a page of the log at a time.
///
/// # Errors
///
/// Where the store fails, or `seen` does.
pub async fn walk_chain<E: From<StoreError>>(
    store: &dyn Store,
    mut seen: impl FnMut(ChainWalk<'_>) -> Result<(), E>,
) -> Result<(), E> {
    // What is sealed meanwhile is not sealed yet, as far as this walk is concerned.
    let end = store.last_checkpoint().await?;
    let end_number = end.as_ref().map_or(0, |last| last.number);
    // No id that was given out is below one: who has made an event of another is to be told of.
    let (mut number, mut read) = (0, i64::MIN);
    while number < end_number {
        let checkpoints = store.list_checkpoints(number, CHECKPOINTS_MAX).await?;
        let Some(last) = checkpoints.last() else { break };
        number = last.number;
        for checkpoint in checkpoints.iter().filter(|one| one.number <= end_number) {
            let covered = checkpoint.events.last().unwrap_or(0);
            while read < covered {
                let order = AuditOrder::After(read);
                let filter = AuditFilter { order, limit: EVENTS_MAX, ..AuditFilter::default() };
                let (events, salts) = read_salted(store, filter).await?;
                for (event, salt) in events.iter().zip(salts) {
                    seen(ChainWalk::Event(event, salt))?;
                }
                read = events.last().map_or(i64::MAX, |event| event.id);
            }
            seen(ChainWalk::Checkpoint(checkpoint))?;
        }
    }
    let mut page: Option<UnsealedPage> = None;
    loop {
        let next = store.list_unsealed(end.as_ref(), page.as_ref(), EVENTS_MAX).await?;
        let salts = find_event_salts(store, &next.events).await?;
        for (event, salt) in next.events.iter().zip(salts) {
            seen(ChainWalk::Unsealed(event, salt))?;
        }
        if next.is_last {
            return Ok(());
        }
        page = Some(next);
    }
}

/// Compares a store's log with its chain; tells `progress` now and then how many events have been
/// verified.
///
/// # Errors
///
/// Where the store fails. Damage is part of the answer.
pub async fn verify_chain(
    store: &dyn Store,
    mut verification: Verification,
    mut progress: impl FnMut(u64),
) -> Result<Verified, StoreError> {
    let mut told = 0;
    walk_chain(store, |step| {
        match step {
            ChainWalk::Event(event, salt) => verification.event(event, salt),
            ChainWalk::Unsealed(event, _) => verification.unsealed(event),
            ChainWalk::Checkpoint(checkpoint) => verification.checkpoint(checkpoint),
        }
        if verification.events() >= told + TOLD_EVERY {
            told = verification.events();
            progress(told);
        }
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(verification.finish())
}

/// Events with their salts. Where a user is deleted in between, the salts are gone and the events
/// that were read are not as they are any more.
async fn read_salted(
    store: &dyn Store,
    filter: AuditFilter,
) -> Result<(Vec<RecordedEvent>, Vec<Option<EventSalt>>), StoreError> {
    let events = store.list_audit(filter.clone()).await?;
    let salts = find_event_salts(store, &events).await?;
    let is_torn = |(event, salt): (&RecordedEvent, &Option<EventSalt>)| {
        salt.is_none() && event.device.ip.is_some() && matches!(Bearer::of(event), Bearer::User(_))
    };
    if events.iter().zip(&salts).any(is_torn) {
        let events = store.list_audit(filter).await?;
        let salts = find_event_salts(store, &events).await?;
        return Ok((events, salts));
    }
    Ok((events, salts))
}

/// The salt of each event, as far as its user has one.
async fn find_event_salts(
    store: &dyn Store,
    events: &[RecordedEvent],
) -> Result<Vec<Option<EventSalt>>, StoreError> {
    let mut users: Vec<UserId> = bearers(events).collect();
    users.sort_unstable();
    users.dedup();
    let found = if users.is_empty() { Vec::new() } else { store.find_salts(users).await? };
    let salts = found.into_iter().collect();
    Ok(events.iter().map(|event| event_salt(event, &salts)).collect())
}

fn bearers(events: &[RecordedEvent]) -> impl Iterator<Item = UserId> {
    events.iter().filter_map(|event| match Bearer::of(event) {
        Bearer::User(id) => Some(id),
        Bearer::Nobody | Bearer::Unknown => None,
    })
}

fn event_salt(event: &RecordedEvent, salts: &BTreeMap<UserId, UserSalt>) -> Option<EventSalt> {
    let salt = event.user_id.and_then(|id| salts.get(&id));
    salt.map(|salt| salt.of_event(event.id))
}

/// How many events are read at once, and covered by a checkpoint at most: it is 32 KiB then.
const EVENTS_MAX: u32 = 1000;

/// How many checkpoints are read at once: some 2 MiB.
const CHECKPOINTS_MAX: u32 = 64;

/// The longest time for which an event that was committed is not sealed, while the store is well.
const SEALED_EVERY: Duration = Duration::from_secs(30);

/// How long an orderly end waits for the last events to be sealed.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// How often the log is told where the chain stands.
const HEAD_TOLD_EVERY: Duration = Duration::from_secs(60 * 60);

/// After how many events it is said how far a verification has come.
const TOLD_EVERY: u64 = 100_000;
