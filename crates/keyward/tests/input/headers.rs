//! Headers: whatever is in them, nobody falls over it.

use axum::body::Body;
use axum::http::header::HeaderName;
use axum::http::{HeaderValue, Method, Request, StatusCode};
use keyward::http::{ROUTES, Route};

use crate::common::Browser;
use crate::{World, body_of, path_of};

const HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "if-none-match",
    "last-event-id",
    "origin",
    "range",
    "referer",
    "sec-fetch-mode",
    "sec-fetch-site",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-csrf-token",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
];

const JUNK: &[&[u8]] = &[
    b"",
    b" ",
    b"\xff\xfe\xfd",
    b"\t\t",
    b"\"",
    b"=;=;,,;==",
    b"Bearer",
    b"Bearer \xff",
    b"Bearer a.b.c",
    b"Bearer eyJhbGciOiJub25lIn0.e30.",
    b"__Secure-refreshToken",
    b"__Secure-refreshToken=\xff",
    b"__Host-csrfToken=\"a\"; __Secure-refreshToken=kwr_",
    b"for=\"[::1\";for=_x;for=unknown",
    b"999999999999999999999999",
    b"-1",
    b"%00%0d%0a",
    b"<script>${jndi:ldap://x}</script>' OR 1=1 --",
];

/// A request that lacks nothing, for this route.
pub(crate) fn request(browser: &Browser, route: &Route) -> Request<Body> {
    let body = (!route.fields.is_empty()).then(|| body_of(route));
    browser.request(route.method.clone(), &path_of(route), body)
}

/// That the request is answered, in the form of the contract where it is refused.
async fn check(world: &World, what: &str, request: Request<Body>) {
    let head = *request.method() == Method::HEAD;
    let answer = world.app.send(request).await;
    assert!(answer.status.as_u16() < 500, "{what}: {answer:?}");
    if answer.status.is_client_error() && !head {
        answer.assert_error_form();
        assert!(answer.json()["code"].is_string(), "{what}");
    }
    assert!(answer.header("x-request-id").is_some_and(|id| id.len() == 22), "{what}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
}

#[tokio::test]
async fn junk_in_any_header_is_answered() {
    for route in ROUTES {
        for header in HEADERS {
            // Some of these go through, and end the session.
            let world = World::new().await;
            let long = "x".repeat(8000);
            for junk in JUNK.iter().copied().chain([long.as_bytes()]) {
                let value = HeaderValue::from_bytes(junk).expect("a value");
                let what = format!("{} {} {header}: {value:?}", route.method, route.path);
                let mut replaced = request(&world.ada, route);
                replaced.headers_mut().insert(*header, value.clone());
                check(&world, &what, replaced).await;
                let mut added = request(&world.ada, route);
                added.headers_mut().append(HeaderName::from_static(header), value);
                check(&world, &what, added).await;
            }
        }
    }
}

#[tokio::test]
async fn a_bearer_token_comes_once() {
    let world = World::new().await;
    for twice in [true, false] {
        let mut request = world.ada.request(Method::GET, "/api/auth/me", None);
        let value = if twice {
            request.headers()["authorization"].clone()
        } else {
            HeaderValue::from_static("Basic YWRhOmFkYQ==")
        };
        request.headers_mut().append("authorization", value);
        world.refused("twice", request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
    }
}

#[tokio::test]
async fn a_user_agent_is_kept_short_and_plain() {
    let mut world = World::new().await;
    let value = [b"Tests/1 \xff \xe2\x80\xae ".as_slice(), "é".repeat(3000).as_bytes()].concat();
    let mut request = request(&world.ada, &ROUTES[1]);
    *request.body_mut() = Body::from(
        serde_json::json!({ "email": "ada@example.org", "password": crate::PASSWORD }).to_string(),
    );
    request.headers_mut().insert("user-agent", HeaderValue::from_bytes(&value).expect("one"));
    world.ada.send(request).await.assert(StatusCode::OK, None);
    let shown = world.ada.me().await.json()["session"]["userAgent"].clone();
    let shown = shown.as_str().expect("text");
    assert!(shown.starts_with("Tests/1 \u{fffd}  é") && shown.len() <= 512, "{shown}");
}
