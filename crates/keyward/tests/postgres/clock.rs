//! A node whose clock is not the server's.

use std::time::Duration;

use axum::http::StatusCode;
use keyward::clock::{Clock as _, SystemClock};
use keyward::service::KeyringError;

use super::app;
use crate::common::TestApp;

/// It says so, and is ready: perhaps it is the server's clock that is wrong, for all nodes.
#[tokio::test]
async fn a_node_tells_by_how_much_its_clock_is_ahead() {
    let (app, _database) = app().await;
    app.clock.set(SystemClock.now().minus(Duration::from_secs(3700)));
    let behind = lead_of(&app).await;
    assert!(behind <= -3700.0, "{behind}");
    app.clock.set(SystemClock.now().plus(Duration::from_secs(3700)));
    while lead_of(&app).await <= 0.0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// To a clock that runs a year ahead every key is gone, those that sign at this moment among them.
#[tokio::test]
async fn a_node_whose_clock_is_ahead_leaves_the_keys_alone() {
    let (app, database) = app().await;
    let keys = "SELECT string_agg(purpose || id, ' ' ORDER BY purpose, id) FROM keyward.key";
    let before = database.text(keys).await;
    app.clock.set(SystemClock.now().plus(Duration::from_secs(400 * 24 * 60 * 60)));
    assert_eq!(app.keyward.tend_keys().await, Err(KeyringError::ClockAhead));
    assert_eq!(database.text(keys).await, before);
    app.clock.set(SystemClock.now());
    assert_eq!(app.keyward.tend_keys().await, Ok(()));
}

async fn lead_of(app: &TestApp) -> f64 {
    app.browser().get("/readyz").await.assert(StatusCode::OK, None);
    let page = app.keyward.metrics();
    let line = page.lines().find_map(|line| line.strip_prefix("keyward_store_clock_lead_seconds "));
    line.expect("a clock to compare").parse().expect("a number")
}
