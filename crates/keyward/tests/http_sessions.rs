//! `GET /sessions` and `DELETE /sessions/{id}`.

mod checks;
mod common;

use std::net::SocketAddr;

use axum::http::{Method, StatusCode};
use checks::{assert_harmless, assert_revoked, assert_touches_no_cookie, details, session_id, set};
use common::{Answer, Browser, PASSWORD, TestApp};
use keyward::http::PeerAddress;
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const DAY: u64 = 24 * 60 * 60;
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

async fn phone_of(app: &TestApp) -> Browser {
    let mut phone = app.browser();
    phone.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    phone
}

async fn end(browser: &mut Browser, id: &str) -> Answer {
    browser.call(Method::DELETE, &format!("/api/auth/sessions/{id}"), None).await
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|session| session["id"].as_str()).collect()
}

#[tokio::test]
async fn a_live_session_is_listed_as_the_contract_says() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    app.advance(60);
    let mut request = checks::refresh_request(&browser);
    set(&mut request, "user-agent", FIREFOX);
    let peer: SocketAddr = "192.0.2.7:4711".parse().expect("an address");
    request.extensions_mut().insert(PeerAddress(peer));
    browser.send(request).await.assert(StatusCode::OK, None);

    let answer = browser.get("/api/auth/sessions").await;
    answer.assert(StatusCode::OK, None);
    assert_touches_no_cookie(&answer);
    let expected = json!({
        "id": session_id(&browser).to_string(),
        "current": true,
        "createdAt": "2026-09-21T14:13:20.000Z",
        "lastUsedAt": "2026-09-21T14:14:20.000Z",
        "expiresAt": "2026-09-28T14:14:20.000Z",
        "ip": "192.0.2.7",
        "userAgent": FIREFOX,
        "device": "Firefox on Linux",
        "amr": ["pwd"],
    });
    assert_eq!(answer.json(), json!({ "sessions": [expected], "ended": [] }));
    assert_eq!(browser.me().await.json()["session"], expected);
}

#[tokio::test]
async fn live_sessions_come_most_recently_used_first_and_one_is_current() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    app.advance(1);
    let phone = phone_of(&app).await;
    app.registered("bob@example.org").await;

    let list = browser.get("/api/auth/sessions").await.json();
    let (mine, phones) = (session_id(&browser).to_string(), session_id(&phone).to_string());
    assert_eq!(ids(&list["sessions"]), [phones.as_str(), mine.as_str()]);
    assert_eq!(list["sessions"][0]["current"], false);
    assert_eq!(list["sessions"][1]["current"], true);
}

#[tokio::test]
async fn a_session_that_timed_out_is_in_neither_list() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    phone_of(&app).await;
    for _ in 0..2 {
        app.advance(4 * DAY);
        browser.refresh().await.assert(StatusCode::OK, None);
    }
    let list = browser.get("/api/auth/sessions").await.json();
    assert_eq!(ids(&list["sessions"]), [session_id(&browser).to_string()]);
    assert_eq!(list["ended"], json!([]));
}

#[tokio::test]
async fn an_ended_session_is_listed_for_thirty_days_with_its_reason() {
    let app = TestApp::with_policy(|policy| {
        policy.rotation.idle_ttl = std::time::Duration::from_secs(60 * DAY);
        policy.rotation.absolute_ttl = std::time::Duration::from_secs(60 * DAY);
    })
    .await;
    let mut browser = app.registered(ADA).await;
    let mut phone = phone_of(&app).await;
    let phones = session_id(&phone).to_string();
    app.advance(60);
    phone.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);

    let ended = browser.get("/api/auth/sessions").await.json()["ended"].clone();
    assert_eq!(ids(&ended), [phones]);
    assert_eq!(ended[0]["endedAt"], "2026-09-21T14:14:20.000Z");
    assert_eq!(ended[0]["reason"], "logout");
    assert_eq!(ended[0]["current"], false);

    app.advance(30 * DAY);
    browser.refresh().await.assert(StatusCode::OK, None);
    let list = browser.get("/api/auth/sessions").await.json();
    assert_eq!(list["ended"].as_array().map(Vec::len), Some(1));
    app.advance(1);
    assert_eq!(browser.get("/api/auth/sessions").await.json()["ended"], json!([]));
}

#[tokio::test]
async fn a_theft_is_shown_to_its_victim() {
    let app = TestApp::new().await;
    let mut victim = app.registered(ADA).await;
    let mut thief = victim.clone();
    victim.refresh().await.assert(StatusCode::OK, None);
    thief.refresh().await.assert(StatusCode::UNAUTHORIZED, Some("REFRESH_TOKEN_REUSED"));
    let mut phone = phone_of(&app).await;
    let list = phone.get("/api/auth/sessions").await.json();
    assert_eq!(list["ended"][0]["reason"], "reuse_detected");
}

#[tokio::test]
async fn no_list_tells_a_token_or_a_hash() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    browser.refresh_with_key(&checks::idempotency_key(1)).await.assert(StatusCode::OK, None);
    let list = browser.get("/api/auth/sessions").await;
    let text = String::from_utf8_lossy(&list.body).to_lowercase();
    for word in ["kwr_", "hash", "token", "generation", "sealed", "proof"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[tokio::test]
async fn a_user_ends_another_session_of_theirs() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut phone = phone_of(&app).await;
    let answer = end(&mut browser, &session_id(&phone).to_string()).await;
    answer.assert(StatusCode::NO_CONTENT, None);
    assert!(answer.body.is_empty());
    assert_touches_no_cookie(&answer);
    phone.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    assert_revoked(&phone.refresh().await, "logout");
    assert_eq!(details(&app, "session.revoked").await, [json!({ "reason": "logout" })]);
    browser.refresh().await.assert(StatusCode::OK, None);
}

/// Only logout, logout-all and `DELETE /me` clear cookies.
#[tokio::test]
async fn a_user_ends_the_session_in_use() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let id = session_id(&browser).to_string();
    let answer = end(&mut browser, &id).await;
    answer.assert(StatusCode::NO_CONTENT, None);
    assert_touches_no_cookie(&answer);
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
}

#[tokio::test]
async fn what_is_not_a_live_session_of_the_user_is_not_found() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut other_user = app.registered("bob@example.org").await;
    let mut phone = phone_of(&app).await;
    let ended = session_id(&phone).to_string();
    phone.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);

    let others = session_id(&other_user).to_string();
    let own = session_id(&browser).to_string();
    let unknown = "01990000-0000-7000-8000-000000000000".to_owned();
    let junk = ["x".to_owned(), own.to_uppercase(), own.replace('-', ""), "%00".to_owned()];
    for id in [others, ended, unknown].into_iter().chain(junk) {
        assert_harmless(&end(&mut browser, &id).await, StatusCode::NOT_FOUND, "NOT_FOUND");
    }
    other_user.refresh().await.assert(StatusCode::OK, None);
    browser.refresh().await.assert(StatusCode::OK, None);
}
