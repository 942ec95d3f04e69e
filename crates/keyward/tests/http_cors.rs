//! CORS: which pages may read answers, on every route.

mod checks;
mod common;

use axum::body::Body;
use axum::http::{HeaderName, Method, Request, StatusCode};
use checks::{assert_touches_no_cookie, set};
use common::{Answer, PUBLIC_URL, TestApp, mounted};
use keyward::http::ROUTES;
use keyward::policy::AllowedOrigins;

const LISTED: &str = "https://app.example.net";

const UNLISTED: &[&str] = &[
    "https://evil.example",
    "null",
    "",
    "http://app.example.net",
    "https://app.example.net:8443",
    "https://app.example.net/",
    "https://app.example.net.evil.example",
    "https://evilapp.example.net",
    "https://sub.app.example.net",
    "https://app.example.net, https://evil.example",
];

async fn with_listed_origin() -> TestApp {
    TestApp::with_policy(|policy| {
        policy.web.allowed_origins = AllowedOrigins::Listed(vec![LISTED.to_owned()]);
    })
    .await
}

/// Method and path of every route, and of none.
fn everywhere() -> impl Iterator<Item = (Method, String)> {
    let nowhere = (Method::GET, "/api/auth/nowhere".to_owned());
    let routes = ROUTES.iter().map(|route| (route.method.clone(), mounted(route)));
    routes.chain([nowhere])
}

async fn ask(app: &TestApp, method: Method, path: &str, origin: &str) -> Answer {
    let mut request = app.browser().request(method, path, None);
    set(&mut request, "origin", origin);
    app.send(request).await
}

async fn preflight(app: &TestApp, method: &Method, path: &str, origin: &str) -> Answer {
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri(path)
        .header("origin", origin)
        .header("access-control-request-method", method.as_str())
        .header("access-control-request-headers", "content-type,x-csrf-token,idempotency-key")
        .body(Body::empty());
    app.send(request.expect("a request")).await
}

fn cors_headers(answer: &Answer) -> Vec<&str> {
    let names = answer.headers.keys().map(HeaderName::as_str);
    names.filter(|name| name.starts_with("access-control-")).collect()
}

#[tokio::test]
async fn a_listed_origin_may_read_every_answer_with_credentials() {
    let app = with_listed_origin().await;
    for (method, path) in everywhere() {
        let answer = ask(&app, method, &path, LISTED).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(LISTED), "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{path}");
        let exposed = answer.header("access-control-expose-headers");
        assert_eq!(exposed, Some("X-Request-Id, Retry-After"), "{path}");
        assert_eq!(answer.header("vary"), Some("Origin"), "{path}");
    }
}

#[tokio::test]
async fn no_other_origin_may_read_any_answer() {
    let app = with_listed_origin().await;
    for (method, path) in everywhere() {
        for origin in UNLISTED {
            let answer = ask(&app, method.clone(), &path, origin).await;
            assert_eq!(cors_headers(&answer), [""; 0], "{path} {origin}");
            assert_eq!(answer.header("vary"), Some("Origin"), "{path} {origin}");
        }
    }
}

#[tokio::test]
async fn a_preflight_from_a_listed_origin_is_granted_on_every_route() {
    let app = with_listed_origin().await;
    for (method, path) in everywhere() {
        let answer = preflight(&app, &method, &path, LISTED).await;
        answer.assert(StatusCode::NO_CONTENT, None);
        assert_eq!(answer.header("access-control-allow-origin"), Some(LISTED), "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{path}");
        let allowed = answer.header("access-control-allow-methods").expect("methods");
        assert!(allowed.split(", ").any(|allowed| allowed == method.as_str()), "{path} {allowed}");
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some("content-type, authorization, x-csrf-token, idempotency-key")
        );
        assert_eq!(answer.header("vary"), Some("Origin"), "{path}");
        assert_touches_no_cookie(&answer);
    }
}

#[tokio::test]
async fn a_preflight_from_any_other_origin_is_granted_nothing() {
    let app = with_listed_origin().await;
    for (method, path) in everywhere() {
        for origin in UNLISTED {
            let answer = preflight(&app, &method, &path, origin).await;
            assert_eq!(cors_headers(&answer), [""; 0], "{path} {origin}");
            assert_eq!(answer.header("vary"), Some("Origin"), "{path} {origin}");
        }
    }
}

#[tokio::test]
async fn by_default_no_origin_is_listed() {
    let app = TestApp::new().await;
    for origin in [LISTED, PUBLIC_URL, "http://localhost:3000"] {
        let answer = ask(&app, Method::GET, "/healthz", origin).await;
        assert_eq!(cors_headers(&answer), [""; 0], "{origin}");
    }
}

#[tokio::test]
async fn a_request_without_origin_gets_no_grant_and_tells_caches_so() {
    let app = with_listed_origin().await;
    let mut request = app.browser().request(Method::GET, "/healthz", None);
    checks::unset(&mut request, "origin");
    let answer = app.send(request).await;
    assert_eq!(cors_headers(&answer), [""; 0]);
    assert_eq!(answer.header("vary"), Some("Origin"));
}

#[tokio::test]
async fn an_options_request_that_is_no_preflight_is_a_wrong_method() {
    let app = with_listed_origin().await;
    let answer = ask(&app, Method::OPTIONS, "/api/auth/login", LISTED).await;
    answer.assert(StatusCode::METHOD_NOT_ALLOWED, Some("METHOD_NOT_ALLOWED"));
}
