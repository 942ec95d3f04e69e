//! `POST /logout` and `POST /logout-all`.

mod checks;
mod common;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use checks::{
    REFRESH_COOKIE, add, assert_clears_cookies, assert_harmless, assert_revoked,
    assert_touches_no_cookie, details, set, stored, unset,
};
use common::{Answer, Browser, PASSWORD, TestApp};
use keyward_core::session::RevocationReason;
use serde_json::json;

const ADA: &str = "ada@example.org";

fn logout_request(browser: &Browser) -> Request<Body> {
    browser.request(Method::POST, "/api/auth/logout", None)
}

/// That the answer is a sign-out's, and that the session of `browser` has ended by it.
async fn check_signed_out(answer: &Answer, browser: &Browser) {
    answer.assert(StatusCode::OK, None);
    assert!(!answer.text("message").is_empty());
    assert_clears_cookies(answer);
    let revoked = stored(browser).await.session.revoked.expect("ended");
    assert_eq!(revoked.reason, RevocationReason::Logout);
    let expected = json!({ "reason": "logout" });
    assert_eq!(details(&browser.app, "session.revoked").await, [expected]);
}

#[tokio::test]
async fn by_access_token_it_ends_the_session_and_clears_the_cookies() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut request = logout_request(&browser);
    for name in ["cookie", "x-csrf-token"] {
        unset(&mut request, name);
    }
    check_signed_out(&app.send(request).await, &browser).await;
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    assert_revoked(&browser.refresh().await, "logout");
}

#[tokio::test]
async fn by_cookie_it_ends_the_session_and_clears_the_cookies() {
    let app = TestApp::new().await;
    let browser = app.registered(ADA).await;
    let mut request = logout_request(&browser);
    unset(&mut request, "authorization");
    check_signed_out(&app.send(request).await, &browser).await;
}

#[tokio::test]
async fn a_spent_refresh_token_of_any_age_ends_the_session_too() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut request = logout_request(&browser);
    unset(&mut request, "authorization");
    for _ in 0..3 {
        browser.refresh().await.assert(StatusCode::OK, None);
    }
    check_signed_out(&app.send(request).await, &browser).await;
}

#[tokio::test]
async fn an_expired_access_token_keeps_nobody_from_signing_out_by_cookie() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    app.advance(16 * 60);
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_EXPIRED"));
    check_signed_out(&app.send(logout_request(&browser)).await, &browser).await;
}

#[tokio::test]
async fn a_forged_access_token_keeps_nobody_from_signing_out_by_cookie() {
    let app = TestApp::new().await;
    let browser = app.registered(ADA).await;
    let mut request = logout_request(&browser);
    set(&mut request, "authorization", "Bearer a.b.c");
    check_signed_out(&app.send(request).await, &browser).await;
}

#[tokio::test]
async fn with_neither_token_there_is_nothing_to_do_and_nothing_is_cleared() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut request = logout_request(&browser);
    for name in ["authorization", "cookie"] {
        unset(&mut request, name);
    }
    let answer = app.send(request).await;
    answer.assert(StatusCode::OK, None);
    assert_touches_no_cookie(&answer);
    browser.refresh().await.assert(StatusCode::OK, None);
}

/// The session may live on, and its user should not be told otherwise.
#[tokio::test]
async fn a_refused_access_token_is_told_where_there_is_no_cookie_either() {
    let app = TestApp::new().await;
    let browser = app.registered(ADA).await;
    app.advance(16 * 60);
    let mut request = logout_request(&browser);
    unset(&mut request, "cookie");
    assert_harmless(&app.send(request).await, StatusCode::UNAUTHORIZED, "TOKEN_EXPIRED");
}

#[tokio::test]
async fn twice_is_as_good_as_once() {
    let app = TestApp::new().await;
    let browser = app.registered(ADA).await;
    let mut request = logout_request(&browser);
    unset(&mut request, "authorization");
    check_signed_out(&app.send(request).await, &browser).await;
    let mut again = logout_request(&browser);
    unset(&mut again, "authorization");
    check_signed_out(&app.send(again).await, &browser).await;
}

#[tokio::test]
async fn a_junk_cookie_goes_and_ends_nothing() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut other = browser.clone();
    other.access_token = None;
    other.cookies.insert(REFRESH_COOKIE.to_owned(), "kwr_junk".to_owned());
    let answer = other.post("/api/auth/logout", None).await;
    answer.assert(StatusCode::OK, None);
    assert_clears_cookies(&answer);
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn another_site_cannot_force_it() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut request = logout_request(&browser);
    unset(&mut request, "authorization");
    set(&mut request, "origin", "https://evil.example");
    assert_harmless(&app.send(request).await, StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED");

    let mut form = logout_request(&browser);
    for name in ["authorization", "x-csrf-token"] {
        unset(&mut form, name);
    }
    assert_harmless(&app.send(form).await, StatusCode::FORBIDDEN, "CSRF_FAILED");
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn two_refresh_cookies_are_refused_and_end_nothing() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut request = logout_request(&browser);
    unset(&mut request, "authorization");
    add(&mut request, "cookie", &format!("{REFRESH_COOKIE}=tossed"));
    assert_harmless(&app.send(request).await, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn it_ends_no_other_session_of_the_user() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut phone = app.browser();
    phone.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    browser.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    phone.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_get_signs_nobody_out() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    for path in ["/api/auth/logout", "/api/auth/logout-all", "/api/auth/refresh"] {
        browser.get(path).await.assert(StatusCode::METHOD_NOT_ALLOWED, Some("METHOD_NOT_ALLOWED"));
    }
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn logout_all_ends_every_session_of_the_user_and_of_nobody_else() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut other_user = app.registered("bob@example.org").await;
    let mut phone = app.browser();
    phone.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    let mut ended_before = app.browser();
    ended_before.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    ended_before.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);

    let mut request = browser.request(Method::POST, "/api/auth/logout-all", None);
    for name in ["cookie", "x-csrf-token", "origin"] {
        unset(&mut request, name);
    }
    let answer = app.send(request).await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json()["revokedSessions"], 2);
    assert!(!answer.text("message").is_empty());
    assert_clears_cookies(&answer);

    for browser in [&mut browser, &mut phone] {
        browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
        assert_revoked(&browser.refresh().await, "logout_all");
    }
    let all = json!({ "reason": "logout_all" });
    let reasons = details(&app, "session.revoked").await;
    assert_eq!(reasons, [json!({ "reason": "logout" }), all.clone(), all]);
    other_user.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn logout_all_takes_no_refresh_cookie() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut request = browser.request(Method::POST, "/api/auth/logout-all", None);
    unset(&mut request, "authorization");
    let answer = app.send(request).await;
    assert_harmless(&answer, StatusCode::UNAUTHORIZED, "NO_TOKEN");
    browser.refresh().await.assert(StatusCode::OK, None);
}
