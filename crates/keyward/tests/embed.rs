//! An app's own routes beside those of Keyward: the example, as it stands.

mod checks;
mod common;
#[expect(dead_code, reason = "its `main` is for the command line")]
#[path = "../examples/embed.rs"]
mod embed;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::{Router, routing};
use checks::{ACCESS_COOKIE, assert_harmless, count_events, details, set, stored, unset};
use common::second_factor::Authenticator;
use common::{Answer, Browser, PASSWORD, PUBLIC_URL, TestApp};
use keyward::http::{Caller, Guard, RequireRole, Role};
use keyward_core::service_key::Scope;
use serde_json::json;

const ADA: &str = "ada@example.org";

/// The example over the service of a test. What its own routes answer is described nowhere.
fn embedded(app: TestApp) -> TestApp {
    let router = embed::app(&app.keyward).expect("a good policy");
    TestApp { router, description: None, ..app }
}

async fn get(browser: &Browser, path: &str) -> Answer {
    browser.app.send(browser.request(Method::GET, path, None)).await
}

fn payment(browser: &Browser) -> Request<Body> {
    browser.request(Method::POST, "/payments", None)
}

#[track_caller]
fn assert_text(answer: &Answer, text: &str) {
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, text.as_bytes()), "{answer:?}");
}

#[tokio::test]
async fn a_route_knows_its_caller_until_the_session_ends() {
    let app = embedded(TestApp::new().await);
    let nobody = get(&app.browser(), "/hello").await;
    assert_harmless(&nobody, StatusCode::UNAUTHORIZED, "NO_TOKEN");
    assert_eq!(nobody.header("www-authenticate"), Some("Bearer"));

    let mut ada = app.registered(ADA).await;
    assert_text(&get(&ada, "/hello").await, "Hello, ada@example.org.\n");
    ada.post("/api/auth/logout-all", None).await.assert(StatusCode::OK, None);
    let answer = get(&ada, "/hello").await;
    assert_harmless(&answer, StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");
}

#[tokio::test]
async fn a_role_is_read_afresh_and_its_lack_is_recorded() {
    let app = embedded(TestApp::new().await);
    let ada = app.registered(ADA).await;
    let answer = get(&ada, "/drafts").await;
    assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    let denied = details(&app, "permission.denied").await;
    assert_eq!(denied.len(), 1, "{denied:?}");
    assert_eq!(denied[0]["count"], 1);

    app.set_roles(stored(&ada).await.user.id, &["editor"]).await;
    assert_text(&get(&ada, "/drafts").await, "No drafts, ada@example.org.\n");
}

#[tokio::test]
async fn what_is_sensitive_takes_a_recent_sign_in() {
    let app = embedded(TestApp::new().await);
    let mut ada = app.registered(ADA).await;
    assert_text(&app.send(payment(&ada)).await, "Paid, ada@example.org.\n");
    app.advance(15 * 60 + 1);
    ada.refresh().await.assert(StatusCode::OK, None);
    let answer = app.send(payment(&ada)).await;
    assert_harmless(&answer, StatusCode::FORBIDDEN, "REAUTHENTICATION_REQUIRED");
    assert_text(&get(&ada, "/hello").await, "Hello, ada@example.org.\n");
}

/// An app with a page for administrators.
async fn with_panel() -> TestApp {
    struct Administrator;

    impl Role for Administrator {
        const NAME: &str = "admin";
    }

    async fn panel(_: RequireRole<Administrator>) -> &'static str {
        "The panel.\n"
    }

    let app = TestApp::new().await;
    let guard = Guard::new(Arc::clone(&app.keyward)).expect("a good policy");
    let panel = Router::new().route("/panel", routing::get(panel)).with_state(guard);
    let router = app.router.clone().merge(panel);
    TestApp { router, description: None, ..app }
}

