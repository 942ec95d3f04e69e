//! The main job, end to end, as the README tells it.

mod common;

use axum::http::StatusCode;
use common::{PASSWORD, TestApp};

#[tokio::test]
async fn a_thief_is_noticed_and_both_are_signed_out() {
    let app = TestApp::new().await;
    let mut victim = app.registered("ada@example.org").await;
    victim.me().await.assert(StatusCode::OK, None);

    let mut thief = victim.clone();
    victim.refresh().await.assert(StatusCode::OK, None);
    thief.refresh().await.assert(StatusCode::UNAUTHORIZED, Some("REFRESH_TOKEN_REUSED"));

    victim.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    let told = victim.refresh().await;
    told.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
    assert_eq!(told.text("reason"), "reuse_detected");

    victim.login("ada@example.org", PASSWORD).await.assert(StatusCode::OK, None);
    victim.me().await.assert(StatusCode::OK, None);
    assert_eq!(
        app.audit_names().await,
        [
            "user.registered",
            "session.created",
            "session.refreshed",
            "session.reuse_detected",
            "refresh.after_revocation",
            "login.succeeded",
            "session.created",
            "access_token.rejected",
        ]
    );
}
