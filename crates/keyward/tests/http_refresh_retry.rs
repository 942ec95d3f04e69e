//! `POST /refresh` with an `Idempotency-Key`: rows 6, 7 and 8, and the form of the key.

mod checks;
mod common;

use std::time::Duration;

use axum::http::StatusCode;
use checks::{
    CSRF_COOKIE, REFRESH_COOKIE, add, assert_harmless, assert_refused_for_good, assert_touched,
    count_events, details, idempotency_key, refresh_request, set, stored,
};
use common::{Browser, TestApp};
use keyward::policy::Policy;
use serde_json::json;

const DAY: u64 = 24 * 60 * 60;

/// A browser, and what it was before its first refresh, which came with key 1.
async fn rotated_once(app: &TestApp) -> (Browser, Browser) {
    let mut browser = app.registered("ada@example.org").await;
    let before = browser.clone();
    browser.refresh_with_key(&idempotency_key(1)).await.assert(StatusCode::OK, None);
    (browser, before)
}

fn race_window(secs: u64) -> impl FnOnce(&mut Policy) {
    move |policy| policy.rotation.race_window = Duration::from_secs(secs)
}

#[track_caller]
fn assert_race(answer: &common::Answer) {
    assert_harmless(answer, StatusCode::CONFLICT, "REFRESH_RACE");
}

#[tokio::test]
async fn row_6_a_retry_gets_the_same_successor_again() {
    let app = TestApp::new().await;
    let (browser, mut retrying) = rotated_once(&app).await;
    app.advance(60);
    let answer = retrying.refresh_with_key(&idempotency_key(1)).await;
    answer.assert(StatusCode::OK, None);
    assert_touched(&answer, &[REFRESH_COOKIE, CSRF_COOKIE]);
    assert_eq!(retrying.cookies, browser.cookies);
    assert_ne!(retrying.access_token, browser.access_token);
    assert_eq!(stored(&browser).await.session.generation, 1);
    assert_eq!(details(&app, "refresh.retried").await, [json!({ "generation": 1 })]);
    assert_eq!(count_events(&app, "session.refreshed").await, 1);
    retrying.me().await.assert(StatusCode::OK, None);
    retrying.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn row_6_holds_as_often_as_the_retry_comes_within_the_window() {
    let app = TestApp::new().await;
    let (browser, before) = rotated_once(&app).await;
    for secs in [0, 1, DAY - 1] {
        app.advance(secs);
        let mut retrying = before.clone();
        retrying.refresh_with_key(&idempotency_key(1)).await.assert(StatusCode::OK, None);
        assert_eq!(retrying.refresh_token(), browser.refresh_token());
    }
}

#[tokio::test]
async fn the_cookie_of_a_retry_lives_as_long_as_the_session_still_does() {
    let app = TestApp::new().await;
    let (_, mut retrying) = rotated_once(&app).await;
    app.advance(100);
    let answer = retrying.refresh_with_key(&idempotency_key(1)).await;
    let expected = format!("Max-Age={}", 7 * DAY - 100);
    for line in answer.set_cookies() {
        assert!(line.ends_with(&expected), "{line}");
    }
}

#[tokio::test]
async fn after_the_retry_window_a_proof_is_worth_nothing() {
    let app = TestApp::new().await;
    let (mut browser, mut retrying) = rotated_once(&app).await;
    app.advance(DAY + 1);
    let answer = retrying.refresh_with_key(&idempotency_key(1)).await;
    assert_refused_for_good(&answer, "REFRESH_TOKEN_REUSED");
    browser.refresh().await.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
}

#[tokio::test]
async fn a_repeat_with_another_key_or_none_is_reuse() {
    for key in [None, Some(idempotency_key(2)), Some(idempotency_key(1).to_uppercase())] {
        let app = TestApp::new().await;
        let (_, mut thief) = rotated_once(&app).await;
        let answer = match &key {
            Some(key) => thief.refresh_with_key(key).await,
            None => thief.refresh().await,
        };
        assert_refused_for_good(&answer, "REFRESH_TOKEN_REUSED");
    }
}

#[tokio::test]
async fn a_key_does_not_prove_a_rotation_that_had_none() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut thief = browser.clone();
    browser.refresh().await.assert(StatusCode::OK, None);
    let answer = thief.refresh_with_key(&idempotency_key(1)).await;
    assert_refused_for_good(&answer, "REFRESH_TOKEN_REUSED");
}

#[tokio::test]
async fn a_retry_of_a_revoked_session_gets_nothing() {
    let app = TestApp::new().await;
    let (mut browser, mut retrying) = rotated_once(&app).await;
    browser.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    let answer = retrying.refresh_with_key(&idempotency_key(1)).await;
    checks::assert_revoked(&answer, "logout");
}

