use futures_util::future::{join, join_all};
use keyward_core::session::Swap;
use tokio::select;

use crate::store::postgres::connection::{PATIENCE, ping};
use crate::store::postgres::fresh::{FreshDatabase, SERVICE_ROLE};
use crate::store::postgres::tests::{NOW, context, insert_user, open, session_id, swap, user_id};
use crate::store::postgres::{PostgresSettings, PostgresStore};
use crate::store::{RotateOutcome, Store as _, StoreError};

/// Whoever gives requests up at any rate takes neither connections from others nor time, and of
/// the server's no more than the bounded set.
#[tokio::test]
async fn statements_that_nobody_waits_for_are_stopped() {
    let database = FreshDatabase::create().await;
    // Else the second refresh of a session waits for the first one.
    let mut settings = database.service_settings();
    settings.shares_commits = false;
    let store = world(settings, 2, 2).await;
    let held = database.begin(&lock_session(1)).await;
    let context = context();
    for number in 2..=6 {
        let both = join(store.rotate(of(1), &context), store.rotate(of(1), &context));
        select! {
            rotated = both => panic!("{rotated:?}"),
            () = database.until_waiting(2) => {}
        }
        let theirs = Swap { session_id: session_id(2), ..swap(number, number + 1) };
        assert_swapped(&store.rotate(theirs, &context).await);
        database.until_waiting(0).await;
        until_backends(&database, 2).await;
    }
    held.commit().await;
    // None of those that were given up has come through.
    assert_swapped(&store.rotate(of(1), &context).await);
}

/// A server has a process for each connection: the one that has just worked does the same work with
/// fewer misses of its caches.
#[tokio::test]
async fn the_connection_that_came_back_last_is_lent_first() {
    let database = FreshDatabase::create().await;
    let store = world(database.service_settings(), 3, 0).await;
    let mut lent = join_all([(); 3].map(|()| store.connections.lend())).await;
    let last = lent.remove(1).expect("a connection");
    last.batch("SET application_name = 'last'").await.expect("it is set");
    drop(lent);
    drop(last);
    assert_eq!(store.ping().await.map(drop), Ok(()));
    assert_eq!(database.number(COUNT_LAST_USED_SINCE).await, 1);
}

/// In a transaction there is a second statement to come, which nobody will send.
#[tokio::test]
async fn transactions_that_nobody_waits_for_are_undone() {
    let database = FreshDatabase::create().await;
    let store = world(database.service_settings(), 1, 1).await;
    let held = database.begin("SELECT FROM keyward.user FOR UPDATE").await;
    let context = context();
    for _ in 0..3 {
        select! {
            set = store.set_name(user_id(1), None, &context) => panic!("{set:?}"),
            () = database.until_waiting(1) => {}
        }
        database.until_waiting(0).await;
        until_backends(&database, 1).await;
    }
    held.commit().await;
    assert_eq!(store.ping().await.map(drop), Ok(()));
    assert_eq!(database.number(COUNT_IN_TRANSACTION).await, 0);
}

/// A batch goes on as long as one of its members waits for it, and no longer.
#[tokio::test]
async fn a_batch_that_nobody_waits_for_is_stopped() {
    let database = FreshDatabase::create().await;
    let store = world(database.service_settings(), 1, 3).await;
    let held = database.begin("LOCK TABLE keyward.session").await;
    let context = context();
    let mut alone = Box::pin(store.rotate(of(1), &context));
    let mut second = Box::pin(store.rotate(of(2), &context));
    let mut third = Box::pin(store.rotate(of(3), &context));
    select! {
        biased;
        rotated = &mut alone => panic!("{rotated:?}"),
        rotated = &mut second => panic!("{rotated:?}"),
        rotated = &mut third => panic!("{rotated:?}"),
        () = database.until_waiting(1) => {}
    }
    drop(alone);
    select! {
        rotated = join(&mut second, &mut third) => panic!("{rotated:?}"),
        () = until(&database, COUNT_BATCHES, 1) => {}
    }
    drop(second);
    select! {
        rotated = &mut third => panic!("{rotated:?}"),
        () = async { for _ in 0..100 { until(&database, COUNT_BATCHES, 1).await; } } => {}
    }
    drop(third);
    database.until_waiting(0).await;
    until_backends(&database, 1).await;
    held.commit().await;
    assert_swapped(&store.rotate(of(2), &context).await);
}

