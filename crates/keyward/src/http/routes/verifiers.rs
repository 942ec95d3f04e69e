//! What services ask that verify access tokens, or have them verified.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::http::ApiError;
use crate::http::event_stream::{self, Listener};
use crate::http::extract::{Introspect, KeyHolder, LastEventId, Revocations};
use crate::http::form::TokenForm;
use crate::http::views::IntrospectionView;
use crate::http::web::Web;

/// Whether an access token is good at this moment, and what it says (RFC 7662).
pub(super) async fn introspect(
    State(web): State<Arc<Web>>,
    _: KeyHolder<Introspect>,
    TokenForm(token): TokenForm,
) -> Result<Response, ApiError> {
    Ok(match web.keyward.introspect(&token).await? {
        Some(claims) => axum::Json(IntrospectionView::from(&*claims)).into_response(),
        None => axum::Json(json!({ "active": false })).into_response(),
    })
}

/// The revocations that matter, and then each new one, as server-sent events.
pub(super) async fn revocations(
    State(web): State<Arc<Web>>,
    KeyHolder { key, .. }: KeyHolder<Revocations>,
    LastEventId(from): LastEventId,
) -> Result<Response, ApiError> {
    let follower = web.keyward.follow_revocations(key.id, from).await?;
    let keyward = Arc::clone(&web.keyward);
    Ok(event_stream::revocations(Listener { keyward, follower, key }))
}
