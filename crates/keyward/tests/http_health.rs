//! `GET /healthz` and `GET /readyz`.

mod checks;
mod common;

use std::sync::Arc;

use axum::http::StatusCode;
use checks::assert_harmless;
use checks::faulty_store::FaultyStore;
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
