//! `GET /healthz` and `GET /readyz`.

mod checks;
mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use checks::assert_harmless;
use checks::faulty_store::{Call, Fault, FaultyStore};
use common::TestApp;
use serde_json::json;

#[tokio::test]
async fn the_process_is_alive_whatever_the_store_does() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    store.go_down();
    let answer = app.browser().get("/healthz").await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json(), json!({ "status": "ok" }));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn it_is_ready_while_the_store_can_be_written_to() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let answer = app.browser().get("/readyz").await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json(), json!({ "status": "ready" }));

    store.go_down();
    let answer = app.browser().get("/readyz").await;
    assert_harmless(&answer, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE");
    assert!(answer.header("retry-after").is_some());
    assert!(!String::from_utf8_lossy(&answer.body).contains("table"), "{answer:?}");

    store.heal();
    app.browser().get("/readyz").await.assert(StatusCode::OK, None);
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_the_store_is_seldom_written_to() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let asked = (0..20).map(|_| app.keyward.ready());
    assert!(futures_util::future::join_all(asked).await.iter().all(Result::is_ok));
    for _ in 0..20 {
        app.browser().get("/readyz").await.assert(StatusCode::OK, None);
    }
    assert_eq!(writes(&app), 1);

    // What holds for a moment does not hold for longer.
    store.fail(Call::Ping, Fault::Down);
    app.browser().get("/readyz").await.assert(StatusCode::OK, None);
    tokio::time::advance(Duration::from_secs(2)).await;
    for _ in 0..2 {
        let answer = app.browser().get("/readyz").await;
        answer.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    }
    store.heal();
    app.browser().get("/readyz").await.assert(StatusCode::OK, None);
    assert_eq!(writes(&app), 4);
}

#[tokio::test(start_paused = true)]
async fn where_any_call_fails_the_store_is_written_to_at_once() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    app.browser().get("/readyz").await.assert(StatusCode::OK, None);
    for call in [Call::Ping, Call::FindServiceKey] {
        store.fail(call, Fault::Down);
    }
    let service = app.backend(&format!("kwk_{}", "A".repeat(43)));
    for answer in [service.get("/api/admin/stats").await, app.browser().get("/readyz").await] {
        answer.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    }
}

/// How often the store was written to for the sake of the answer.
fn writes(app: &TestApp) -> u64 {
    let page = app.keyward.metrics();
    let series = r#"keyward_store_call_duration_seconds_count{call="ping"} "#;
    let count = page.lines().find_map(|line| line.strip_prefix(series));
    count.map_or(0, |count| count.parse().expect("a number"))
}
