//! How errors are described: one schema for all, and one answer for each status.

use std::collections::BTreeMap;

use http::StatusCode;
use keyward_core::service_key::Scope;
use keyward_core::session::RevocationReason;
use serde_json::{Map, Value, json};

use super::reference;
use super::schemas::Schemas;
use crate::http::ApiError;
use crate::http::routes::{Access, Route};
use crate::http::shape::{Kind, Member, maybe, member};

/// Adds the schema of every error.
pub(super) fn add_schema(schemas: &mut Schemas) {
    let schema = schemas.of_members(ERROR);
    schemas.add("Error", schema);
}

/// What a route may answer where it refuses. Others are possible where something is very wrong, and
/// look alike.
pub(super) fn statuses(route: &Route) -> Vec<StatusCode> {
    let mut statuses = vec![StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE];
    if route.access == Access::Anyone {
        return statuses;
    }
    statuses.extend([
        StatusCode::BAD_REQUEST,
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::TOO_MANY_REQUESTS,
    ]);
    if route.path.contains('{') {
        statuses.push(StatusCode::NOT_FOUND);
    }
    if !route.method.is_safe() {
        statuses.push(StatusCode::CONFLICT);
    }
    if !route.fields.is_empty() || !route.operation.form.is_empty() {
        statuses.extend([StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE]);
    }
    statuses
}

/// The answer of every error with this status.
pub(super) fn reference_to(status: StatusCode) -> Value {
    reference("responses", &name(status))
}

/// An answer for each status that an error has, and one for any.
pub(super) fn responses() -> Map<String, Value> {
    let mut by_status: BTreeMap<u16, Vec<(&str, &str)>> = BTreeMap::new();
    for (status, code, sentence) in ApiError::ALL {
        let shapes = by_status.entry(status.as_u16()).or_default();
        if !shapes.iter().any(|(other, _)| other == code) {
            shapes.push((code, sentence));
        }
    }
    let mut responses = Map::new();
    for (status, shapes) in by_status {
        let Ok(status) = StatusCode::from_u16(status) else { continue };
        responses.insert(name(status), response(status, &shapes));
    }
    let any = content(&reference("schemas", "Error"), &[]);
    responses.insert("Error".to_owned(), json!({ "description": "An error", "content": any }));
    responses
}

fn response(status: StatusCode, shapes: &[(&str, &str)]) -> Value {
    let codes: Vec<&str> = shapes.iter().map(|(code, _)| *code).collect();
    let schema = json!({
        "allOf": [
            reference("schemas", "Error"),
            { "type": "object", "properties": { "code": { "type": "string", "enum": codes } } },
        ],
    });
    json!({
        "description": status.canonical_reason().unwrap_or("An error"),
        "headers": headers(status),
        "content": content(&schema, shapes),
    })
}

fn content(schema: &Value, shapes: &[(&str, &str)]) -> Value {
    let example = |(code, sentence): &(&str, &str)| {
        let value = json!({ "error": sentence, "code": code, "requestId": REQUEST_ID });
        ((*code).to_owned(), json!({ "value": value }))
    };
    let mut content = json!({ "schema": schema });
    if !shapes.is_empty() {
        content["examples"] = shapes.iter().map(example).collect::<Map<_, _>>().into();
    }
    json!({ "application/json": content })
}

fn headers(status: StatusCode) -> Value {
    let mut headers = json!({ "X-Request-Id": reference("headers", "RequestId") });
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        headers["WWW-Authenticate"] = reference("headers", "WwwAuthenticate");
    }
    if status == StatusCode::UNAUTHORIZED {
        headers["Set-Cookie"] = reference("headers", "ClearedCookies");
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        headers["Retry-After"] = reference("headers", "RetryAfter");
    }
    if status == StatusCode::TOO_MANY_REQUESTS {
        headers["RateLimit"] = reference("headers", "RateLimit");
        headers["RateLimit-Policy"] = reference("headers", "RateLimitPolicy");
    }
    headers
}

/// `NotFound` for 404.
fn name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or_default().split(' ').collect()
}

fn codes() -> Vec<&'static str> {
    let mut codes: Vec<&str> = ApiError::ALL.iter().map(|(_, code, _)| *code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

fn reasons() -> Vec<&'static str> {
    RevocationReason::ALL.iter().map(|reason| reason.as_str()).collect()
}

fn scopes() -> Vec<&'static str> {
    Scope::ALL.iter().map(|scope| scope.as_str()).collect()
}

const ERROR: &[Member] = &[
    member("error", Kind::Text),
    member("code", Kind::Names(codes)),
    member("requestId", Kind::Text),
    maybe("fields", Kind::Map(&Kind::Text)),
    maybe("retryAfter", Kind::Integer),
    maybe("reason", Kind::Names(reasons)),
    maybe("scope", Kind::Names(scopes)),
];

const REQUEST_ID: &str = "pQ8vS1x0T2mXo3kDqWb7Lg";
