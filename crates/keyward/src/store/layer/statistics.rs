//! [`StatisticsStore`], passed on.

use async_trait::async_trait;
use keyward_core::time::Timestamp;

use super::{Call, Layer};
use crate::store::{EventCount, HourCount, Population, StatisticsStore, StoreError};

#[async_trait]
impl<L: Layer> StatisticsStore for L {
    async fn count_events(
        &self,
        names: &'static [&'static str],
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<EventCount>, StoreError> {
        self.pass(Call::CountEvents, self.inner().count_events(names, since, until)).await
    }

    async fn keep_counts(
        &self,
        hour: Timestamp,
        counts: Vec<EventCount>,
    ) -> Result<bool, StoreError> {
        self.pass(Call::KeepCounts, self.inner().keep_counts(hour, counts)).await
    }

    async fn list_counts(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<HourCount>, StoreError> {
        self.pass(Call::ListCounts, self.inner().list_counts(since, until)).await
    }

    async fn last_counted_hour(&self) -> Result<Option<Timestamp>, StoreError> {
        self.pass(Call::LastCountedHour, self.inner().last_counted_hour()).await
    }

    async fn forget_counts(&self, since: Timestamp) -> Result<(), StoreError> {
        self.pass(Call::ForgetCounts, self.inner().forget_counts(since)).await
    }

    async fn count_population(&self, now: Timestamp) -> Result<Population, StoreError> {
        self.pass(Call::CountPopulation, self.inner().count_population(now)).await
    }
}
