//! `GET`, `PATCH` and `DELETE /me`: the user's own record.

mod checks;
mod common;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use checks::faulty_store::{Call, FaultyStore};
use common::{Answer, Browser, PASSWORD, TestApp};
use keyward_core::session::Device;
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const PATH: &str = "/api/auth/me";

async fn patch(browser: &mut Browser, body: Value) -> Answer {
    browser.call(Method::PATCH, PATH, Some(body)).await
}

async fn delete(browser: &mut Browser, password: &str) -> Answer {
    browser.call(Method::DELETE, PATH, Some(json!({ "password": password }))).await
}

async fn signed_in(app: &TestApp) -> Browser {
    let mut browser = app.browser();
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    browser
}

/// A request for `GET /me` with this `Authorization` header and nothing else.
async fn with_authorization(app: &TestApp, value: Option<&str>) -> Answer {
    let mut request = app.browser().request(Method::GET, PATH, None);
    if let Some(value) = value {
        request.headers_mut().insert("authorization", value.parse().expect("a value"));
    }
    app.send(request).await
}

#[tokio::test]
async fn shows_user_and_session() {
    let app = TestApp::new().await;
    let mut browser = app.browser();
    let body = json!({ "email": ADA, "password": PASSWORD });
    let mut request = browser.request(Method::POST, "/api/auth/register", Some(body));
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    request.headers_mut().insert("user-agent", firefox.parse().expect("a value"));
    let registered = browser.send(request).await.json();
    app.advance(60);

    let answer = browser.me().await;
    answer.assert(StatusCode::OK, None);
    let body = answer.json();
    assert_eq!(body["user"], registered["user"]);
    let mut session = body["session"].clone();
    assert!(session["id"].take().is_string());
    let expected = json!({
        "id": null,
        "current": true,
        "createdAt": "2026-09-21T14:13:20.000Z",
        "lastUsedAt": "2026-09-21T14:13:20.000Z",
        "expiresAt": "2026-09-28T14:13:20.000Z",
        "ip": "0.0.0.0",
        "userAgent": firefox,
        "device": "Firefox on Linux",
        "amr": ["pwd"],
    });
    assert_eq!(session, expected);
    assert_eq!(body.as_object().expect("an object").len(), 2);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.set_cookies().is_empty());
}

#[tokio::test]
async fn tells_what_is_wrong_with_the_token() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let token = ada.access_token.clone().expect("a token");
    let check = async |value: Option<&str>, code: &str, challenge: &str| {
        let answer = with_authorization(&app, value).await;
        answer.assert(StatusCode::UNAUTHORIZED, Some(code));
        assert_eq!(answer.header("www-authenticate"), Some(challenge), "{value:?}");
        assert!(answer.set_cookies().is_empty());
    };
    let invalid = r#"Bearer error="invalid_token""#;
    for none in [None, Some(""), Some("Bearer"), Some("Basic YWRhOmFkYQ=="), Some(&token)] {
        check(none, "NO_TOKEN", "Bearer").await;
    }
    let (head, signature) = token.rsplit_once('.').expect("three parts");
    for junk in ["junk", "a.b.c", head, &format!("{head}."), &format!("{token} "), signature] {
        check(Some(&format!("Bearer {junk}")), "INVALID_TOKEN", invalid).await;
    }
    let bearer = format!("bEARER {token}");
    with_authorization(&app, Some(&bearer)).await.assert(StatusCode::OK, None);
    app.advance(900);
    check(Some(&bearer), "TOKEN_EXPIRED", invalid).await;
    ada.refresh().await.assert(StatusCode::OK, None);
    let fresh = format!("Bearer {}", ada.access_token.clone().expect("a token"));
    ada.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    check(Some(&fresh), "TOKEN_REVOKED", invalid).await;
}

#[tokio::test]
async fn a_cookie_is_no_token_where_tokens_travel_in_the_body() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let token = ada.access_token.take().expect("a token");
    ada.cookies.insert("__Host-accessToken".to_owned(), token);
    ada.me().await.assert(StatusCode::UNAUTHORIZED, Some("NO_TOKEN"));
}

#[tokio::test]
async fn a_name_is_set_and_removed() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let before = app.audit().await.len();
    for name in [json!("Ada"), json!(" Ada  Lovelace "), Value::Null] {
        let answer = patch(&mut ada, json!({ "name": name })).await;
        answer.assert(StatusCode::OK, None);
        let shown = ada.me().await.json()["user"].clone();
        assert_eq!((&answer.json(), &shown["name"]), (&json!({ "user": shown }), &name));
        assert!(answer.set_cookies().is_empty());
    }
    let recorded = &app.audit().await[before..];
    assert!(recorded.iter().all(|event| event.name == "user.updated" && event.detail == "{}"));
    assert_eq!(recorded.len(), 3);
}

#[tokio::test]
async fn what_changes_nothing_is_not_recorded() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    patch(&mut ada, json!({ "name": "Ada" })).await.assert(StatusCode::OK, None);
    let before = app.audit().await;
    for body in [json!({}), json!({ "name": "Ada" })] {
        let answer = patch(&mut ada, body).await;
        answer.assert(StatusCode::OK, None);
        assert_eq!(answer.json()["user"]["name"], "Ada");
    }
    assert_eq!(app.audit().await, before);
}

