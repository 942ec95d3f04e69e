//! `POST /introspect` (RFC 7662): other services ask whether an access token is good.

mod checks;
mod common;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use checks::count_events;
use common::{Answer, PASSWORD, TestApp};
use keyward_core::service_key::Scope;
use serde_json::json;

const ADA: &str = "ada@example.org";
const INTROSPECT: &str = "/api/auth/introspect";
const FORM: &str = "application/x-www-form-urlencoded";

async fn introspect(app: &TestApp, token: &str) -> Answer {
    let key = app.service_key(&[Scope::Introspect]).await;
    send(app, &key, FORM, &format!("token={token}&token_type_hint=access_token")).await
}

async fn send(app: &TestApp, key: &str, content_type: &str, body: &str) -> Answer {
    let request = Request::builder().method(Method::POST).uri(INTROSPECT);
    let request = request.header("authorization", format!("Bearer {key}"));
    let request = request.header("content-type", content_type);
    app.send(request.body(Body::from(body.to_owned())).expect("a request")).await
}

#[track_caller]
fn assert_inactive(answer: &Answer) {
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json(), json!({ "active": false }));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_good_token_is_told_with_its_claims() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let me = ada.me().await.json();
    let token = ada.access_token.clone().expect("a token");
    let answer = introspect(&app, &token).await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut told = answer.json();
    let now = app.keyward.now().secs();
    assert!(told["jti"].take().is_string());
    let expected = json!({
        "active": true, "token_type": "Bearer", "jti": null,
        "iss": common::PUBLIC_URL, "aud": common::PUBLIC_URL, "client_id": "keyward",
        "sub": me["user"]["id"], "sid": me["session"]["id"], "email": ADA, "roles": [],
        "iat": now, "exp": now + 900, "auth_time": now, "amr": ["pwd"],
    });
    assert_eq!(told, expected);
}

/// It reads the store: no other node has to be told first.
#[tokio::test]
async fn a_revocation_is_seen_at_once_on_every_node() {
    let app = TestApp::new().await;
    let other = TestApp::on_store(app.store.clone(), |_| {}).await;
    let mut ada = app.registered(ADA).await;
    let token = ada.access_token.clone().expect("a token");
    assert_eq!(introspect(&other, &token).await.json()["active"], true);
    ada.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    assert_inactive(&introspect(&other, &token).await);
    assert_inactive(&introspect(&app, &token).await);
}

#[tokio::test]
async fn tokens_of_the_disabled_the_deleted_and_the_timed_out_are_inactive() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let token = ada.access_token.clone().expect("a token");
    app.advance(900);
    assert_inactive(&introspect(&app, &token).await);
    ada.refresh().await.assert(StatusCode::OK, None);
    let token = ada.access_token.clone().expect("a token");
    let id = ada.me().await.json()["user"]["id"].as_str().expect("an id").parse().expect("an id");
    app.set_disabled(id, true).await;
    assert_inactive(&introspect(&app, &token).await);
    app.set_disabled(id, false).await;
    assert_inactive(&introspect(&app, &token).await);

    ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    let token = ada.access_token.clone().expect("a token");
    let body = Some(json!({ "password": PASSWORD }));
    let deleted = ada.call(Method::DELETE, "/api/auth/me", body).await;
    deleted.assert(StatusCode::NO_CONTENT, None);
    assert_inactive(&introspect(&app, &token).await);
}

/// And of no other kind: who asks learns nothing of refresh tokens and service keys.
#[tokio::test]
async fn whatever_is_no_access_token_is_inactive_and_leaves_no_trace() {
    let app = TestApp::new().await;
    let ada = app.registered(ADA).await;
    let token = ada.access_token.clone().expect("a token");
    let key = app.service_key(Scope::ALL).await;
    let refresh = ada.refresh_token().expect("a token");
    let csrf = ada.csrf_token().expect("a token");
    let cut = &token[..token.len() - 1];
    let long = "a".repeat(60_000);
    for junk in ["", "junk", "a.b.c", cut, refresh, csrf, &key, &long, "%ff%00", "%F0%9F%92%A9"] {
        assert_inactive(&introspect(&app, junk).await);
    }
    assert_eq!(count_events(&app, "access_token.rejected").await, 0);
    assert_eq!(count_events(&app, "refresh.rejected").await, 0);
}

#[tokio::test]
async fn only_services_with_the_scope_may_ask() {
    let app = TestApp::new().await;
    let admin = app.admin(ADA).await;
    let token = admin.access_token.clone().expect("a token");
    let body = format!("token={token}");
    let refused = send(&app, &token, FORM, &body).await;
    refused.assert(StatusCode::UNAUTHORIZED, Some("INVALID_TOKEN"));
    for scope in Scope::ALL.iter().filter(|scope| **scope != Scope::Introspect) {
        let key = app.service_key(&[*scope]).await;
        let refused = send(&app, &key, FORM, &body).await;
        refused.assert(StatusCode::FORBIDDEN, Some("INSUFFICIENT_PERMISSIONS"));
    }
}

#[tokio::test]
async fn the_request_is_a_form_with_one_token() {
    let app = TestApp::new().await;
    let key = app.service_key(&[Scope::Introspect]).await;
    for content_type in ["application/json", "text/plain", "", "multipart/form-data"] {
        let refused = send(&app, &key, content_type, "token=x").await;
        refused.assert(StatusCode::UNSUPPORTED_MEDIA_TYPE, Some("UNSUPPORTED_MEDIA_TYPE"));
    }
    for body in ["", "token_type_hint=x", "Token=x", "token=x&token=x", "{\"token\":\"x\"}"] {
        let refused = send(&app, &key, FORM, body).await;
        refused.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
        assert!(refused.json()["fields"]["token"].is_string(), "{body}");
    }
    let large = format!("token={}", "x".repeat(64 * 1024));
    let refused = send(&app, &key, FORM, &large).await;
    refused.assert(StatusCode::PAYLOAD_TOO_LARGE, Some("PAYLOAD_TOO_LARGE"));
    let charset = format!("{FORM}; charset=UTF-8");
    assert_inactive(&send(&app, &key, &charset, "token=x&more=y&more=z").await);
}
