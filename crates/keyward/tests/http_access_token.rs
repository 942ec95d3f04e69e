//! Access tokens: what they say, and how every route that takes one refuses what is not good.

mod checks;
mod common;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use checks::{add, claims, header, session_id, set, stored, unset};
use common::{Answer, Browser, PASSWORD, PUBLIC_URL, TestApp, mounted};
use keyward::http::{Access, ROUTES, Route};
use keyward::store::{Revoke, RevokeScope};
use keyward_core::session::RevocationReason;
use serde_json::json;

const ADA: &str = "ada@example.org";

/// Every route that needs an access token.
fn bearer_routes() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| matches!(route.access, Access::AccessToken | Access::Admin(_)))
}

fn request_to(route: &Route, browser: &Browser) -> Request<Body> {
    let id = "01990000-0000-7000-8000-000000000000";
    let path = mounted(route).replace("{id}", id);
    browser.request(route.method.clone(), &path, None)
}

/// Sends a request to every route that needs an access token; each is refused in the same way.
async fn check_every_route(
    browser: &Browser,
    code: &str,
    challenge: &str,
    bend: impl Fn(&mut Request<Body>),
) {
    assert!(bearer_routes().count() >= 14);
    for route in bearer_routes() {
        let mut request = request_to(route, browser);
        bend(&mut request);
        let answer = browser.app.send(request).await;
        let what = format!("{} {}", route.method, route.path);
        assert_eq!(answer.json()["code"], code, "{what}");
        checks::assert_harmless(&answer, StatusCode::UNAUTHORIZED, code);
        assert_eq!(answer.header("www-authenticate"), Some(challenge), "{what}");
    }
}

const INVALID: &str = r#"Bearer error="invalid_token""#;

#[tokio::test]
async fn the_header_and_claims_are_those_of_the_contract() {
    let app = TestApp::new().await;
    let browser = app.registered(ADA).await;
    let token = browser.access_token.as_deref().expect("a token");
    let jwks: serde_json::Value = serde_json::from_str(&app.keyward.jwks()).expect("JSON");
    let kid = &jwks["keys"][0]["kid"];
    assert_eq!(header(token), json!({ "alg": "ES256", "kid": kid, "typ": "at+jwt" }));

    let now = app.keyward.now().secs();
    let mut claims = claims(token);
    let jti = claims.as_object_mut().and_then(|claims| claims.remove("jti")).expect("a jti");
    assert_eq!(jti.as_str().map(str::len), Some(22));
    let expected = json!({
        "iss": PUBLIC_URL,
        "aud": PUBLIC_URL,
        "sub": stored(&browser).await.user.id.to_string(),
        "client_id": "keyward",
        "sid": session_id(&browser).to_string(),
        "iat": now,
        "exp": now + 900,
        "auth_time": now,
        "amr": ["pwd"],
        "roles": [],
        "email": ADA,
    });
    assert_eq!(claims, expected);
}

#[tokio::test]
async fn a_refresh_tells_its_own_time_and_that_of_the_sign_in() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let first = claims(browser.access_token.as_deref().expect("a token"));
    app.advance(1000);
    browser.refresh().await.assert(StatusCode::OK, None);
    let second = claims(browser.access_token.as_deref().expect("a token"));
    let now = app.keyward.now().secs();
    assert_eq!((&second["iat"], &second["exp"]), (&json!(now), &json!(now + 900)));
    assert_eq!((&second["sid"], &second["auth_time"]), (&first["sid"], &first["auth_time"]));
    assert_ne!(second["jti"], first["jti"]);
}

#[tokio::test]
async fn no_token_outlives_its_session() {
    let app = TestApp::with_policy(|policy| {
        policy.rotation.absolute_ttl = Duration::from_secs(60);
    })
    .await;
    let mut browser = app.registered(ADA).await;
    let expires_at = stored(&browser).await.session.expires_at.secs();
    for _ in 0..3 {
        let claims = claims(browser.access_token.as_deref().expect("a token"));
        assert_eq!(claims["exp"], expires_at);
        app.advance(15);
        browser.refresh().await.assert(StatusCode::OK, None);
    }
}

/// From its idle timeout on nobody can end a session, and so nobody is told of its end.
#[tokio::test]
async fn no_token_outlives_an_idle_session() {
    let app = TestApp::with_policy(|policy| {
        policy.rotation.idle_ttl = Duration::from_secs(60);
    })
    .await;
    let mut browser = app.browser();
    let registered = browser.register(ADA, PASSWORD).await;
    assert_ends_idle(&browser, &registered, 60).await;
    app.advance(45);
    let mut again = browser.clone();
    let refreshed = browser.refresh_with_key(&checks::idempotency_key(1)).await;
    assert_ends_idle(&browser, &refreshed, 60).await;
    app.advance(20);
    let retried = again.refresh_with_key(&checks::idempotency_key(1)).await;
    assert_ends_idle(&again, &retried, 40).await;

    app.advance(40);
    let scope = RevokeScope::User(stored(&again).await.user.id);
    let revoke = Revoke { scope, reason: RevocationReason::Admin, noticed: None };
    assert_eq!(app.store.revoke(revoke, &app.nobody()).await.expect("the store works"), []);
    let exp = claims(again.access_token.as_deref().expect("a token"))["exp"].as_i64();
    assert!(exp <= Some(app.keyward.now().secs()), "{exp:?}");
}

