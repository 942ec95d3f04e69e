//! What leaves PostgreSQL when it has had its time: with the service's rights, and beside everybody
//! else.

use std::cell::Cell;
use std::time::Duration;

use axum::http::StatusCode;
use keyward::store::postgres::fresh::FreshDatabase;
use keyward::store::{AuditFilter, PostgresStore, Purge, Purged, Store, StoreError};
use keyward_core::audit::AuditContext;
use keyward_core::session::Device;
use keyward_core::time::Timestamp;
use tokio::join;

use super::app;
use crate::common::PASSWORD;

const ADA: &str = "ada@example.org";

/// Months long ago: by the server's clock nothing recent leaves.
const MONTHS: &str = "
    CREATE TABLE keyward.audit_event_2017_02 PARTITION OF keyward.audit_event
        FOR VALUES FROM (1485907200000) TO (1488326400000);
    CREATE TABLE keyward.audit_event_2017_03 PARTITION OF keyward.audit_event
        FOR VALUES FROM (1488326400000) TO (1491004800000)";

/// Two events before those months, one in each, and one after them.
const EVENTS: &str = "INSERT INTO keyward.audit_event (at, name, detail) \
     SELECT at, 'user.updated', '{}' FROM unnest(ARRAY[1488326400000, 1485907199998, \
     1485907199999, 1485907200000, 1491004800000]) AS e (at)";

/// A month that the running nodes make beforehand.
const DROP_NEXT_MONTH: &str = "DO $$ BEGIN EXECUTE 'DROP TABLE keyward.audit_event_' || \
     to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYY_MM'); END $$";
const COUNT_NEXT_MONTH: &str = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname = \
     'audit_event_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYY_MM')";

/// Sessions that died in 2017, a millisecond after each other.
fn dead_sessions(count: u32) -> String {
    format!(
        "INSERT INTO keyward.session (id, user_id, generation, refresh_token_hash, retry_proofs, \
         rotated_at, created_at, last_used_at, idle_expires_at, expires_at, auth_time, amr) \
         SELECT gen_random_uuid(), gen_random_uuid(), 0, sha256(n::text::bytea), '', 0, 0, 0, 0, \
         1485907200000 + n, 0, '{{pwd}}' FROM generate_series(1, {count}) AS n"
    )
}

#[tokio::test]
async fn months_leave_as_a_whole_and_the_oldest_first() {
    let (store, database) = store().await;
    database.run(MONTHS).await;
    database.run(EVENTS).await;
    let march = at("2017-03-15T00:00:00Z");
    assert_eq!(purge(&store, march, 1).await, Ok(Purged::Rows(1)));
    assert_eq!(times(&store).await.len(), 4);
    assert_eq!(purge(&store, march, 9).await, Ok(Purged::Rows(1)));
    assert_eq!(purge(&store, march, 9).await, Ok(Purged::Month));
    // March is not over yet.
    assert_eq!(purge(&store, march, 9).await, Ok(Purged::Rows(0)));
    assert_eq!(times(&store).await, [1_488_326_400_000, 1_491_004_800_000]);
    let april = at("2017-04-01T00:00:00Z");
    assert_eq!(purge(&store, april, 9).await, Ok(Purged::Month));
    assert_eq!(purge(&store, april, 9).await, Ok(Purged::Rows(0)));
    assert_eq!(times(&store).await, [1_491_004_800_000]);
}

/// Ids of one table come twice where somebody brought rows of another one along.
#[tokio::test]
async fn an_event_with_the_id_of_an_old_one_stays() {
    const RECENT: i64 = 4_000_000_000_000;
    let (store, database) = store().await;
    let events = format!(
        "INSERT INTO keyward.audit_event (id, at, name, detail) \
         SELECT 7, at, 'user.updated', '{{}}' FROM unnest(ARRAY[1485907199999, {RECENT}]) AS e (at)"
    );
    database.run(&events).await;
    let april = at("2017-04-01T00:00:00Z");
    assert_eq!(purge(&store, april, 9).await, Ok(Purged::Rows(1)));
    assert_eq!(times(&store).await, [RECENT]);
}

#[tokio::test]
async fn a_running_node_makes_the_months_to_come() {
    let (store, database) = store().await;
    database.run(DROP_NEXT_MONTH).await;
    assert_eq!(database.number(COUNT_NEXT_MONTH).await, 0);
    assert_eq!(store.prepare_audit().await, Ok(()));
    assert_eq!(database.number(COUNT_NEXT_MONTH).await, 1);
}

