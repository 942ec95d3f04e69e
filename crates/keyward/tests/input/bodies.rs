//! Bodies: what is in them, how long they are, and how they end.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, StatusCode};
use futures_util::stream;
use keyward::http::{Access, FieldKind, ROUTES, Route};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::common::TestApp;
use crate::{SOME_ID, World, body_of, path_of, raw, routes_with_fields, service_key};

const KIB_64: usize = 64 * 1024;

/// Sends this body to the route and expects a 400, which names the field where there is one.
async fn check(world: &World, route: &Route, field: Option<&str>, body: impl Into<Body>) {
    let what = format!("{} {} {field:?}", route.method, route.path);
    let request = raw(&world.ada, route, body);
    let code = "INVALID_REQUEST";
    let answer = world.refused(&what, request, StatusCode::BAD_REQUEST, code).await;
    if let Some(field) = field {
        let fields = answer.json()["fields"].clone();
        assert!(fields[field].as_str().is_some_and(|why| why.ends_with('.')), "{what}: {fields}");
        assert_eq!(fields.as_object().map(|fields| fields.len()), Some(1), "{what}: {fields}");
    }
}

/// The route's body with the text of this field's value replaced.
fn with_text(route: &Route, field: &str, text: &[u8]) -> Vec<u8> {
    let mut body = body_of(route);
    body[field] = json!("@@@@");
    let whole = body.to_string();
    let (head, tail) = whole.split_once("\"@@@@\"").expect("the mark");
    [head.as_bytes(), text, tail.as_bytes()].concat()
}

#[tokio::test]
async fn a_field_of_another_type_is_named() {
    let world = World::new().await;
    for route in routes_with_fields() {
        for field in route.fields {
            let texts = ["[]", "[\"x\"]"];
            let values =
                ["true", "0", "-1", "1.5", "1e300", "[1]", "[[]]", "\"x\"", "{}", "{\"x\":{}}"];
            for value in values.into_iter().chain(texts) {
                let fits = match field.kind {
                    FieldKind::Boolean => value == "true",
                    FieldKind::Object => value.starts_with('{'),
                    FieldKind::Text => value == "\"x\"",
                    FieldKind::Texts => texts.contains(&value),
                };
                if fits {
                    continue;
                }
                let body = with_text(route, field.name, value.as_bytes());
                check(&world, route, Some(field.name), body).await;
            }
            if field.required {
                check(&world, route, Some(field.name), with_text(route, field.name, b"null")).await;
            }
        }
    }
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let world = World::new().await;
    for route in routes_with_fields() {
        for field in route.fields.iter().filter(|field| field.required) {
            let mut body = body_of(route);
            body.as_object_mut().expect("an object").remove(field.name);
            check(&world, route, Some(field.name), body.to_string()).await;
        }
    }
}

#[tokio::test]
async fn a_field_that_is_too_long_or_holds_nul_is_named() {
    let world = World::new().await;
    for route in routes_with_fields() {
        for field in route.fields.iter().filter(|field| field.kind != FieldKind::Boolean) {
            for text in [&"x1 ".repeat(3500), "a\0b@example.org", "\0"] {
                let mut body = body_of(route);
                body[field.name] = match field.kind {
                    FieldKind::Texts => json!([text]),
                    FieldKind::Object => json!({ "long": "x".repeat(3500), "text": text }),
                    FieldKind::Boolean | FieldKind::Text => json!(text),
                };
                check(&world, route, Some(field.name), body.to_string()).await;
            }
        }
    }
}

#[tokio::test]
async fn text_that_is_no_unicode_is_refused() {
    let world = World::new().await;
    for route in routes_with_fields() {
        for field in route.fields {
            let texts: [&[u8]; 8] = [
                b"\"\xff\xfe\"",
                b"\"\xc0\x80\"",
                b"\"\xed\xa0\x80\"",
                b"\"\xf4\x90\x80\x80\"",
                br#""\ud800""#,
                br#""\udc00\ud800""#,
                br#""\u00""#,
                b"\"a\x01b\"",
            ];
            for text in texts {
                check(&world, route, None, with_text(route, field.name, text)).await;
            }
        }
        check(
            &world,
            route,
            None,
            body_of(route).to_string().encode_utf16().fold(Vec::new(), |mut bytes, unit| {
                bytes.extend(unit.to_le_bytes());
                bytes
            }),
        )
        .await;
    }
}