/// The token of this answer ends with the session's idle timeout, and the client is told so.
async fn assert_ends_idle(browser: &Browser, answer: &Answer, expires_in: i64) {
    assert_eq!(answer.json()["expiresIn"], expires_in, "{answer:?}");
    let claims = claims(browser.access_token.as_deref().expect("a token"));
    assert_eq!(claims["exp"], stored(browser).await.session.idle_expires_at.secs());
    assert_eq!(claims["exp"], browser.app.keyward.now().secs() + expires_in);
}

#[tokio::test]
async fn it_is_good_to_its_last_second_and_without_leeway() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    app.advance(899);
    browser.me().await.assert(StatusCode::OK, None);
    app.advance(1);
    check_every_route(&browser, "TOKEN_EXPIRED", INVALID, |_| {}).await;
}

#[tokio::test]
async fn every_route_refuses_a_request_without_token() {
    let app = TestApp::new().await;
    let browser = app.registered(ADA).await;
    check_every_route(&browser, "NO_TOKEN", "Bearer", |request| unset(request, "authorization"))
        .await;
    check_every_route(&browser, "NO_TOKEN", "Bearer", |request| {
        set(request, "authorization", "Basic YWRhOnNlY3JldA==");
    })
    .await;
}

#[tokio::test]
async fn every_route_refuses_a_token_that_is_none_of_ours() {
    let app = TestApp::new().await;
    let browser = app.registered(ADA).await;
    let elsewhere = TestApp::new().await.registered(ADA).await;
    let foreign = elsewhere.access_token.expect("a token");
    let refresh = browser.refresh_token().expect("a token").to_owned();
    for token in ["", "a.b.c", &foreign, &refresh] {
        check_every_route(&browser, "INVALID_TOKEN", INVALID, |request| {
            set(request, "authorization", &format!("Bearer {token}"));
        })
        .await;
    }
}

#[tokio::test]
async fn every_route_refuses_a_token_of_an_ended_session_at_once() {
    let app = TestApp::new().await;
    let browser = app.registered(ADA).await;
    browser.clone().me().await.assert(StatusCode::OK, None);
    browser.clone().post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    check_every_route(&browser, "TOKEN_REVOKED", INVALID, |_| {}).await;
}

#[tokio::test]
async fn a_theft_ends_the_access_tokens_of_both_parties() {
    let app = TestApp::new().await;
    let mut thief = app.registered(ADA).await;
    let mut victim = thief.clone();
    thief.refresh().await.assert(StatusCode::OK, None);
    victim.refresh().await.assert(StatusCode::UNAUTHORIZED, Some("REFRESH_TOKEN_REUSED"));
    check_every_route(&thief, "TOKEN_REVOKED", INVALID, |_| {}).await;
    check_every_route(&victim, "TOKEN_REVOKED", INVALID, |_| {}).await;
}

#[tokio::test]
async fn earlier_access_tokens_of_a_live_session_stay_good() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut with_first = browser.clone();
    browser.refresh().await.assert(StatusCode::OK, None);
    with_first.me().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn an_idle_sessions_token_has_expired_with_it() {
    let app = TestApp::with_policy(|policy| {
        policy.rotation.idle_ttl = Duration::from_secs(60);
    })
    .await;
    let browser = app.registered(ADA).await;
    app.advance(60);
    check_every_route(&browser, "TOKEN_EXPIRED", INVALID, |_| {}).await;
}

#[tokio::test]
async fn the_scheme_is_read_in_any_case_and_two_headers_are_refused() {
    let app = TestApp::new().await;
    let browser = app.registered(ADA).await;
    let token = browser.access_token.clone().expect("a token");
    let mut request = browser.request(Method::GET, "/api/auth/me", None);
    set(&mut request, "authorization", &format!("bEARER {token}"));
    app.send(request).await.assert(StatusCode::OK, None);
    let mut twice = browser.request(Method::GET, "/api/auth/me", None);
    add(&mut twice, "authorization", &format!("Bearer {token}"));
    app.send(twice).await.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
}

#[tokio::test]
async fn in_body_delivery_a_cookie_is_no_access_token() {
    let app = TestApp::new().await;
    let browser = app.registered(ADA).await;
    let token = browser.access_token.clone().expect("a token");
    let mut request = browser.request(Method::GET, "/api/auth/me", None);
    unset(&mut request, "authorization");
    checks::set_cookies(&mut request, &[(checks::ACCESS_COOKIE, &token)]);
    let answer: Answer = app.send(request).await;
    answer.assert(StatusCode::UNAUTHORIZED, Some("NO_TOKEN"));
}

#[tokio::test]
async fn refused_tokens_are_counted_in_the_audit_log() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    browser.clone().post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    browser.access_token = Some("a.b.c".to_owned());
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("INVALID_TOKEN"));
    let expected = json!({ "count": 1 });
    let found = checks::details(&app, "access_token.rejected").await;
    assert_eq!(found, [expected.clone(), expected]);
}

#[tokio::test]
async fn a_new_sign_in_has_its_own_time() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    app.advance(500);
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    let claims = claims(browser.access_token.as_deref().expect("a token"));
    assert_eq!(claims["auth_time"], app.keyward.now().secs());
}
