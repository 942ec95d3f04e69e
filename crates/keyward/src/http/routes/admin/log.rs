//! The audit log.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::http::extract::{AuditRead, Permitted};
use crate::http::views::EventView;
use crate::http::web::Web;
use crate::http::{ApiError, Query, fields};
use crate::store::{AuditFilter, AuditOrder};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::http) struct AuditQuery {
    user_id: Option<String>,
    session_id: Option<String>,
    r#type: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// The audit log, newest first. A page may be short, or empty, where a search goes on.
pub(in crate::http) async fn audit(
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
