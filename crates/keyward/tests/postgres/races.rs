//! What the service makes of two requests that meet in the database.

use axum::http::StatusCode;
use tokio::join;

use super::app;
use crate::common::PASSWORD;

/// The loser is shown the session before the winner's swap, in which its token is current. Taken at
/// its word that would be an exchange; read again, it is a replay.
#[tokio::test]
async fn the_loser_of_a_race_is_judged_by_a_fresh_read() {
    let (app, database) = app().await;
    let mut winner = app.registered("ada@example.org").await;
    let mut loser = winner.clone();
    let held = database.begin("SELECT FROM keyward.session FOR UPDATE").await;
    let (first, second, ()) = join!(winner.refresh(), loser.refresh(), async {
        database.until_waiting(2).await;
        held.commit().await;
    });
    let (won, lost) =
        if first.status == StatusCode::OK { (first, second) } else { (second, first) };
    won.assert(StatusCode::OK, None);
    lost.assert(StatusCode::UNAUTHORIZED, Some("REFRESH_TOKEN_REUSED"));
    let names = app.audit_names().await;
    assert_eq!(names[2..], ["session.refreshed", "session.reuse_detected"]);
}

/// The password was verified before it changed, and the sign-in comes to the user's row after it.
#[tokio::test]
async fn a_sign_in_does_not_survive_a_password_change_that_it_waits_for() {
    let (app, database) = app().await;
    app.registered("ada@example.org").await;
    let change = "UPDATE keyward.user SET credential_version = credential_version + 1";
    let changing = database.begin(change).await;
    let mut browser = app.browser();
    let (answer, ()) = join!(browser.login("ada@example.org", PASSWORD), async {
        database.until_waiting(1).await;
        changing.commit().await;
    });
    answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    assert!(answer.set_cookies().is_empty());
    assert_eq!(database.number("SELECT count(*) FROM keyward.session").await, 1);
}
