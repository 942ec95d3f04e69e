//! Many requests at once with one refresh token: one line, whatever the order.

mod checks;
mod common;

use std::sync::Arc;

use axum::http::StatusCode;
use checks::faulty_store::FaultyStore;
use checks::{assert_clears_cookies, assert_revoked, count_events, idempotency_key, stored};
use common::{Answer, Browser, TestApp};
use futures_util::future::join_all;
use keyward::store::SqliteStore;
#[cfg(feature = "postgres")]
use keyward::store::{PostgresStore, postgres::fresh::fresh_postgres};
use keyward_core::time::Timestamp;
use tokio::task::JoinSet;

const PRESENTATIONS: usize = 50;

/// Presents the browser's token so often at once, from as many copies of the browser. All go
/// through a store that lets the others in between any two of its steps.
async fn present_at_once(browser: &Browser, key: Option<String>) -> Vec<(Browser, Answer)> {
    let presentations = (0..PRESENTATIONS).map(|_| present(browser.clone(), key.clone()));
    join_all(presentations).await
}

async fn present(mut browser: Browser, key: Option<String>) -> (Browser, Answer) {
    let answer = match key {
        Some(key) => browser.refresh_with_key(&key).await,
        None => browser.refresh().await,
    };
    (browser, answer)
}

fn with_status(presented: &[(Browser, Answer)], status: StatusCode) -> Vec<&(Browser, Answer)> {
    presented.iter().filter(|(_, answer)| answer.status == status).collect()
}

/// Of all the presentations one was exchanged, one was noticed, and nobody holds a live token.
async fn check_one_line(app: &TestApp, presented: &[(Browser, Answer)]) {
    assert_eq!(with_status(presented, StatusCode::OK).len(), 1);
    let refused = with_status(presented, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.len(), PRESENTATIONS - 1);
    for (_, answer) in &refused {
        assert_clears_cookies(answer);
    }
    let noticed =
        refused.iter().filter(|(_, answer)| answer.text("code") == "REFRESH_TOKEN_REUSED");
    assert_eq!(noticed.count(), 1);
    for name in ["session.refreshed", "session.reuse_detected"] {
        assert_eq!(count_events(app, name).await, 1, "{name}");
    }

    app.advance(60);
    let mut winner = with_status(presented, StatusCode::OK)[0].0.clone();
    winner.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    assert_revoked(&winner.refresh().await, "reuse_detected");
}

#[tokio::test]
async fn of_interleaved_presentations_one_is_exchanged_and_the_session_ends() {
    let app = TestApp::on_store(FaultyStore::new(), |_| {}).await;
    let mut browser = app.registered("ada@example.org").await;
    let presented = present_at_once(&browser, None).await;
    check_one_line(&app, &presented).await;
    assert_revoked(&browser.refresh().await, "reuse_detected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_parallel_presentations_one_is_exchanged_and_the_session_ends() {
    check_in_parallel(TestApp::new().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_parallel_presentations_one_is_exchanged_on_sqlite_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("keyward.db"), Timestamp::from_secs(1));
    check_in_parallel(TestApp::on_store(Arc::new(store.expect("a store")), |_| {}).await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_parallel_presentations_one_is_exchanged_on_postgres_too() {
    let (store, _database) = fresh_postgres().await;
    check_in_parallel(TestApp::on_store(Arc::new(store), |_| {}).await).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_parallel_presentations_to_two_nodes_one_is_exchanged() {
    let (store, database) = fresh_postgres().await;
    let one = TestApp::on_store(Arc::new(store), |_| {}).await;
    let store = PostgresStore::open(&database.settings(), Timestamp::from_secs(1)).await;
    let other = TestApp::on_store(Arc::new(store.expect("a store")), |_| {}).await;
    check_over_nodes(&[one, other]).await;
}

async fn check_in_parallel(app: TestApp) {
    check_over_nodes(&[app]).await;
}

async fn check_over_nodes(nodes: &[TestApp]) {
    let app = &nodes[0];
    let mut browser = app.registered("ada@example.org").await;
    let mut presentations = JoinSet::new();
    for node in nodes.iter().cycle().take(PRESENTATIONS) {
        let browser = Browser { app: node.clone(), ..browser.clone() };
        presentations.spawn(present(browser, None));
    }
    let presented = presentations.join_all().await;
    check_one_line(app, &presented).await;
    assert_revoked(&browser.refresh().await, "reuse_detected");
}

#[tokio::test]
async fn all_that_prove_to_be_one_party_converge_on_one_successor() {
    let app = TestApp::on_store(FaultyStore::new(), |_| {}).await;
    let browser = app.registered("ada@example.org").await;
    let presented = present_at_once(&browser, Some(idempotency_key(1))).await;
    let mut first = presented[0].0.clone();
    for (browser, answer) in &presented {
        answer.assert(StatusCode::OK, None);
        assert_eq!(browser.refresh_token(), first.refresh_token());
    }
    assert_eq!(stored(&first).await.session.generation, 1);
    assert_eq!(count_events(&app, "session.refreshed").await, 1);
    assert_eq!(count_events(&app, "refresh.retried").await, PRESENTATIONS - 1);
    app.advance(60);
    first.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn within_the_race_window_all_but_one_are_told_of_the_race() {
    let app = TestApp::on_store(FaultyStore::new(), |policy| {
        policy.rotation.race_window = std::time::Duration::from_secs(5);
    })
    .await;
    let browser = app.registered("ada@example.org").await;
    let presented = present_at_once(&browser, None).await;
    for (_, answer) in with_status(&presented, StatusCode::CONFLICT) {
        checks::assert_harmless(answer, StatusCode::CONFLICT, "REFRESH_RACE");
    }
    assert_eq!(with_status(&presented, StatusCode::CONFLICT).len(), PRESENTATIONS - 1);
    let winners = with_status(&presented, StatusCode::OK);
    let mut winner = winners[0].0.clone();
    app.advance(60);
    winner.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_logout_among_refreshes_leaves_no_live_token() {
    let app = TestApp::on_store(FaultyStore::new(), |_| {}).await;
    let browser = app.registered("ada@example.org").await;
    let mut leaving = browser.clone();
    let (presented, left) = tokio::join!(
        present_at_once(&browser, Some(idempotency_key(1))),
        leaving.post("/api/auth/logout", None),
    );
    left.assert(StatusCode::OK, None);
    app.advance(60);
    for (mut browser, _) in presented {
        if browser.refresh_token().is_some() {
            assert_revoked(&browser.refresh().await, "logout");
        }
    }
}
