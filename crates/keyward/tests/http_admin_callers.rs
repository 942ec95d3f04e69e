//! Who may call admin routes: services by their key, administrators by access token.

mod checks;
mod common;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use checks::{add, assert_harmless, count_events, set, set_cookies, unset};
use common::second_factor::Authenticator;
use common::{Backend, Browser, PASSWORD, TestApp, mounted};
use keyward::http::{Access, ROUTES, Route};
use keyward_core::id::ServiceKeyId;
use keyward_core::service_key::{Scope, ServiceKey};
use serde_json::json;

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const SOME_ID: &str = "01990000-0000-7000-8000-000000000000";
const INVALID: &str = r#"Bearer error="invalid_token""#;

/// Every admin route with its scope, and where it is.
fn admin_routes() -> impl Iterator<Item = (&'static Route, Scope, String)> {
    ROUTES.iter().filter_map(|route| {
        let Access::Admin(scope) = route.access else { return None };
        Some((route, scope, mounted(route).replace("{id}", SOME_ID)))
    })
}

fn changes(route: &Route) -> bool {
    route.method != Method::GET
}

/// Calls every admin route with this key; each refuses it in the same way.
async fn check_refused(backend: &Backend) {
    assert!(admin_routes().count() >= 7);
    for (route, _, path) in admin_routes() {
        let answer = backend.call(route.method.clone(), &path, None).await;
        assert_harmless(&answer, StatusCode::UNAUTHORIZED, "INVALID_TOKEN");
        assert_eq!(answer.header("www-authenticate"), Some(INVALID), "{path}");
    }
}

/// A request of the browser's page to a route that every administrator may read.
fn reading(browser: &Browser) -> Request<Body> {
    browser.request(Method::GET, "/api/admin/audit", None)
}

/// One that changes something, if there were such a session.
fn changing(browser: &Browser) -> Request<Body> {
    browser.request(Method::DELETE, &format!("/api/admin/sessions/{SOME_ID}"), None)
}

