//! Input from strangers: every route with everything that it does not expect.
//!
//! The walks read the table of routes, so that a new route is walked from its first day. Whatever
//! comes in, the answer is an error of the contract's form, below 500, and nothing has changed.

#[path = "../common/mod.rs"]
mod common;

mod bodies;
mod csrf;
mod headers;
mod paths;

use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, Request, StatusCode};
use common::second_factor::Authenticator;
use common::{Answer, Browser, PASSWORD, TestApp, mounted};
use keyward::http::{Access, FieldKind, ROUTES, Route};
use keyward::policy::Policy;
use keyward::store::{SessionFilter, User, WhichSessions};
use keyward_core::service_key::{Scope, ServiceKey};
use keyward_core::session::Session;
use keyward_core::time::Timestamp;
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const SOME_ID: &str = "01a0c450-6c00-7dc5-ba47-32e25aef34d4";

/// A service with two administrators, one of whom is signed in.
pub(crate) struct World {
    pub(crate) app: TestApp,
    pub(crate) ada: Browser,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_policy(|_| {}).await
    }

    /// With access tokens in cookies.
    pub(crate) async fn with_cookie_delivery() -> Self {
        Self::with_policy(Policy::deliver_by_cookie).await
    }

    async fn with_policy(change: impl FnOnce(&mut Policy)) -> Self {
        let app = TestApp::with_policy(|policy| {
            change(policy);
            policy.limits.register_address = None;
            policy.limits.login_account = None;
            policy.limits.login_address = None;
        })
        .await;
        app.admin(BOB).await;
        let ada = app.admin(ADA).await;
        assert_eq!(app.service_key(Scope::ALL).await, service_key());
        Self { app, ada }
    }

    /// Everything that a refused request must leave as it was. Refusals that strangers cause at
    /// will are recorded beside the log of changes, and not looked at here.
    pub(crate) async fn state(&self) -> (Vec<User>, Vec<Session>, Vec<Session>, Vec<String>) {
        let store = &self.app.store;
        let sessions = async |which| {
            let now = self.app.keyward.now();
            let filter = SessionFilter { user_id: None, which, now, limit: 1000 };
            store.list_sessions(filter).await.expect("a list")
        };
        let ended = WhichSessions::EndedSince(Timestamp::from_secs(0));
        let mut names = self.app.audit_names().await;
        names.retain(|name| !name.ends_with(".rejected"));
        (self.app.users().await, sessions(WhichSessions::Live).await, sessions(ended).await, names)
    }

    /// Sends a request that must be refused like this, without any effect.
    pub(crate) async fn refused(
        &self,
        what: &str,
        request: Request<Body>,
        status: StatusCode,
        code: &str,
    ) -> Answer {
        let before = self.state().await;
        let answer = self.app.send(request).await;
        let told = (answer.status, answer.json()["code"].clone());
        assert_eq!(told, (status, json!(code)), "{what}: {}", answer.json());
        answer.assert_error_form();
        assert!(answer.set_cookies().is_empty(), "{what}");
        assert_eq!(self.state().await, before, "{what}");
        answer
    }
}

/// Where the route is.
pub(crate) fn path_of(route: &Route) -> String {
    mounted(route).replace("{id}", SOME_ID)
}

/// A body that the route would take; the password in it is not Ada's.
pub(crate) fn body_of(route: &Route) -> Value {
    let mut body = json!({});
    // A hash stands in the place of a password.
    for field in route.fields.iter().filter(|field| field.name != "passwordHash") {
        body[field.name] = match (field.kind, field.name) {
            (FieldKind::Boolean, _) => json!(true),
            (FieldKind::Object, _) => json!({ "plan": "free" }),
            (FieldKind::Texts, _) => json!(["editor"]),
            (FieldKind::Text, "email") => json!("new@example.org"),
            (FieldKind::Text, "ip") => json!("192.0.2.7"),
            (FieldKind::Text, "name") => json!("Somebody"),
            (FieldKind::Text, "purpose") => json!("csrf"),
            (FieldKind::Text, _) => json!("zimtkringel im schnee"),
        };
    }
    body
}

/// The routes with a body.
pub(crate) fn routes_with_fields() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| !route.fields.is_empty())
}

