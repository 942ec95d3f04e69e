//! The sessions of others.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use keyward_core::id::{SessionId, UserId};
use keyward_core::session::Device;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::PageQuery;
use crate::http::extract::{
    PathId, Permitted, PermittedKey, SessionsRead, SessionsWrite, Superseded,
};
use crate::http::views::SessionView;
use crate::http::web::Web;
use crate::http::{ApiError, Json, Query, fields};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::http) struct OpenSessionBody {
    ip: Option<String>,
    user_agent: Option<String>,
}

/// Opens a session for a user whom the calling app has signed in. The answer is a sign-in's, whose
/// cookies the app hands on to the browser.
pub(in crate::http) async fn open_session(
    State(web): State<Arc<Web>>,
    PermittedKey { admin, .. }: PermittedKey<SessionsWrite>,
    PathId(id): PathId<UserId>,
    Superseded(supersedes): Superseded,
    Json(body): Json<OpenSessionBody>,
) -> Result<Response, ApiError> {
    let device = Device {
        ip: fields::address("ip", body.ip)?,
        user_agent: fields::user_agent("userAgent", body.user_agent)?,
    };
    let supersedes = supersedes.as_ref();
    let tokens = web.keyward.open_session_of(id, &device, supersedes, &admin).await?;
    Ok(web.signed_in(StatusCode::CREATED, &tokens))
}

/// A user's live sessions, most recently opened first.
pub(in crate::http) async fn user_sessions(
    State(web): State<Arc<Web>>,
    _: Permitted<SessionsRead>,
    PathId(id): PathId<UserId>,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let limit = fields::limit("limit", query.limit)?;
    let after = fields::cursor("cursor", query.cursor)?;
    let page = web.keyward.sessions_of(id, after, limit).await?;
    let sessions = page.sessions.iter().map(SessionView::of_any).collect();
    Ok(axum::Json(Sessions { sessions, next_cursor: page.next }).into_response())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sessions<'a> {
    sessions: Vec<SessionView<'a>>,
    next_cursor: Option<SessionId>,
}

/// Ends every session of a user.
pub(in crate::http) async fn revoke_user(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<SessionsWrite>,
    PathId(id): PathId<UserId>,
) -> Result<Response, ApiError> {
    let ended = web.keyward.revoke_user(id, &admin).await?;
    Ok(axum::Json(json!({ "revokedSessions": ended })).into_response())
}

/// Ends one session.
pub(in crate::http) async fn revoke_session(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<SessionsWrite>,
    PathId(id): PathId<SessionId>,
) -> Result<StatusCode, ApiError> {
    web.keyward.revoke_session(id, &admin).await?;
    Ok(StatusCode::NO_CONTENT)
}
