//! The keys that sign and tag, as administrators see and rotate them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use keyward_core::keys::KeyPurpose;
use serde::{Deserialize, Serialize};

use super::PageQuery;
use crate::http::extract::{KeysWrite, Permitted};
use crate::http::views::KeyView;
use crate::http::web::Web;
use crate::http::{ApiError, Json, Query, fields};

/// The keys, oldest first.
pub(in crate::http) async fn list(
    State(web): State<Arc<Web>>,
    _: Permitted<KeysWrite>,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let limit = fields::limit("limit", query.limit)? as usize;
    let after: Option<usize> = fields::cursor("cursor", query.cursor)?;
    let keys = web.keyward.list_keys().await?;
    let begin = after.unwrap_or(0).min(keys.len());
    let end = begin.saturating_add(limit).min(keys.len());
    let next_cursor = (end < keys.len()).then(|| end.to_string());
    let keys = keys[begin..end].iter().map(KeyView::from).collect();
    Ok(axum::Json(Keys { keys, next_cursor }).into_response())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Keys<'a> {
    keys: Vec<KeyView<'a>>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RotateBody {
    purpose: Option<String>,
}

/// Makes a key that signs at once. The purpose is that of access tokens where none is given.
pub(in crate::http) async fn rotate(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<KeysWrite>,
    Json(body): Json<RotateBody>,
) -> Result<Response, ApiError> {
    let purpose = fields::key_purpose("purpose", body.purpose)?;
    let key =
        web.keyward.rotate_key_now(purpose.unwrap_or(KeyPurpose::AccessToken), &admin).await?;
    Ok(axum::Json(OneKey { key: (&key).into() }).into_response())
}

#[derive(Serialize)]
struct OneKey<'a> {
    key: KeyView<'a>,
}
