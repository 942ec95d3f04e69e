//! Statistics: how many there are, and how often what matters has happened.
//!
//! An hour is counted once it is over and its last transactions have surely committed
//! ([`SETTLING`]), by whichever node comes first, a few minutes later at most. What is not counted
//! yet is counted when somebody asks, at most once a minute on each node, and so are users and
//! sessions. So a request costs what a diagram shows, and a refresh costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use keyward_core::time::Timestamp;
use tokio::sync::Mutex;

use super::{Failure, Keyward};
use crate::said_once::SaidOnce;
use crate::store::{AuditFilter, AuditOrder, HourCount, Population, StoreError};

/// How often what matters has happened, and how many there are.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// When the newest of it was counted.
    pub counted_at: Timestamp,
    /// How many there are.
    pub population: Population,
    /// Spans of time in their order, without gaps.
    pub buckets: Vec<Bucket>,
}

/// What happened within a span of time.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// When the span begins.
    pub at: Timestamp,
    /// How often, by the name of the audit event; for every one of [`COUNTED_EVENTS`].
    pub counts: BTreeMap<&'static str, u64>,
}

/// How long the spans of a [`Statistics`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// From midnight to midnight, UTC.
    Day,
    /// Whole hours.
    Hour,
}

impl Span {
    /// Its length.
    pub const fn length(self) -> Duration {
        match self {
            Self::Day => Duration::from_secs(24 * 60 * 60),
            Self::Hour => HOUR,
        }
    }

    /// When the span begins that this time lies in.
    pub fn start(self, at: Timestamp) -> Timestamp {
        let length = i64::try_from(self.length().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(at.millis() - at.millis().rem_euclid(length))
    }
}

/// What is counted: names of audit events.
pub const COUNTED_EVENTS: &[&str] = &[
    "login.failed",
    "login.succeeded",
    "session.created",
    "session.refreshed",
    "session.reuse_detected",
    "session.revoked",
    "user.deleted",
    "user.registered",
];

/// The most spans that are answered at once: a month of hours.
pub const BUCKETS_MAX: usize = 31 * 24;

impl Keyward {
    /// What happened in the spans from the one that `since` lies in to the one that `until` lies
    /// in, [`BUCKETS_MAX`] at most.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn statistics(
        &self,
        since: Timestamp,
        until: Timestamp,
        span: Span,
    ) -> Result<Statistics, Failure> {
        let recent = self.recent().await?;
        let first = span.start(since);
        let none: BTreeMap<&'static str, u64> =
            COUNTED_EVENTS.iter().map(|name| (*name, 0)).collect();
        let mut buckets = BTreeMap::new();
        let mut at = first;
        while at <= until && buckets.len() < BUCKETS_MAX {
            buckets.insert(at, none.clone());
            at = at.plus(span.length());
        }
        let kept = self.store.list_counts(first, at).await?;
        // Counted meanwhile by another node: what is kept goes before what was counted here.
        let uncounted = recent.hours.iter().filter(|recent| {
            !kept.iter().any(|kept| kept.hour == recent.hour && kept.of.name == recent.of.name)
        });
        for HourCount { hour, of } in kept.iter().chain(uncounted) {
            let counts = buckets.get_mut(&span.start(*hour));
            let count = counts.and_then(|counts| counts.get_mut(&*of.name));
            count.into_iter().for_each(|count| *count += of.count);
        }
        let buckets = buckets.into_iter().map(|(at, counts)| Bucket { at, counts }).collect();
        Ok(Statistics { counted_at: recent.at, population: recent.population, buckets })
    }

    /// Counts the hours that are over and were not counted yet, 48 hours at most, and once more
    /// those that were counted before they were over, by a clock that was ahead. A round of
    /// [`Keyward::run_background`]; it may be dropped at any point.
    ///
    /// # Errors
    ///
    /// Where the store fails; what was counted until then is kept.
    pub async fn count_hours(&self) -> Result<(), StoreError> {
        self.forget_hours_to_come().await?;
        let Some(mut hour) = self.first_uncounted().await? else { return Ok(()) };
        for _ in 0..HOURS_PER_ROUND {
            let end = hour.plus(HOUR);
            if end.plus(SETTLING) > self.clock.now() {
                return Ok(());
            }
            let counts = self.store.count_events(COUNTED_EVENTS, hour, end).await?;
            self.store.keep_counts(hour, counts).await?;
            hour = end;
        }
        Ok(())
    }

