//! Paths and methods: what is there answers, and everything else is one kind of nothing.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use keyward::http::{Access, ROUTES, Route};

use crate::common::Answer;
use crate::{SOME_ID, World, path_of};

/// Where things are that have an id.
const THINGS: [&str; 3] = ["/api/auth/sessions", "/api/admin/sessions", "/api/admin/users"];

/// The methods that the path of this route knows.
fn methods_of(route: &Route) -> BTreeSet<String> {
    let same = ROUTES.iter().filter(|other| path_of(other) == path_of(route));
    let mut methods: BTreeSet<_> = same.map(|other| other.method.to_string()).collect();
    if methods.contains("GET") {
        methods.insert("HEAD".to_owned());
    }
    methods
}

#[tokio::test]
async fn another_method_is_told_which_are_allowed() {
    let world = World::new().await;
    let methods = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND",
        "get", "X",
    ];
    for route in ROUTES {
        let allowed = methods_of(route);
        for method in methods.iter().filter(|method| !allowed.contains(**method)) {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            for browser in [&world.ada, &world.app.browser()] {
                let what = format!("{method} {}", route.path);
                let request = browser.request(method.clone(), &path_of(route), None);
                let answer = refuse_method(&world, &what, request).await;
                let allow = answer.header("allow").expect("Allow");
                let told: BTreeSet<_> =
                    allow.split(',').map(|method| method.trim().to_owned()).collect();
                assert_eq!(told, allowed, "{what}");
            }
        }
    }
}

async fn refuse_method(world: &World, what: &str, request: Request<Body>) -> Answer {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    if request.method() != Method::HEAD {
        return world.refused(what, request, status, "METHOD_NOT_ALLOWED").await;
    }
    let answer = world.app.send(request).await;
    assert_eq!((answer.status, answer.body.len()), (status, 0), "{what}");
    answer
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    let world = World::new().await;
    for route in ROUTES.iter().filter(|route| route.method == Method::GET) {
        let get = world.app.send(world.ada.request(Method::GET, &path_of(route), None)).await;
        let head = world.app.send(world.ada.request(Method::HEAD, &path_of(route), None)).await;
        assert_eq!(head.status, get.status, "{}", route.path);
        assert_eq!(head.header("content-type"), get.header("content-type"), "{}", route.path);
        assert!(head.body.is_empty() && !get.body.is_empty(), "{}", route.path);
    }
}

