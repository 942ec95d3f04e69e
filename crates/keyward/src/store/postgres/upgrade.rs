//! Migrations, applied beside nodes that serve.
//!
//! A migration needs some tables for itself alone. Whoever waits for that stands in a queue, and
//! every statement that comes later waits behind: beside one reader that stays, such as a backup,
//! nobody could write any more. So a lock is waited for only for a moment. What was done until then
//! is undone, the queue moves on, and after a pause everything is tried again.

use std::convert::Infallible;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keyward_core::time::Timestamp;
use tokio::time::{Instant, sleep};
use tokio_postgres::types::Type;

use super::connection::{
    Connections, Failure, Lent, PATIENCE, PATIENCE_FOR_TABLES, Statement, unavailable,
};
use super::{migrations, rows};
use crate::entropy::{self, SystemEntropy};
use crate::said_once::SaidOnce;
use crate::store::StoreError;

/// Applies the migrations that are missing. `report` is told whom they wait for, each time that
/// these are others.
pub(super) async fn upgrade(
    connections: &Connections,
    now: Timestamp,
    report: impl Fn(&str),
) -> Result<(), StoreError> {
    let listed = connections.run(PATIENCE, migrations::list).await?;
    if listed.iter().all(|migration| migration.applied_at.is_some()) {
        return Ok(());
    }
    let began = Instant::now();
    let mut said = SaidOnce::new();
    while let Some(holders) = try_apply(connections, now).await? {
        if began.elapsed() >= PATIENCE_FOR_TABLES {
            return Err(unavailable(&format!(
                "migrations have waited for {holders} until now; end that, and try again"
            )));
        }
        if let Some(holders) = said.news(Err(holders)) {
            report(&format!(
                "Migrations wait for {holders}. Nobody waits for them: they are tried again and \
                 again, for ten minutes."
            ));
        }
        sleep(pause()).await;
    }
    Ok(())
}

/// Applies them all, or none of them: then it answers who kept a lock.
async fn try_apply(
    connections: &Connections,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let (pid, holders) = (AtomicI32::new(0), Mutex::new(String::new()));
    let applying = connections.transact(PATIENCE_FOR_TABLES, |lent| apply(lent, now, &pid));
    let applied = tokio::select! {
        applied = applying => applied?,
        never = watch(connections, &pid, &holders) => match never {},
    };
    if applied {
        return Ok(None);
    }
    let holders = holders.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Some(if holders.is_empty() { UNKNOWN.to_owned() } else { holders }))
}

/// Whether it got every lock. Where it did not, the transaction has failed, and to commit it undoes
/// everything.
async fn apply(connection: Lent, now: Timestamp, pid: &AtomicI32) -> Result<bool, Failure> {
    connection.batch(LIMIT_LOCKS).await?;
    let own = rows::first(&connection.query(OWN_PID, &[]).await?, |columns| columns.take("pid"))?;
    pid.store(own.unwrap_or_default(), Ordering::Relaxed);
    match migrations::apply(connection, now).await {
        Err(Failure::Locked) => Ok(false),
        applied => applied.map(|()| true),
    }
}

/// Keeps who is in the way. Only as long as somebody waits the server can tell.
async fn watch(connections: &Connections, pid: &AtomicI32, holders: &Mutex<String>) -> Infallible {
    loop {
        sleep(WATCH_EVERY).await;
        let pid = pid.load(Ordering::Relaxed);
        let found = connections.run(PATIENCE, |connection| list_holders(connection, pid)).await;
        if let Some(found) = found.ok().filter(|found| !found.is_empty()) {
            *holders.lock().unwrap_or_else(PoisonError::into_inner) = found.join(", ");
        }
    }
}

async fn list_holders(connection: Lent, pid: i32) -> Result<Vec<String>, Failure> {
    let found = connection.query(LIST_HOLDERS, &[&pid]).await?;
    Ok(rows::all(&found, |columns| columns.take("holder"))?)
}

/// Differs from one time to the next: who takes the lock at an even pace is not always met.
fn pause() -> Duration {
    let [byte] = entropy::array(&SystemEntropy::new());
    PAUSE_MIN + PAUSE_MIN.mul_f64(f64::from(byte) / 255.0)
}

/// As short a wait as that of a purge which drops a month: shorter than anybody notices.
const LIMIT_LOCKS: &str = "SET LOCAL lock_timeout = '250ms'";

/// More than once within that.
const WATCH_EVERY: Duration = Duration::from_millis(80);

/// Twice as long at the most. Refreshes are let through for four fifths of the time.
const PAUSE_MIN: Duration = Duration::from_secs(1);

const UNKNOWN: &str = "a lock that others keep";

const OWN_PID: Statement<'_> = Statement { sql: "SELECT pg_backend_pid()", types: &[] };

/// What every role may see of others: no statement and no address.
const LIST_HOLDERS: Statement<'_> = Statement {
    sql: "SELECT format('process %s of PostgreSQL (%s)', a.pid, concat_ws(', ', \
          nullif(a.application_name, ''), 'role ' || a.usename)) \
          FROM pg_catalog.pg_stat_activity AS a \
          WHERE a.pid = ANY(pg_catalog.pg_blocking_pids($1)) ORDER BY a.pid",
    types: &[Type::INT4],
};

#[cfg(test)]
mod tests;
