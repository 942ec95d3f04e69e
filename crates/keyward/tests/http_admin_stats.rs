//! `GET /stats` of the admin API.

mod checks;
mod common;

use std::time::Duration;

use axum::http::StatusCode;
use checks::{assert_harmless, assert_touches_no_cookie};
use common::{Backend, PASSWORD, TestApp};
use keyward::clock::Clock as _;
use keyward_core::service_key::Scope;
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const HOUR: u64 = 60 * 60;

async fn reader(app: &TestApp) -> Backend {
    app.backend(&app.service_key(&[Scope::StatsRead]).await)
}

async fn stats(reader: &Backend, query: &str) -> Value {
    let answer = reader.get(&format!("/api/admin/stats{query}")).await;
    answer.assert(StatusCode::OK, None);
    assert_touches_no_cookie(&answer);
    answer.json()
}

/// How often it happened in each span.
fn counts(stats: &Value, name: &str) -> Vec<u64> {
    let buckets = stats["buckets"].as_array().expect("a list").iter();
    buckets.map(|bucket| bucket["counts"][name].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn what_there_is_and_what_happened_is_told() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    let mut ada = app.registered(ADA).await;
    app.registered(BOB).await;
    ada.refresh().await.assert(StatusCode::OK, None);
    let wrong = app.browser().login(BOB, "not the password").await;
    wrong.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    let told = stats(&reader, "?since=2026-09-21T13:00:00Z").await;
    assert_eq!(told["users"], json!({ "total": 2, "disabled": 0 }));
    assert_eq!(told["sessions"], json!({ "live": 2 }));
    assert_eq!(told["countedAt"], "2026-09-21T14:13:20.000Z");
    assert_eq!(told["buckets"][0]["at"], "2026-09-21T13:00:00.000Z");
    assert_eq!(counts(&told, "user.registered"), [0, 2]);
    assert_eq!(counts(&told, "session.refreshed"), [0, 1]);
    assert_eq!(counts(&told, "login.failed"), [0, 1]);
    assert_eq!(counts(&told, "login.succeeded"), [0, 0]);
}

/// The hours that are over are counted once, in the background; the present one on request.
#[tokio::test]
async fn hours_that_are_over_are_kept() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    app.registered(ADA).await;
    app.keyward.count_hours().await.expect("the store works");
    assert_eq!(app.store.last_counted_hour().await, Ok(None), "the hour is not over");
    app.advance(3 * HOUR);
    app.registered(BOB).await;
    for _ in 0..2 {
        app.keyward.count_hours().await.expect("the store works");
        let told = stats(&reader, "?since=2026-09-21T14:00:00Z").await;
        assert_eq!(counts(&told, "user.registered"), [1, 0, 0, 1]);
        app.advance(61);
    }
    let last = app.store.last_counted_hour().await.expect("the store works").expect("an hour");
    assert_eq!(last.to_rfc3339(), "2026-09-21T16:00:00.000Z");
    // An hour counts once its last transactions have surely committed, ten minutes later.
    app.advance(HOUR - 14 * 60 + 8 * 60);
    app.keyward.count_hours().await.expect("the store works");
    assert_eq!(app.store.last_counted_hour().await, Ok(Some(last)));
    app.advance(5 * 60);
    app.keyward.count_hours().await.expect("the store works");
    let told = stats(&reader, "?since=2026-09-21T14:00:00Z").await;
    assert_eq!(counts(&told, "user.registered"), [1, 0, 0, 1, 0]);
    let by_day = stats(&reader, "?since=2026-09-20T00:00:00Z&every=day").await;
    assert_eq!(counts(&by_day, "user.registered"), [0, 2]);
}

/// It counts hours that are not over, and all that happens in them later would be missing.
#[tokio::test]
async fn hours_that_a_clock_ahead_has_counted_are_counted_again() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    app.registered(ADA).await;
    let right = app.clock.now();
    app.advance(2 * HOUR);
    app.keyward.count_hours().await.expect("the store works");
    app.clock.set(right);
    app.registered(BOB).await;
    for _ in 0..2 {
        app.keyward.count_hours().await.expect("the store works");
        let told = stats(&reader, "?since=2026-09-21T14:00:00Z&until=2026-09-21T14:59:00Z").await;
        assert_eq!(counts(&told, "user.registered"), [2]);
        app.advance(HOUR);
    }
}

/// Whose clock is a year behind must not do away with what others have counted.
#[tokio::test]
async fn a_clock_far_behind_forgets_no_hours() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    app.advance(2 * HOUR);
    app.keyward.count_hours().await.expect("the store works");
    let last = app.store.last_counted_hour().await;
    app.clock.set(app.clock.now().minus(Duration::from_secs(365 * 24 * HOUR)));
    app.keyward.count_hours().await.expect("the store works");
    assert_eq!(app.store.last_counted_hour().await, last);
}

/// Whoever draws a diagram asks again and again.
#[tokio::test]
async fn what_is_counted_on_request_stays_for_a_minute() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    assert_eq!(stats(&reader, "").await["users"]["total"], 0);
    app.registered(ADA).await;
    app.advance(59);
    assert_eq!(stats(&reader, "").await["users"]["total"], 0);
    app.advance(1);
    assert_eq!(stats(&reader, "").await["users"]["total"], 1);
}

/// Where the query says nothing: a day, by the hour.
#[tokio::test]
async fn a_day_is_told_by_the_hour() {
    let app = TestApp::new().await;
    let mut ada = app.admin(ADA).await;
    ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    let answer = ada.get("/api/admin/stats").await;
    answer.assert(StatusCode::OK, None);
    let told = counts(&answer.json(), "login.succeeded");
    assert_eq!((told.len(), told[23]), (24, 1));
}

#[tokio::test]
async fn a_query_that_asks_for_too_much_or_for_nothing_is_refused() {
    let app = TestApp::new().await;
    let reader = reader(&app).await;
    for (field, query) in [
        ("since", "since=2026-01-01T00:00:00Z"),
        ("since", "since=2000-01-01T00:00:00Z&every=day"),
        ("since", "since=2026-09-21T10:00:00Z&until=2026-09-21T09:00:00Z"),
        ("since", "since=yesterday"),
        ("until", "until=now"),
        ("every", "every=minute"),
        ("limit", "limit=3"),
    ] {
        let answer = reader.get(&format!("/api/admin/stats?{query}")).await;
        assert_harmless(&answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
        assert!(answer.json()["fields"][field].is_string(), "{query}: {}", answer.json());
    }
    let month = stats(&reader, "?since=2026-08-21T15:00:00Z&until=2026-09-21T14:00:00Z").await;
    assert_eq!(counts(&month, "user.registered").len(), 31 * 24);
}
