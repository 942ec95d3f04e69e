//! CSRF: what a page of another site makes a browser send, with all the cookies that it has.
//!
//! The table says what a route asks for, and from that follows which checks there must be. A new
//! route that changes something is held to it from its first day, in either delivery.

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, HeaderName};
use axum::http::{HeaderValue, Method, Request, StatusCode};
use keyward::http::{Access, ROUTES, Route};

use crate::common::Browser;
use crate::headers::request;
use crate::{BOB, PASSWORD, World};

/// What must keep another site from using the cookies on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defence {
    /// It changes nothing.
    Reads,
    /// No cookie counts there.
    TakesNoCookie,
    /// The origin: who calls proves by something else what they may do.
    Origin,
    /// The origin, and the CSRF token of the session.
    OriginAndToken,
}

/// As the table says. What anyone may ask changes nothing.
fn defence(route: &Route, world: &World) -> Defence {
    let reads = route.method == Method::GET;
    match route.access {
        Access::AccessToken | Access::Admin(_) if !world.delivers_by_cookie() => {
            Defence::TakesNoCookie
        }
        Access::ServiceKey(_) => Defence::TakesNoCookie,
        _ if reads => Defence::Reads,
        Access::AccessToken | Access::Admin(_) | Access::AnyToken | Access::RefreshCookie => {
            Defence::OriginAndToken
        }
        Access::SameOrigin => Defence::Origin,
        Access::Anyone => panic!("{} {} changes something for anyone", route.method, route.path),
    }
}

/// The routes with this defence, each with a request that lacks nothing but an `Authorization`.
fn requests(world: &World, wanted: Defence) -> impl Iterator<Item = (String, Request<Body>)> {
    let routes = ROUTES.iter().filter(move |route| defence(route, world) == wanted);
    routes.map(|route| {
        let mut request = request(&world.ada, route);
        request.headers_mut().remove(AUTHORIZATION);
        (format!("{} {}", route.method, route.path), request)
    })
}

/// In cookie delivery; and in the other, where cookies count for the refresh and the sign-out.
async fn worlds() -> [World; 2] {
    [World::with_cookie_delivery().await, World::new().await]
}

#[tokio::test]
async fn every_change_by_cookie_needs_the_token_of_its_session() {
    for world in worlds().await {
        let mut bob = world.app.browser();
        bob.login(BOB, PASSWORD).await.assert(StatusCode::OK, None);
        let least = if world.delivers_by_cookie() { 20 } else { 2 };
        for (kind, bend) in TOKENS {
            let mut walked = 0;
            for (what, mut request) in requests(&world, Defence::OriginAndToken) {
                bend(&world.ada, &bob, &mut request);
                let what = format!("{what}, {kind}");
                world.refused(&what, request, StatusCode::FORBIDDEN, "CSRF_FAILED").await;
                walked += 1;
            }
            assert!(walked >= least, "{walked}");
        }
    }
}

#[tokio::test]
async fn every_change_by_cookie_needs_an_allowed_origin() {
    for world in worlds().await {
        for defence in [Defence::OriginAndToken, Defence::Origin] {
            for (name, value) in FOREIGN {
                for (what, mut request) in requests(&world, defence) {
                    set(&mut request, name, value);
                    let what = format!("{what}, {name}: {value}");
                    let (status, code) = (StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED");
                    world.refused(&what, request, status, code).await;
                }
            }
        }
    }
}

/// Nothing that a browser has opens them, the CSRF token and the right origin included.
#[tokio::test]
async fn cookies_open_nothing_where_they_do_not_count() {
    for world in worlds().await {
        for (what, request) in requests(&world, Defence::TakesNoCookie) {
            let before = world.state().await;
            let answer = world.app.send(request).await;
            let refused = matches!(answer.status.as_u16(), 401 | 403);
            assert!(refused && answer.set_cookies().is_empty(), "{what}: {answer:?}");
            let mut after = world.state().await;
            after.3.retain(|event| event != "permission.denied");
            assert_eq!(after, before, "{what}");
        }
    }
}

/// These have no CSRF token to bring: a link from anywhere leads to them.
#[tokio::test]
async fn no_route_that_is_only_read_changes_anything() {
    for world in worlds().await {
        for (what, mut request) in requests(&world, Defence::Reads) {
            request.headers_mut().remove("x-csrf-token");
            let before = world.state().await;
            world.app.send(request).await;
            assert_eq!(world.state().await, before, "{what}");
        }
    }
}

impl World {
    fn delivers_by_cookie(&self) -> bool {
        self.ada.access_token.is_none()
    }
}

fn set(request: &mut Request<Body>, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("a value");
    request.headers_mut().insert(HeaderName::from_static(name), value);
}

/// Has cookie and header hold this instead of the session's token.
fn replace(ada: &Browser, request: &mut Request<Body>, token: &str) {
    let own = ada.csrf_token().expect("a token");
    let cookies = request.headers()["cookie"].to_str().expect("text").replace(own, token);
    set(request, "cookie", &cookies);
    set(request, "x-csrf-token", token);
}

/// Wrong in one way each: of Ada's request, where Bob has signed in elsewhere.
const TOKENS: [(&str, Bend); 5] = [
    ("no header", |_, _, request| {
        request.headers_mut().remove("x-csrf-token");
    }),
    ("another header", |_, _, request| set(request, "x-csrf-token", "made-up")),
    ("no cookie", |ada, _, request| {
        let cookies = ada.cookies.iter().filter(|(name, _)| *name != "__Host-csrfToken");
        let pairs: Vec<_> = cookies.map(|(name, value)| format!("{name}={value}")).collect();
        set(request, "cookie", &pairs.join("; "));
    }),
    ("made up", |ada, _, request| replace(ada, request, "made-up")),
    ("another session's", |ada, bob, request| {
        replace(ada, request, bob.csrf_token().expect("a token"));
    }),
];

type Bend = fn(&Browser, &Browser, &mut Request<Body>);

/// What browsers say of a page elsewhere.
const FOREIGN: [(&str, &str); 3] =
    [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")];
