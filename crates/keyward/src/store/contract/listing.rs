//! Finding and listing sessions.

use super::*;
use crate::store::{SessionFilter, SessionOfUser, WhichSessions};

/// Live or not; with the user as they are now.
pub async fn finds_a_session_and_its_user(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    let user = store.set_name(user_id(1), None, &context(1)).await.expect(WORKS);
    let expected = SessionOfUser { session: session(1, 1, 0), user: user.expect("the user") };
    assert_eq!(store.find_session(session_id(1)).await, Ok(Some(expected)));
    assert_eq!(store.find_session(session_id(2)).await, Ok(None));
    revoke(store, RevokeScope::All, 5).await;
    assert_eq!(reason(store, 1).await, Some(RevocationReason::Logout));
}

/// Most recently used first; without the ended and the timed-out.
pub async fn lists_live_sessions(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    for (number, user, secs) in [(1, 1, 20), (2, 1, 30), (3, 2, 25), (4, 1, 20), (5, 1, 40)] {
        open(store, number, user, secs).await;
    }
    let idle = Session { idle_expires_at: at(50), ..session(6, 1, 45) };
    let old = Session { expires_at: at(50), ..session(7, 1, 45) };
    for session in [idle, old] {
        open_as(store, new_session(session), 45).await;
    }
    revoke(store, RevokeScope::Session(session_id(5)), 50).await;
    for (user, limit, expected) in [
        (Some(1), 9, &[2, 4, 1][..]),
        (Some(1), 2, &[2, 4]),
        (Some(2), 9, &[3]),
        (Some(9), 9, &[]),
        (None, 9, &[2, 3, 4, 1]),
        (None, 0, &[]),
    ] {
        assert_listed(store, (user, WhichSessions::Live, limit), expected).await;
    }
}

/// Most recently ended first; the timed-out have not been ended.
pub async fn lists_ended_sessions(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    for (number, user) in [(1, 1), (2, 1), (3, 2), (4, 1), (5, 1)] {
        open(store, number, user, 0).await;
    }
    for (number, secs) in [(4, 30), (1, 10), (3, 20), (2, 30)] {
        revoke(store, RevokeScope::Session(session_id(number)), secs).await;
    }
    for (user, since, limit, expected) in [
        (Some(1), 10, 9, &[4, 2, 1][..]),
        (Some(1), 11, 9, &[4, 2]),
        (Some(1), 10, 1, &[4]),
        (None, 10, 9, &[4, 2, 3, 1]),
        (None, 20, 9, &[4, 2, 3]),
        (None, 31, 9, &[]),
    ] {
        let which = WhichSessions::EndedSince(at(since));
        assert_listed(store, (user, which, limit), expected).await;
    }
}

async fn assert_listed(
    store: &dyn Store,
    (user, which, limit): (Option<u8>, WhichSessions, u32),
    expected: &[u8],
) {
    let filter = SessionFilter { user_id: user.map(user_id), which, now: at(50), limit };
    let sessions = store.list_sessions(filter.clone()).await.expect(WORKS);
    let numbers: Vec<_> = sessions.iter().map(|session| session.id.as_bytes()[0]).collect();
    assert_eq!(numbers, expected, "{filter:?}");
}