#[tokio::test]
async fn a_key_opens_the_routes_of_its_scope_and_no_other() {
    let app = TestApp::new().await;
    for held in Scope::ALL {
        let backend = app.backend(&app.service_key(&[*held]).await);
        for (route, scope, path) in admin_routes() {
            let answer = backend.call(route.method.clone(), &path, None).await;
            let refused = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(refused, scope != *held, "{held:?} {} {path}", route.method);
            if refused {
                assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
                let scope = scope.as_str();
                assert_eq!(answer.json()["scope"], scope, "{path}");
                let challenge = format!(r#"Bearer error="insufficient_scope", scope="{scope}""#);
                assert_eq!(answer.header("www-authenticate"), Some(&*challenge), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_without_any_scope_opens_nothing() {
    let app = TestApp::new().await;
    let backend = app.backend(&app.service_key(&[]).await);
    for (route, _, path) in admin_routes() {
        let answer = backend.call(route.method.clone(), &path, None).await;
        assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    }
}

#[tokio::test]
async fn a_key_that_has_expired_is_refused_from_that_moment_on() {
    let app = TestApp::new().await;
    let expires_at = app.keyward.now().plus(Duration::from_secs(60));
    let backend = app.backend(&app.expiring_service_key(Scope::ALL, Some(expires_at)).await);
    app.advance(59);
    backend.get("/api/admin/audit").await.assert(StatusCode::OK, None);
    app.advance(1);
    check_refused(&backend).await;
}

#[tokio::test]
async fn a_key_that_was_revoked_is_refused_at_once() {
    let app = TestApp::new().await;
    let backend = app.backend(&app.service_key(Scope::ALL).await);
    let other = app.backend(&app.service_key(Scope::ALL).await);
    backend.get("/api/admin/audit").await.assert(StatusCode::OK, None);
    let id = ServiceKeyId::from_bytes([1; 16]);
    app.store.revoke_service_key(id, &app.nobody()).await.expect("the store works");
    check_refused(&backend).await;
    other.get("/api/admin/audit").await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let app = TestApp::with_policy(|policy| policy.limits.service_key_address = None).await;
    let key = app.service_key(Scope::ALL).await;
    let unknown = ServiceKey::issue(&[99; 32]);
    for text in [
        "kwk_",
        unknown.expose(),
        &key[..key.len() - 1],
        &format!("{key}A"),
        &format!("{key}="),
        &format!("{key} "),
        &format!(" {key}"),
        &format!("{key},{key}"),
        &key.to_uppercase(),
        &key.replace("kwk_", "KWK_"),
        &key.replace("kwk_", ""),
        &key.replace("kwk_", "kwr_"),
    ] {
        check_refused(&app.backend(text)).await;
    }
}

#[tokio::test]
async fn another_kind_of_token_is_no_key_and_a_key_no_other_token() {
    let app = TestApp::new().await;
    let ada = app.admin(ADA).await;
    let refresh_token = ada.refresh_token().expect("a token").to_owned();
    for text in [&refresh_token, ada.csrf_token().expect("a token"), "a.b.c"] {
        check_refused(&app.backend(text)).await;
    }
    let key = app.service_key(Scope::ALL).await;
    let answer = app.backend(&key).get("/api/auth/me").await;
    assert_harmless(&answer, StatusCode::UNAUTHORIZED, "INVALID_TOKEN");
    let mut refresh = checks::refresh_request(&ada);
    set_cookies(&mut refresh, &[(checks::REFRESH_COOKIE, &key)]);
    let answer = app.send(refresh).await;
    answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_REFRESH_TOKEN"));
}

#[tokio::test]
async fn a_key_counts_in_the_authorization_header_alone() {
    for delivery in [false, true] {
        let app =
            if delivery { TestApp::with_cookie_delivery().await } else { TestApp::new().await };
        let key = app.service_key(Scope::ALL).await;
        let stranger = app.browser();
        for parameter in ["access_token", "token", "key", "authorization"] {
            let path = format!("/api/admin/audit?{parameter}={key}");
            let answer = app.send(stranger.request(Method::GET, &path, None)).await;
            assert_harmless(&answer, StatusCode::UNAUTHORIZED, "NO_TOKEN");
        }
        for header in ["x-api-key", "x-csrf-token", "idempotency-key", "proxy-authorization"] {
            let mut request = reading(&stranger);
            set(&mut request, header, &format!("Bearer {key}"));
            assert_harmless(&app.send(request).await, StatusCode::UNAUTHORIZED, "NO_TOKEN");
        }
        for cookie in [checks::ACCESS_COOKIE, checks::REFRESH_COOKIE, "key"] {
            let mut request = reading(&stranger);
            set_cookies(&mut request, &[(cookie, &key)]);
            let as_token = delivery && cookie == checks::ACCESS_COOKIE;
            let code = if as_token { "INVALID_TOKEN" } else { "NO_TOKEN" };
            assert_harmless(&app.send(request).await, StatusCode::UNAUTHORIZED, code);
        }
        let mut request = reading(&stranger);
        set(&mut request, "authorization", &format!("Basic {key}"));
        assert_harmless(&app.send(request).await, StatusCode::UNAUTHORIZED, "NO_TOKEN");
        let mut twice = reading(&stranger);
        for _ in 0..2 {
            add(&mut twice, "authorization", &format!("Bearer {key}"));
        }
        assert_harmless(&app.send(twice).await, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
    }
}

/// The header decides: a page's cookies beside a key change nothing.
#[tokio::test]
async fn a_key_needs_no_origin_and_no_csrf_token() {
    let app = TestApp::with_cookie_delivery().await;
    let mut request = changing(&app.admin(ADA).await);
    let key = app.service_key(&[Scope::SessionsWrite]).await;
    set(&mut request, "authorization", &format!("Bearer {key}"));
    set(&mut request, "origin", "https://evil.example");
    unset(&mut request, "x-csrf-token");
    assert_harmless(&app.send(request).await, StatusCode::NOT_FOUND, "NOT_FOUND");
}

#[tokio::test]
async fn an_administrator_may_call_every_route() {
    let app = TestApp::new().await;
    let ada = app.admin(ADA).await;
    for (route, _, path) in admin_routes() {
        let answer = app.send(ada.request(route.method.clone(), &path, None)).await;
        let passed = [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::UNSUPPORTED_MEDIA_TYPE];
        assert!(passed.contains(&answer.status), "{} {path}: {answer:?}", route.method);
    }
}

#[tokio::test]
async fn whoever_is_no_administrator_may_call_none() {
    let app = TestApp::new().await;
    let ada = app.registered(ADA).await;
    let id = checks::stored(&ada).await.user.id;
    app.set_roles(id, &["Admin", "administrator", "admins", "users:write"]).await;
    for (route, _, path) in admin_routes() {
        let answer = app.send(ada.request(route.method.clone(), &path, None)).await;
        assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    }
}

/// In both directions: what the token says is as old as the token.
#[tokio::test]
async fn roles_are_read_afresh() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let id = checks::stored(&ada).await.user.id;
    app.set_roles(id, &["admin"]).await;
    app.send(reading(&ada)).await.assert(StatusCode::OK, None);
    ada.refresh().await.assert(StatusCode::OK, None);
    app.set_roles(id, &[]).await;
    let answer = app.send(reading(&ada)).await;
    assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
}

#[tokio::test]
async fn a_change_by_token_needs_a_sign_in_of_the_last_quarter_of_an_hour() {
    let app = TestApp::new().await;
    let mut ada = app.admin(ADA).await;
    app.advance(14 * 60);
    ada.refresh().await.assert(StatusCode::OK, None);
    app.advance(60);
    assert_harmless(&app.send(changing(&ada)).await, StatusCode::NOT_FOUND, "NOT_FOUND");
    app.advance(1);
    for (route, _, path) in admin_routes().filter(|(route, ..)| changes(route)) {
        let answer = app.send(ada.request(route.method.clone(), &path, None)).await;
        assert_harmless(&answer, StatusCode::FORBIDDEN, "REAUTHENTICATION_REQUIRED");
    }
    app.send(reading(&ada)).await.assert(StatusCode::OK, None);
    ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    assert_harmless(&app.send(changing(&ada)).await, StatusCode::NOT_FOUND, "NOT_FOUND");
}

/// However recent the sign-in was, and on every route: what is read there is others' too.
#[tokio::test]
async fn a_session_without_the_second_factor_that_there_is_administrates_nothing() {
    let app = TestApp::new().await;
    let mut without = app.admin(ADA).await;
    app.send(reading(&without)).await.assert(StatusCode::OK, None);
    let mut proven = app.browser();
    proven.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    Authenticator::enable(&mut proven).await;
    let refused = app.send(changing(&without)).await;
    assert_harmless(&refused, StatusCode::FORBIDDEN, "REAUTHENTICATION_REQUIRED");
    assert_eq!(refused.json()["error"], "Sign in again to do this.");
    without.refresh().await.assert(StatusCode::OK, None);
    for (route, _, path) in admin_routes() {
        let answer = app.send(without.request(route.method.clone(), &path, None)).await;
        assert_harmless(&answer, StatusCode::FORBIDDEN, "REAUTHENTICATION_REQUIRED");
    }
    app.send(reading(&proven)).await.assert(StatusCode::OK, None);
    assert_harmless(&app.send(changing(&proven)).await, StatusCode::NOT_FOUND, "NOT_FOUND");
    // To read, the sign-in may be long ago.
    app.advance(16 * 60);
    proven.refresh().await.assert(StatusCode::OK, None);
    app.send(reading(&proven)).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn how_recent_the_sign_in_must_be_is_configured() {
    let app = TestApp::with_policy(|policy| {
        policy.accounts.reauthentication_window = Duration::from_secs(60);
    })
    .await;
    let ada = app.admin(ADA).await;
    app.advance(61);
    let answer = app.send(changing(&ada)).await;
    assert_harmless(&answer, StatusCode::FORBIDDEN, "REAUTHENTICATION_REQUIRED");
}

#[tokio::test]
async fn in_cookie_delivery_an_administrators_change_needs_both_csrf_checks() {
    let app = TestApp::with_cookie_delivery().await;
    let ada = app.admin(ADA).await;
    app.send(reading(&ada)).await.assert(StatusCode::OK, None);
    assert_harmless(&app.send(changing(&ada)).await, StatusCode::NOT_FOUND, "NOT_FOUND");
    let mut foreign = changing(&ada);
    set(&mut foreign, "origin", "https://evil.example");
    assert_harmless(&app.send(foreign).await, StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED");
    let mut unproved = changing(&ada);
    unset(&mut unproved, "x-csrf-token");
    assert_harmless(&app.send(unproved).await, StatusCode::FORBIDDEN, "CSRF_FAILED");
}

#[tokio::test]
async fn a_guess_at_a_key_is_noted_and_limited_by_address() {
    let app = TestApp::new().await;
    let good = app.backend(&app.service_key(&[Scope::AuditRead]).await);
    for guess in 0..100_u8 {
        let text = ServiceKey::issue(&[guess + 100; 32]);
        let answer = app.backend(text.expose()).get("/api/admin/audit").await;
        assert_harmless(&answer, StatusCode::UNAUTHORIZED, "INVALID_TOKEN");
    }
    let limited = app.backend("kwk_").get("/api/admin/audit").await;
    assert_harmless(&limited, StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED");
    let policy = limited.header("ratelimit-policy");
    assert_eq!(policy, Some("\"service_key_address\";q=100;w=900"));
    good.get("/api/admin/audit").await.assert(StatusCode::OK, None);

    let noted = checks::details(&app, "access_token.rejected").await;
    let ones = vec![json!({ "count": 1 }); 10];
    assert_eq!(noted, [ones, vec![json!({ "count": 91 })]].concat());
}

/// Whoever holds a key that was good guesses nothing.
#[tokio::test]
async fn a_dead_key_is_noted_and_not_limited() {
    let app = TestApp::new().await;
    let now = app.keyward.now();
    let expired = app.backend(&app.expiring_service_key(Scope::ALL, Some(now)).await);
    for _ in 0..101 {
        let answer = expired.get("/api/admin/audit").await;
        assert_harmless(&answer, StatusCode::UNAUTHORIZED, "INVALID_TOKEN");
    }
    assert_eq!(count_events(&app, "access_token.rejected").await, 11);
}

#[tokio::test]
async fn a_user_who_was_disabled_is_no_administrator_any_more() {
    let app = TestApp::new().await;
    app.admin(BOB).await;
    let ada = app.admin(ADA).await;
    let id = checks::stored(&ada).await.user.id;
    app.set_disabled(id, true).await;
    let answer = app.send(reading(&ada)).await;
    assert_harmless(&answer, StatusCode::UNAUTHORIZED, "TOKEN_REVOKED");
}

#[tokio::test]
async fn the_admin_routes_follow_the_base_path() {
    for (base_path, admin_path) in [("/auth", "/admin"), ("/admin", "/admin/admin")] {
        let app = TestApp::with_policy(|policy| base_path.clone_into(&mut policy.web.base_path));
        let app = app.await;
        let backend = app.backend(&app.service_key(Scope::ALL).await);
        backend.get(&format!("{admin_path}/audit")).await.assert(StatusCode::OK, None);
        let elsewhere = backend.get("/api/admin/audit").await;
        assert_harmless(&elsewhere, StatusCode::NOT_FOUND, "NOT_FOUND");
    }
}
