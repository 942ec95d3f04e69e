//! The description of the interface (OpenAPI 3.1), written from the table of routes, the shapes of
//! the views and the table of errors. There is no other list of any of them.

mod errors;
mod schemas;

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use self::schemas::Schemas;
use super::cookies::{CookieNames, InvalidCookiePolicy};
use super::routes::operations::{Answer, Body};
use super::routes::{Access, ROUTES, Root, Route};
use super::shape::{Kind, Member, Presence};
use crate::policy::{Delivery, Policy};

/// The description of a service's interface, as it is answered.
#[derive(Debug)]
pub(super) struct Description {
    text: String,
    tag: String,
}

impl Description {
    /// Of a service with this policy, whose cookies have these names.
    pub(super) fn new(policy: &Policy, cookies: &CookieNames) -> Self {
        let text = document(policy, cookies).to_string();
        let hash = digest(&SHA256, text.as_bytes());
        let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16]));
        Self { text, tag }
    }

    /// JSON.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Names this text and no other one, as the header `ETag` does.
    pub(super) fn tag(&self) -> String {
        self.tag.clone()
    }
}

/// The description of the interface of a service with this policy, as `GET /openapi.json` answers
/// it: an OpenAPI 3.1 document, in JSON.
///
/// # Errors
///
/// As [`super::router`].
pub fn openapi(policy: &Policy) -> Result<String, InvalidCookiePolicy> {
    let cookies = CookieNames::new(&policy.cookies, &policy.web.base_path)?;
    Ok(Description::new(policy, &cookies).text)
}

fn document(policy: &Policy, cookies: &CookieNames) -> Value {
    let is_in_body = policy.access_token.delivery == Delivery::Body;
    let mut schemas = Schemas::new(is_in_body);
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in ROUTES {
        let method = route.method.as_str().to_ascii_lowercase();
        let operation = operation(route, is_in_body, &mut schemas);
        paths.entry(route.mounted_at(&policy.web)).or_default().insert(method, operation);
    }
    errors::add_schema(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Keyward",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Sign-in, short-lived access tokens, rotating refresh tokens, sessions \
                and their revocation.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": policy.web.public_url }],
        "tags": TAGS.map(|(name, description)| json!({ "name": name, "description": description })),
        "paths": paths,
        "components": {
            "schemas": schemas.into_all(),
            "responses": errors::responses(),
            "headers": headers(),
            "securitySchemes": security_schemes(cookies, is_in_body),
        },
    })
}

fn operation(route: &Route, is_in_body: bool, schemas: &mut Schemas) -> Value {
    let operation = &route.operation;
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [tag(route)],
        "security": security(route, is_in_body),
        "responses": responses(route, schemas),
    });
    let parameters = parameters(route, schemas);
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    if !route.fields.is_empty() {
        let schema = schemas::of_fields(route.fields);
        described["requestBody"] = body("application/json", &schema);
    } else if !operation.form.is_empty() {
        let schema = schemas.of_members(operation.form);
        described["requestBody"] = body("application/x-www-form-urlencoded", &schema);
    }
    described
}

fn body(media_type: &str, schema: &Value) -> Value {
    json!({ "required": true, "content": { media_type: { "schema": schema } } })
}

fn tag(route: &Route) -> &'static str {
    match (route.root, route.access) {
        (Root::Admin, _) => ADMINISTRATION,
        (_, Access::ServiceKey(_)) => VERIFICATION,
        (Root::Base, _) => SIGN_IN,
        (Root::Service, _) => SERVICE,
    }
}

fn parameters(route: &Route, schemas: &mut Schemas) -> Vec<Value> {
    let mut parameters = Vec::new();
    if route.path.contains("{id}") {
        let id = Member { name: "id", kind: Kind::Id, presence: Presence::Always };
        parameters.push(parameter("path", &id, schemas));
    }
    let operation = &route.operation;
    parameters.extend(operation.query.iter().map(|member| parameter("query", member, schemas)));
    parameters.extend(operation.headers.iter().map(|member| parameter("header", member, schemas)));
    parameters
}

fn parameter(place: &str, member: &Member, schemas: &mut Schemas) -> Value {
    json!({
        "name": member.name,
        "in": place,
        "required": member.presence == Presence::Always,
        "schema": schemas.of_kind(member.kind),
    })
}

/// Answers that are no error, and every error that the route may answer.
fn responses(route: &Route, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    for answer in route.operation.answers {
        let described = response(answer, schemas);
        let status = answer.status.as_u16().to_string();
        match responses.get_mut(&status) {
            Some(other) => either(other, described),
            None => drop(responses.insert(status, described)),
        }
    }
    for status in errors::statuses(route) {
        responses.insert(status.as_u16().to_string(), errors::reference_to(status));
    }
    responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Error" }));
    Value::Object(responses)
}

