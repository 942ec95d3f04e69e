//! Delivery of the access token by cookie: no token in any body, and CSRF wherever state changes.

mod checks;
mod common;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use checks::{
    ACCESS_COOKIE, CSRF_COOKIE, REFRESH_COOKIE, add, assert_clears_three_cookies, assert_harmless,
    assert_touched, claims, details, idempotency_key, set, set_cookies, unset,
};
use common::{Browser, PASSWORD, TestApp};
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const NEW_PASSWORD: &str = "vier volle fässer tinte";

/// Every request by access token that changes something, with a body that would do it.
fn changes(session_id: &str) -> [(Method, String, Option<Value>); 5] {
    let change = json!({ "currentPassword": PASSWORD, "newPassword": NEW_PASSWORD });
    [
        (Method::PATCH, "/me".to_owned(), Some(json!({ "name": "Ada" }))),
        (Method::DELETE, "/me".to_owned(), Some(json!({ "password": PASSWORD }))),
        (Method::DELETE, format!("/sessions/{session_id}"), None),
        (Method::POST, "/password/change".to_owned(), Some(change)),
        (Method::POST, "/logout-all".to_owned(), None),
    ]
}

fn access_cookie(browser: &Browser) -> &str {
    &browser.cookies[ACCESS_COOKIE]
}

fn sid(browser: &Browser) -> String {
    claims(access_cookie(browser))["sid"].as_str().expect("a sid").to_owned()
}

#[tokio::test]
async fn no_body_holds_a_token() {
    let app = TestApp::with_cookie_delivery().await;
    let mut browser = app.browser();
    let change = json!({ "currentPassword": PASSWORD, "newPassword": NEW_PASSWORD });
    let answers = [
        browser.register(ADA, PASSWORD).await,
        browser.login(ADA, PASSWORD).await,
        browser.refresh().await,
        browser.post("/api/auth/password/change", Some(change)).await,
    ];
    for answer in answers {
        assert!(answer.status.is_success(), "{answer:?}");
        let body = answer.json();
        assert_eq!((&body["accessToken"], &body["tokenType"]), (&Value::Null, &Value::Null));
        assert_eq!(body["expiresIn"], 900);
        assert_eq!(body["csrfToken"].as_str(), Some(answer_cookie(&answer, CSRF_COOKIE)));
        let cookies = [REFRESH_COOKIE, CSRF_COOKIE, ACCESS_COOKIE, "__Secure-device"];
        // A refresh proves nothing by which a device would be known.
        let touched = if body["user"].is_null() { &cookies[..3] } else { &cookies };
        assert_touched(&answer, touched);
        let text = String::from_utf8_lossy(&answer.body);
        for name in [REFRESH_COOKIE, ACCESS_COOKIE] {
            assert!(!text.contains(answer_cookie(&answer, name)), "{text}");
        }
    }
}

fn answer_cookie<'a>(answer: &'a common::Answer, name: &str) -> &'a str {
    let values = answer.set_cookies().into_iter().filter_map(|line| line.strip_prefix(name));
    let value = values.filter_map(|rest| rest.strip_prefix('=')).next().expect("the cookie");
    value.split(';').next().unwrap_or_default()
}

#[tokio::test]
async fn the_access_cookie_has_the_attributes_of_the_contract() {
    let app = TestApp::with_cookie_delivery().await;
    let mut browser = app.registered(ADA).await;
    let answer = browser.refresh().await;
    let attributes = answer.set_cookies()[2].split_once("; ").expect("attributes").1;
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax; Priority=High; Max-Age=900");
}

#[tokio::test]
async fn token_and_cookie_end_with_an_idle_session() {
    let app = TestApp::with_policy(|policy| {
        policy.deliver_by_cookie();
        policy.rotation.idle_ttl = Duration::from_secs(60);
    })
    .await;
    let mut browser = app.browser();
    let mut answer = browser.register(ADA, PASSWORD).await;
    for _ in 0..2 {
        assert_eq!(answer.json()["expiresIn"], 60);
        let lines = answer.set_cookies();
        let line = lines.iter().find(|line| line.starts_with(ACCESS_COOKIE)).expect("the cookie");
        assert!(line.ends_with("Max-Age=60"), "{line}");
        assert_eq!(claims(access_cookie(&browser))["exp"], app.keyward.now().secs() + 60);
        app.advance(45);
        answer = browser.refresh().await;
    }
    app.advance(60);
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_EXPIRED"));
}