/// Those that do not know prepared statements crash when they are asked, and take everybody along.
#[tokio::test]
async fn a_pooler_that_is_too_old_is_not_asked_to_stop_anything() {
    let database = FreshDatabase::create().await;
    let mut settings = database.pooled_settings();
    settings.prepares = false;
    let store = world(settings, 1, 1).await;
    let held = database.begin(&lock_session(1)).await;
    let context = context();
    select! {
        rotated = store.rotate(of(1), &context) => panic!("{rotated:?}"),
        () = database.until_waiting(1) => {}
    }
    for _ in 0..100 {
        assert_eq!(store.ping().await.map(drop), Ok(()));
    }
    held.commit().await;
}

/// A primary that was made read-only when a standby took over: one request finds out, by a change
/// or a look at its readiness, and none is sent over the connections of before.
#[tokio::test]
async fn connections_to_a_server_that_became_read_only_are_not_used_again() {
    let database = FreshDatabase::create().await;
    let store = world(database.service_settings(), 3, 3).await;
    let context = context();
    for round in [0, 1] {
        fence_connections(&store).await;
        let refused = match round {
            0 => store.rotate(of(1), &context).await.map(drop),
            _ => store.ping().await.map(drop),
        };
        let Err(StoreError::Unavailable(why)) = refused else { panic!("{refused:?}") };
        assert!(why.starts_with("PostgreSQL is read-only"), "{why}");
        let exchanges = [1, 2, 3].map(|number| {
            let presented = if round == 0 { number } else { 10 + number };
            Swap { session_id: session_id(number), ..swap(presented, 10 + 10 * round + number) }
        });
        for outcome in join_all(exchanges.map(|swap| store.rotate(swap, &context))).await {
            assert_swapped(&outcome);
        }
    }
}

/// As a reload of the server's settings does it to all that are connected.
async fn fence_connections(store: &PostgresStore) {
    let lent = join_all([(); 3].map(|()| store.connections.lend())).await;
    for connection in lent {
        let connection = connection.expect("a connection");
        connection.batch("SET default_transaction_read_only = on").await.expect("it is set");
    }
}

/// The server has no connection left, but this node has some that are free in a moment.
#[tokio::test]
async fn more_requests_than_the_server_has_connections_wait_for_one() {
    let database = FreshDatabase::create().await;
    let store = world(database.service_settings(), 10, 10).await;
    store.connections.run(PATIENCE, ping).await.expect("a connection");
    let (name, count) = (database.text(NAME).await, database.number(COUNT_ALL).await);
    database.run(&format!("ALTER DATABASE {name} CONNECTION LIMIT {count}")).await;
    let context = context();
    let exchanges = (1..=10).map(|number| store.rotate(of(number), &context));
    let outcomes = join_all(exchanges).await;
    database.run(&format!("ALTER DATABASE {name} CONNECTION LIMIT -1")).await;
    for outcome in outcomes {
        assert_swapped(&outcome);
    }
}

/// A store with so many connections at most and so many sessions, each of its own user and with the
/// token of its number.
async fn world(mut settings: PostgresSettings, connections: usize, sessions: u8) -> PostgresStore {
    settings.connections_max = connections;
    let store = PostgresStore::open(&settings, NOW).await.expect("a store");
    for number in 1..=sessions {
        insert_user(&store, number).await;
        open(&store, number, number).await;
    }
    store
}

/// Returns once the service has no more connections than that.
async fn until_backends(database: &FreshDatabase, max: i64) {
    let more = format!(
        "SELECT greatest(count(*), {max}) - {max} FROM pg_stat_activity \
         WHERE datname = current_database() AND usename = '{SERVICE_ROLE}'"
    );
    until(database, &more, 0).await;
}

async fn until(database: &FreshDatabase, sql: &str, number: i64) {
    for _ in 0..10_000 {
        if database.number(sql).await == number {
            return;
        }
    }
    panic!("it never was {number}: {sql}");
}

/// Exchanges the token of this session's number.
fn of(number: u8) -> Swap {
    Swap { session_id: session_id(number), ..swap(number, 10 + number) }
}

#[track_caller]
fn assert_swapped(outcome: &Result<RotateOutcome, StoreError>) {
    assert!(matches!(outcome, Ok(RotateOutcome::Swapped(_))), "{outcome:?}");
}

fn lock_session(number: u8) -> String {
    format!("SELECT FROM keyward.session WHERE id = '{}' FOR UPDATE", session_id(number))
}

const COUNT_IN_TRANSACTION: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
const COUNT_BATCHES: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%unnest%' \
     AND pid <> pg_backend_pid()";
const COUNT_LAST_USED_SINCE: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE application_name = 'last' AND query NOT LIKE 'SET %'";
const COUNT_ALL: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND backend_type = 'client backend'";
const NAME: &str = "SELECT current_database()::text";
