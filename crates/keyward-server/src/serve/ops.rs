//! The listener for whoever watches over the service: metrics, and whether the process runs. Nobody
//! is asked who they are, so it is on this machine unless the operator says otherwise.

mod process;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use keyward::service::Keyward;
use tokio::sync::mpsc;

use super::{ConnectionPolicy, Listener, run};

/// Serves until dropped.
pub(crate) async fn serve(listener: Listener, keyward: Arc<Keyward>) {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(keyward);
    // Nobody ever stops it: it ends with the service beside it.
    let (_never, mut stops) = mpsc::channel(1);
    run(listener, None, routes, POLICY, &mut stops).await;
}

async fn metrics(State(keyward): State<Arc<Keyward>>) -> impl IntoResponse {
    let mut page = keyward.metrics();
    page.push_str(&process::metrics());
    page.push_str("# EOF\n");
    ([(CONTENT_TYPE, OPEN_METRICS), (CACHE_CONTROL, "no-store")], page)
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// For a few monitors. Each keeps its connection from one scrape to the next, where those are not
/// too far apart.
const POLICY: ConnectionPolicy = ConnectionPolicy {
    connections_max: 16,
    per_address_max: 8,
    shared_addresses: Vec::new(),
    handshake_timeout: Duration::from_secs(5),
    head_timeout: Duration::from_secs(75),
    body_timeout: Duration::from_secs(5),
    idle_timeout: Duration::from_secs(75),
    shutdown_timeout: Duration::ZERO,
};