#[tokio::test]
async fn over_plain_http_the_names_have_no_prefix() {
    let app = TestApp::with_policy(|policy| {
        policy.deliver_by_cookie();
        policy.cookies.secure = false;
    })
    .await;
    let answer = app.browser().register(ADA, PASSWORD).await;
    assert_touched(&answer, &["refreshToken", "csrfToken", "accessToken", "device"]);
    assert!(answer.set_cookies().iter().all(|line| !line.contains("Secure")), "{answer:?}");
}

#[tokio::test]
async fn reading_needs_the_cookie_and_nothing_else() {
    let app = TestApp::with_cookie_delivery().await;
    let browser = app.registered(ADA).await;
    for path in ["/api/auth/me", "/api/auth/sessions"] {
        let mut request = browser.request(Method::GET, path, None);
        unset(&mut request, "x-csrf-token");
        set(&mut request, "origin", "https://a-link.example");
        set_cookies(&mut request, &[(ACCESS_COOKIE, access_cookie(&browser))]);
        app.send(request).await.assert(StatusCode::OK, None);
    }
}

/// Bends every request that changes something; each is refused and changes nothing.
async fn check_changes_refused(code: &str, bend: impl Fn(&Browser, &mut Request<Body>)) {
    let app = TestApp::with_cookie_delivery().await;
    let mut browser = app.registered(ADA).await;
    for (method, path, body) in changes(&sid(&browser)) {
        let mut request = browser.request(method, &format!("/api/auth{path}"), body);
        bend(&browser, &mut request);
        assert_harmless(&app.send(request).await, StatusCode::FORBIDDEN, code);
    }
    assert_eq!(browser.me().await.json()["user"]["name"], Value::Null);
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn changes_need_the_csrf_token() {
    check_changes_refused("CSRF_FAILED", |_, request| unset(request, "x-csrf-token")).await;
    check_changes_refused("CSRF_FAILED", |_, request| set(request, "x-csrf-token", "x")).await;
    check_changes_refused("CSRF_FAILED", |browser, request| {
        set_cookies(request, &[(ACCESS_COOKIE, access_cookie(browser))]);
    })
    .await;
}

#[tokio::test]
async fn changes_need_an_allowed_origin() {
    check_changes_refused("ORIGIN_NOT_ALLOWED", |_, request| {
        set(request, "origin", "https://evil.example");
    })
    .await;
}

#[tokio::test]
async fn another_authorization_scheme_is_no_way_around_the_csrf_check() {
    check_changes_refused("CSRF_FAILED", |_, request| {
        set(request, "authorization", "Basic YWRhOnNlY3JldA==");
        unset(request, "x-csrf-token");
    })
    .await;
}

#[tokio::test]
async fn a_change_with_both_passes() {
    let app = TestApp::with_cookie_delivery().await;
    let mut browser = app.registered(ADA).await;
    let body = Some(json!({ "name": "Ada" }));
    browser.call(Method::PATCH, "/api/auth/me", body).await.assert(StatusCode::OK, None);
    assert_eq!(browser.me().await.json()["user"]["name"], "Ada");
}

#[tokio::test]
async fn the_authorization_header_wins_over_the_cookie() {
    let app = TestApp::with_cookie_delivery().await;
    let ada = app.registered(ADA).await;
    let bob = app.registered("bob@example.org").await;
    let mut request = ada.request(Method::GET, "/api/auth/me", None);
    set(&mut request, "authorization", &format!("Bearer {}", access_cookie(&bob)));
    let answer = app.send(request).await;
    assert_eq!(answer.json()["user"]["email"], "bob@example.org");

    let mut forged = ada.request(Method::GET, "/api/auth/me", None);
    set(&mut forged, "authorization", "Bearer a.b.c");
    let answer = app.send(forged).await;
    assert_harmless(&answer, StatusCode::UNAUTHORIZED, "INVALID_TOKEN");
}

#[tokio::test]
async fn a_bearer_request_needs_no_csrf_token() {
    let app = TestApp::with_cookie_delivery().await;
    let ada = app.registered(ADA).await;
    let mut request = ada.request(Method::POST, "/api/auth/logout-all", None);
    set(&mut request, "authorization", &format!("Bearer {}", access_cookie(&ada)));
    for name in ["cookie", "x-csrf-token", "origin"] {
        unset(&mut request, name);
    }
    app.send(request).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn two_access_cookies_are_refused() {
    let app = TestApp::with_cookie_delivery().await;
    let ada = app.registered(ADA).await;
    let mut request = ada.request(Method::GET, "/api/auth/me", None);
    add(&mut request, "cookie", &format!("{ACCESS_COOKIE}=tossed"));
    assert_harmless(&app.send(request).await, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
}

#[tokio::test]
async fn an_expired_access_cookie_is_told_and_a_refresh_brings_another() {
    let app = TestApp::with_cookie_delivery().await;
    let mut browser = app.registered(ADA).await;
    app.advance(900);
    assert_harmless(&browser.me().await, StatusCode::UNAUTHORIZED, "TOKEN_EXPIRED");
    browser.refresh().await.assert(StatusCode::OK, None);
    browser.me().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn what_ends_the_session_takes_all_three_cookies() {
    let app = TestApp::with_cookie_delivery().await;
    for path in ["logout", "logout-all"] {
        let mut browser = app.browser();
        browser.register(&format!("{path}@example.org"), PASSWORD).await;
        let left = browser.clone();
        let answer = browser.post(&format!("/api/auth/{path}"), None).await;
        answer.assert(StatusCode::OK, None);
        assert_clears_three_cookies(&answer);
        browser.assert_signed_out();

        let refused = left.clone().refresh().await;
        refused.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
        assert_clears_three_cookies(&refused);
        left.clone().me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    }
}

/// The access cookie stands for the header here: signing out by it must not leave it alive.
#[tokio::test]
async fn the_access_cookie_alone_signs_out_with_the_csrf_token() {
    for refresh_cookie in [None, Some("kwr_junk")] {
        let app = TestApp::with_cookie_delivery().await;
        let mut browser = app.registered(ADA).await;
        let mut left = browser.clone();
        browser.cookies.remove(REFRESH_COOKIE);
        if let Some(junk) = refresh_cookie {
            browser.cookies.insert(REFRESH_COOKIE.to_owned(), junk.to_owned());
        }
        let mut forced = browser.request(Method::POST, "/api/auth/logout", None);
        unset(&mut forced, "x-csrf-token");
        assert_harmless(&app.send(forced).await, StatusCode::FORBIDDEN, "CSRF_FAILED");

        let answer = browser.post("/api/auth/logout", None).await;
        answer.assert(StatusCode::OK, None);
        assert_clears_three_cookies(&answer);
        left.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
        assert_eq!(details(&app, "session.revoked").await, [json!({ "reason": "logout" })]);
    }
}

/// A key that an app derives proves less: a thief of the cookies who goes through it has it too.
#[tokio::test]
async fn a_retry_counts_for_sixty_seconds() {
    let app = TestApp::with_cookie_delivery().await;
    let mut browser = app.registered(ADA).await;
    let before = browser.clone();
    browser.refresh_with_key(&idempotency_key(1)).await.assert(StatusCode::OK, None);
    app.advance(60);
    let answer = before.clone().refresh_with_key(&idempotency_key(1)).await;
    answer.assert(StatusCode::OK, None);
    app.advance(1);
    let answer = before.clone().refresh_with_key(&idempotency_key(1)).await;
    answer.assert(StatusCode::UNAUTHORIZED, Some("REFRESH_TOKEN_REUSED"));
    assert_clears_three_cookies(&answer);
}
