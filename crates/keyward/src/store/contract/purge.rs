//! What leaves the store when it has had its time. All of it lies long back: a server may refuse to
//! delete what is recent by its own clock.

use keyward_core::audit::{AuditEvent, AuditKind};
use keyward_core::session::Swap;

use super::*;
use crate::store::{Purge, Purged, RotateOutcome, Standing};

/// Ten years before the other cases.
const OLD: i64 = -10 * 365 * 24 * 60 * 60;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Before the time, and not at it; whether or not a session was ended by decision, and whatever its
/// idle timeout.
pub async fn purges_sessions_by_their_absolute_timeout(store: &dyn Store) {
    let before = open_old_sessions(store).await;
    let skipped = events(store).await.len();
    assert_eq!(purge_sessions(store, before, 100).await, 2);
    for (number, is_there) in [(1, false), (2, true), (3, true), (4, false)] {
        let found = store.find_session(session_id(number)).await.expect(WORKS);
        assert_eq!(found.is_some(), is_there, "{number}");
    }
    assert_eq!(purge_sessions(store, before, 100).await, 0);
    assert_eq!(events(store).await.len(), skipped);
    assert_eq!(purge_sessions(store, before.plus(MILLISECOND), 100).await, 1);
}

/// No more at once than was asked for.
pub async fn purges_the_oldest_sessions_first(store: &dyn Store) {
    insert_user(store, 1).await;
    for (number, secs) in [(1, 3), (2, 1), (3, 2)] {
        open(store, number, 1, OLD + secs).await;
    }
    for left in [&[1, 3][..], &[1], &[]] {
        assert_eq!(purge_sessions(store, later(), 1).await, 1);
        for number in 1..=3 {
            let found = store.find_session(session_id(number)).await.expect(WORKS);
            assert_eq!(found.is_some(), left.contains(&number), "{number}");
        }
    }
    assert_eq!(purge_sessions(store, later(), 1).await, 0);
}

/// Whoever had signed in has, however the sessions ended and whatever is left of them.
pub async fn leaves_the_last_sign_in(store: &dyn Store) {
    for user in 1..=3 {
        insert_user(store, user).await;
    }
    open(store, 1, 1, OLD + 1).await;
    open(store, 2, 2, OLD + 2).await;
    revoke(store, RevokeScope::User(user_id(2)), OLD + 3).await;
    let last_sign_ins = async || {
        let mut found = Vec::new();
        for user in 1..=3 {
            let account = store.find_user(user_id(user)).await.expect(WORKS).expect("the user");
            found.push(account.user.last_login_at);
        }
        found
    };
    let expected = [Some(at(OLD + 1)), Some(at(OLD + 2)), None];
    assert_eq!(last_sign_ins().await, expected);
    assert_eq!(purge_sessions(store, later(), 100).await, 2);
    assert_eq!(last_sign_ins().await, expected);
}

/// Before the time, and not at it; what remains can be read as before.
pub async fn purges_revocations_before_a_time(store: &dyn Store) {
    insert_user(store, 1).await;
    for number in 1..=3 {
        open(store, number, 1, OLD).await;
        revoke(store, RevokeScope::Session(session_id(number)), OLD + i64::from(number)).await;
    }
    let purge = Purge::Revocations { before: at(OLD + 3) };
    for deleted in [1, 1, 0] {
        let purged = store.purge(purge, 1, &context(5)).await;
        assert_eq!(purged, Ok(Purged::Rows(deleted)));
    }
    let page = store.list_revocations(None, 9).await.expect(WORKS);
    let left: Vec<_> = page.revocations.iter().map(|revoked| revoked.at).collect();
    assert_eq!(left, [at(OLD + 3)]);
}

/// As one that never was.
pub async fn answers_a_purged_session_as_unknown(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, OLD).await;
    assert_eq!(purge_sessions(store, later(), 9).await, 1);
    let swap = Swap {
        session_id: session_id(1),
        presented_hash: hash(1),
        successor_hash: hash(2),
        generation: 1,
        retry: None,
        at: at(OLD + 5),
        idle_expires_at: at(OLD).plus(DAY),
        device: Device::default(),
    };
    let refused = store.rotate(swap, &context(OLD + 5)).await;
    assert_eq!(refused, Ok(RotateOutcome::Refused(Standing::default())));
    assert!(revoke(store, RevokeScope::All, OLD + 6).await.is_empty());
}

