//! The outbox of revocations.

use std::collections::BTreeSet;

use futures_util::future::{join_all, join3};
use keyward_core::audit::AuditKind;

use super::*;
use crate::store::{RevocationCursor, Revoked, RevokedSubject};

/// Whatever ends a session tells of it, and of nothing else.
pub async fn tells_of_every_end(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    let mut reader = Reader::new(store);
    for (number, secs) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)] {
        open(store, number, 1, secs).await;
    }
    reader.assert_reads(&[]).await;

    revoke(store, RevokeScope::Session(session_id(1)), 10).await;
    reader.assert_reads(&[(session(1), 10)]).await;
    revoke(store, RevokeScope::SessionOf(session_id(2), user_id(1)), 11).await;
    reader.assert_reads(&[(session(2), 11)]).await;
    let supersedes = Some(session_id(3));
    open_as(store, NewSession { supersedes, ..new_session(super::session(6, 1, 12)) }, 12).await;
    reader.assert_reads(&[(session(3), 12)]).await;
    let new = NewSession { sessions_max: 2, ..new_session(super::session(7, 1, 13)) };
    open_as(store, new, 13).await;
    reader.assert_reads(&[(session(4), 13), (session(5), 13)]).await;
    revoke(store, RevokeScope::User(user_id(1)), 14).await;
    reader.assert_reads(&[(session(6), 14), (session(7), 14)]).await;
    open(store, 8, 1, 15).await;
    let new = new_session(super::session(9, 1, 16));
    let guard = own(8, 0);
    store.change_password(new, guard, password("second"), None, &context(16)).await.expect(WORKS);
    reader.assert_reads(&[(session(8), 16)]).await;
    let kind = AuditKind::SessionReuseDetected { generation: 0, current_generation: 1 };
    let noticed = Some((session_id(9), kind));
    let revoke_noticed =
        Revoke { scope: RevokeScope::All, reason: RevocationReason::ReuseDetected, noticed };
    open(store, 10, 2, 17).await;
    store.revoke(revoke_noticed, &context(17)).await.expect(WORKS);
    reader.assert_reads(&[(session(9), 17), (session(10), 17)]).await;
    open(store, 11, 2, 18).await;
    revoke(store, RevokeScope::All, 19).await;
    reader.assert_reads(&[(session(11), 19)]).await;
}

/// Besides its sessions, a user is told of where disabled or deleted, and only then.
pub async fn tells_of_disabled_and_deleted_users(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 1).await;
    let mut reader = Reader::new(store);
    let disable = async |disabled, secs| {
        set_disabled(store, 1, disabled, &context(secs)).await;
    };
    disable(true, 5).await;
    reader.assert_reads(&[(session(1), 5), (user(1), 5)]).await;
    disable(true, 6).await;
    disable(false, 7).await;
    reader.assert_reads(&[]).await;
    open(store, 2, 1, 8).await;
    delete(store, 1, 9).await;
    reader.assert_reads(&[(session(2), 9), (user(1), 9)]).await;
    delete(store, 1, 10).await;
    reader.assert_reads(&[]).await;
}

/// The time that a user is told of with says nothing of what was opened within the same second. So
/// every session is told of by itself, whoever opened it, and none is opened unseen meanwhile.
pub async fn tells_of_every_session_of_a_revoked_user(store: &dyn Store) {
    insert_user(store, 9).await;
    open(store, 99, 9, 5).await;
    for (number, is_deleted) in [(1, false), (2, true)] {
        insert_user(store, number).await;
        let mut reader = Reader::new(store);
        reader.read().await;
        let sign_in = async |index: u8| {
            let mut session = super::session(10 * number + index, number, 5);
            if index.is_multiple_of(2) {
                session.amr = vec![AuthenticationMethod::External];
            }
            let id = session.id;
            let outcome = store.open_session(new_session(session), 0, &context(5)).await;
            let is_opened = matches!(outcome.expect(WORKS), OpenSessionOutcome::Opened { .. });
            is_opened.then_some((RevokedSubject::Session(id), 5))
        };
        let end = async {
            if is_deleted {
                delete(store, number, 5).await;
            } else {
                set_disabled(store, number, true, &context(5)).await;
            }
        };
        let before = sign_in(0).await;
        let (early, (), late) =
            join3(join_all((1..5).map(sign_in)), end, join_all((5..10).map(sign_in))).await;
        let opened = [before].into_iter().chain(early).chain(late).flatten();
        let expected: Vec<_> = opened.chain([(user(number), 5)]).collect();
        assert!(expected.len() >= 2, "{expected:?}");
        reader.assert_reads(&expected).await;
    }
}

