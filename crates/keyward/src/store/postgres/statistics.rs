//! Counts of what happens.

use async_trait::async_trait;
use keyward_core::time::Timestamp;
use tokio_postgres::types::ToSql;

use super::connection::{Failure, Lent, PATIENCE, PATIENCE_FOR_TABLES};
use super::{PostgresStore, rows, sql};
use crate::store::statistics::COUNTED;
use crate::store::{EventCount, HourCount, Population, StatisticsStore, StoreError};

#[async_trait]
impl StatisticsStore for PostgresStore {
    async fn count_events(
        &self,
        names: &'static [&'static str],
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<EventCount>, StoreError> {
        self.connections
            .run(PATIENCE_FOR_TABLES, |connection| count(connection, names, since, until))
            .await
    }

    async fn keep_counts(
        &self,
        hour: Timestamp,
        counts: Vec<EventCount>,
    ) -> Result<bool, StoreError> {
        self.connections.run(PATIENCE, |connection| keep(connection, hour, &counts)).await
    }

    async fn list_counts(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<HourCount>, StoreError> {
        self.connections.run(PATIENCE, |connection| list(connection, since, until)).await
    }

    async fn last_counted_hour(&self) -> Result<Option<Timestamp>, StoreError> {
        self.connections.run(PATIENCE, last).await
    }

    async fn forget_counts(&self, since: Timestamp) -> Result<(), StoreError> {
        self.connections.run(PATIENCE, |connection| forget(connection, since)).await
    }

    async fn count_population(&self, now: Timestamp) -> Result<Population, StoreError> {
        self.connections.run(PATIENCE_FOR_TABLES, |connection| population(connection, now)).await
    }
}

async fn count(
    connection: Lent,
    names: &[&str],
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<EventCount>, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&names, &since.millis(), &until.millis()];
    let found = connection.query(sql::statistics::COUNT_EVENTS, parameters).await?;
    Ok(rows::all(&found, rows::event_count)?)
}

/// One statement, and so one transaction: a mark that is there keeps everything out.
async fn keep(connection: Lent, hour: Timestamp, counts: &[EventCount]) -> Result<bool, Failure> {
    let names: Vec<&str> = counts.iter().map(|of| &*of.name).collect();
    let counts = counts.iter().map(|of| i64::try_from(of.count).unwrap_or(i64::MAX));
    let counts: Vec<i64> = counts.collect();
    let parameters: &[&(dyn ToSql + Sync)] = &[&hour.millis(), &COUNTED, &names, &counts];
    Ok(!connection.query(sql::statistics::KEEP_COUNTS, parameters).await?.is_empty())
}

async fn list(
    connection: Lent,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<HourCount>, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&since.millis(), &until.millis(), &COUNTED];
    let found = connection.query(sql::statistics::LIST_COUNTS, parameters).await?;
    Ok(rows::all(&found, rows::hour_count)?)
}

async fn last(connection: Lent) -> Result<Option<Timestamp>, Failure> {
    let found = connection.query(sql::statistics::LAST_COUNTED_HOUR, &[]).await?;
    let last = rows::first(&found, |columns| columns.take::<Option<i64>>("event_count.hour"))?;
    Ok(last.flatten().map(Timestamp::from_millis))
}

async fn forget(connection: Lent, since: Timestamp) -> Result<(), Failure> {
    connection.query(sql::statistics::DELETE_COUNTS, &[&since.millis()]).await.map(drop)
}

async fn population(connection: Lent, now: Timestamp) -> Result<Population, Failure> {
    let found = connection.query(sql::statistics::COUNT_POPULATION, &[&now.millis()]).await?;
    Ok(rows::first(&found, rows::population)?.unwrap_or_default())
}