#[tokio::test]
async fn a_user_changes_nothing_but_the_name() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let before = (ada.me().await.json(), app.audit().await);
    for (field, value) in [
        ("email", json!("eve@example.org")),
        ("roles", json!(["admin"])),
        ("emailVerified", json!(true)),
        ("mfaEnabled", json!(true)),
        ("id", json!("00000000-0000-7000-8000-000000000000")),
        ("password", json!("another zimtkringel")),
        ("claims", json!({})),
        ("createdAt", json!("2020-01-01T00:00:00.000Z")),
        ("Name", json!("x")),
        ("name", json!("")),
        ("name", json!("a\u{7}b")),
        ("name", json!("a\u{202e}b")),
        ("name", json!("n".repeat(101))),
        ("name", json!(["x"])),
    ] {
        let mut body = json!({});
        body[field] = value;
        let answer = patch(&mut ada, body).await;
        answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
        assert!(answer.json()["fields"][field].is_string(), "{field}");
    }
    assert_eq!((ada.me().await.json(), app.audit().await), before);
}

#[tokio::test]
async fn an_account_is_deleted_by_its_password_only() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let before = app.audit().await.len();
    let answer = delete(&mut ada, "zimtkringel im schnee").await;
    answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    assert!(answer.header("www-authenticate").is_none() && answer.set_cookies().is_empty());
    let events = app.audit().await;
    let [failed] = &events[before..] else { panic!("{events:?}") };
    assert_eq!(
        (&failed.name[..], &failed.detail[..]),
        ("login.failed", r#"{"reason":"wrong_password"}"#)
    );
    ada.me().await.assert(StatusCode::OK, None);
    ada.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_deleted_account_is_gone_with_its_sessions() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let mut other = signed_in(&app).await;
    let (here, same) = (ada.clone(), ada.request(Method::GET, PATH, None));

    let answer = delete(&mut ada, PASSWORD).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(
        answer.set_cookies(),
        [
            "__Secure-refreshToken=; Path=/api/auth; Secure; HttpOnly; SameSite=Strict; \
             Priority=High; Max-Age=0",
            "__Host-csrfToken=; Path=/; Secure; SameSite=Strict; Priority=High; Max-Age=0",
            "__Secure-device=; Path=/api/auth; Secure; HttpOnly; SameSite=Strict; Priority=High; \
             Max-Age=0",
        ]
    );
    app.send(same).await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    other.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    for mut browser in [here, other] {
        let told = browser.refresh().await;
        told.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
        assert_eq!(told.text("reason"), "user_deleted");
    }
    let refused = app.browser().login(ADA, PASSWORD).await;
    refused.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
}

#[tokio::test]
async fn in_cookie_delivery_the_access_cookie_goes_too() {
    let app = TestApp::with_cookie_delivery().await;
    let mut ada = app.registered(ADA).await;
    let mut forged = ada.clone();
    forged.cookies.remove("__Host-csrfToken");
    delete(&mut forged, PASSWORD).await.assert(StatusCode::FORBIDDEN, Some("CSRF_FAILED"));
    ada.me().await.assert(StatusCode::OK, None);
    assert_eq!(delete(&mut ada, PASSWORD).await.status, StatusCode::NO_CONTENT);
    assert!(ada.cookies.is_empty(), "{:?}", ada.cookies);
}

/// The log has no index by user, and everybody's connections are the same.
#[tokio::test]
async fn the_log_is_read_for_one_deletion_at_a_time() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut ada = app.registered(ADA).await;
    let mut eve = app.registered("eve@example.org").await;
    let (refused, told) = tokio::sync::oneshot::channel();
    store.meanwhile(Call::DeleteUser, async move {
        let answer = delete(&mut eve, PASSWORD).await;
        refused.send((eve, answer)).expect("somebody waits");
    });
    assert_eq!(delete(&mut ada, PASSWORD).await.status, StatusCode::NO_CONTENT);
    let (mut eve, refused) = told.await.expect("an answer");
    refused.assert(StatusCode::SERVICE_UNAVAILABLE, Some("OVERLOADED"));
    assert_eq!(delete(&mut eve, PASSWORD).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_deleted_address_is_free_for_somebody_else() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let old = ada.me().await.json()["user"]["id"].clone();
    delete(&mut ada, PASSWORD).await;
    app.advance(1);
    let mut new = app.registered("ADA@example.org").await;
    assert_ne!(new.me().await.json()["user"]["id"], old);
    assert!(
        new.get("/api/auth/sessions").await.json()["ended"].as_array().is_some_and(Vec::is_empty)
    );
}

#[tokio::test]
async fn the_log_of_a_deleted_account_names_nobody() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    patch(&mut ada, json!({ "name": "Ada" })).await.assert(StatusCode::OK, None);
    delete(&mut ada, "zimtkringel im schnee").await.assert_error_form();
    let id = app.users().await[0].id;
    let kept = app.audit().await.len();
    delete(&mut ada, PASSWORD).await;

    let events = app.audit().await;
    let of_ada: Vec<_> = events.iter().filter(|event| event.user_id == Some(id)).collect();
    assert!(of_ada.len() >= kept && of_ada.iter().any(|event| event.name == "user.deleted"));
    for event in &of_ada {
        assert_eq!(event.device, Device::default(), "{event:?}");
    }
    let text = format!("{events:?}");
    assert!(!text.contains("ada@") && !text.contains("Ada"), "{text}");
}

#[tokio::test]
async fn what_devices_of_a_deleted_account_still_send_names_nobody() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let mut other = signed_in(&app).await;
    delete(&mut ada, PASSWORD).await;
    let before = app.audit().await.len();
    other.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    other.refresh().await.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
    let later = &app.audit().await[before..];
    assert_eq!(later.len(), 2);
    for event in later {
        let about_somebody = event.user_id.is_some() || event.session_id.is_some();
        assert!(!about_somebody || event.device == Device::default(), "{event:?}");
    }
}