/// An app that vouches for its users by a key does not vouch for administrators, on no route.
#[tokio::test]
async fn the_role_of_administrators_takes_a_sign_in_here() {
    let app = with_panel().await;
    let mut ada = app.registered(ADA).await;
    let id = stored(&ada).await.user.id;
    let key = app.backend(&app.service_key(&[Scope::SessionsWrite]).await);
    let opened = key.post(&format!("/api/admin/users/{id}/sessions"), Some(json!({}))).await;
    app.set_roles(id, &["admin"]).await;
    assert_text(&get(&ada, "/panel").await, "The panel.\n");

    ada.access_token = Some(opened.json()["accessToken"].as_str().expect("a token").to_owned());
    get(&ada, "/api/auth/me").await.assert(StatusCode::OK, None);
    let answer = get(&ada, "/panel").await;
    assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
}

/// As on Keyward's own routes; other roles go on in sessions from before.
#[tokio::test]
async fn the_role_of_administrators_takes_the_second_factor_that_there_is() {
    let app = with_panel().await;
    let without = app.admin(ADA).await;
    let mut proven = app.browser();
    proven.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    assert_text(&get(&without, "/panel").await, "The panel.\n");
    Authenticator::enable(&mut proven).await;
    let answer = get(&without, "/panel").await;
    assert_harmless(&answer, StatusCode::FORBIDDEN, "REAUTHENTICATION_REQUIRED");
    assert_text(&get(&proven, "/panel").await, "The panel.\n");
}

/// A page of any origin may open one, and reads what comes of it.
#[tokio::test]
async fn a_cookie_opens_a_socket_for_pages_of_an_allowed_origin_alone() {
    async fn socket(_: Caller) {}

    let app = TestApp::with_cookie_delivery().await;
    let guard = Guard::new(Arc::clone(&app.keyward)).expect("a good policy");
    let socket = Router::new().route("/socket", routing::any(socket)).with_state(guard);
    let router = app.router.clone().merge(socket);
    let app = TestApp { router, description: None, ..app };
    let ada = app.registered(ADA).await;
    let open = |method: Method, origin: Option<&str>| {
        let mut request = ada.request(method.clone(), "/socket", None);
        unset(&mut request, "x-csrf-token");
        unset(&mut request, "origin");
        if let Some(origin) = origin {
            set(&mut request, "origin", origin);
        }
        // Over HTTP/2 the method says it (RFC 8441).
        if method != Method::CONNECT {
            set(&mut request, "upgrade", "websocket");
        }
        app.send(request)
    };
    for method in [Method::GET, Method::CONNECT] {
        open(method.clone(), Some(PUBLIC_URL)).await.assert(StatusCode::OK, None);
        for foreign in [None, Some("https://evil.example"), Some("null")] {
            let answer = open(method.clone(), foreign).await;
            assert_harmless(&answer, StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED");
        }
    }
    let unproved = open(Method::POST, Some(PUBLIC_URL)).await;
    assert_harmless(&unproved, StatusCode::FORBIDDEN, "CSRF_FAILED");
    assert_eq!(count_events(&app, "csrf.rejected").await, 7);
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing() {
    let app = embedded(TestApp::with_cookie_delivery().await);
    let ada = app.registered(ADA).await;
    assert!(ada.cookies.contains_key(ACCESS_COOKIE) && ada.access_token.is_none());
    assert_text(&get(&ada, "/hello").await, "Hello, ada@example.org.\n");
    assert_text(&app.send(payment(&ada)).await, "Paid, ada@example.org.\n");

    let mut elsewhere = payment(&ada);
    set(&mut elsewhere, "origin", "https://evil.example");
    let answer = app.send(elsewhere).await;
    assert_harmless(&answer, StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED");
    let mut unproved = payment(&ada);
    unset(&mut unproved, "x-csrf-token");
    assert_harmless(&app.send(unproved).await, StatusCode::FORBIDDEN, "CSRF_FAILED");
    // One before the session was known, one about it.
    assert_eq!(count_events(&app, "csrf.rejected").await, 2);
}
