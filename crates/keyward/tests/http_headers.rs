//! Headers of every answer, the form of every error, and request ids.

mod checks;
mod common;

use std::net::SocketAddr;

use axum::http::{Method, StatusCode};
use checks::{refresh_request, set};
use common::{Answer, TestApp};
use keyward::http::PeerAddress;

/// One answer of every kind.
async fn answers(app: &TestApp) -> Vec<Answer> {
    let mut browser = app.registered("ada@example.org").await;
    let mut answers = vec![
        browser.me().await,
        browser.get("/healthz").await,
        browser.get("/.well-known/jwks.json").await,
        browser.get("/nowhere").await,
        browser.get("/api/auth/nowhere").await,
        browser.get("/api/auth/login").await,
        browser.post("/api/auth/login", None).await,
        app.browser().refresh().await,
        app.browser().me().await,
    ];
    for _ in 0..60 {
        browser.refresh().await.assert(StatusCode::OK, None);
    }
    answers.push(browser.refresh().await);
    let id = checks::session_id(&browser).to_string();
    answers.push(browser.call(Method::DELETE, &format!("/api/auth/sessions/{id}"), None).await);
    answers
}

#[tokio::test]
async fn every_answer_has_the_headers_of_the_contract() {
    let app = TestApp::new().await;
    let answers = answers(&app).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 404, 404, 405, 415, 401, 401, 429, 204]);
    for answer in &answers {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("strict-transport-security", "max-age=31536000"),
            ("vary", "Origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
            assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{answer:?}");
        }
        assert!(answer.header("x-request-id").is_some_and(|id| id.len() == 22), "{answer:?}");
        assert_eq!(answer.header("server"), None);
        if answer.status.is_client_error() {
            answer.assert_error_form();
        }
    }
}

#[tokio::test]
async fn what_holds_tokens_is_never_cached() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let answers = [
        browser.refresh().await,
        browser.me().await,
        browser.get("/api/auth/csrf").await,
        browser.get("/api/auth/sessions").await,
        browser.post("/api/auth/logout", None).await,
    ];
    for answer in answers {
        answer.assert(StatusCode::OK, None);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_service_on_plain_http_promises_no_https() {
    let app = TestApp::with_policy(|policy| {
        policy.web.public_url = "http://127.0.0.1:8080".to_owned();
    })
    .await;
    let answer = app.browser().get("/healthz").await;
    assert_eq!(answer.header("strict-transport-security"), None);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let app = TestApp::new().await;
    let answer = app.browser().get("/api/auth/refresh").await;
    answer.assert(StatusCode::METHOD_NOT_ALLOWED, Some("METHOD_NOT_ALLOWED"));
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test]
async fn each_answer_has_its_own_request_id_and_the_audit_log_knows_it() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let (first, second) = (browser.refresh().await, browser.refresh().await);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    let events = app.audit().await;
    let refreshed: Vec<_> = events
        .iter()
        .filter(|event| event.name == "session.refreshed")
        .map(|event| event.request_id.as_deref())
        .collect();
    assert_eq!(refreshed, [first.header("x-request-id"), second.header("x-request-id")]);
}

#[tokio::test]
async fn a_request_id_and_an_address_count_from_trusted_proxies_only() {
    let app = TestApp::with_policy(|policy| {
        policy.web.trusted_proxies = vec!["192.0.2.0/24".parse().expect("a net")];
    })
    .await;
    for (peer, id, ip) in
        [("192.0.2.1", Some("given"), "203.0.113.9"), ("198.51.100.1", None, "198.51.100.1")]
    {
        let mut browser = app.registered(&format!("{peer}@example.org")).await;
        let mut request = refresh_request(&browser);
        set(&mut request, "x-request-id", "given");
        set(&mut request, "x-forwarded-for", "203.0.113.9");
        let peer: SocketAddr = format!("{peer}:4711").parse().expect("an address");
        request.extensions_mut().insert(PeerAddress(peer));
        let answer = browser.send(request).await;
        answer.assert(StatusCode::OK, None);
        let given = answer.header("x-request-id").filter(|id| *id == "given");
        assert_eq!(given, id);
        let last = app.audit().await.pop().expect("an event");
        assert_eq!(last.device.ip.as_deref(), Some(ip));
    }
}

#[tokio::test]
async fn a_request_id_that_could_forge_a_line_is_replaced() {
    let app = TestApp::with_policy(|policy| {
        policy.web.trusted_proxies = vec!["0.0.0.0/0".parse().expect("a net")];
    })
    .await;
    let long = "x".repeat(65);
    for given in ["", "a b", "a\"b", "<b>", &long] {
        let mut request = app.browser().request(Method::GET, "/healthz", None);
        set(&mut request, "x-request-id", given);
        let answer = app.send(request).await;
        assert_ne!(answer.header("x-request-id"), Some(given));
        assert_eq!(answer.header("x-request-id").map(str::len), Some(22));
    }
}

/// What a user agent says of itself is kept short and plain.
#[tokio::test]
async fn a_user_agent_cannot_fill_or_forge_the_audit_log() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut request = refresh_request(&browser);
    set(&mut request, "user-agent", &format!("Mozilla\u{202e}/5.0 {}", "x".repeat(5000)));
    browser.send(request).await.assert(StatusCode::OK, None);
    let last = app.audit().await.pop().expect("an event");
    let kept = last.device.user_agent.expect("a user agent");
    assert!(kept.starts_with("Mozilla/5.0 x") && kept.len() == 256, "{kept}");
}

#[tokio::test]
async fn no_event_holds_a_token_a_code_or_a_hash() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut thief = browser.clone();
    browser.refresh_with_key(&checks::idempotency_key(1)).await.assert(StatusCode::OK, None);
    browser.clone().refresh().await.assert(StatusCode::OK, None);
    thief.refresh().await.assert(StatusCode::UNAUTHORIZED, Some("REFRESH_TOKEN_REUSED"));
    let csrf = browser.csrf_token().expect("a token").to_owned();
    let jwt = browser.access_token.clone().expect("a token");
    for event in app.audit().await {
        let text = format!("{event:?}");
        for secret in ["kwr_", &csrf, &jwt, "a key of a rotation", common::PASSWORD, "argon2"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