#[tokio::test]
async fn nesting_is_bounded() {
    let world = World::new().await;
    for route in routes_with_fields() {
        let field = route.fields[0].name;
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(9000), close.repeat(9000));
            check(&world, route, None, with_text(route, field, deep.as_bytes())).await;
            check(&world, route, None, deep).await;
            check(&world, route, None, open.repeat(9000)).await;
        }
        let request = raw(&world.ada, route, "[".repeat(100_000));
        let (status, code) = (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE");
        world.refused("a hundred thousand arrays", request, status, code).await;
    }
}

#[tokio::test]
async fn a_field_that_comes_twice_or_is_unknown_is_named() {
    let world = World::new().await;
    for route in routes_with_fields() {
        let whole = body_of(route).to_string();
        for field in route.fields {
            let name = field.name;
            let twice = format!("{{\"{name}\":\"x\",{}", &whole[1..]);
            check(&world, route, Some(name), twice).await;
            // The same name, written with an escape.
            let escaped = format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
            let twice = format!("{{\"{escaped}\":\"x\",{}", &whole[1..]);
            check(&world, route, Some(name), twice).await;
        }
        for unknown in ["admin", "roles", "emailVerified", "__proto__", "constructor", "Email", ""]
        {
            let more = format!("{{\"{unknown}\":\"x\",{}", &whole[1..]);
            check(&world, route, Some(unknown), more).await;
        }
        let long = format!("{{\"{}\":1,{}", "u".repeat(60_000), &whole[1..]);
        check(&world, route, None, long).await;
        let many: String = (0..5000).map(|number| format!("\"k{number}\":1,")).collect();
        check(&world, route, None, format!("{{{many}{}", &whole[1..])).await;
    }
}

#[tokio::test]
async fn what_is_not_one_json_object_is_refused() {
    let world = World::new().await;
    for route in routes_with_fields() {
        let whole = body_of(route).to_string();
        let cut = &whole[..whole.len() - 1];
        for body in [
            "",
            " ",
            "null",
            "true",
            "1",
            "\"x\"",
            "[]",
            "{",
            "}",
            "\0",
            "{}{}",
            "{,}",
            "email=a&password=b",
            "<email>a</email>",
            cut,
            &format!("[{whole}]"),
            &format!("\u{feff}{whole}"),
            &format!("{whole}x"),
            &format!("{whole}{whole}"),
            &format!("{whole},"),
            &format!("{whole}\0"),
            &format!("/* {{}} */{whole}"),
            &format!(")]}}',\n{whole}"),
            &format!("{cut},}}"),
            &whole.replace('"', "'"),
        ] {
            check(&world, route, None, body.to_owned()).await;
        }
    }
}

