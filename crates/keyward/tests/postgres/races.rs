//! What the service makes of two requests that meet in the database.

use axum::http::StatusCode;
use futures_util::future::join_all;
use keyward::store::{DeleteGuard, DeleteUserOutcome, KeptRole};
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind, LoginFailure, RecordedEvent};
use keyward_core::session::Device;
use tokio::join;

use super::{app, app_on};
use crate::common::{Browser, PASSWORD};

/// The loser, at another node, is shown the session before the winner's swap, in which its token is
/// current. Taken at its word that would be an exchange; read again, it is a replay.
#[tokio::test]
async fn the_loser_of_a_race_is_judged_by_a_fresh_read() {
    let (app, database) = app().await;
    let mut winner = app.registered("ada@example.org").await;
    let other = app_on(&database.service_settings()).await;
    let mut loser = Browser { app: other, ..winner.clone() };
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

/// The password was found wrong while an administrator deletes the account on another node.
#[tokio::test]
async fn a_failed_sign_in_waits_for_the_deletion_of_its_user_and_names_nobody() {
    let (app, database) = app().await;
    app.registered("ada@example.org").await;
    let deleting = database.begin("DELETE FROM keyward.user").await;
    let mut browser = app.browser();
    let (answer, ()) = join!(browser.login("ada@example.org", "not the password"), async {
        database.until_waiting(1).await;
        deleting.commit().await;
    });
    answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    let last = app.audit().await.pop().expect("an event");
    assert_eq!((&*last.name, last.device), ("login.failed", Device::default()));
    assert!(last.user_id.is_some());
}

/// The other way round: what is being recorded of the user is there when the log is gone through.
#[tokio::test]
async fn a_deletion_waits_for_what_is_recorded_of_its_user() {
    let (app, database) = app().await;
    app.registered("ada@example.org").await;
    let id = app.users().await[0].id;
    let recording = format!(
        "SELECT FROM keyward.user FOR KEY SHARE; \
         INSERT INTO keyward.audit_event (at, name, user_id, ip, user_agent, detail) \
         VALUES ({}, 'login.failed', '{id}', '192.0.2.1', 'a browser', '{{}}')",
        app.keyward.now().millis()
    );
    let recording = database.begin(&recording).await;
    let (guard, context) = (DeleteGuard::default(), app.nobody());
    let (deleted, ()) = join!(app.store.delete_user(id, guard, &context), async {
        database.until_waiting(1).await;
        recording.commit().await;
    });
    assert_eq!(deleted, Ok(DeleteUserOutcome::Deleted));
    let of_user = |event: &RecordedEvent| event.user_id == Some(id);
    let events: Vec<_> = app.audit().await.into_iter().filter(of_user).collect();
    assert!(events.iter().any(|event| event.name == "login.failed"));
    for event in events {
        assert_eq!(event.device, Device::default(), "{event:?}");
    }
}

/// Many at once, each of all users in an order of its own, among deletions.
#[tokio::test]
async fn what_is_recorded_of_many_users_waits_for_nobody_in_a_circle() {
    let (app, database) = app().await;
    let addresses: Vec<_> = (0..8).map(|number| format!("user{number}@example.org")).collect();
    for address in &addresses {
        app.registered(address).await;
    }
    let ids: Vec<_> = app.users().await.iter().map(|user| user.id).collect();
    let failed = AuditKind::LoginFailed { reason: LoginFailure::WrongPassword };
    let device = Device { ip: Some("192.0.2.1".to_owned()), user_agent: None };
    let context = AuditContext { device, ..app.nobody() };
    let batch = |shift: usize| {
        let of_all = (0..8).map(|number| ids[(number + shift) % 8]);
        of_all.map(|id| (AuditEvent::of_user(failed.clone(), id), context.clone())).collect()
    };
    let recordings = join_all((0..24).map(|shift| app.store.record(batch(shift))));
    let last_of_role = Some(KeptRole { name: "admin", verified_only: false });
    let guard = DeleteGuard { last_of_role, ..DeleteGuard::default() };
    let nobody = app.nobody();
    let deletions = join_all(ids.iter().map(|id| app.store.delete_user(*id, guard, &nobody)));
    let (deleted, recorded) = join!(deletions, recordings);
    assert!(recorded.iter().all(Result::is_ok), "{recorded:?}");
    let is_gone = |outcome: &Result<_, _>| *outcome == Ok(DeleteUserOutcome::Deleted);
    assert!(deleted.iter().all(is_gone), "{deleted:?}");
    let events = app.audit().await;
    assert_eq!(events.iter().filter(|event| event.name == "login.failed").count(), 24 * 8);
    for event in events {
        assert_eq!(event.device, Device::default(), "{event:?}");
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.number(deadlocks).await, 0);
}