/// A backup reads the log for hours, and on the first of a month every node finds one missing.
#[tokio::test]
async fn nobody_waits_for_a_month_that_waits_for_a_reader() {
    let (app, database) = app().await;
    let mut ada = app.registered(ADA).await;
    database.run(DROP_NEXT_MONTH).await;
    let reading = database.begin("SELECT count(*) FROM keyward.audit_event").await;
    let is_served = Cell::new(false);
    let rounds = async {
        while !is_served.get() {
            assert!(is_late(&app.store.prepare_audit().await));
        }
    };
    join!(rounds, async {
        database.until_waiting(1).await;
        ada.refresh().await.assert(StatusCode::OK, None);
        is_served.set(true);
    });
    assert_eq!(database.number(COUNT_NEXT_MONTH).await, 0);
    reading.commit().await;
    assert_eq!(app.store.prepare_audit().await, Ok(()));
    assert_eq!(database.number(COUNT_NEXT_MONTH).await, 1);
}

/// Whoever has waited finds the month there.
#[tokio::test]
async fn of_two_nodes_one_makes_a_month_and_neither_fails() {
    let (store, database) = store().await;
    database.run(DROP_NEXT_MONTH).await;
    let other = database.begin("SELECT keyward.add_audit_partitions()").await;
    let rounds = async {
        loop {
            let made = store.prepare_audit().await;
            if !is_late(&made) {
                return made;
            }
        }
    };
    let (made, ()) = join!(rounds, async {
        database.until_waiting(1).await;
        other.commit().await;
    });
    assert_eq!(made, Ok(()));
    assert_eq!(database.number(COUNT_NEXT_MONTH).await, 1);
}

/// Whether others kept a lock until it was given up.
fn is_late(made: &Result<(), StoreError>) -> bool {
    matches!(made, Err(StoreError::Unavailable(why)) if why.contains("did not answer in time"))
}

/// What shuts everybody out of the log, to make a month or to drop one, waits for a moment only.
#[tokio::test]
async fn every_function_that_waits_for_the_log_gives_up_soon() {
    let (_, database) = store().await;
    let waits = "SELECT string_agg(p.proname || ' ' || s.setting, ', ' ORDER BY p.proname) \
         FROM pg_proc AS p, unnest(p.proconfig) AS s (setting) \
         WHERE p.pronamespace = 'keyward'::regnamespace AND s.setting LIKE 'lock_timeout=%'";
    let expected = "add_audit_partitions lock_timeout=250ms, purge_audit lock_timeout=250ms";
    assert_eq!(database.text(waits).await, expected);
}

/// Whoever reads the log keeps its months from being dropped, and no writer is kept waiting for it.
#[tokio::test]
async fn a_month_in_use_leaves_another_time() {
    let (store, database) = store().await;
    database.run(MONTHS).await;
    let reading = database.begin("SELECT count(*) FROM keyward.audit_event").await;
    let april = at("2017-04-01T00:00:00Z");
    let refused = purge(&store, april, 9).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(times(&store).await, [0; 0]);
    reading.commit().await;
    assert_eq!(purge(&store, april, 9).await, Ok(Purged::Month));
}

/// While a step holds whatever it locks, requests are served.
#[tokio::test]
async fn nobody_waits_for_a_step() {
    let (app, database) = app().await;
    let mut ada = app.registered(ADA).await;
    database.run(&dead_sessions(3)).await;
    database.run(EVENTS).await;
    let step = "SELECT keyward.purge_sessions(1500000000000, 500), \
         keyward.purge_audit(1488326400000, 500)";
    let stepping = database.begin(step).await;
    ada.refresh().await.assert(StatusCode::OK, None);
    let mut other = app.browser();
    other.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    let left = ada.post("/api/auth/logout", None).await;
    left.assert(StatusCode::OK, None);
    assert_eq!(database.number("SELECT count(*) FROM keyward.session").await, 5);
    stepping.commit().await;
    assert_eq!(database.number("SELECT count(*) FROM keyward.session").await, 2);
}

/// What another transaction has locked stays for the next step.
#[tokio::test]
async fn a_step_waits_for_nobody() {
    let (store, database) = store().await;
    database.run(&dead_sessions(5)).await;
    let held = "SELECT FROM keyward.session WHERE expires_at <= 1485907200002 FOR UPDATE";
    let held = database.begin(held).await;
    assert_eq!(purge_sessions(&store, 500).await, Ok(Purged::Rows(3)));
    assert_eq!(purge_sessions(&store, 500).await, Ok(Purged::Rows(0)));
    held.commit().await;
    assert_eq!(purge_sessions(&store, 500).await, Ok(Purged::Rows(2)));
}

