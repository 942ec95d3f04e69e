//! Counts of what happens.

use async_trait::async_trait;
use keyward_core::time::Timestamp;
use rusqlite::{Connection, named_params};

use super::{SqliteStore, rows, sql};
use crate::store::statistics::COUNTED;
use crate::store::{EventCount, HourCount, Population, StatisticsStore, StoreError};

#[async_trait]
impl StatisticsStore for SqliteStore {
    async fn count_events(
        &self,
        names: &'static [&'static str],
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<EventCount>, StoreError> {
        self.readers.read(move |connection| count(connection, names, since, until)).await
    }

    async fn keep_counts(
        &self,
        hour: Timestamp,
        counts: Vec<EventCount>,
    ) -> Result<bool, StoreError> {
        self.writer.write(move |connection| keep(connection, hour, &counts)).await
    }

    async fn list_counts(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<HourCount>, StoreError> {
        self.readers.read(move |connection| list(connection, since, until)).await
    }

    async fn last_counted_hour(&self) -> Result<Option<Timestamp>, StoreError> {
        self.readers
            .read(|connection| {
                let mut statement = connection.prepare_cached(sql::LAST_COUNTED_HOUR)?;
                let last: Option<i64> = statement.query_row([], |row| row.get(0))?;
                Ok(last.map(Timestamp::from_millis))
            })
            .await
    }

    async fn forget_counts(&self, since: Timestamp) -> Result<(), StoreError> {
        self.writer
            .write(move |connection| {
                let mut statement = connection.prepare_cached(sql::DELETE_COUNTS)?;
                statement.execute(named_params! { ":since": since.millis() })?;
                Ok(())
            })
            .await
    }

    async fn count_population(&self, now: Timestamp) -> Result<Population, StoreError> {
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::COUNT_POPULATION)?;
                let found = statement.query(named_params! { ":now": now.millis() })?;
                Ok(rows::first(found, rows::population)?.unwrap_or_default())
            })
            .await
    }
}

fn count(
    connection: &Connection,
    names: &[&str],
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<EventCount>, StoreError> {
    let names = serde_json::Value::from(names).to_string();
    let parameters =
        named_params! { ":names": names, ":since": since.millis(), ":until": until.millis() };
    let mut statement = connection.prepare_cached(sql::COUNT_EVENTS)?;
    rows::all(statement.query(parameters)?, rows::event_count)
}

fn keep(
    connection: &Connection,
    hour: Timestamp,
    counts: &[EventCount],
) -> Result<bool, StoreError> {
    let mut insert = connection.prepare_cached(sql::INSERT_COUNT)?;
    let hour = hour.millis();
    if insert.execute(named_params! { ":hour": hour, ":name": COUNTED, ":count": 0 })? == 0 {
        return Ok(false);
    }
    for EventCount { name, count } in counts {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        insert.execute(named_params! { ":hour": hour, ":name": name, ":count": count })?;
    }
    Ok(true)
}

fn list(
    connection: &Connection,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<HourCount>, StoreError> {
    let parameters = named_params! { ":since": since.millis(), ":until": until.millis() };
    let mut statement = connection.prepare_cached(sql::LIST_COUNTS)?;
    rows::all(statement.query(parameters)?, rows::hour_count)
}
