//! Sessions over the admin API: `GET /users/{id}/sessions`, `POST /users/{id}/revoke` and
//! `DELETE /sessions/{id}`.

mod checks;
mod common;

use axum::http::{Method, StatusCode};
use checks::{assert_harmless, assert_revoked, assert_touches_no_cookie, details, session_id};
use common::{Backend, Browser, PASSWORD, TestApp};
use keyward_core::service_key::Scope;
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const SOME_ID: &str = "01990000-0000-7000-8000-000000000000";

async fn backend(app: &TestApp) -> Backend {
    app.backend(&app.service_key(&[Scope::SessionsRead, Scope::SessionsWrite]).await)
}

/// Where the user of this browser is.
async fn path_of(browser: &Browser) -> String {
    format!("/api/admin/users/{}", checks::stored(browser).await.user.id)
}

async fn another_device(app: &TestApp) -> Browser {
    app.advance(1);
    let mut browser = app.browser();
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    browser
}

fn ids(list: &Value) -> Vec<String> {
    let sessions = list["sessions"].as_array().expect("a list").iter();
    sessions.map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
}

fn actor() -> Value {
    json!({ "serviceKeyId": "01010101-0101-0101-0101-010101010101" })
}

#[tokio::test]
async fn live_sessions_are_listed_most_recently_opened_first() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let mut first = app.registered(ADA).await;
    let second = another_device(&app).await;
    let mut third = another_device(&app).await;
    app.registered(BOB).await;
    let path = format!("{}/sessions", path_of(&first).await);
    third.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    first.refresh().await.assert(StatusCode::OK, None);

    let answer = backend.get(&path).await;
    answer.assert(StatusCode::OK, None);
    assert_touches_no_cookie(&answer);
    let list = answer.json();
    let expected = [session_id(&second).to_string(), session_id(&first).to_string()];
    assert_eq!(ids(&list), expected);
    assert_eq!(list["nextCursor"], Value::Null);
    // As its user sees it, but for what only its user can ask.
    let mut shown = first.me().await.json()["session"].clone();
    shown.as_object_mut().expect("an object").remove("current");
    assert_eq!(list["sessions"][1], shown);
}

#[tokio::test]
async fn a_list_of_sessions_has_pages_that_uses_do_not_shift() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let mut first = app.registered(ADA).await;
    let path = format!("{}/sessions", path_of(&first).await);
    let mut opened = vec![session_id(&first).to_string()];
    for _ in 0..4 {
        opened.push(session_id(&another_device(&app).await).to_string());
    }
    opened.reverse();
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = backend.get(&format!("{path}{query}")).await.json();
        seen.extend(ids(&page));
        first.refresh().await.assert(StatusCode::OK, None);
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, opened);
    for (query, field) in [("limit=0", "limit"), ("cursor=1", "cursor"), ("since=x", "since")] {
        let answer = backend.get(&format!("{path}?{query}")).await;
        assert_harmless(&answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
        assert!(answer.json()["fields"][field].is_string(), "{}", answer.json());
    }
}

/// The one that is missing would be the one that nobody has used for long: a thief's, say.
#[tokio::test]
async fn no_live_session_is_missing_however_many_there_may_be() {
    let app = TestApp::with_policy(|policy| policy.accounts.sessions_max = 1001).await;
    let backend = backend(&app).await;
    let first = app.registered(ADA).await;
    let path = format!("{}/sessions", path_of(&first).await);
    for _ in 0..1000 {
        app.browser().login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    }
    let (mut seen, mut query) = (Vec::new(), "?limit=100".to_owned());
    loop {
        let page = backend.get(&format!("{path}{query}")).await.json();
        seen.extend(ids(&page));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("?limit=100&cursor={cursor}");
    }
    assert_eq!(seen.len(), 1001);
    assert!(seen.contains(&session_id(&first).to_string()));
}

#[tokio::test]
async fn no_list_tells_a_token_or_a_hash() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let mut ada = app.registered(ADA).await;
    ada.refresh_with_key(&checks::idempotency_key(1)).await.assert(StatusCode::OK, None);
    let list = backend.get(&format!("{}/sessions", path_of(&ada).await)).await;
    let text = String::from_utf8_lossy(&list.body).to_lowercase();
    for word in ["kwr_", "hash", "token", "generation", "sealed", "proof"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[tokio::test]
async fn all_sessions_of_a_user_are_ended_at_once() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let (mut first, mut bob) = (app.registered(ADA).await, app.registered(BOB).await);
    let mut second = another_device(&app).await;
    let path = format!("{}/revoke", path_of(&first).await);
    for expected in [2, 0] {
        let answer = backend.post(&path, None).await;
        answer.assert(StatusCode::OK, None);
        assert_touches_no_cookie(&answer);
        assert_eq!(answer.json(), json!({ "revokedSessions": expected }));
    }
    first.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    for browser in [&mut first, &mut second] {
        assert_revoked(&browser.refresh().await, "admin");
    }
    bob.refresh().await.assert(StatusCode::OK, None);
    let revoked = json!({ "reason": "admin", "actor": actor() });
    assert_eq!(details(&app, "session.revoked").await, [revoked.clone(), revoked]);
    // Signing in again is nobody's to forbid by this.
    first.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}