    /// Counts until dropped. What fails is said once, until something else does.
    pub(super) async fn run_statistics(&self) {
        let mut said = SaidOnce::new();
        loop {
            tokio::time::sleep(ROUND).await;
            if let Some(error) = said.news(self.count_hours().await) {
                tracing::error!("what happened is not counted for now: {error}");
            }
        }
    }

    /// An hour that is not over can only have been counted by a clock that was ahead, and the hours
    /// before it, too. Not where everything since must be forgotten: then it is this node's clock
    /// that is far behind, and of what the others have counted the events may be gone.
    async fn forget_hours_to_come(&self) -> Result<(), StoreError> {
        let present = Span::Hour.start(self.clock.now());
        let to_come = present..present.plus(AHEAD_MAX);
        let last = self.store.last_counted_hour().await?;
        if last.is_some_and(|last| to_come.contains(&last)) {
            self.store.forget_counts(present.minus(UNCOUNTED_MAX)).await?;
        }
        Ok(())
    }

    /// What was counted a minute ago at most. Whoever else asks meanwhile waits for the same.
    async fn recent(&self) -> Result<Recent, StoreError> {
        let mut held = self.recent.0.lock().await;
        let now = self.clock.now();
        if let Some(recent) = held.as_ref().filter(|recent| now.distance(recent.at) < RECENT) {
            return Ok(recent.clone());
        }
        let earliest = Span::Hour.start(now).minus(UNCOUNTED_MAX);
        let mut hour = self.first_uncounted().await?.map_or(earliest, |hour| hour.max(earliest));
        let mut hours = Vec::new();
        while hour <= now {
            let counts = self.store.count_events(COUNTED_EVENTS, hour, hour.plus(HOUR)).await?;
            hours.extend(counts.into_iter().map(|of| HourCount { hour, of }));
            hour = hour.plus(HOUR);
        }
        let population = self.store.count_population(now).await?;
        let recent = Recent { at: now, population, hours };
        *held = Some(recent.clone());
        Ok(recent)
    }

    /// The hour behind those that were counted, or that of the oldest event. `None`: nothing has
    /// happened yet.
    async fn first_uncounted(&self) -> Result<Option<Timestamp>, StoreError> {
        if let Some(last) = self.store.last_counted_hour().await? {
            return Ok(Some(last.plus(HOUR)));
        }
        let order = AuditOrder::After(0);
        let oldest = AuditFilter { order, limit: 1, ..AuditFilter::default() };
        let oldest = self.store.list_audit(oldest).await?;
        Ok(oldest.first().map(|event| Span::Hour.start(event.at)))
    }
}

/// What this node has counted last.
#[derive(Debug, Default)]
pub(super) struct HeldStatistics(Mutex<Option<Recent>>);

#[derive(Debug, Clone)]
struct Recent {
    at: Timestamp,
    population: Population,
    hours: Vec<HourCount>,
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Longer than a transaction takes to commit, and than the clocks of nodes differ.
const SETTLING: Duration = Duration::from_secs(10 * 60);

/// How far ahead a clock can have been that is put right again. The log keeps events for longer.
const AHEAD_MAX: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// How often it is looked whether an hour can be counted.
const ROUND: Duration = Duration::from_secs(5 * 60);

/// So that a long history, seen for the first time, keeps nobody else waiting for long.
const HOURS_PER_ROUND: usize = 48;

/// For how long what was counted on request is answered again.
const RECENT: Duration = Duration::from_secs(60);

/// How far back a request counts by itself, beside the present hour.
const UNCOUNTED_MAX: Duration = Duration::from_secs(2 * 60 * 60);