#[tokio::test]
async fn each_route_asks_for_what_its_table_says() {
    let world = World::new().await;
    let stranger = world.app.browser();
    for route in ROUTES {
        let request = stranger.request(route.method.clone(), &path_of(route), None);
        let what = format!("{} {}", route.method, route.path);
        let refusal = match route.access {
            Access::Anyone | Access::AnyToken => None,
            Access::AccessToken | Access::Admin(_) | Access::ServiceKey(_) => {
                Some((StatusCode::UNAUTHORIZED, "NO_TOKEN"))
            }
            Access::RefreshCookie => Some((StatusCode::UNAUTHORIZED, "NO_REFRESH_TOKEN")),
            Access::SameOrigin => {
                Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE"))
            }
        };
        match refusal {
            None => world.app.send(request).await.assert(StatusCode::OK, None),
            Some((status, code)) => drop(world.refused(&what, request, status, code).await),
        }
        if matches!(route.access, Access::SameOrigin | Access::RefreshCookie | Access::AnyToken) {
            let mut request = world.ada.request(route.method.clone(), &path_of(route), None);
            request.headers_mut().remove("authorization");
            request.headers_mut().insert("origin", "https://evil.example".parse().expect("one"));
            let (status, code) = (StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED");
            world.refused(&what, request, status, code).await;
        }
    }
}

#[tokio::test]
async fn a_path_that_is_no_route_is_not_found() {
    let world = World::new().await;
    let mut paths: Vec<String> = [
        "/",
        "//",
        "/api",
        "/api/",
        "/api/auth",
        "/api/auth/",
        "/api/admin",
        "/api/admin/",
        "/api/admin/users/",
        "/api/admin/me",
        "/api/auth/audit",
        "/api/auth/users",
        "/metrics",
        "/.well-known",
        "/.well-known/openid-configuration",
        "/.git/config",
        "/etc/passwd",
        "/api/auth/../../healthz",
        "/api/auth/../auth/me",
        "/api/auth/./me",
        "/api/auth/me/..",
        "/api/auth/%2e%2e/auth/me",
        "/api/auth/me;x=1",
        "/api/auth/%6De",
        "/api%2fauth%2fme",
        "/api/auth/me%00",
        "/api/auth/me%ff",
        "/%",
        "/%zz",
        "/%00",
        "/\\api\\auth\\me",
        "*",
        "/api/auth/sessions/",
        "/api/auth/sessions/a/b",
        "/api/auth/password",
        "/api/auth/{id}",
    ]
    .map(str::to_owned)
    .into();
    for path in ROUTES.iter().map(path_of) {
        paths.push(format!("{path}/"));
        paths.push(format!("/{path}"));
        paths.push(format!("/api/auth{path}"));
        paths.push(format!("{path}%00"));
        paths.push(format!("{path}%20"));
        paths.push(path.to_uppercase());
    }
    paths.push(format!("/api/auth/{}", "a".repeat(60_000)));
    paths.push("/a".repeat(30_000));
    // An id of any form names something; whether there is that, the test below asks.
    paths.retain(|path| !THINGS.iter().any(|of| path.starts_with(&format!("{of}/{SOME_ID}%"))));
    for path in paths {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let request = world.ada.request(method, &path, None);
            world.refused(&path, request, StatusCode::NOT_FOUND, "NOT_FOUND").await;
        }
    }
}

#[tokio::test]
async fn an_id_that_names_nothing_is_not_found() {
    let mut world = World::new().await;
    let own = world.ada.me().await.json()["session"]["id"].as_str().expect("an id").to_owned();
    let longer = format!("{own}0");
    for id in [
        SOME_ID,
        "x",
        "0",
        "-1",
        "%00",
        "..",
        "%2e%2e",
        "*",
        "null",
        "all",
        "current",
        "%F0%9F%A6%80",
        &own.to_uppercase(),
        &own.replace('-', ""),
        &longer,
        &own[1..],
        &format!("%7B{own}%7D"),
        &format!("urn:uuid:{own}"),
        &format!("{own}%00"),
        &format!("{own}%20"),
        &"9".repeat(10_000),
    ] {
        for of in THINGS {
            let request = world.ada.request(Method::DELETE, &format!("{of}/{id}"), None);
            world.refused(id, request, StatusCode::NOT_FOUND, "NOT_FOUND").await;
        }
    }
    for of in THINGS {
        let request = world.ada.request(Method::DELETE, &format!("{of}/%ff"), None);
        world.refused("%ff", request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
    }
}

#[tokio::test]
async fn queries_say_nothing() {
    let world = World::new().await;
    let token = world.ada.access_token.clone().expect("a token");
    let stranger = world.app.browser();
    let long = "x".repeat(20_000);
    let queries =
        [&format!("access_token={token}"), "", "&&&===", "%00=%ff", "a[]=1&a[]=2", &long[..]];
    for query in queries {
        let path = format!("/api/auth/me?{query}");
        let request = stranger.request(Method::GET, &path, None);
        world.refused(query, request, StatusCode::UNAUTHORIZED, "NO_TOKEN").await;
        let answer = world.app.send(world.ada.request(Method::GET, &path, None)).await;
        answer.assert(StatusCode::OK, None);
    }
    let path = "/api/auth/login?email=ada@example.org&password=zimtkringel%20im%20regen";
    let request = stranger.request(Method::POST, path, Some(serde_json::json!({})));
    world.refused("in the query", request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
}
