//! The page of metrics: exact counts of known traffic, and no series that strangers can make.

mod checks;
mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use checks::faulty_store::{Call, Fault, FaultyStore};
use checks::idempotency_key;
use common::{PASSWORD, TestApp};
use keyward::store::SqliteStore;
use keyward_core::time::Timestamp;
use tokio::time::Instant;

/// Every series of a page, by its name and labels, but for buckets.
fn series(app: &TestApp) -> BTreeMap<String, f64> {
    let page = app.keyward.metrics();
    let samples = page.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    let sampled: Vec<(String, f64)> = samples.map(sample).collect();
    let series: BTreeMap<String, f64> = sampled.iter().cloned().collect();
    assert_eq!(series.len(), sampled.len(), "a series comes twice in\n{page}");
    series
}

#[track_caller]
fn assert_counts(app: &TestApp, expected: &[(&str, f64)]) {
    let series = series(app);
    for (name, count) in expected {
        assert_eq!(series.get(*name), Some(count), "{name} in {series:#?}");
    }
}

#[tokio::test]
async fn what_happens_is_counted_exactly() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut thief = browser.clone();
    browser.refresh().await.assert(StatusCode::OK, None);
    let mut retrying = browser.clone();
    browser.refresh_with_key(&idempotency_key(1)).await.assert(StatusCode::OK, None);
    retrying.refresh_with_key(&idempotency_key(1)).await.assert(StatusCode::OK, None);
    thief.refresh().await.assert(StatusCode::UNAUTHORIZED, Some("REFRESH_TOKEN_REUSED"));
    browser.refresh().await.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
    app.browser().refresh().await.assert(StatusCode::UNAUTHORIZED, Some("NO_REFRESH_TOKEN"));
    app.browser().login("ada@example.org", PASSWORD).await.assert(StatusCode::OK, None);
    let wrong = app.browser().login("ada@example.org", "something else").await;
    wrong.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    app.browser().get("/nowhere").await.assert(StatusCode::NOT_FOUND, Some("NOT_FOUND"));
    assert_counts(
        &app,
        &[
            (r#"keyward_refresh_total{decision="rotate"}"#, 2.0),
            (r#"keyward_refresh_total{decision="retry"}"#, 1.0),
            (r#"keyward_refresh_total{decision="reuse"}"#, 1.0),
            (r#"keyward_refresh_total{decision="revoked"}"#, 1.0),
            (r#"keyward_refresh_total{decision="invalid"}"#, 0.0),
            (r#"keyward_sign_ins_total{outcome="opened"}"#, 1.0),
            (r#"keyward_sign_ins_total{outcome="wrong_password"}"#, 1.0),
            (r#"keyward_refusals_total{code="REFRESH_TOKEN_REUSED"}"#, 1.0),
            (r#"keyward_refusals_total{code="INVALID_CREDENTIALS"}"#, 1.0),
            (r#"keyward_refusals_total{code="STORE_UNAVAILABLE"}"#, 0.0),
            (&refreshes("200"), 3.0),
            (&refreshes("401"), 3.0),
            (r#"keyward_http_requests_total{route="none",method="GET",status="404"}"#, 1.0),
            (r#"keyward_http_request_duration_seconds_count{route="/api/auth/refresh"}"#, 6.0),
            (r#"keyward_store_call_duration_seconds_count{call="rotate"}"#, 5.0),
            (r#"keyward_hash_wait_seconds_count"#, 4.0),
            ("keyward_hash_queue", 0.0),
            ("keyward_store_up", 1.0),
        ],
    );
}

fn refreshes(status: &str) -> String {
    let route = r#"route="/api/auth/refresh",method="POST""#;
    format!("keyward_http_requests_total{{{route},status=\"{status}\"}}")
}

#[tokio::test]
async fn a_limit_is_counted_by_its_name() {
    let app = TestApp::new().await;
    for _ in 0..5 {
        app.browser().login("ada@example.org", PASSWORD).await;
    }
    let limited = app.browser().login("ada@example.org", PASSWORD).await;
    limited.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
    assert_counts(
        &app,
        &[
            (r#"keyward_rate_limited_total{limit="login_account"}"#, 1.0),
            (r#"keyward_refusals_total{code="RATE_LIMITED"}"#, 1.0),
            (r#"keyward_sign_ins_total{outcome="refused"}"#, 1.0),
        ],
    );
}

#[tokio::test]
async fn a_store_that_fails_is_down_until_what_failed_succeeds() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut browser = app.registered("ada@example.org").await;
    store.fail(Call::Rotate, Fault::Down);
    let answer = browser.refresh().await;
    answer.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    // Others that succeed meanwhile prove nothing: a disk that is full lets everybody read.
    browser.me().await.assert(StatusCode::OK, None);
    let failed = r#"keyward_store_failures_total{call="rotate",kind="unavailable"}"#;
    assert_counts(&app, &[("keyward_store_up", 0.0), (failed, 1.0)]);
    store.heal();
    browser.refresh().await.assert(StatusCode::OK, None);
    assert_counts(&app, &[("keyward_store_up", 1.0), (failed, 1.0)]);
}

#[tokio::test]
async fn commits_that_are_shared_are_counted_with_what_is_in_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&path, Timestamp::from_secs(1_790_000_000)).expect("a store");
    let app = TestApp::on_store(Arc::new(store), |_| {}).await;
    let before = app.store.load().commits.expect("it shares commits");
    assert_eq!((before.made, before.waiting), (before.changes, 0));
    app.registered("ada@example.org").await;
    let after = app.store.load().commits.expect("it shares commits");
    assert_eq!((after.made, after.changes), (before.made + 1, before.changes + 1));
    assert_counts(
        &app,
        &[
            ("keyward_store_shared_commits_total", after.made as f64),
            ("keyward_store_shared_commit_changes_total", after.changes as f64),
            ("keyward_store_changes_waiting", 0.0),
        ],
    );
}

#[tokio::test]
async fn what_is_known_of_revocations_is_as_old_as_its_reading() {
    const LAG: &str = "keyward_feed_lag_seconds";
    const LIVE: &str = "keyward_feed_live_revocations";
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut ada = app.registered("ada@example.org").await;
    assert_counts(&app, &[(LAG, f64::INFINITY), (LIVE, 0.0), ("keyward_feed_followers", 0.0)]);
    ada.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    let before = Instant::now();
    app.keyward.read_revocations().await.expect("a reading");
    let read = Instant::now();
    assert_counts(&app, &[(LIVE, 1.0)]);
    assert!(series(&app)[LAG] <= before.elapsed().as_secs_f64());
    // One that fails makes nothing newer.
    store.fail(Call::ListRevocations, Fault::Down);
    app.keyward.read_revocations().await.expect_err("the store fails");
    let since = read.elapsed().as_secs_f64();
    assert!(series(&app)[LAG] >= since);
}

#[tokio::test]
async fn events_are_as_old_as_they_can_be_since_all_were_sealed() {
    const UNSEALED: &str = "keyward_audit_unsealed_seconds";
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    assert_counts(&app, &[(UNSEALED, f64::INFINITY)]);
    app.registered("ada@example.org").await;
    assert_eq!(app.keyward.seal_audit().await, Ok(2));
    assert_counts(&app, &[(UNSEALED, 0.0)]);
    app.advance(40);
    store.fail(Call::AppendCheckpoint, Fault::Down);
    app.browser().login("ada@example.org", PASSWORD).await.assert(StatusCode::OK, None);
    app.keyward.seal_audit().await.expect_err("the store fails");
    assert_counts(&app, &[(UNSEALED, 40.0)]);
    store.heal();
    assert_eq!(app.keyward.seal_audit().await, Ok(2));
    assert_counts(&app, &[(UNSEALED, 0.0)]);
}

#[tokio::test]
async fn what_strangers_send_makes_no_series() {
    let app = TestApp::new().await;
    let hostile = |seed: usize| {
        let odd = ["%00", "%ff", "\\\"", "{id}", "..", "%0a#EOF", "\u{e4}", "}", "a=1"][seed % 9];
        [
            ("GET".to_owned(), format!("/{odd}seed{seed}")),
            ("POST".to_owned(), format!("/api/auth/sessions/{odd}seed{seed}")),
            ("DELETE".to_owned(), format!("/api/auth/sessions/{odd}seed{seed}?{odd}=seed{seed}")),
            (format!("SEED{seed}"), format!("/api/auth/me/{odd}")),
            (format!("SEED{seed}"), "/api/auth/me".to_owned()),
            ("OPTIONS".to_owned(), format!("/api/admin/users/seed{seed}")),
        ]
    };
    let mut counts = Vec::new();
    for seed in 0..200 {
        for (method, path) in hostile(seed) {
            let request = Request::builder()
                .method(Method::from_bytes(method.as_bytes()).expect("a method"))
                .uri(path)
                .header("user-agent", format!("seed {seed}"))
                .header("x-request-id", format!("seed-{seed}"));
            // What is no URI at all never comes this far.
            if let Ok(request) = request.body(Body::empty()) {
                app.send(request).await;
            }
        }
        counts.push(app.keyward.metrics().lines().count());
    }
    assert_eq!(counts[20], counts[199], "{counts:?}");
    let page = app.keyward.metrics();
    for word in ["%00", "%ff", "seed", "SEED", "EOF"] {
        let labelled = page.lines().filter(|line| line.contains('"') && line.contains(word));
        assert_eq!(labelled.collect::<Vec<_>>(), Vec::<&str>::new(), "{word}");
    }
}
