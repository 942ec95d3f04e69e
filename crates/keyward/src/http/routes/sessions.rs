//! Refresh, sign-out, and the list of sessions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use keyward_core::id::SessionId;
use serde_json::json;

use crate::http::ApiError;
use crate::http::extract::{
    Caller, Client, IdempotencyHeader, PathId, RefreshCookie, RefreshCookieUnchecked, SignOut,
};
use crate::http::views::SessionView;
use crate::http::web::Web;

/// Exchanges the refresh token.
pub(super) async fn refresh(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    RefreshCookie(token): RefreshCookie,
    IdempotencyHeader(key): IdempotencyHeader,
) -> Response {
    match web.keyward.refresh(&token, key.as_ref(), &client).await {
        Ok(tokens) => web.refreshed(&tokens),
        Err(failure) => web.refuse(failure.into()),
    }
}

/// Ends the session that the request comes from; without one there is nothing to do.
pub(super) async fn logout(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    sign_out: SignOut,
) -> Result<Response, ApiError> {
    let answer = Json(json!({ "message": "Signed out." })).into_response();
    match sign_out {
        SignOut::Of(session_id) => {
            web.keyward.logout(session_id, &client).await?;
            Ok(web.clear_cookies(answer))
        }
        SignOut::OfJunk => Ok(web.clear_cookies(answer)),
        SignOut::OfNothing => Ok(answer),
    }
}

/// Ends every session of the user.
pub(super) async fn logout_all(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    Caller(caller): Caller,
) -> Result<Response, ApiError> {
    let ended = web.keyward.logout_all(caller.user.id, &client).await?;
    let answer = json!({ "message": "Signed out everywhere.", "revokedSessions": ended });
    Ok(web.clear_cookies(Json(answer).into_response()))
}

/// Tells a page of another, listed origin its session's CSRF token.
pub(super) async fn csrf(
    State(web): State<Arc<Web>>,
    RefreshCookieUnchecked(token): RefreshCookieUnchecked,
) -> Result<Response, ApiError> {
    let (csrf_token, session) = web.keyward.csrf_token(&token).await?;
    let mut response = Json(json!({ "csrfToken": csrf_token })).into_response();
    web.set_csrf(&csrf_token, session.idle_expires_at, &mut response);
    Ok(response)
}

/// The user's sessions.
pub(super) async fn list(
    State(web): State<Arc<Web>>,
    Caller(caller): Caller,
) -> Result<Response, ApiError> {
    let sessions = web.keyward.sessions(caller.user.id).await?;
    let views = |sessions: &[_]| -> Vec<_> {
        sessions.iter().map(|session| json!(SessionView::new(session, caller.session.id))).collect()
    };
    let answer = json!({ "sessions": views(&sessions.live), "ended": views(&sessions.ended) });
    Ok(Json(answer).into_response())
}

/// Ends one of the user's sessions.
pub(super) async fn end(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    Caller(caller): Caller,
    PathId(id): PathId<SessionId>,
) -> Result<StatusCode, ApiError> {
    web.keyward.end_session(id, caller.user.id, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}
