//! A server that hangs, goes away or has no connection left: refused soon and politely, and served
//! again without a restart.

use axum::http::StatusCode;
use keyward::store::postgres::fresh::FreshDatabase;
use keyward::store::{PostgresStore, Store as _, StoreError};
use keyward_core::time::Timestamp;
use tokio::join;
use tokio::task::yield_now;

use super::line::{Line, State, place};
use super::{app, app_on};
use crate::common::{Answer, Browser, TestApp};

const ADA: &str = "ada@example.org";

/// A service whose line to the server can be held or cut, and its signed-in user.
async fn world() -> (TestApp, Line, Browser, FreshDatabase) {
    let database = FreshDatabase::create().await;
    let line = Line::to(place(&database.url()).to_owned()).await;
    let app = app_on(&line.settings(&database)).await;
    let ada = app.registered(ADA).await;
    (app, line, ada, database)
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    answer.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    assert!(answer.header("retry-after").is_some());
    assert!(answer.set_cookies().is_empty());
}

fn is_shown(app: &TestApp, line: &str) -> bool {
    app.keyward.metrics().lines().any(|shown| shown == line)
}

#[track_caller]
fn assert_shown(app: &TestApp, line: &str) {
    assert!(is_shown(app, line), "no {line} in\n{}", app.keyward.metrics());
}

/// In so many turns of the other tasks, however long they take.
async fn until_shown(app: &TestApp, line: &str) {
    for _ in 0..1000 {
        if is_shown(app, line) {
            return;
        }
        yield_now().await;
    }
    assert_shown(app, line);
}

/// As a client does it that was asked to come back.
async fn refresh_until_served(browser: &mut Browser) {
    for _ in 0..100 {
        let answer = browser.refresh_with_key("0123456789abcdefghijkl").await;
        if answer.status == StatusCode::OK {
            return;
        }
        assert_unavailable(&answer);
    }
    panic!("it is never served again");
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_and_then_served_again() {
    let (_, line, mut ada, _database) = world().await;
    line.set(State::Held);
    let mut other = ada.clone();
    let (first, second) = join!(ada.refresh_with_key("0123456789abcdefghijkl"), other.me());
    assert_unavailable(&first);
    assert_unavailable(&second);
    line.set(State::Open);
    refresh_until_served(&mut ada).await;
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable_and_then_served_again() {
    let (_, line, mut ada, _database) = world().await;
    line.set(State::Cut);
    for _ in 0..5 {
        assert_unavailable(&ada.refresh_with_key("0123456789abcdefghijkl").await);
    }
    line.set(State::Open);
    refresh_until_served(&mut ada).await;
}

#[tokio::test]
async fn a_server_that_was_restarted_is_served_again() {
    let (app, database) = app().await;
    let mut ada = app.registered(ADA).await;
    database.run(END_CONNECTIONS).await;
    refresh_until_served(&mut ada).await;
}

#[tokio::test]
async fn a_server_without_a_connection_left_is_unavailable() {
    let (app, database) = app().await;
    let mut ada = app.registered(ADA).await;
    let url = database.url();
    let (_, name) = url.rsplit_once('/').expect("a database");
    let limit = |count| format!("ALTER DATABASE {name} CONNECTION LIMIT {count}");
    database.run(&limit(0)).await;
    database.run(END_CONNECTIONS).await;
    for _ in 0..3 {
        assert_unavailable(&ada.refresh_with_key("0123456789abcdefghijkl").await);
    }
    database.run(&limit(-1)).await;
    refresh_until_served(&mut ada).await;
}

/// The bound holds: who comes late is told so instead of waiting for ever.
#[tokio::test]
async fn more_requests_than_connections_wait_in_vain_for_a_short_time_only() {
    let database = FreshDatabase::create().await;
    let mut settings = database.service_settings();
    settings.connections_max = 1;
    let app = app_on(&settings).await;
    let mut ada = app.registered(ADA).await;
    let mut other = ada.clone();
    let held = database.begin("SELECT FROM keyward.session FOR UPDATE").await;
    let (first, ()) = join!(ada.refresh(), async {
        database.until_waiting(1).await;
        let (late, ()) = join!(other.me(), async {
            until_shown(&app, "keyward_store_connections_waiting 1").await;
            assert_shown(&app, "keyward_store_connections{state=\"in_use\"} 1.0");
            assert_shown(&app, "keyward_store_connections{state=\"idle\"} 0.0");
        });
        assert_unavailable(&late);
        held.commit().await;
    });
    first.assert(StatusCode::OK, None);
    assert_shown(&app, "keyward_store_connections_max 1");
    assert_shown(&app, "keyward_store_connections_waiting 0");
    until_shown(&app, "keyward_store_connections{state=\"in_use\"} 0.0").await;
    assert_shown(&app, "keyward_store_connections{state=\"idle\"} 1.0");
}

/// A pooler that does not know of prepared statements gives itself away, and nothing goes wrong.
#[tokio::test]
async fn a_pooler_serves_prepared_statements_or_says_that_it_cannot() {
    let database = FreshDatabase::create().await;
    let opened = PostgresStore::open(&database.pooled_settings(), Timestamp::from_secs(1)).await;
    let mut outcome = opened.as_ref().map(drop).map_err(Clone::clone);
    if let Ok(store) = &opened {
        for _ in 0..100 {
            let (first, second) = join!(store.list_keys(), store.ping());
            outcome = outcome.and(first.map(drop)).and(second.map(drop));
        }
    }
    if let Err(StoreError::Unavailable(why)) = &outcome {
        assert!(why.contains("store.prepared_statements = false"), "{why}");
    } else {
        assert_eq!(outcome, Ok(()));
    }
}

const END_CONNECTIONS: &str = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
     WHERE datname = current_database() AND pid <> pg_backend_pid()";
