//! What administrators and other services ask for.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use keyward_core::id::{SessionId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::http::extract::{
    AuditRead, PathId, Permitted, SessionsRead, SessionsWrite, UsersRead, UsersWrite,
};
use crate::http::views::{AdminUserView, EventView, SessionView};
use crate::http::web::Web;
use crate::http::{ApiError, Json, Query, fields};
use crate::service::GivenAccount;
use crate::store::{AuditFilter, AuditOrder};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct CreateUserBody {
    email: String,
    password: Option<String>,
    password_hash: Option<String>,
    name: Option<String>,
    roles: Option<Vec<String>>,
    email_verified: Option<bool>,
}

/// Makes an account.
pub(super) async fn create_user(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    Json(body): Json<CreateUserBody>,
) -> Result<Response, ApiError> {
    let account = GivenAccount {
        email: fields::email("email", &body.email)?,
        credential: fields::credential(body.password, body.password_hash)?,
        name: fields::name("name", body.name)?,
        roles: fields::roles("roles", body.roles)?,
        email_verified: body.email_verified.unwrap_or(false),
    };
    let user = web.keyward.create_user(account, &admin).await?;
    Ok((StatusCode::CREATED, axum::Json(OneUser { user: (&user).into() })).into_response())
}

/// One account.
pub(super) async fn user(
    State(web): State<Arc<Web>>,
    _: Permitted<UsersRead>,
    PathId(id): PathId<UserId>,
) -> Result<Response, ApiError> {
    let user = web.keyward.user(id).await?;
    Ok(axum::Json(OneUser { user: (&user).into() }).into_response())
}

#[derive(Serialize)]
pub(super) struct OneUser<'a> {
    pub(super) user: AdminUserView<'a>,
}

/// Deletes an account.
pub(super) async fn delete_user(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    PathId(id): PathId<UserId>,
) -> Result<StatusCode, ApiError> {
    web.keyward.delete_user(id, &admin).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    pub(super) limit: Option<String>,
    pub(super) cursor: Option<String>,
}

/// A user's live sessions, most recently opened first.
pub(super) async fn user_sessions(
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
pub(super) async fn revoke_user(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<SessionsWrite>,
    PathId(id): PathId<UserId>,
) -> Result<Response, ApiError> {
    let ended = web.keyward.revoke_user(id, &admin).await?;
    Ok(axum::Json(json!({ "revokedSessions": ended })).into_response())
}

/// Ends one session.
pub(super) async fn revoke_session(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<SessionsWrite>,
    PathId(id): PathId<SessionId>,
) -> Result<StatusCode, ApiError> {
    web.keyward.revoke_session(id, &admin).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct AuditQuery {
    user_id: Option<String>,
    session_id: Option<String>,
    r#type: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// The audit log, newest first. A page may be short, or empty, where a search goes on.
pub(super) async fn audit(
    State(web): State<Arc<Web>>,
    _: Permitted<AuditRead>,
    Query(query): Query<AuditQuery>,
) -> Result<Response, ApiError> {
    let before = fields::cursor("cursor", query.cursor)?;
    let filter = AuditFilter {
        name: fields::event_type("type", query.r#type)?,
        user_id: fields::id("userId", query.user_id)?,
        session_id: fields::id("sessionId", query.session_id)?,
        since: fields::time("since", query.since)?,
        until: fields::time("until", query.until)?,
        from_id: None,
        order: before.map_or(AuditOrder::Newest, AuditOrder::Before),
        limit: fields::limit("limit", query.limit)?,
    };
    let page = web.keyward.audit(filter).await?;
    let events = page.events.iter().map(EventView::from).collect();
    let next_cursor = page.next.map(|id| id.to_string());
    Ok(axum::Json(Events { events, next_cursor }).into_response())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Events<'a> {
    events: Vec<EventView<'a>>,
    next_cursor: Option<String>,
}
