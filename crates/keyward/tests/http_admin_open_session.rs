//! `POST /users/{id}/sessions`: sessions for an app that signs its users in by itself.

mod checks;
mod common;

use axum::http::{Method, Request, StatusCode};
use checks::{assert_harmless, assert_touched, details, set, set_cookies};
use common::{Answer, Backend, Browser, TestApp};
use keyward_core::id::UserId;
use keyward_core::service_key::Scope;
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

async fn backend(app: &TestApp) -> Backend {
    app.backend(&app.service_key(&[Scope::SessionsWrite]).await)
}

async fn user_id(browser: &Browser) -> UserId {
    checks::stored(browser).await.user.id
}

fn path(id: impl std::fmt::Display) -> String {
    format!("/api/admin/users/{id}/sessions")
}

/// A browser to which the app has handed on the answer's cookies.
fn handed_on(app: &TestApp, answer: &Answer) -> Browser {
    let mut browser = app.browser();
    for line in answer.set_cookies() {
        let (name, rest) = line.split_once('=').expect("a cookie");
        let value = rest.split(';').next().unwrap_or_default();
        browser.cookies.insert(name.to_owned(), value.to_owned());
    }
    browser.access_token = answer.json()["accessToken"].as_str().map(str::to_owned);
    browser
}

#[tokio::test]
async fn an_app_opens_a_session_and_hands_it_on() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let id = user_id(&app.registered(ADA).await).await;
    app.advance(60);
    let body = json!({ "ip": "203.0.113.9", "userAgent": BROWSER });
    let answer = backend.post(&path(id), Some(body)).await;
    answer.assert(StatusCode::CREATED, None);
    assert_touched(&answer, &[checks::REFRESH_COOKIE, checks::CSRF_COOKIE]);
    assert_eq!(answer.json()["user"]["id"], id.to_string());
    assert!(!String::from_utf8_lossy(&answer.body).contains("kwr_"));

    let mut ada = handed_on(&app, &answer);
    ada.refresh().await.assert(StatusCode::OK, None);
    let me = ada.me().await.json();
    assert_eq!(me["session"]["amr"], json!(["ext"]));
    assert_eq!(
        checks::claims(ada.access_token.as_deref().expect("a token"))["amr"],
        json!(["ext"])
    );
    for kind in ["login.succeeded", "session.created"] {
        let last = details(&app, kind).await.pop().expect("an event");
        assert!(last["actor"]["serviceKeyId"].is_string(), "{kind}: {last}");
    }
}

/// Until its own first refresh the session shows what the app said of the browser; the audit log
/// has the app's address, which is what was seen.
#[tokio::test]
async fn the_session_is_of_the_users_device() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let id = user_id(&app.registered(ADA).await).await;
    for (body, ip, device) in [
        (
            json!({ "ip": "203.0.113.9", "userAgent": BROWSER }),
            json!("203.0.113.9"),
            json!("Firefox on Linux"),
        ),
        (json!({}), Value::Null, Value::Null),
        (
            json!({ "ip": "::ffff:203.0.113.9", "userAgent": null }),
            json!("203.0.113.9"),
            Value::Null,
        ),
    ] {
        let answer = backend.post(&path(id), Some(body)).await;
        let session = handed_on(&app, &answer).me().await.json()["session"].clone();
        assert_eq!((&session["ip"], &session["device"]), (&ip, &device));
    }
    let told = "203.0.113.9".to_owned();
    assert!(app.audit().await.iter().all(|event| event.device.ip.as_ref() != Some(&told)));
}

#[tokio::test]
async fn the_session_of_the_same_browser_is_left() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let mut ada = app.registered(ADA).await;
    let id = user_id(&ada).await;
    let mut request = Request::post(path(id)).body("{}".into()).expect("a request");
    set(&mut request, "authorization", &format!("Bearer {}", backend.key));
    set(&mut request, "content-type", "application/json");
    let refresh_token = ada.refresh_token().expect("a token").to_owned();
    set_cookies(&mut request, &[(checks::REFRESH_COOKIE, &refresh_token)]);
    app.send(request).await.assert(StatusCode::CREATED, None);
    checks::assert_revoked(&ada.refresh().await, "superseded");
}

#[tokio::test]
async fn nobody_but_a_service_may() {
    let app = TestApp::new().await;
    let mut ada = app.admin(ADA).await;
    let bob = user_id(&app.registered(BOB).await).await;
    // Nothing is wrong with the token, so that no page signs its user out over it.
    let by_token = ada.post(&path(bob), Some(json!({}))).await;
    assert_harmless(&by_token, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    assert_eq!(checks::count_events(&app, "permission.denied").await, 1);
    let by_junk = app.backend("a.b.c").post(&path(bob), Some(json!({}))).await;
    assert_harmless(&by_junk, StatusCode::UNAUTHORIZED, "INVALID_TOKEN");
    let stranger = app.browser().post(&path(bob), Some(json!({}))).await;
    assert_harmless(&stranger, StatusCode::UNAUTHORIZED, "NO_TOKEN");
    let other = app.backend(&app.service_key(&[Scope::UsersWrite, Scope::SessionsRead]).await);
    let unscoped = other.post(&path(bob), Some(json!({}))).await;
    assert_harmless(&unscoped, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    assert_eq!(unscoped.json()["scope"], "sessions:write");
    let expired = app.expiring_service_key(Scope::ALL, Some(app.keyward.now())).await;
    let expired = app.backend(&expired).post(&path(bob), Some(json!({}))).await;
    assert_harmless(&expired, StatusCode::UNAUTHORIZED, "INVALID_TOKEN");
}

#[tokio::test]
async fn none_is_opened_for_whom_it_must_not() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let ada = user_id(&app.admin(ADA).await).await;
    let bob = user_id(&app.registered(BOB).await).await;
    app.set_disabled(bob, true).await;
    let opened = checks::count_events(&app, "session.created").await;
    for (id, status, code) in [
        (ada.to_string(), StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS"),
        (bob.to_string(), StatusCode::FORBIDDEN, "ACCOUNT_DISABLED"),
        ("01990000-0000-7000-8000-000000000000".to_owned(), StatusCode::NOT_FOUND, "NOT_FOUND"),
        ("nobody".to_owned(), StatusCode::NOT_FOUND, "NOT_FOUND"),
    ] {
        let answer = backend.post(&path(id), Some(json!({}))).await;
        assert_harmless(&answer, status, code);
    }
    assert_eq!(checks::count_events(&app, "session.created").await, opened);
}

/// Otherwise the app's key would be an administrator's as soon as one of its users becomes one.
#[tokio::test]
async fn no_such_session_administrates() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let id = user_id(&app.registered(ADA).await).await;
    let mut opened = handed_on(&app, &backend.post(&path(id), Some(json!({}))).await);
    app.set_roles(id, &["admin"]).await;
    opened.refresh().await.assert(StatusCode::OK, None);
    for method in [Method::GET, Method::POST] {
        let answer = opened.call(method, "/api/admin/users", None).await;
        assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    }
}