/// The first service key of a world.
fn service_key() -> String {
    ServiceKey::issue(&[1; 32]).expose().to_owned()
}

/// A request with JSON of any kind in its body. What services alone may ask comes with their key.
pub(crate) fn raw(browser: &Browser, route: &Route, body: impl Into<Body>) -> Request<Body> {
    let mut request = browser.request(route.method.clone(), &path_of(route), Some(Value::Null));
    if let Access::ServiceKey(_) = route.access
        && !route.fields.is_empty()
    {
        let credentials = format!("Bearer {}", service_key()).parse().expect("a value");
        request.headers_mut().insert(AUTHORIZATION, credentials);
    }
    *request.body_mut() = body.into();
    request
}

/// Every request works when nothing is wrong with it; otherwise the walks would prove nothing. What
/// services alone may ask, no user can.
#[tokio::test]
async fn the_walks_start_from_requests_that_are_accepted() {
    for route in ROUTES {
        if let Access::ServiceKey(_) = route.access {
            continue;
        }
        // What takes a token out of a mail is accepted in the tests of mail, where there is one.
        if route.fields.iter().any(|field| field.name == "token") {
            continue;
        }
        for world in [World::new().await, World::with_cookie_delivery().await] {
            check_accepted(world, route).await;
        }
    }
}

async fn check_accepted(world: World, route: &Route) {
    let World { app, mut ada } = world;
    let me = ada.me().await.json();
    let session = me["session"]["id"].as_str().expect("an id");
    let found = app.store.find_user_by_email(BOB).await.expect("the store works");
    let bob = found.expect("Bob").user.id;
    let mut body = body_of(route);
    for password in ["password", "currentPassword"] {
        if body[password].is_string() {
            body[password] = json!(PASSWORD);
        } else {
            body.as_object_mut().expect("an object").remove(password);
        }
    }
    if route.path == "/login" {
        body["email"] = json!(ADA);
    }
    make_ready(route, &app, &mut ada, &mut body).await;
    let body = (!route.fields.is_empty()).then_some(body);
    let of_bob = route.path.starts_with("/users/");
    let id = if of_bob { bob.to_string() } else { session.to_owned() };
    let path = path_of(route).replace(SOME_ID, &id);
    let answer = app.send(ada.request(route.method.clone(), &path, body)).await;
    assert!(answer.status.is_success(), "{} {path}: {answer:?}", route.method);
}

/// Has a second factor be where the route needs one, with the code that it takes.
async fn make_ready(route: &Route, app: &TestApp, ada: &mut Browser, body: &mut Value) {
    let is_enabled = |path| matches!(path, "/login/mfa" | "/mfa/recovery-codes" | "/mfa/totp");
    let authenticator = if route.path == "/mfa/totp/confirm" {
        Authenticator::begin(ada).await
    } else if is_enabled(route.path) && (route.path, &route.method) != ("/mfa/totp", &Method::POST)
    {
        Authenticator::enable(ada).await
    } else {
        return;
    };
    if route.path == "/login/mfa" {
        body["mfaToken"] = json!(app.browser().mfa_token(ADA).await);
        body.as_object_mut().expect("an object").remove("recoveryCode");
    }
    if body["code"].is_string() {
        app.advance(30);
        body["code"] = json!(authenticator.code(app));
    }
}

/// No header and no query turns one method into another.
#[tokio::test]
async fn the_method_is_that_of_the_request_line() {
    let world = World::new().await;
    for (method, path) in [(Method::GET, "/api/auth/me"), (Method::GET, "/api/auth/sessions")] {
        let mut request = world.ada.request(method, path, None);
        for header in ["x-http-method-override", "x-http-method", "x-method-override"] {
            request.headers_mut().insert(header, "DELETE".parse().expect("a value"));
        }
        world.app.send(request).await.assert(StatusCode::OK, None);
    }
    let body = Some(json!({ "password": PASSWORD }));
    let mut request = world.ada.request(Method::POST, "/api/auth/me?_method=DELETE", body);
    request.headers_mut().insert("x-http-method-override", "DELETE".parse().expect("a value"));
    let code = "METHOD_NOT_ALLOWED";
    world.refused("override", request, StatusCode::METHOD_NOT_ALLOWED, code).await;
}
