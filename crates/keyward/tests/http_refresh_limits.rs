//! `POST /refresh` too often: the limit of a session, and that of an address that guesses.

mod checks;
mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use checks::{
    REFRESH_COOKIE, assert_harmless, assert_refused_for_good, assert_revoked, copy_keys,
    count_events, details, idempotency_key, refresh_request, set_cookies, unset,
};
use common::{Answer, Browser, PASSWORD, TestApp};
use keyward::clock::Clock as _;
use keyward::http::PeerAddress;
use keyward::store::MemoryStore;

fn from_address(mut request: Request<Body>, address: &str) -> Request<Body> {
    let address: SocketAddr = format!("{address}:4711").parse().expect("an address");
    request.extensions_mut().insert(PeerAddress(address));
    request
}

/// A refresh with a token that is none, from this address.
async fn guess(app: &TestApp, address: &str) -> Answer {
    let mut request = refresh_request(&app.browser());
    set_cookies(&mut request, &[(REFRESH_COOKIE, "kwr_guess")]);
    app.send(from_address(request, address)).await
}

async fn use_up(browser: &mut Browser) {
    for _ in 0..60 {
        browser.refresh().await.assert(StatusCode::OK, None);
    }
}

#[tokio::test]
async fn a_session_refreshes_sixty_times_a_minute_and_then_must_wait() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    use_up(&mut browser).await;
    let limited = browser.refresh().await;
    assert_harmless(&limited, StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED");
    assert_eq!(limited.header("retry-after"), Some("1"));
    assert_eq!(limited.json()["retryAfter"], 1);
    assert_eq!(limited.header("ratelimit-policy"), Some("\"refresh_session\";q=60;w=60"));
    assert_eq!(limited.header("ratelimit"), Some("\"refresh_session\";r=0;t=1"));

    app.advance(1);
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_clock_that_steps_back_keeps_nobody_waiting_for_it() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    use_up(&mut browser).await;
    for back in [300, 24 * 60 * 60] {
        app.clock.set(app.clock.now().minus(Duration::from_secs(back)));
        browser.refresh().await.assert(StatusCode::OK, None);
        browser.login("ada@example.org", PASSWORD).await.assert(StatusCode::OK, None);
    }
}

/// Whoever holds the current token could otherwise keep the limit used up for ever.
#[tokio::test]
async fn a_theft_is_seen_past_the_limit_too() {
    let app = TestApp::new().await;
    let mut thief = app.registered("ada@example.org").await;
    let mut victim = thief.clone();
    use_up(&mut thief).await;
    assert_refused_for_good(&victim.refresh().await, "REFRESH_TOKEN_REUSED");
    assert_eq!(count_events(&app, "session.reuse_detected").await, 1);
    thief.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    app.advance(60);
    assert_revoked(&thief.refresh().await, "reuse_detected");
}

#[tokio::test]
async fn past_the_limit_nothing_else_is_answered() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut late = browser.clone();
    browser.refresh_with_key(&idempotency_key(1)).await.assert(StatusCode::OK, None);
    let mut retrying = browser.clone();
    browser.refresh_with_key(&idempotency_key(2)).await.assert(StatusCode::OK, None);
    for _ in 0..58 {
        retrying.clone().refresh_with_key(&idempotency_key(2)).await.assert(StatusCode::OK, None);
    }
    let events = app.audit_names().await;
    for answer in [
        browser.refresh().await,
        retrying.refresh_with_key(&idempotency_key(2)).await,
        late.refresh_with_key(&idempotency_key(1)).await,
    ] {
        assert_harmless(&answer, StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED");
    }
    assert_eq!(app.audit_names().await, events);
}

#[tokio::test]
async fn each_session_has_a_limit_of_its_own() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut phone = app.browser();
    phone.login("ada@example.org", PASSWORD).await.assert(StatusCode::OK, None);
    use_up(&mut browser).await;
    phone.refresh().await.assert(StatusCode::OK, None);
}

/// Otherwise whoever knows a session id, or makes a browser send its cookies, could lock its user
/// out.
#[tokio::test]
async fn only_what_passed_tag_and_csrf_check_counts_against_a_session() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let token = browser.refresh_token().expect("a token").to_owned();
    let forged = format!("{}{}", &token[..100], if token.ends_with("AA") { "QQ" } else { "AA" });
    for _ in 0..61 {
        let mut request = refresh_request(&browser);
        set_cookies(&mut request, &[(REFRESH_COOKIE, &forged)]);
        assert_refused_for_good(&app.send(request).await, "INVALID_REFRESH_TOKEN");
        let mut request = refresh_request(&browser);
        unset(&mut request, "x-csrf-token");
        app.send(request).await.assert(StatusCode::FORBIDDEN, Some("CSRF_FAILED"));
    }
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn an_address_that_guesses_is_limited_and_its_good_tokens_are_not() {
    let app = TestApp::new().await;
    let mut neighbour = app.registered("ada@example.org").await;
    for _ in 0..100 {
        assert_refused_for_good(&guess(&app, "192.0.2.1").await, "INVALID_REFRESH_TOKEN");
    }
    let limited = guess(&app, "192.0.2.1").await;
    assert_harmless(&limited, StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED");
    assert_eq!(limited.header("retry-after"), Some("9"));
    assert_eq!(limited.header("ratelimit-policy"), Some("\"refresh_address\";q=100;w=900"));

    assert_refused_for_good(&guess(&app, "192.0.2.2").await, "INVALID_REFRESH_TOKEN");
    let request = from_address(refresh_request(&neighbour), "192.0.2.1");
    neighbour.send(request).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_token_of_no_session_counts_as_a_guess() {
    let app = TestApp::new().await;
    let browser = app.registered("ada@example.org").await;
    let store = Arc::new(MemoryStore::new());
    copy_keys(&app, store.as_ref()).await;
    let emptied = TestApp::on_store(store, |policy| policy.limits.refresh_session = None).await;
    for _ in 0..100 {
        let request = from_address(refresh_request(&browser), "192.0.2.1");
        assert_refused_for_good(&emptied.send(request).await, "INVALID_REFRESH_TOKEN");
    }
    let request = from_address(refresh_request(&browser), "192.0.2.1");
    let limited = emptied.send(request).await;
    assert_harmless(&limited, StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED");
}

#[tokio::test]
async fn what_strangers_cause_is_written_ten_times_a_minute_and_then_counted() {
    let app = TestApp::new().await;
    for _ in 0..50 {
        guess(&app, "192.0.2.1").await;
    }
    guess(&app, "192.0.2.2").await;
    assert_eq!(count_events(&app, "refresh.rejected").await, 12);
    let counts: Vec<_> =
        details(&app, "refresh.rejected").await.iter().map(|d| d["count"].as_u64()).collect();
    assert_eq!(counts.iter().flatten().sum::<u64>(), 51);
    assert!(counts.contains(&Some(40)), "{counts:?}");
}
