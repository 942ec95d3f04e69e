//! What monitors and other services ask: is it alive, is it ready, which keys does it sign with.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::http::ApiError;
use crate::http::web::Web;

/// The process runs.
pub(super) async fn healthz() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], r#"{"status":"ok"}"#)
}

/// The store can be written to, and its keys are here. What nodes share besides is told and asked
/// of nobody: nothing stops without it.
pub(super) async fn readyz(State(web): State<Arc<Web>>) -> Result<Response, ApiError> {
    web.keyward.ready().await?;
    let body = match web.keyward.shared_standing().map(|standing| standing.reachable) {
        None => r#"{"status":"ready"}"#,
        Some(true) => r#"{"status":"ready","shared":"reachable"}"#,
        Some(false) => r#"{"status":"ready","shared":"unreachable"}"#,
    };
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// The public keys. Verifiers may keep them for five minutes, and never for long enough to miss
/// that a key is published before it signs. Of a set that would not be whole nothing is answered.
pub(super) async fn jwks(State(web): State<Arc<Web>>) -> Result<impl IntoResponse, ApiError> {
    let set = web.keyward.published_jwks().await?;
    let max_age = (web.keyward.policy().keys.overlap / 2).min(JWKS_MAX_AGE).as_secs();
    let headers = [
        (CONTENT_TYPE, "application/jwk-set+json".to_owned()),
        (CACHE_CONTROL, format!("public, max-age={max_age}")),
    ];
    Ok((headers, set))
}

const JWKS_MAX_AGE: Duration = Duration::from_secs(300);
