//! `GET /openapi.json`: what it says, beside what every other test holds its answers against.

mod common;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use common::conformance::{Description, successes};
use common::{Answer, TestApp, mounted};
use keyward::http::{Access, ROUTES, openapi};
use keyward::policy::Policy;
use keyward_core::service_key::Scope;
use serde_json::{Value, json};

async fn get(app: &TestApp, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get("/openapi.json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.send(request.body(Body::empty()).expect("a request")).await
}

/// Every operation, by method and path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths").iter();
    let named = |(path, operations): (&String, &'_ Value)| {
        let methods = operations.as_object().expect("operations").keys();
        methods.map(|method| (method.clone(), path.clone())).collect::<Vec<_>>()
    };
    let names: Vec<_> = paths.flat_map(named).collect();
    let operation = |(method, path): (String, String)| {
        (format!("{} {path}", method.to_uppercase()), &document["paths"][path][method])
    };
    names.into_iter().map(operation).collect()
}

#[tokio::test]
async fn every_route_is_described_once_and_nothing_else_is() {
    let app = TestApp::new().await;
    let document = get(&app, &[]).await.json();
    let described: BTreeSet<String> =
        operations(&document).into_iter().map(|(name, _)| name).collect();
    let routes: BTreeSet<String> =
        ROUTES.iter().map(|route| format!("{} {}", route.method, mounted(route))).collect();
    assert_eq!(described, routes);
    let ids: BTreeSet<&str> = operations(&document)
        .into_iter()
        .map(|(_, operation)| operation["operationId"].as_str().expect("an id"))
        .collect();
    assert_eq!(ids.len(), routes.len(), "an operationId comes twice");
    for (name, operation) in operations(&document) {
        assert!(!successes(operation).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn it_follows_the_configuration() {
    let app = TestApp::with_cookie_delivery().await;
    let document = get(&app, &[]).await.json();
    let tokens = &document["components"]["schemas"]["Tokens"];
    assert_eq!(tokens["required"], json!(["expiresIn", "csrfToken"]));
    let me = &document["paths"]["/api/auth/me"];
    assert_eq!(me["get"]["security"], json!([{ "accessToken": [] }, { "accessCookie": [] }]));
    let with_csrf = json!({ "accessCookie": [], "csrfToken": [] });
    assert_eq!(me["patch"]["security"][1], with_csrf);
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["accessCookie"]["name"], "__Host-accessToken");
    assert_eq!(document["servers"], json!([{ "url": common::PUBLIC_URL }]));

    let mut policy = Policy::new("http://localhost:8080");
    policy.web.base_path = "/auth".to_owned();
    policy.cookies.secure = false;
    let text = openapi(&policy).expect("browsers keep these cookies");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert!(document["paths"]["/auth/login"]["post"].is_object());
    assert!(document["paths"]["/admin/users"]["get"].is_object());
    assert_eq!(document["components"]["securitySchemes"]["refreshCookie"]["name"], "refreshToken");
}

#[tokio::test]
async fn who_has_it_is_not_sent_it_again() {
    let app = TestApp::new().await;
    let answer = get(&app, &[]).await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let tag = answer.header("etag").expect("a tag").to_owned();
    for held in [&tag, &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
        let answer = get(&app, &[("if-none-match", held)]).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::NOT_MODIFIED, 0), "{held}");
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
    }
    for held in ["\"other\"", "", "W/"] {
        assert_eq!(get(&app, &[("if-none-match", held)]).await.status, StatusCode::OK, "{held}");
    }
    let other = get(&TestApp::with_cookie_delivery().await, &[]).await;
    assert_ne!(other.header("etag"), Some(tag.as_str()));
}

/// Tools that make clients read of no header but by its name.
#[tokio::test]
async fn every_header_that_clients_act_on_is_described() {
    let app = TestApp::new().await;
    let document = get(&app, &[]).await.json();
    let responses = |path: &str, method: &str| &document["paths"][path][method]["responses"];
    let described = &responses("/openapi.json", "get");
    for status in ["200", "304"] {
        assert!(described[status]["headers"]["ETag"].is_object(), "{status}");
    }
    let refused = responses("/api/auth/refresh", "post")["401"]["$ref"].as_str();
    let refused = refused.and_then(|name| document.pointer(name.strip_prefix('#')?));
    let refused = refused.expect("an answer of every 401");
    assert!(refused["headers"]["Set-Cookie"].is_object(), "{refused}");
}

#[tokio::test]
async fn every_scope_and_every_parameter_is_what_routes_ask_for() {
    let app = TestApp::new().await;
    let key = app.service_key(Scope::ALL).await;
    let document = get(&app, &[]).await.json();
    for route in ROUTES {
        let (Access::Admin(scope) | Access::ServiceKey(scope)) = route.access else { continue };
        let method = route.method.as_str().to_lowercase();
        let operation = &document["paths"][mounted(route)][method];
        assert_eq!(operation["security"][0], json!({ "serviceKey": [scope.as_str()] }));
        if route.method != Method::GET {
            continue;
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] != "query" {
                continue;
            }
            // Junk: where the parameter is known it is said what it should be.
            let name = parameter["name"].as_str().expect("a name");
            let path = mounted(route).replace("{id}", "01935f3e-0000-7000-8000-000000000000");
            let answer = app.backend(&key).get(&format!("{path}?{name}=%00")).await;
            let said = answer.json()["fields"][name].to_string();
            assert!(!said.contains("nknown"), "{path} {name}: {said}");
        }
    }
}

/// Otherwise the tests that hold their answers against the description would prove nothing.
#[tokio::test]
async fn an_answer_that_is_not_described_is_noticed() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let answer = browser.me().await;
    let described = app.description.as_ref().expect("described").json();
    let check = |document: &Value| {
        let description = Description::new(&document.to_string());
        let checked = || description.check(&Method::GET, "/api/auth/me", &answer);
        std::panic::catch_unwind(AssertUnwindSafe(checked)).is_ok()
    };
    assert!(check(described));
    let plant = |pointer: &str, value: Value| {
        let mut document = described.clone();
        *document.pointer_mut(pointer).expect("it is there") = value;
        check(&document)
    };
    let user = "/components/schemas/User";
    assert!(!plant(&format!("{user}/properties"), json!({})));
    assert!(!plant(&format!("{user}/properties/mfaEnabled/type"), json!("string")));
    assert!(!plant(&format!("{user}/properties/createdAt/format"), json!("email")));
    assert!(!plant(&format!("{user}/required/0"), json!("missing")));
    assert!(!plant("/components/schemas/OwnSession/properties/amr/items/enum", json!(["otp"])));
    assert!(!plant("/paths/~1api~1auth~1me/get/responses", json!({ "204": {} })));
}
