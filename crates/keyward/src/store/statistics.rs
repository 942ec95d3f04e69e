//! How often things happen, counted by the hour from the audit log.
//!
//! Nothing is counted while it happens: a refresh must not pay for a diagram. Once an hour is over,
//! its events are counted and the counts kept; they name nobody and are a few rows an hour, so that
//! they outlive the events.

use async_trait::async_trait;
use keyward_core::time::Timestamp;

use super::StoreError;

/// The part of a store that statistics need.
#[async_trait]
pub trait StatisticsStore {
    /// How many events of each of these names there are at `since` or later and before `until`;
    /// names of which there is none are left out. Goes through every event of that time.
    async fn count_events(
        &self,
        names: &'static [&'static str],
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<EventCount>, StoreError>;

    /// Keeps the counts of one hour. `false`: they are there already, nothing was changed. Of any
    /// number of processes that keep the counts of one hour one does so.
    async fn keep_counts(
        &self,
        hour: Timestamp,
        counts: Vec<EventCount>,
    ) -> Result<bool, StoreError>;

    /// The kept counts of hours that begin at `since` or later and before `until`, by hour and
    /// name.
    async fn list_counts(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<HourCount>, StoreError>;

    /// The last hour of which the counts are kept, be they none.
    async fn last_counted_hour(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Forgets the kept counts of hours that begin at `since` or later.
    async fn forget_counts(&self, since: Timestamp) -> Result<(), StoreError>;

    /// How many users and live sessions there are at `now`. Goes through all of them.
    async fn count_population(&self, now: Timestamp) -> Result<Population, StoreError>;
}

/// How often something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCount {
    /// The name of the audit event.
    pub name: String,
    /// How many there are.
    pub count: u64,
}

/// How often something happened within an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourCount {
    /// When the hour begins.
    pub hour: Timestamp,
    /// What, and how often.
    pub of: EventCount,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Population {
    /// Accounts.
    pub users: u64,
    /// Those of them that are disabled.
    pub disabled_users: u64,
    /// Sessions that are neither ended nor timed out.
    pub live_sessions: u64,
}

/// In place of a name: the hour was counted. An hour without any event needs a row too.
pub(super) const COUNTED: &str = "";
