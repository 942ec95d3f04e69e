//! CSRF: what protects requests that a cookie authenticates, and `GET /csrf`.

mod checks;
mod common;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use checks::{
    CSRF_COOKIE, REFRESH_COOKIE, add, assert_clears_cookies, assert_harmless, assert_touched,
    count_events, refresh_request, set, set_cookies, stored, unset,
};
use common::{Answer, Browser, PASSWORD, PUBLIC_URL, TestApp};
use keyward::policy::AllowedOrigins;
use keyward_core::session::RevocationReason;

const LISTED: &str = "https://app.example.net";

async fn with_listed_origin() -> TestApp {
    TestApp::with_policy(|policy| {
        policy.web.allowed_origins = AllowedOrigins::Listed(vec![LISTED.to_owned()]);
    })
    .await
}

/// Bends a refresh and a sign-out by cookie: both are refused with this code, touch no cookie, and
/// leave the session as it was.
async fn check_refused(code: &str, bend: impl Fn(&Browser, &mut Request<Body>)) {
    let app = with_listed_origin().await;
    let mut browser = app.registered("ada@example.org").await;
    let before = stored(&browser).await.session;
    for path in ["/api/auth/refresh", "/api/auth/logout"] {
        let mut request = browser.request(Method::POST, path, None);
        unset(&mut request, "authorization");
        bend(&browser, &mut request);
        assert_harmless(&app.send(request).await, StatusCode::FORBIDDEN, code);
    }
    assert_eq!(stored(&browser).await.session, before);
    assert_eq!(count_events(&app, "csrf.rejected").await, 2);
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_missing_header_is_refused() {
    check_refused("CSRF_FAILED", |_, request| unset(request, "x-csrf-token")).await;
}

#[tokio::test]
async fn a_missing_cookie_is_refused() {
    check_refused("CSRF_FAILED", |browser, request| {
        let token = browser.refresh_token().expect("a token");
        set_cookies(request, &[(REFRESH_COOKIE, token)]);
    })
    .await;
}

#[tokio::test]
async fn an_empty_token_is_refused() {
    check_refused("CSRF_FAILED", |browser, request| with_csrf(browser, request, "")).await;
}

#[tokio::test]
async fn a_token_that_fits_no_session_is_refused() {
    check_refused("CSRF_FAILED", |browser, request| with_csrf(browser, request, "made-up")).await;
}

#[tokio::test]
async fn a_token_in_another_case_is_refused() {
    check_refused("CSRF_FAILED", |browser, request| {
        let token = browser.csrf_token().expect("a token").to_lowercase();
        with_csrf(browser, request, &token);
    })
    .await;
}

#[tokio::test]
async fn a_header_that_differs_from_its_cookie_is_refused() {
    check_refused("CSRF_FAILED", |_, request| set(request, "x-csrf-token", "another")).await;
}

#[tokio::test]
async fn a_cookie_that_differs_from_its_header_is_refused() {
    check_refused("CSRF_FAILED", |browser, request| {
        let token = browser.refresh_token().expect("a token");
        set_cookies(request, &[(REFRESH_COOKIE, token), (CSRF_COOKIE, "another")]);
    })
    .await;
}

#[tokio::test]
async fn a_header_sent_twice_is_refused() {
    check_refused("CSRF_FAILED", |browser, request| {
        add(request, "x-csrf-token", browser.csrf_token().expect("a token"));
    })
    .await;
}

#[tokio::test]
async fn foreign_and_disguised_origins_are_refused() {
    for origin in [
        "https://evil.example",
        "null",
        "http://auth.example.org",
        "https://auth.example.org:444",
        "https://auth.example.org.evil.example",
        "https://evilauth.example.org",
        "https://app.example.net.evil.example",
        "https://sub.app.example.net",
        "https://APP.example.net",
    ] {
        check_refused("ORIGIN_NOT_ALLOWED", |_, request| set(request, "origin", origin)).await;
    }
}

#[tokio::test]
async fn a_foreign_referer_is_refused_where_there_is_no_origin() {
    check_refused("ORIGIN_NOT_ALLOWED", |_, request| {
        unset(request, "origin");
        set(request, "referer", "https://evil.example/https://auth.example.org/");
    })
    .await;
}

#[tokio::test]
async fn a_request_from_another_site_is_refused_whatever_origin_it_claims() {
    check_refused("ORIGIN_NOT_ALLOWED", |_, request| {
        set(request, "sec-fetch-site", "cross-site");
    })
    .await;
}

#[tokio::test]
async fn a_listed_origin_may_come_from_another_site() {
    let app = with_listed_origin().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut request = refresh_request(&browser);
    set(&mut request, "origin", LISTED);
    set(&mut request, "sec-fetch-site", "cross-site");
    browser.send(request).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn the_referer_counts_where_there_is_no_origin() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut request = refresh_request(&browser);
    unset(&mut request, "origin");
    set(&mut request, "referer", &format!("{PUBLIC_URL}/some/page?x=1"));
    browser.send(request).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn another_sessions_token_is_refused() {
    let app = TestApp::new().await;
    let browser = app.registered("ada@example.org").await;
    let attacker = app.registered("eve@example.org").await;
    let mut request = refresh_request(&browser);
    with_csrf(&browser, &mut request, attacker.csrf_token().expect("a token"));
    assert_harmless(&app.send(request).await, StatusCode::FORBIDDEN, "CSRF_FAILED");
}

#[tokio::test]
async fn the_token_from_before_a_sign_in_is_refused() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let before = browser.csrf_token().expect("a token").to_owned();
    browser.login("ada@example.org", PASSWORD).await.assert(StatusCode::OK, None);
    let mut request = refresh_request(&browser);
    with_csrf(&browser, &mut request, &before);
    assert_harmless(&app.send(request).await, StatusCode::FORBIDDEN, "CSRF_FAILED");
}

/// Else a page of another site could have a victim's session ended by replaying what it stole.
#[tokio::test]
async fn a_spent_token_without_csrf_token_ends_no_session() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut request = refresh_request(&browser);
    unset(&mut request, "x-csrf-token");
    browser.refresh().await.assert(StatusCode::OK, None);
    assert_harmless(&app.send(request).await, StatusCode::FORBIDDEN, "CSRF_FAILED");
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn bearer_requests_need_neither_origin_nor_csrf_token() {
    let app = TestApp::new().await;
    let browser = app.registered("ada@example.org").await;
    let mut request = browser.request(Method::POST, "/api/auth/logout", None);
    set(&mut request, "origin", "https://evil.example");
    for name in ["x-csrf-token", "cookie"] {
        unset(&mut request, name);
    }
    app.send(request).await.assert(StatusCode::OK, None);
    let revoked = stored(&browser).await.session.revoked.expect("ended");
    assert_eq!(revoked.reason, RevocationReason::Logout);
}

#[tokio::test]
async fn sign_ins_pass_the_origin_check_too() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    for path in ["/api/auth/login", "/api/auth/register"] {
        let body = serde_json::json!({ "email": "ada@example.org", "password": PASSWORD });
        let mut request = browser.request(Method::POST, path, Some(body));
        set(&mut request, "origin", "https://evil.example");
        let answer = app.send(request).await;
        assert_harmless(&answer, StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED");
    }
    browser.refresh().await.assert(StatusCode::OK, None);
}

/// `GET /csrf` from a page of this origin.
async fn ask(browser: &mut Browser, origin: &str) -> Answer {
    let mut request = browser.request(Method::GET, "/api/auth/csrf", None);
    set(&mut request, "origin", origin);
    for name in ["x-csrf-token", "authorization"] {
        unset(&mut request, name);
    }
    browser.send(request).await
}

#[tokio::test]
async fn a_page_of_a_listed_origin_learns_the_token_and_may_refresh_with_it() {
    let app = with_listed_origin().await;
    let mut browser = app.registered("ada@example.org").await;
    let expected = browser.csrf_token().expect("a token").to_owned();
    browser.cookies.remove(CSRF_COOKIE);
    app.advance(60);

    let answer = ask(&mut browser, LISTED).await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json(), serde_json::json!({ "csrfToken": expected }));
    assert_touched(&answer, &[CSRF_COOKIE]);
    let max_age = format!("Max-Age={}", 7 * 24 * 60 * 60 - 60);
    assert!(answer.set_cookies()[0].ends_with(&max_age), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(LISTED));
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_page_that_is_not_listed_learns_nothing() {
    let app = with_listed_origin().await;
    let mut browser = app.registered("ada@example.org").await;
    let answer = ask(&mut browser, "https://evil.example").await;
    assert_harmless(&answer, StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn without_a_live_session_there_is_no_token_and_no_cookie_is_cleared() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;

    let answer = ask(&mut app.browser(), PUBLIC_URL).await;
    assert_harmless(&answer, StatusCode::UNAUTHORIZED, "NO_REFRESH_TOKEN");

    let mut junk = browser.clone();
    junk.cookies.insert(REFRESH_COOKIE.to_owned(), "kwr_junk".to_owned());
    let answer = ask(&mut junk, PUBLIC_URL).await;
    assert_harmless(&answer, StatusCode::UNAUTHORIZED, "INVALID_REFRESH_TOKEN");

    let mut idle = app.browser();
    idle.login("ada@example.org", PASSWORD).await.assert(StatusCode::OK, None);
    let gone = browser.clone().post("/api/auth/logout", None).await;
    assert_clears_cookies(&gone);
    let answer = ask(&mut browser, PUBLIC_URL).await;
    assert_harmless(&answer, StatusCode::UNAUTHORIZED, "SESSION_REVOKED");
    assert_eq!(answer.text("reason"), "logout");

    app.advance(7 * 24 * 60 * 60);
    let answer = ask(&mut idle, PUBLIC_URL).await;
    assert_harmless(&answer, StatusCode::UNAUTHORIZED, "SESSION_EXPIRED");
}

fn with_csrf(browser: &Browser, request: &mut Request<Body>, token: &str) {
    let refresh = browser.refresh_token().expect("a token");
    set_cookies(request, &[(REFRESH_COOKIE, refresh), (CSRF_COOKIE, token)]);
    set(request, "x-csrf-token", token);
}
