//! What administrators and other services ask for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use keyward_core::id::{SessionId, UserId};
use serde::Deserialize;
use serde_json::json;

use crate::http::extract::{
    AuditRead, PathId, Permitted, SessionsRead, SessionsWrite, UsersRead, UsersWrite,
};
use crate::http::views::{AdminUserView, EventView, SessionView};
use crate::http::web::Web;
use crate::http::{ApiError, Json as Body, Query, fields};
use crate::service::GivenAccount;
use crate::store::{AuditFilter, AuditOrder};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct CreateUserBody {
    email: String,
    password: Option<String>,
    name: Option<String>,
    roles: Option<Vec<String>>,
    email_verified: Option<bool>,
}

/// Makes an account.
pub(super) async fn create_user(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    Body(body): Body<CreateUserBody>,
) -> Result<Response, ApiError> {
    let password = body.password.map(|text| fields::password("password", text));
    let account = GivenAccount {
        email: fields::email("email", &body.email)?,
        password: password.transpose()?,
        name: fields::name("name", body.name)?,
        roles: fields::roles("roles", body.roles)?,
        email_verified: body.email_verified.unwrap_or(false),
    };
    let user = web.keyward.create_user(account, &admin).await?;
    let answer = json!({ "user": AdminUserView::from(&user) });
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// One account.
pub(super) async fn user(
    State(web): State<Arc<Web>>,
    _: Permitted<UsersRead>,
    PathId(id): PathId<UserId>,
) -> Result<Response, ApiError> {
    let user = web.keyward.user(id).await?;
    Ok(Json(json!({ "user": AdminUserView::from(&user) })).into_response())
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
    limit: Option<String>,
    cursor: Option<String>,
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
    let sessions: Vec<_> = page.sessions.iter().map(SessionView::of_any).collect();
    Ok(Json(json!({ "sessions": sessions, "nextCursor": page.next })).into_response())
}

/// Ends every session of a user.
pub(super) async fn revoke_user(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<SessionsWrite>,
    PathId(id): PathId<UserId>,
) -> Result<Response, ApiError> {
    let ended = web.keyward.revoke_user(id, &admin).await?;
    Ok(Json(json!({ "revokedSessions": ended })).into_response())
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

/// The audit log, newest first.
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
        order: before.map_or(AuditOrder::Newest, AuditOrder::Before),
        limit: fields::limit("limit", query.limit)?,
    };
    let page = web.keyward.audit(filter).await?;
    let events: Vec<_> = page.events.iter().map(EventView::from).collect();
    let next_cursor = page.next.map(|id| id.to_string());
    Ok(Json(json!({ "events": events, "nextCursor": next_cursor })).into_response())
}