#[tokio::test]
async fn a_body_ends_at_64_kib() {
    let world = World::new().await;
    let (status, code) = (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE");
    for route in routes_with_fields() {
        let field = route.fields[0].name;
        let rest = with_text(route, field, b"\"\"").len();
        for (length, fits) in [(KIB_64, true), (KIB_64 + 1, false), (1024 * 1024, false)] {
            let text = format!("\"{}\"", "x".repeat(length - rest));
            let body = with_text(route, field, text.as_bytes());
            assert_eq!(body.len(), length);
            if fits {
                check(&world, route, Some(field), body).await;
                continue;
            }
            let request = raw(&world.ada, route, body.clone());
            world.refused("at once", request, status, code).await;
            let chunks: Vec<_> = body.chunks(1000).map(Bytes::copy_from_slice).collect();
            let chunks =
                Body::from_stream(stream::iter(chunks.into_iter().map(Ok::<_, io::Error>)));
            world.refused("in chunks", raw(&world.ada, route, chunks), status, code).await;
        }
        let endless = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(&[b' '; 512])));
        let request = raw(&world.ada, route, Body::from_stream(endless));
        world.refused("without end", request, status, code).await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let world = World::new().await;
    for route in routes_with_fields() {
        let whole = body_of(route).to_string();
        // All of the text arrived, and still the body is not whole.
        for arrived in [0, 5, whole.len()] {
            let chunk = Bytes::copy_from_slice(&whole.as_bytes()[..arrived]);
            let broken = Err(io::Error::other("the connection is gone"));
            let body = Body::from_stream(stream::iter([Ok(chunk), broken]));
            check(&world, route, None, body).await;
        }
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_at_the_deadline() {
    let app = TestApp::with_policy(|policy| {
        policy.web.request_timeout = Duration::from_millis(20);
    })
    .await;
    let mut world = World { ada: app.browser(), app };
    for token in [None, Some("a.b.c")] {
        world.ada.access_token = token.map(str::to_owned);
        for route in routes_with_fields() {
            let request = raw(&world.ada, route, never_ending());
            // With credentials, their route waits for all of the body before it looks at them.
            let waits = request.headers().contains_key(AUTHORIZATION) || !asks_for_a_token(route);
            if !waits {
                world.refused("at once", request, StatusCode::UNAUTHORIZED, "NO_TOKEN").await;
                continue;
            }
            let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED");
            let answer = world.refused("slow", request, status, code).await;
            assert!(answer.header("retry-after").is_some());
        }
    }
}

fn never_ending() -> Body {
    Body::from_stream(stream::pending::<Result<Bytes, io::Error>>())
}

/// Such as the feed of revocations.
#[tokio::test]
async fn a_route_that_only_reads_waits_for_no_body() {
    for World { app, ada } in [World::new().await, World::with_cookie_delivery().await] {
        app.keyward.read_revocations().await.expect("the store works");
        for route in ROUTES.iter().filter(|route| route.method == Method::GET) {
            let mut request = raw(&ada, route, never_ending());
            if let Access::ServiceKey(_) = route.access {
                let credentials = format!("Bearer {}", service_key()).parse().expect("a value");
                request.headers_mut().insert(AUTHORIZATION, credentials);
            }
            let status = app.router.clone().oneshot(request).await.expect("never fails").status();
            let is_there = !path_of(route).contains(SOME_ID);
            let expected = if is_there { StatusCode::OK } else { StatusCode::NOT_FOUND };
            assert_eq!(status, expected, "{}", route.path);
        }
    }
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let world = World::new().await;
    for route in routes_with_fields() {
        let types: [Option<&[u8]>; 12] = [
            None,
            Some(b""),
            Some(b"json"),
            Some(b"text/plain"),
            Some(b"text/json"),
            Some(b"application/jsonp"),
            Some(b"application/json5"),
            Some(b"application/json, text/plain"),
            Some(b"text/plain; application/json"),
            Some(b"application/x-www-form-urlencoded"),
            Some(b"multipart/form-data; boundary=x"),
            Some(b"application/json\xff"),
        ];
        for content_type in types {
            let mut request = raw(&world.ada, route, body_of(route).to_string());
            request.headers_mut().remove(CONTENT_TYPE);
            if let Some(content_type) = content_type {
                let value = HeaderValue::from_bytes(content_type).expect("a value");
                request.headers_mut().insert(CONTENT_TYPE, value);
            }
            let (status, code) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE");
            world.refused(&format!("{content_type:?}"), request, status, code).await;
        }
    }
}

#[tokio::test]
async fn without_a_token_no_body_is_looked_at() {
    let world = World::new().await;
    let mut stranger = world.app.browser();
    for route in routes_with_fields().filter(|route| asks_for_a_token(route)) {
        for (token, code) in [(None, "NO_TOKEN"), (Some("a.b.c"), "INVALID_TOKEN")] {
            stranger.access_token = token.map(str::to_owned);
            let whole = body_of(route).to_string();
            for body in ["", "junk", "{}", &whole, &"x".repeat(1024 * 1024)] {
                let request = raw(&stranger, route, body.to_owned());
                world.refused(body, request, StatusCode::UNAUTHORIZED, code).await;
            }
        }
    }
}

fn asks_for_a_token(route: &Route) -> bool {
    matches!(route.access, Access::AccessToken | Access::Admin(_))
}

#[tokio::test]
async fn a_body_where_none_is_taken_changes_nothing() {
    for route in ROUTES.iter().filter(|route| route.fields.is_empty()) {
        let mut statuses = Vec::new();
        for body in [None, Some("{\"userId\":1}"), Some("junk\0"), Some(&*"x".repeat(100_000))] {
            let World { app, ada } = World::new().await;
            let request = match body {
                None => ada.request(route.method.clone(), &path_of(route), None),
                Some(body) => raw(&ada, route, body.to_owned()),
            };
            statuses.push(app.send(request).await.status);
        }
        assert_eq!(statuses, [statuses[0]; 4], "{} {}", route.method, route.path);
    }
}

#[tokio::test]
async fn null_removes_what_may_be_left_out_and_nothing_else() {
    for route in routes_with_fields() {
        for field in route.fields {
            let world = World::new().await;
            let mut body = body_of(route);
            body[field.name] = Value::Null;
            let answer = world.app.send(raw(&world.ada, route, body.to_string())).await;
            let refused = answer.status == StatusCode::BAD_REQUEST;
            assert_eq!(refused, field.required, "{} {}", route.path, field.name);
        }
    }
}