#[tokio::test]
async fn row_7_a_late_retry_gets_no_token_and_does_no_harm() {
    for next_key in [None, Some(idempotency_key(2))] {
        let app = TestApp::new().await;
        let (mut browser, mut late) = rotated_once(&app).await;
        let next = match &next_key {
            Some(key) => browser.refresh_with_key(key).await,
            None => browser.refresh().await,
        };
        next.assert(StatusCode::OK, None);
        assert_race(&late.refresh_with_key(&idempotency_key(1)).await);
        assert_eq!(details(&app, "refresh.raced").await, [json!({ "generation": 0 })]);
        browser.refresh().await.assert(StatusCode::OK, None);
    }
}

/// The first key is the oldest of so many.
async fn answer_to_the_first_key_after(rotations: u64) -> common::Answer {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut late = browser.clone();
    for n in 1..=rotations {
        browser.refresh_with_key(&idempotency_key(n)).await.assert(StatusCode::OK, None);
    }
    late.refresh_with_key(&idempotency_key(1)).await
}

#[tokio::test]
async fn the_last_eight_keyed_rotations_are_remembered() {
    assert_race(&answer_to_the_first_key_after(8).await);
    assert_refused_for_good(&answer_to_the_first_key_after(9).await, "REFRESH_TOKEN_REUSED");
}

#[tokio::test]
async fn after_the_retry_window_a_late_proof_is_worth_nothing() {
    let app = TestApp::new().await;
    let (mut browser, mut late) = rotated_once(&app).await;
    app.advance(DAY);
    browser.refresh_with_key(&idempotency_key(2)).await.assert(StatusCode::OK, None);
    assert_race(&late.refresh_with_key(&idempotency_key(1)).await);
    app.advance(1);
    let answer = late.refresh_with_key(&idempotency_key(1)).await;
    assert_refused_for_good(&answer, "REFRESH_TOKEN_REUSED");
}

#[tokio::test]
async fn row_8_an_unproved_repeat_within_the_race_window_does_no_harm() {
    let app = TestApp::with_policy(race_window(5)).await;
    let mut browser = app.registered("ada@example.org").await;
    let mut other_tab = browser.clone();
    browser.refresh().await.assert(StatusCode::OK, None);
    app.clock.advance(Duration::from_millis(4999));
    assert_race(&other_tab.refresh().await);
    assert_eq!(details(&app, "refresh.raced").await, [json!({ "generation": 0 })]);
    app.clock.advance(Duration::from_millis(1));
    assert_refused_for_good(&other_tab.refresh().await, "REFRESH_TOKEN_REUSED");
}

#[tokio::test]
async fn row_8_holds_for_a_clock_that_stepped_back_too() {
    let app = TestApp::with_policy(race_window(5)).await;
    let mut browser = app.registered("ada@example.org").await;
    let mut other_tab = browser.clone();
    let start = app.keyward.now();
    app.advance(10);
    browser.refresh().await.assert(StatusCode::OK, None);
    app.clock.set(start.plus(Duration::from_secs(6)));
    assert_race(&other_tab.refresh().await);
    app.clock.set(start.plus(Duration::from_secs(5)));
    assert_refused_for_good(&other_tab.refresh().await, "REFRESH_TOKEN_REUSED");
}

#[tokio::test]
async fn the_race_window_is_for_the_previous_token_only() {
    let app = TestApp::with_policy(race_window(5)).await;
    let mut browser = app.registered("ada@example.org").await;
    let mut thief = browser.clone();
    for _ in 0..2 {
        browser.refresh().await.assert(StatusCode::OK, None);
    }
    assert_refused_for_good(&thief.refresh().await, "REFRESH_TOKEN_REUSED");
}

#[tokio::test]
async fn a_malformed_key_is_told_and_changes_nothing() {
    let app = TestApp::new().await;
    let browser = app.registered("ada@example.org").await;
    let long = "k".repeat(129);
    for key in ["", "fifteen letters", &long, "sixteen\tletters.", "schlüsselschlüssel"] {
        let mut request = refresh_request(&browser);
        set(&mut request, "idempotency-key", key);
        let answer = app.send(request).await;
        assert_harmless(&answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
        assert!(answer.json()["fields"]["idempotency-key"].is_string(), "{key}");
    }
    assert_eq!(stored(&browser).await.session.generation, 0);
}

#[tokio::test]
async fn two_keys_are_no_key() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut request = refresh_request(&browser);
    for _ in 0..2 {
        add(&mut request, "idempotency-key", &idempotency_key(1));
    }
    let answer = browser.send(request).await;
    assert_harmless(&answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn keys_of_16_to_128_printable_characters_pass() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    for key in ["sixteen letters.", &"~".repeat(128)] {
        browser.refresh_with_key(key).await.assert(StatusCode::OK, None);
    }
}