fn response(answer: &Answer, schemas: &mut Schemas) -> Value {
    let description = answer.status.canonical_reason().unwrap_or("An answer");
    let mut headers = json!({ "X-Request-Id": reference("headers", "RequestId") });
    if answer.sets_cookies {
        headers["Set-Cookie"] = reference("headers", "SetCookie");
    }
    if answer.has_tag {
        headers["ETag"] = reference("headers", "ETag");
    }
    let mut described = json!({ "description": description, "headers": headers });
    let (media_type, schema) = match answer.body {
        Body::Events => ("text/event-stream", json!({ "type": "string" })),
        Body::JwkSet(view) => ("application/jwk-set+json", schemas.of_kind(Kind::View(view))),
        Body::Json(view) => ("application/json", schemas.of_kind(Kind::View(view))),
        Body::Nothing => return described,
    };
    described["content"] = json!({ media_type: { "schema": schema } });
    described
}

/// Two answers with one status: the one body or the other.
fn either(one: &mut Value, other: Value) {
    let schema = &mut one["content"]["application/json"]["schema"];
    let other = &other["content"]["application/json"]["schema"];
    *schema = json!({ "oneOf": [schema.take(), other] });
}

/// Each object of the list is one way in; what is within one goes together.
fn security(route: &Route, is_in_body: bool) -> Value {
    let changes_state = !route.method.is_safe();
    let bearer = json!({ "accessToken": [] });
    let by_token = if is_in_body {
        vec![bearer]
    } else if changes_state {
        vec![bearer, json!({ "accessCookie": [], "csrfToken": [] })]
    } else {
        vec![bearer, json!({ "accessCookie": [] })]
    };
    let by_cookie = json!({ "refreshCookie": [], "csrfToken": [] });
    let ways = match route.access {
        Access::AccessToken => by_token,
        Access::Admin(scope) => {
            [vec![json!({ "serviceKey": [scope.as_str()] })], by_token].concat()
        }
        Access::Anyone | Access::SameOrigin => Vec::new(),
        Access::AnyToken => [by_token, vec![by_cookie, json!({})]].concat(),
        Access::RefreshCookie if changes_state => vec![by_cookie],
        Access::RefreshCookie => vec![json!({ "refreshCookie": [] })],
        Access::ServiceKey(scope) => vec![json!({ "serviceKey": [scope.as_str()] })],
    };
    Value::Array(ways)
}

fn security_schemes(cookies: &CookieNames, is_in_body: bool) -> Value {
    let cookie = |name: &str, description: &str| {
        let (kind, place) = ("apiKey", "cookie");
        json!({ "type": kind, "in": place, "name": name, "description": description })
    };
    let mut schemes = json!({
        "accessToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "An access token (RFC 9068).",
        },
        "refreshCookie": cookie(cookies.refresh_name(), "A refresh token. Scripts cannot read it."),
        "csrfToken": {
            "type": "apiKey",
            "in": "header",
            "name": "X-CSRF-Token",
            "description": format!("The value of the cookie {}.", cookies.csrf_name()),
        },
        "serviceKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "The key of another service, with this scope.",
        },
    });
    if !is_in_body {
        let description = "An access token. Scripts cannot read it.";
        schemes["accessCookie"] = cookie(cookies.access_name(), description);
    }
    schemes
}

fn headers() -> Value {
    let header = |description: &str, kind: &str| {
        let schema = json!({ "type": kind });
        json!({ "description": description, "schema": schema })
    };
    let rate_limit = "The limit, how many tries are left, and in how many seconds one is.";
    let cookies = "Refresh and CSRF token, in cookie delivery the access token, and at a sign-in \
                   what makes the device known.";
    let cleared = "Takes the cookies of a sign-in away, where a refresh token was presented that \
                   can never be exchanged again.";
    json!({
        "ClearedCookies": header(cleared, "string"),
        "ETag": header("Names this version of the answer, for If-None-Match.", "string"),
        "RateLimit": header(rate_limit, "string"),
        "RateLimitPolicy": header("The limit, its tries and its window in seconds.", "string"),
        "RequestId": header("Names the request in the log and the audit log.", "string"),
        "RetryAfter": header("When to try again, in seconds.", "integer"),
        "SetCookie": header(cookies, "string"),
        "WwwAuthenticate": header("Where a token is missing or refused (RFC 6750).", "string"),
    })
}

fn reference(component: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{component}/{name}") })
}

const SIGN_IN: &str = "Sign-in";
const VERIFICATION: &str = "Verification";
const ADMINISTRATION: &str = "Administration";
const SERVICE: &str = "Service";

const TAGS: [(&str, &str); 4] = [
    (SIGN_IN, "Accounts and sessions, for their users."),
    (VERIFICATION, "For services that receive access tokens."),
    (ADMINISTRATION, "For administrators and other services."),
    (SERVICE, "What is asked about the service itself."),
];