/// What was ended before, has timed out or is refused tells nothing. What has timed out tells of
/// its end where it ends with all others.
pub async fn tells_of_no_end_twice(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    let timed_out = Session { idle_expires_at: at(5), ..super::session(2, 1, 0) };
    open_as(store, new_session(timed_out), 0).await;
    let mut reader = Reader::new(store);
    revoke(store, RevokeScope::Session(session_id(1)), 10).await;
    reader.assert_reads(&[(session(1), 10)]).await;
    revoke(store, RevokeScope::Session(session_id(2)), 11).await;
    reader.assert_reads(&[]).await;
    revoke(store, RevokeScope::User(user_id(1)), 12).await;
    reader.assert_reads(&[(session(2), 12)]).await;
    for scope in [RevokeScope::All, RevokeScope::User(user_id(1))] {
        revoke(store, scope, 13).await;
    }
    reader.assert_reads(&[]).await;
}

/// Page by page each revocation comes once; the cursors of two readers are their own.
pub async fn reads_revocations_by_page(store: &dyn Store) {
    insert_user(store, 1).await;
    let numbers: Vec<u8> = (1..=7).collect();
    for number in &numbers {
        open(store, *number, 1, 0).await;
    }
    for number in &numbers {
        revoke(store, RevokeScope::Session(session_id(*number)), i64::from(*number)).await;
    }
    for limit in [1, 2, 3, 7, 8] {
        let (mut cursor, mut read) = (None, Vec::new());
        loop {
            let page = store.list_revocations(cursor.as_ref(), limit).await.expect(WORKS);
            assert!(page.revocations.len() <= limit as usize);
            read.extend(page.revocations);
            cursor = Some(page.cursor);
            if page.is_last {
                break;
            }
        }
        let subjects: Vec<_> = read.iter().map(|revoked| revoked.subject).collect();
        let expected: Vec<_> = numbers.iter().copied().map(session).collect();
        assert_eq!(subjects, expected, "by {limit}");
        assert!(read.is_sorted_by_key(|revoked| revoked.position), "{read:?}");
    }
}

/// What a reader has not been given stands at the place of its cursor, or later.
pub async fn a_place_is_before_all_that_follows(store: &dyn Store) {
    insert_user(store, 1).await;
    let mut reader = Reader::new(store);
    reader.read().await;
    for number in 1..=3 {
        let place = reader.cursor.as_ref().expect("a reading").place;
        open(store, number, 1, 0).await;
        revoke(store, RevokeScope::Session(session_id(number)), i64::from(number)).await;
        let read = reader.read().await;
        assert_eq!(read.len(), 1);
        assert!(read[0].position >= place.position, "{read:?} at {place}");
        let reached = reader.cursor.as_ref().expect("a reading").place;
        assert_eq!(reached.history, place.history);
        assert!(reached.position >= place.position, "{reached} after {place}");
    }
}

/// Reads on from where it was.
struct Reader<'a> {
    store: &'a dyn Store,
    cursor: Option<RevocationCursor>,
}

impl<'a> Reader<'a> {
    fn new(store: &'a dyn Store) -> Self {
        Self { store, cursor: None }
    }

    async fn read(&mut self) -> Vec<Revoked> {
        let page = self.store.list_revocations(self.cursor.as_ref(), 100).await.expect(WORKS);
        assert!(page.is_last);
        self.cursor = Some(page.cursor);
        page.revocations
    }

    /// Those of one transaction may stand in any order.
    async fn assert_reads(&mut self, expected: &[(RevokedSubject, i64)]) {
        let read = self.read().await;
        assert_eq!(read.len(), expected.len(), "{read:?}");
        let read: BTreeSet<_> =
            read.iter().map(|revoked| (revoked.subject, revoked.at.millis())).collect();
        let expected: BTreeSet<_> =
            expected.iter().map(|(subject, secs)| (*subject, at(*secs).millis())).collect();
        assert_eq!(read, expected);
    }
}

fn session(number: u8) -> RevokedSubject {
    RevokedSubject::Session(session_id(number))
}

fn user(number: u8) -> RevokedSubject {
    RevokedSubject::User(user_id(number))
}
