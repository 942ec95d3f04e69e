//! What an attacker would try against the whole service.

mod common;

use axum::http::StatusCode;
use common::TestApp;

/// Whoever refreshes all the time uses up the limit of the session. That must not keep the other
/// party's replay from being noticed.
#[tokio::test]
async fn a_used_up_limit_hides_no_theft() {
    let app = TestApp::new().await;
    let mut victim = app.registered("ada@example.org").await;
    let mut thief = victim.clone();
    for _ in 0..60 {
        thief.refresh().await.assert(StatusCode::OK, None);
    }
    thief.refresh().await.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));

    victim.refresh().await.assert(StatusCode::UNAUTHORIZED, Some("REFRESH_TOKEN_REUSED"));
    thief.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
}