/// One node drops a month; the other finds somebody at it, and then that it is done.
#[tokio::test]
async fn of_two_nodes_one_deletes_events_at_a_time() {
    let (store, database) = store().await;
    database.run(EVENTS).await;
    let april = at("2017-04-01T00:00:00Z");
    let other = database.begin("SELECT keyward.purge_audit(1488326400000, 1)").await;
    assert_eq!(purge(&store, april, 9).await, Ok(Purged::Rows(0)));
    other.commit().await;
    assert_eq!(purge(&store, april, 9).await, Ok(Purged::Rows(3)));
}

#[tokio::test]
async fn two_nodes_delete_each_of_many_sessions_once_beside_the_traffic() {
    let (app, database) = app().await;
    let other = PostgresStore::open(&database.service_settings(), Timestamp::from_secs(1)).await;
    let other = other.expect("a store");
    let mut ada = app.registered(ADA).await;
    database.run(&dead_sessions(200_000)).await;
    let traffic = async {
        for _ in 0..50 {
            ada.refresh().await.assert(StatusCode::OK, None);
            app.advance(5);
        }
    };
    let (one, another, ()) = join!(purge_all(&*app.store), purge_all(&other), traffic);
    assert_eq!(one + another, 200_000);
    assert_eq!(database.number("SELECT count(*) FROM keyward.session").await, 1);
}

/// A node whose clock runs far ahead, or whoever took one over, makes nothing recent disappear. One
/// whose clock is somewhat ahead still deletes what is 30 days old by it.
#[tokio::test]
async fn what_is_recent_stays_whoever_asks() {
    let (store, database) = store().await;
    let now = database.number("SELECT (extract(epoch FROM now()) * 1000)::bigint").await;
    let minute = Duration::from_secs(60);
    let limit = Timestamp::from_millis(now).minus(Duration::from_secs(29 * 24 * 60 * 60));
    for recent in [limit.plus(minute), Timestamp::from_millis(i64::MAX)] {
        let sessions = Purge::Sessions { expired_before: recent };
        let events = Purge::Events { before: recent, recorded: true };
        for purge in [sessions, events] {
            let refused = store.purge(purge, 500, &context()).await;
            let Err(StoreError::Unavailable(why)) = refused else { panic!("{refused:?}") };
            assert!(why.contains("clocks"), "{why}");
        }
    }
    assert_eq!(purge(&store, limit.minus(minute), 500).await, Ok(Purged::Rows(0)));
}

/// A token lives for an hour at most, and whoever follows the revocations may be told late. Nodes
/// delete what is two hours old, by clocks that are not the server's.
#[tokio::test]
async fn revocations_stay_for_ninety_minutes_whoever_asks() {
    let (store, database) = store().await;
    let now = database.number("SELECT (extract(epoch FROM now()) * 1000)::bigint").await;
    let limit = Timestamp::from_millis(now).minus(Duration::from_secs(90 * 60));
    let minute = Duration::from_secs(60);
    let refused = store.purge(revocations(limit.plus(minute)), 500, &context()).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let purged = store.purge(revocations(limit.minus(minute)), 500, &context()).await;
    assert_eq!(purged, Ok(Purged::Rows(0)));
}

fn revocations(before: Timestamp) -> Purge {
    Purge::Revocations { before }
}

/// A store with the service's rights.
async fn store() -> (PostgresStore, FreshDatabase) {
    let database = FreshDatabase::create().await;
    let store = PostgresStore::open(&database.service_settings(), Timestamp::from_secs(1)).await;
    (store.expect("a store"), database)
}

async fn purge(store: &dyn Store, before: Timestamp, limit: u32) -> Result<Purged, StoreError> {
    store.purge(Purge::Events { before, recorded: false }, limit, &context()).await
}

async fn purge_sessions(store: &dyn Store, limit: u32) -> Result<Purged, StoreError> {
    let expired_before = at("2017-07-01T00:00:00Z");
    store.purge(Purge::Sessions { expired_before }, limit, &context()).await
}

/// How many sessions this one has deleted when none is left. What the other one has locked at that
/// moment, the other one deletes.
async fn purge_all(store: &dyn Store) -> u64 {
    let mut deleted = 0;
    loop {
        match purge_sessions(store, 500).await.expect("a store") {
            Purged::Rows(0) => return deleted,
            Purged::Rows(count) => deleted += count,
            Purged::Month => panic!("sessions are not kept by month"),
        }
    }
}

/// When the events of the log happened, oldest first.
async fn times(store: &dyn Store) -> Vec<i64> {
    let filter = AuditFilter { limit: 100, ..AuditFilter::default() };
    let events = store.list_audit(filter).await.expect("a store");
    let mut times: Vec<_> = events.iter().map(|event| event.at.millis()).collect();
    times.sort_unstable();
    times
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_rfc3339(text).expect("a time")
}

fn context() -> AuditContext {
    let at = Timestamp::from_secs(1_790_000_000);
    AuditContext { at, device: Device::default(), request_id: None, actor: None }
}