/// Before the time, and not at it.
pub async fn purges_events_before_a_time(store: &dyn Store) {
    for millis in [0, 9, 10, 11] {
        record_at(store, at(OLD).plus(millis * MILLISECOND)).await;
    }
    let before = at(OLD).plus(10 * MILLISECOND);
    purge_events(store, before, 100, false).await;
    let times: Vec<_> = events(store).await.into_iter().map(|event| event.at).collect();
    assert_eq!(times, [before, before.plus(MILLISECOND)]);
    assert_eq!(purge_events(store, before, 100, false).await, Purged::Rows(0));
}

/// No more at once than was asked for. What comes afterwards has a larger id than what has gone.
pub async fn purges_the_oldest_events_first(store: &dyn Store) {
    for secs in 0..6 {
        record_at(store, at(OLD + secs)).await;
    }
    let last = events(store).await.last().map(|event| event.id);
    for left in [4, 2, 0] {
        assert_eq!(purge_events(store, later(), 2, left == 4).await, Purged::Rows(2));
        let events = events(store).await;
        let kept: Vec<_> = events.iter().map(|event| event.at).collect();
        let expected: Vec<_> = (6 - left..6).map(|secs| at(OLD + secs)).collect();
        assert_eq!(kept[..kept.len() - 1], expected);
    }
    assert!(events(store).await.first().map(|event| event.id) > last);
}

/// One event, of the step that is told to, and with what it deletes.
pub async fn records_a_purge_that_deletes(store: &dyn Store) {
    assert_eq!(purge_events(store, at(OLD), 1, true).await, Purged::Rows(0));
    assert!(events(store).await.is_empty());
    for secs in [1, 2] {
        record_at(store, at(OLD + secs)).await;
    }
    assert_eq!(purge_events(store, at(OLD + 9), 1, true).await, Purged::Rows(1));
    assert_eq!(purge_events(store, at(OLD + 9), 1, false).await, Purged::Rows(1));
    let until = at(OLD + 9).to_rfc3339();
    let expected = format!(r#"audit.purged - - {{"until":"{until}"}}"#);
    assert_events(store, 0, 5, &[&expected]).await;
}

/// A refusal names a session only. Once that has left, the log alone says whose it was.
pub async fn forgets_the_devices_of_purged_sessions(store: &dyn Store) {
    for number in [1, 2] {
        store.insert_user(new_user(number), None, &context(OLD)).await.expect(WORKS);
        open(store, number, number, OLD).await;
        let refused = AuditEvent {
            kind: AuditKind::CsrfRejected { count: 1 },
            user_id: None,
            session_id: Some(session_id(number)),
        };
        assert_eq!(store.record(vec![(refused, context(OLD + 5))]).await, Ok(()));
    }
    assert_eq!(purge_sessions(store, later(), 9).await, 2);
    assert_eq!(delete(store, 1, 5).await, DeleteUserOutcome::Deleted);
    for event in events(store).await {
        let own = event.user_id == Some(user_id(1)) || event.session_id == Some(session_id(1));
        assert_eq!(event.device == Device::default(), own, "{event:?}");
    }
}

/// When every session that was opened at [`OLD`] has timed out.
fn later() -> Timestamp {
    at(OLD).plus(100 * DAY)
}

/// Sessions 1 to 4, of which 1 and 4 have their absolute timeout a millisecond before the time that
/// is answered, 2 at it, and 3 much later, whatever else has become of them.
async fn open_old_sessions(store: &dyn Store) -> Timestamp {
    insert_user(store, 1).await;
    let before = at(OLD).plus(10 * DAY);
    for (number, expires_at) in
        [(1, before.minus(MILLISECOND)), (2, before), (3, at(0)), (4, before.minus(MILLISECOND))]
    {
        let session = Session { expires_at, ..session(number, 1, OLD) };
        open_as(store, new_session(session), OLD).await;
    }
    for number in [3, 4] {
        revoke(store, RevokeScope::Session(session_id(number)), OLD + 1).await;
    }
    before
}

async fn purge_sessions(store: &dyn Store, expired_before: Timestamp, limit: u32) -> u64 {
    let purge = Purge::Sessions { expired_before };
    match store.purge(purge, limit, &context(5)).await.expect(WORKS) {
        Purged::Rows(count) => count,
        Purged::Month => panic!("sessions are not kept by month"),
    }
}

async fn purge_events(store: &dyn Store, before: Timestamp, limit: u32, recorded: bool) -> Purged {
    let purge = Purge::Events { before, recorded };
    store.purge(purge, limit, &context(5)).await.expect(WORKS)
}

async fn record_at(store: &dyn Store, at: Timestamp) {
    let event = AuditEvent::of_user(AuditKind::UserUpdated { fields: Vec::new() }, user_id(1));
    let context = AuditContext { at, ..context(0) };
    assert_eq!(store.record(vec![(event, context)]).await, Ok(()));
}
