//! JSON bodies of every route that takes one.

use std::cell::RefCell;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use keyward::http::{FieldKind, ROUTES, Root, Route};
use keyward::policy::Policy;
use serde_json::Value;

use crate::app::{Answer, App, EMAIL, PASSWORD, PUBLIC_URL};
use crate::input::first_line;
use crate::json::names_are_distinct;
use crate::request::Browser;

/// The first line is a method and a path of the table of routes, the rest is the body. A body is
/// taken that is one object with the members that the table names, and no other.
pub(crate) fn body(data: &[u8]) {
    let (line, body) = first_line(data);
    let mut routes = ROUTES.iter().filter(|route| !route.fields.is_empty());
    let is_meant = |route: &&Route| line == format!("{} {}", route.method, route.path).as_bytes();
    let Some(route) = routes.find(is_meant) else { return };
    SITE.with_borrow_mut(|site| {
        let ready = site.take().filter(|site| site.is_signed_in && !site.app.is_worn());
        let site = site.insert(ready.unwrap_or_else(Site::new));
        check(route, body, &site.send(route, body));
    });
}

fn check(route: &Route, body: &[u8], answer: &Answer) {
    let is_taken = fits(route, body);
    if answer.status != StatusCode::BAD_REQUEST {
        assert!(is_taken, "{} took what it should not", route.path);
        return;
    }
    let fields = answer.json()["fields"].clone();
    let names = fields.as_object().into_iter().flat_map(|fields| fields.keys());
    let are_known = names.clone().all(|name| route.fields.iter().any(|field| field.name == name));
    assert!(!is_taken || (are_known && names.count() > 0), "refused without a field: {fields}");
}

/// Whether the body has the shape that the route's entry in the table says.
fn fits(route: &Route, body: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return false };
    let Some(members) = value.as_object() else { return false };
    let has_known_names =
        members.keys().all(|name| route.fields.iter().any(|field| field.name == name));
    let has_good_values = route.fields.iter().all(|field| match members.get(field.name) {
        Some(value) => is_of(field.kind, value) || (value.is_null() && !field.required),
        None => !field.required,
    });
    has_known_names && has_good_values && names_are_distinct(body, &value)
}

fn is_of(kind: FieldKind, value: &Value) -> bool {
    match kind {
        FieldKind::Boolean => value.is_boolean(),
        FieldKind::Object => value.is_object(),
        FieldKind::Text => value.is_string(),
        FieldKind::Texts => {
            value.as_array().is_some_and(|members| members.iter().all(Value::is_string))
        }
    }
}

/// A service, a browser that is signed in, and a key for the admin routes.
struct Site {
    app: App,
    browser: Browser,
    service_key: String,
    is_signed_in: bool,
}

impl Site {
    fn new() -> Self {
        let app = App::start(|_| {});
        let browser = Browser::new(&app.register(EMAIL, PASSWORD));
        let service_key = app.make_service_key();
        Self { app, browser, service_key, is_signed_in: true }
    }

    fn send(&mut self, route: &Route, body: &[u8]) -> Answer {
        let path = route.mounted_at(&Policy::new(PUBLIC_URL).web);
        let mut request = self.browser.request(route.method.clone(), &path);
        if route.root == Root::Admin {
            let bearer = format!("Bearer {}", self.service_key);
            let bearer = HeaderValue::from_str(&bearer).expect("a key is ASCII");
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Body::from(body.to_vec());
        let answer = self.app.send(request);
        self.browser.learn(&answer);
        // The account was deleted.
        self.is_signed_in = answer.status != StatusCode::NO_CONTENT;
        answer
    }
}

thread_local! {
    static SITE: RefCell<Option<Site>> = const { RefCell::new(None) };
}
