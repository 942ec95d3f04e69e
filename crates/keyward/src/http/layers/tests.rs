use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::routing::{get, post};
use http::header::{
    ALLOW, CONTENT_LENGTH, COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
};
use keyward_core::limits::Quota;
use keyward_core::session::RevocationReason;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::entropy::danger_for_tests::SeededEntropy;
use crate::http::PeerAddress;
use crate::limits::Limited;
use crate::policy::{AllowedOrigins, Policy};
use crate::store::StoreError;

const LISTED: &str = "https://app.example.net";

fn edge(public_url: &str) -> Edge {
    let policy = WebPolicy {
        allowed_origins: AllowedOrigins::Listed(vec![LISTED.to_owned()]),
        trusted_proxies: vec!["10.0.0.0/8".parse().expect("a net")],
        request_timeout: Duration::from_millis(20),
        ..Policy::new(public_url).web
    };
    Edge::new(&policy, Arc::new(SeededEntropy::new(1)), Arc::new(Metrics::new()))
}

async fn fail_with_cookie() -> (HeaderMap, ApiError) {
    let mut headers = HeaderMap::new();
    headers.insert(SET_COOKIE, HeaderValue::from_static("refreshToken=; Max-Age=0"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    (headers, ApiError::SessionRevoked { reason: RevocationReason::StoreRollback })
}

async fn who(request: Request) -> String {
    let extensions = request.extensions();
    format!("{} {}", ClientAddress::of(extensions), RequestId::of(extensions))
}

fn router() -> Router {
    edge("https://auth.example.org").wrap(
        Router::new()
            .route("/ok", get(who))
            .route("/page", get(|| async { [(CONTENT_SECURITY_POLICY, "script-src 'self'")] }))
            .route("/keys", get(|| async { [(CACHE_CONTROL, "max-age=300")] }))
            .route("/elsewhere", get(|| async { (StatusCode::SEE_OTHER, [(LOCATION, "/ok")]) }))
            .route("/fail", post(fail_with_cookie))
            .route("/teapot", get(|| async { StatusCode::IM_A_TEAPOT }))
            .route("/bare", get(bare))
            .route("/panic", get(|| async { panic_now() }))
            .route("/never", get(std::future::pending::<()>)),
    )
}

async fn bare() -> impl axum::response::IntoResponse {
    (StatusCode::BAD_GATEWAY, [(CONTENT_LENGTH, "9")], "nginx 1.2")
}

fn panic_now() {
    std::panic::panic_any("not for the client");
}

async fn send(router: Router, request: http::request::Builder) -> Response {
    let request = request.body(Body::empty()).expect("a request");
    router.oneshot(request).await.expect("never fails")
}

async fn body(response: Response) -> Value {
    let bytes = to_bytes(response.into_body(), 4096).await.expect("a body");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn peer(address: &str) -> PeerAddress {
    PeerAddress(SocketAddr::new(address.parse().expect("an address"), 4711))
}

/// Every answer carries these, whatever it is.
fn check_headers(what: &str, response: &Response) {
    let headers = response.headers();
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("strict-transport-security", "max-age=31536000"),
        ("cache-control", "no-store"),
        ("vary", "Origin"),
    ] {
        assert_eq!(headers.get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()), "{what}");
    }
    assert_eq!(headers["x-request-id"].len(), 22, "{what}");
}

#[tokio::test]
async fn every_failure_looks_alike() {
    for (request, status, code) in [
        (http::Request::get("/nowhere"), 404, "NOT_FOUND"),
        (http::Request::delete("/ok"), 405, "METHOD_NOT_ALLOWED"),
        (http::Request::options("/ok"), 405, "METHOD_NOT_ALLOWED"),
        (http::Request::get("/teapot"), 418, "INVALID_REQUEST"),
        (http::Request::get("/bare"), 502, "INTERNAL"),
        (http::Request::get("/panic"), 500, "INTERNAL"),
        (http::Request::get("/never"), 503, "OVERLOADED"),
        (http::Request::post("/fail"), 401, "SESSION_REVOKED"),
    ] {
        let response = send(router(), request).await;
        check_headers(code, &response);
        // A status without a code of its own is answered as the code's.
        let status = match status {
            418 => 400,
            502 => 500,
            status => status,
        };
        assert_eq!(response.status(), status, "{code}");
        assert_eq!(response.headers()["content-type"], "application/json", "{code}");
        let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
        let length = response.headers().get(CONTENT_LENGTH).cloned();
        let body = body(response).await;
        let sent = length.map(|length| length == body.to_string().len().to_string());
        assert_ne!(sent, Some(false), "{code}");
        assert_eq!(body["code"], code);
        assert_eq!(body["requestId"], id);
        let sentence = body["error"].as_str().expect("a sentence");
        assert!(sentence.ends_with('.') && !sentence.contains("nginx"), "{sentence}");
    }
}

#[tokio::test]
async fn an_error_keeps_the_other_headers_of_its_answer() {
    let response = send(router(), http::Request::post("/fail")).await;
    assert_eq!(response.headers()[SET_COOKIE], "refreshToken=; Max-Age=0");
    assert_eq!(body(response).await["reason"], "store_rollback");
    let response = send(router(), http::Request::delete("/ok")).await;
    assert_eq!(response.headers()[ALLOW], "GET,HEAD");
}

#[tokio::test]
async fn what_is_no_error_passes() {
    let response = send(router(), http::Request::get("/ok")).await;
    check_headers("ok", &response);
    assert_eq!(response.status(), StatusCode::OK);
    let page = send(router(), http::Request::get("/page")).await;
    assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], "script-src 'self'");
    let keys = send(router(), http::Request::get("/keys")).await;
    assert_eq!(keys.headers()[CACHE_CONTROL], "max-age=300");
    let elsewhere = send(router(), http::Request::get("/elsewhere")).await;
    assert_eq!(elsewhere.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn plain_http_promises_no_https() {
    let router = edge("http://localhost:8080").wrap(Router::new());
    let response = send(router, http::Request::get("/")).await;
    assert!(!response.headers().contains_key(STRICT_TRANSPORT_SECURITY));
}

#[tokio::test]
async fn a_request_id_is_taken_from_trusted_proxies_only() {
    let long = "a".repeat(65);
    for (peer_address, given, taken) in [
        ("10.0.0.1", "Req-1_a.b", true),
        ("192.0.2.1", "Req-1_a.b", false),
        ("10.0.0.1", "", false),
        ("10.0.0.1", "a b", false),
        ("10.0.0.1", "a\"b", false),
        ("10.0.0.1", long.as_str(), false),
    ] {
        let request = http::Request::get("/ok").extension(peer(peer_address));
        let response = send(router(), request.header("x-request-id", given)).await;
        assert_eq!(response.headers()["x-request-id"] == given, taken, "{given}");
    }
}

#[test]
fn the_log_repeats_no_method_of_a_strangers_making() {
    let made_up = Method::from_bytes(&[b'A'; 30_000]).expect("a method");
    assert_eq!((known(&Method::DELETE), known(&made_up)), ("DELETE", "other"));
}

#[tokio::test]
async fn handlers_learn_the_clients_address_and_the_request_id() {
    for (peer_address, client) in [("10.0.0.1", "198.51.100.1"), ("192.0.2.1", "192.0.2.1")] {
        let request = http::Request::get("/ok").extension(peer(peer_address));
        let response = send(router(), request.header("x-forwarded-for", "198.51.100.1")).await;
        let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
        let bytes = to_bytes(response.into_body(), 100).await.expect("a body");
        assert_eq!(bytes, format!("{client} {id}"));
    }
}

#[tokio::test]
async fn only_listed_origins_may_read_answers_with_credentials() {
    for (origin, listed) in
        [(LISTED, true), ("https://auth.example.org", false), ("null", false), ("*", false)]
    {
        for path in ["/ok", "/nowhere", "/panic"] {
            let request = http::Request::get(path).header(ORIGIN, origin);
            let response = send(router(), request).await;
            let headers = response.headers();
            let allowed = headers.get(ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(allowed.is_some_and(|allowed| allowed == origin), listed, "{origin}");
            let credentials = headers.get(ACCESS_CONTROL_ALLOW_CREDENTIALS);
            assert_eq!(credentials.is_some_and(|value| value == "true"), listed, "{origin}");
            assert_eq!(headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS), listed, "{origin}");
            assert_eq!(headers[VARY], "Origin");
        }
    }
}

#[tokio::test]
async fn preflights_are_answered_before_any_route() {
    for (origin, listed) in [(LISTED, true), ("https://evil.example", false)] {
        let request = http::Request::options("/fail")
            .header(ORIGIN, origin)
            .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(COOKIE, "refreshToken=x");
        let response = send(router(), request).await;
        check_headers(origin, &response);
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        for (name, value) in [
            ("access-control-allow-origin", LISTED),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE"),
            (
                "access-control-allow-headers",
                "content-type, authorization, x-csrf-token, idempotency-key",
            ),
            ("access-control-max-age", "600"),
        ] {
            let sent = response.headers().get(name);
            assert_eq!(sent.map(|sent| sent == value), listed.then_some(true), "{name}");
        }
    }
}

async fn rendered(error: ApiError) -> (Response, Value) {
    let router = Router::new().route("/", get(|| async { error.into_response() }));
    let response = send(edge("https://a.test").wrap(router), http::Request::get("/")).await;
    let (parts, bytes) = response.into_parts();
    let value = body(Response::new(bytes)).await;
    (Response::from_parts(parts, Body::empty()), value)
}

#[tokio::test]
async fn bearer_failures_carry_a_challenge() {
    for (error, challenge) in [
        (ApiError::NoToken, Some("Bearer")),
        (ApiError::InvalidToken, Some(r#"Bearer error="invalid_token""#)),
        (ApiError::TokenExpired, Some(r#"Bearer error="invalid_token""#)),
        (ApiError::TokenRevoked, Some(r#"Bearer error="invalid_token""#)),
        (ApiError::InvalidCredentials, None),
        (ApiError::NoRefreshToken, None),
        (ApiError::SessionExpired, None),
    ] {
        let (response, body) = rendered(error).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let sent = response.headers().get(WWW_AUTHENTICATE);
        assert_eq!(sent.map(HeaderValue::as_bytes), challenge.map(str::as_bytes), "{body}");
    }
}

#[tokio::test]
async fn whoever_must_wait_is_told_how_long_in_whole_seconds() {
    let quota = Quota::new(5, Duration::from_secs(900)).expect("a quota");
    let retry_after = Duration::from_millis(1001);
    let limited = Limited { name: "login", quota, retry_after };
    for (error, secs) in [
        (ApiError::RateLimited(limited), 2),
        (ApiError::Overloaded { retry_after: Duration::ZERO }, 1),
        (ApiError::Overloaded { retry_after: Duration::from_secs(7) }, 7),
        (ApiError::from(StoreError::Unavailable("disk full".to_owned())), 2),
    ] {
        let limits = matches!(error, ApiError::RateLimited(_));
        let (response, body) = rendered(error).await;
        assert_eq!(response.headers()[RETRY_AFTER], secs.to_string());
        assert_eq!(body["retryAfter"], secs);
        let headers = response.headers();
        let shown = |name| headers.get(name).map(|value: &HeaderValue| value.as_bytes());
        let expected: [&[u8]; 2] = [b"\"login\";q=5;w=900", b"\"login\";r=0;t=2"];
        assert_eq!(shown("ratelimit-policy"), limits.then_some(expected[0]));
        assert_eq!(shown("ratelimit"), limits.then_some(expected[1]));
    }
}

#[tokio::test]
async fn the_body_holds_what_the_contract_says_and_nothing_else() {
    let (_, mut body) = rendered(ApiError::invalid_field("email", "Give an address.")).await;
    assert_eq!(body["requestId"].take().as_str().map(str::len), Some(22));
    let expected = json!({
        "error": "The request is not valid.",
        "code": "INVALID_REQUEST",
        "requestId": null,
        "fields": {"email": "Give an address."},
    });
    assert_eq!(body, expected);

    for error in [StoreError::Inconsistent("session.amr"), StoreError::Unavailable("x.db".into())] {
        let (_, body) = rendered(error.into()).await;
        let text = body.to_string();
        assert!(!text.contains("session.amr") && !text.contains("x.db"), "{text}");
    }
}
