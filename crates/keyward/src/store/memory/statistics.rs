//! Counts of what happens.

use std::collections::BTreeMap;

use async_trait::async_trait;
use keyward_core::session::SessionState;
use keyward_core::time::Timestamp;

use super::MemoryStore;
use crate::store::{EventCount, HourCount, Population, StatisticsStore, StoreError};

#[async_trait]
impl StatisticsStore for MemoryStore {
    async fn count_events(
        &self,
        names: &'static [&'static str],
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<EventCount>, StoreError> {
        let state = self.state();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for event in state.events.iter().filter(|event| (since..until).contains(&event.at)) {
            if names.contains(&&*event.name) {
                *counts.entry(&event.name).or_default() += 1;
            }
        }
        let count = |(name, count): (&str, u64)| EventCount { name: name.to_owned(), count };
        Ok(counts.into_iter().map(count).collect())
    }

    async fn keep_counts(
        &self,
        hour: Timestamp,
        counts: Vec<EventCount>,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        if state.counts.contains_key(&hour) {
            return Ok(false);
        }
        state.counts.insert(hour, counts);
        Ok(true)
    }

    async fn list_counts(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<HourCount>, StoreError> {
        let state = self.state();
        let mut found: Vec<HourCount> = state
            .counts
            .range(since..until)
            .flat_map(|(hour, counts)| {
                counts.iter().map(|of| HourCount { hour: *hour, of: of.clone() })
            })
            .collect();
        found.sort_by(|a, b| (a.hour, &a.of.name).cmp(&(b.hour, &b.of.name)));
        Ok(found)
    }

    async fn last_counted_hour(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.state().counts.keys().next_back().copied())
    }

    async fn forget_counts(&self, since: Timestamp) -> Result<(), StoreError> {
        self.state().counts.retain(|hour, _| *hour < since);
        Ok(())
    }

    async fn count_population(&self, now: Timestamp) -> Result<Population, StoreError> {
        let state = self.state();
        let users = state.users.values().map(|row| &row.account.user);
        let live = state.sessions.values().filter(|one| one.state(now) == SessionState::Live);
        Ok(Population {
            users: state.users.len() as u64,
            disabled_users: users.filter(|user| user.disabled_at.is_some()).count() as u64,
            live_sessions: live.count() as u64,
        })
    }
}