/// It is no sign-out of the user's.
#[tokio::test]
async fn ending_sessions_is_no_sign_out_everywhere() {
    let app = TestApp::new().await;
    let ada = app.registered(ADA).await;
    let path = format!("{}/revoke", path_of(&ada).await);
    backend(&app).await.post(&path, None).await.assert(StatusCode::OK, None);
    assert_eq!(checks::stored(&ada).await.user.last_logout_at, None);
}

#[tokio::test]
async fn one_session_is_ended_whoever_has_it() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let mut first = app.registered(ADA).await;
    let mut second = another_device(&app).await;
    let path = format!("/api/admin/sessions/{}", session_id(&first));
    let answer = backend.delete(&path).await;
    answer.assert(StatusCode::NO_CONTENT, None);
    assert!(answer.body.is_empty());
    assert_touches_no_cookie(&answer);
    assert_revoked(&first.refresh().await, "admin");
    second.refresh().await.assert(StatusCode::OK, None);
    let revoked = json!({ "reason": "admin", "actor": actor() });
    assert_eq!(details(&app, "session.revoked").await, [revoked]);
    assert_harmless(&backend.delete(&path).await, StatusCode::NOT_FOUND, "NOT_FOUND");
}

#[tokio::test]
async fn an_administrator_ends_a_session_and_is_named() {
    let app = TestApp::new().await;
    let (mut ada, bob) = (app.admin(ADA).await, app.registered(BOB).await);
    let path = format!("/api/admin/sessions/{}", session_id(&bob));
    let answer = ada.call(Method::DELETE, &path, None).await;
    answer.assert(StatusCode::NO_CONTENT, None);
    let actor = json!({ "userId": checks::stored(&ada).await.user.id.to_string() });
    let events = app.audit().await;
    let event = events.iter().find(|event| event.name == "session.revoked").expect("an event");
    let detail: Value = serde_json::from_str(&event.detail).expect("an object");
    assert_eq!(detail, json!({ "reason": "admin", "actor": actor }));
    assert_eq!(event.user_id, Some(checks::stored(&bob).await.user.id));
    assert_eq!(event.request_id.as_deref(), answer.header("x-request-id"));
}

/// Whoever steals a service's key does not keep administrators from acting against it.
#[tokio::test]
async fn no_key_ends_a_session_of_an_administrator() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let mut ada = app.admin(ADA).await;
    let one = format!("/api/admin/sessions/{}", session_id(&ada));
    let all = format!("{}/revoke", path_of(&ada).await);
    for answer in [backend.delete(&one).await, backend.post(&all, None).await] {
        assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    }
    ada.refresh().await.assert(StatusCode::OK, None);
    assert_eq!(checks::count_events(&app, "session.revoked").await, 0);
    // It is an administrator's to do.
    ada.call(Method::DELETE, &one, None).await.assert(StatusCode::NO_CONTENT, None);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let app = TestApp::new().await;
    let backend = backend(&app).await;
    let ada = app.registered(ADA).await;
    // A session is no user, and a user no session.
    let (session, user) = (session_id(&ada).to_string(), checks::stored(&ada).await.user.id);
    for id in [SOME_ID, "x", &session, &user.to_string().to_uppercase()] {
        let sessions = backend.get(&format!("/api/admin/users/{id}/sessions")).await;
        assert_harmless(&sessions, StatusCode::NOT_FOUND, "NOT_FOUND");
        let revoke = backend.post(&format!("/api/admin/users/{id}/revoke"), None).await;
        assert_harmless(&revoke, StatusCode::NOT_FOUND, "NOT_FOUND");
    }
    for id in [SOME_ID.to_owned(), "x".to_owned(), user.to_string(), session.to_uppercase()] {
        let answer = backend.delete(&format!("/api/admin/sessions/{id}")).await;
        assert_harmless(&answer, StatusCode::NOT_FOUND, "NOT_FOUND");
    }
    ada.clone().refresh().await.assert(StatusCode::OK, None);
}
