//! The chain over the audit log, as whoever asks walks through it and verifies it.

use keyward_core::audit::chain::{Bearer, ChainKey, ChainPublicKey, Checkpoint, EventSalt};
use keyward_core::audit::{RecordedEvent, Verification, Verified};
use keyward_core::id::UserId;
use keyward_core::keys::MasterKey;
use keyward_core::session::Device;

use super::sealing::{EVENTS_MAX, bearers, event_salt};
use crate::store::{AuditFilter, AuditOrder, Store, StoreError, UnsealedPage};

/// The key that signs the chain, of the installation with this master key.
pub fn chain_key(master_key: &MasterKey) -> ChainPublicKey {
    secret_chain_key(master_key).public()
}

pub(super) fn secret_chain_key(master_key: &MasterKey) -> ChainKey {
    ChainKey::from_seed(&master_key.derive(ChainKey::PURPOSE))
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
    if let Some((event, salt)) = find_lowest(store).await?.filter(|_| end_number > 0) {
        seen(ChainWalk::Event(&event, salt))?;
    }
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
/// verified. Where there is damage it looks again: a purge that goes on meanwhile takes away what
/// was about to be read, and is sealed behind where this came to its end.
///
/// # Errors
///
/// Where the store fails. Damage is part of the answer.
pub async fn verify_chain(
    store: &dyn Store,
    verification: Verification,
    mut progress: impl FnMut(u64),
) -> Result<Verified, StoreError> {
    let verified = compare(store, verification.clone(), &mut progress).await?;
    match verified.damage {
        Some(_) => compare(store, verification, &mut progress).await,
        None => Ok(verified),
    }
}

async fn compare(
    store: &dyn Store,
    mut verification: Verification,
    progress: &mut impl FnMut(u64),
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

/// The event of the lowest id that there can be, behind which all others are.
async fn find_lowest(
    store: &dyn Store,
) -> Result<Option<(RecordedEvent, Option<EventSalt>)>, StoreError> {
    let order = AuditOrder::Before(i64::MIN + 1);
    let filter = AuditFilter { order, limit: 1, ..AuditFilter::default() };
    let (events, salts) = read_salted(store, filter).await?;
    Ok(events.into_iter().zip(salts).next())
}

/// Events with their salts. Where users are deleted in between, the salts are gone and the events
/// that were read are not as they are any more: they are read again until nothing has changed. Who
/// has no salt then has none because none of their events is sealed.
async fn read_salted(
    store: &dyn Store,
    filter: AuditFilter,
) -> Result<(Vec<RecordedEvent>, Vec<Option<EventSalt>>), StoreError> {
    let is_torn = |(event, salt): (&RecordedEvent, &Option<EventSalt>)| {
        let Device { ip, user_agent } = &event.device;
        let is_blank = ip.is_none() && user_agent.is_none();
        salt.is_none() && !is_blank && matches!(Bearer::of(event), Bearer::User(_))
    };
    let mut events = store.list_audit(filter.clone()).await?;
    let mut salts = find_event_salts(store, &events).await?;
    for _ in 0..READS_MAX {
        if !events.iter().zip(&salts).any(is_torn) {
            break;
        }
        let now = store.list_audit(filter.clone()).await?;
        if now == events {
            break;
        }
        events = now;
        salts = find_event_salts(store, &events).await?;
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

/// How many checkpoints are read at once: some 2 MiB.
const CHECKPOINTS_MAX: u32 = 64;

/// After how many events it is said how far a verification has come.
const TOLD_EVERY: u64 = 100_000;

/// How often a page is read again that users leave: once for each of its events will do.
const READS_MAX: u32 = EVENTS_MAX;
