//! The description of the interface.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};

use crate::http::web::Web;

/// The description, which changes with the configuration and the version alone.
pub(super) async fn openapi(State(web): State<Arc<Web>>, headers: HeaderMap) -> Response {
    let description = web.description();
    let tag = description.tag();
    let held = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut held = held.flat_map(|list| list.split(',')).map(str::trim);
    let cached = [(ETAG, tag.clone()), (CACHE_CONTROL, "public, max-age=300".to_owned())];
    // A cache on the way may have marked the tag as weak.
    if held.any(|held| held == "*" || held.strip_prefix("W/").unwrap_or(held) == tag) {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    let json = [(CONTENT_TYPE, "application/json")];
    (cached, json, description.text().to_owned()).into_response()
}
