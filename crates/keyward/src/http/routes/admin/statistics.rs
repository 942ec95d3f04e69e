//! Statistics, for whoever draws them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use keyward_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::http::extract::{Permitted, StatsRead};
use crate::http::web::Web;
use crate::http::{ApiError, Query, fields};
use crate::service::{BUCKETS_MAX, Bucket, Span};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct StatisticsQuery {
    since: Option<String>,
    until: Option<String>,
    every: Option<String>,
}

/// How many there are, and how often what matters has happened.
pub(in crate::http) async fn statistics(
    State(web): State<Arc<Web>>,
    _: Permitted<StatsRead>,
    Query(query): Query<StatisticsQuery>,
) -> Result<Response, ApiError> {
    let span = fields::span("every", query.every)?;
    let until = fields::time("until", query.until)?.unwrap_or_else(|| web.keyward.now());
    let since = fields::time("since", query.since)?;
    let since = since.unwrap_or_else(|| until.minus(span.length() * SPANS_DEFAULT));
    require_bounded(since, until, span)?;
    let statistics = web.keyward.statistics(since, until, span).await?;
    let population = statistics.population;
    let view = StatisticsView {
        counted_at: statistics.counted_at.to_rfc3339(),
        users: UsersView { total: population.users, disabled: population.disabled_users },
        sessions: SessionsView { live: population.live_sessions },
        buckets: statistics.buckets.into_iter().map(BucketView::from).collect(),
    };
    Ok(axum::Json(view).into_response())
}

fn require_bounded(since: Timestamp, until: Timestamp, span: Span) -> Result<(), ApiError> {
    let spans = span.start(until).since(span.start(since)).as_secs() / span.length().as_secs() + 1;
    if since <= until && spans <= BUCKETS_MAX as u64 {
        return Ok(());
    }
    let why = format!("Give a time before `until`, with at most {BUCKETS_MAX} spans between.");
    Err(ApiError::invalid_field("since", why))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatisticsView {
    counted_at: String,
    users: UsersView,
    sessions: SessionsView,
    buckets: Vec<BucketView>,
}

#[derive(Serialize)]
struct UsersView {
    total: u64,
    disabled: u64,
}

#[derive(Serialize)]
struct SessionsView {
    live: u64,
}

#[derive(Serialize)]
struct BucketView {
    at: String,
    counts: BTreeMap<&'static str, u64>,
}

impl From<Bucket> for BucketView {
    fn from(bucket: Bucket) -> Self {
        Self { at: bucket.at.to_rfc3339(), counts: bucket.counts }
    }
}

/// Where the query does not say since when: so many spans before the last one.
const SPANS_DEFAULT: u32 = 23;
