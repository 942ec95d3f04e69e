//! Exchanging refresh tokens.

use futures_util::future::join_all;
use keyward_core::one_time_token::TokenPurpose;
use keyward_core::refresh_token::{RetryProof, SealedSuccessor};
use keyward_core::session::{Revocation, StoredProof, Swap, SwapRetry};

use super::*;
use crate::store::{GivenPassword, RotateOutcome, SessionOfUser, Standing};

/// Carries out `Session::rotate`, records it, and answers the session and its user.
pub async fn rotates(store: &dyn Store) {
    let user = insert_user_with_session(store).await;
    let swap = swap(1, 2, 10);
    let outcome = store.rotate(swap.clone(), &context(10)).await.expect(WORKS);
    let mut expected = session(1, 1, 0);
    expected.rotate(&swap);
    let swapped = SessionOfUser { session: expected.clone(), user };
    assert_eq!(outcome, RotateOutcome::Swapped(swapped));
    let found = store.find_session(session_id(1)).await.expect(WORKS).expect("the session");
    assert_eq!(found.session, expected);
    assert_eq!(expected.retry_proofs.len(), 1);
    assert_events(store, 3, 10, &[r#"session.refreshed 1 1 {"generation":1}"#]).await;
}

/// Without an Idempotency-Key the sealed successor goes and the proofs stay.
pub async fn rotates_without_a_key(store: &dyn Store) {
    insert_user_with_session(store).await;
    let proof = StoredProof { proof: RetryProof::from_bytes([3; 16]), at: at(20) };
    for (swap, proofs) in [
        (Swap { retry: None, ..swap(1, 2, 10) }, &[][..]),
        (swap(2, 3, 20), &[proof]),
        (Swap { retry: None, ..swap(3, 4, 30) }, &[proof]),
    ] {
        let session = swapped(store, swap.clone(), 9).await.session;
        assert_eq!(session.sealed_successor.is_some(), swap.retry.is_some());
        assert_eq!(session.previous_token_hash, Some(swap.presented_hash));
        assert_eq!(session.retry_proofs, proofs);
    }
}

/// However often a session rotates: the newest eight, newest first.
pub async fn keeps_eight_proofs(store: &dyn Store) {
    insert_user_with_session(store).await;
    for number in 1..=10 {
        let swap = swap(number, number + 1, i64::from(number));
        swapped(store, swap, 9).await;
    }
    let found = store.find_session(session_id(1)).await.expect(WORKS).expect("the session");
    let expected: Vec<_> = (3..=10_u8)
        .rev()
        .map(|number| StoredProof {
            proof: RetryProof::from_bytes([number + 1; 16]),
            at: at(i64::from(number)),
        })
        .collect();
    assert_eq!(found.session.retry_proofs, expected);
}

/// The idle timeout never lies past the absolute one.
pub async fn caps_the_idle_timeout(store: &dyn Store) {
    insert_user_with_session(store).await;
    let beyond = Swap { idle_expires_at: at(10).plus(99 * DAY), ..swap(1, 2, 10) };
    let session = swapped(store, beyond, 10).await.session;
    assert_eq!(session.idle_expires_at, session.expires_at);
}

/// A hash that is not current swaps nothing, and the session comes back as it is.
pub async fn refuses_a_spent_hash(store: &dyn Store) {
    insert_user_with_session(store).await;
    let SessionOfUser { session, user } = swapped(store, swap(1, 2, 10), 10).await;
    let standing = Standing { session: Some(session), user: Some(user) };
    for presented in [1, 99] {
        assert_eq!(refused(store, swap(presented, 3, 20), 20).await, standing);
    }
    assert_events(store, 4, 20, &[]).await;
}

/// Nor does a session that was ended or has timed out, to the millisecond.
pub async fn refuses_a_dead_session(store: &dyn Store) {
    insert_user(store, 1).await;
    let sessions = [
        Session { idle_expires_at: at(10), ..session(1, 1, 0) },
        Session { expires_at: at(10), ..session(2, 1, 0) },
        session(3, 1, 0),
    ];
    for session in sessions {
        open_as(store, new_session(session), 0).await;
    }
    revoke(store, RevokeScope::Session(session_id(3)), 5).await;
    let skipped = events(store).await.len();
    for number in 1..=3 {
        let swap = Swap { session_id: session_id(number), ..swap(number, 9, 10) };
        let standing = refused(store, swap, 10).await;
        assert_eq!(standing.session.map(|session| session.generation), Some(0));
        assert!(standing.user.is_some());
    }
    assert_events(store, skipped, 10, &[]).await;
    for number in 1..=2 {
        let last_moment = Timestamp::from_millis(at(10).millis() - 1);
        let swap = Swap { session_id: session_id(number), at: last_moment, ..swap(number, 9, 0) };
        swapped(store, swap, 9).await;
    }
}

/// No such session: nothing is told and nothing recorded.
pub async fn answers_an_unknown_session(store: &dyn Store) {
    insert_user(store, 1).await;
    assert_eq!(refused(store, swap(1, 2, 10), 10).await, Standing::default());
    assert_events(store, 1, 10, &[]).await;
}

/// The session of a deleted user still says why it has ended; it is found in no other way.
pub async fn answers_a_deleted_user(store: &dyn Store) {
    insert_user_with_session(store).await;
    assert_eq!(delete(store, 1, 5).await, DeleteUserOutcome::Deleted);
    let standing = refused(store, swap(1, 2, 10), 10).await;
    assert_eq!(standing.user, None);
    let revoked = standing.session.and_then(|session| session.revoked);
    assert_eq!(revoked.map(|end| end.reason), Some(RevocationReason::UserDeleted));
    assert_eq!(store.find_session(session_id(1)).await, Ok(None));
}

/// It had expired when the user was deleted, and the clock is set back since.
pub async fn revives_nothing_of_a_deleted_user(store: &dyn Store) {
    insert_user_with_session(store).await;
    let two_days = 2 * 24 * 3600;
    assert_eq!(delete(store, 1, two_days).await, DeleteUserOutcome::Deleted);
    let standing = refused(store, swap(1, 2, 10), 10).await;
    let revoked = standing.session.and_then(|session| session.revoked);
    assert_eq!(
        revoked.map(|end| (end.at, end.reason)),
        Some((at(two_days), RevocationReason::UserDeleted))
    );
}

/// An exchange began just before the timeout, and comes to the store after a change of the account
/// that leaves no session: it must not bring back one that was passed over as timed out. The log
/// says nothing of those.
pub async fn revives_nothing_from_before_a_change(store: &dyn Store) {
    let two_days = 2 * 24 * 3600;
    for user in 1..=4 {
        insert_user(store, user).await;
        open(store, user, user, 0).await;
    }
    let mut issued = mail::mailed_to(1, 3, TokenPurpose::ResetPassword);
    issued.token.expires_at = at(two_days + 1);
    mail::issue(store, issued, 0).await;
    open(store, 6, 4, two_days).await;
    let skipped = events(store).await.len();
    let given = UserChange::Password(GivenPassword { hash: password("given"), notice: None });
    for (user, change) in [(1, UserChange::Disable), (2, given)] {
        let guard = AdministrationGuard::default();
        let changed = store.change_user(user_id(user), change, guard, &context(two_days)).await;
        assert!(matches!(changed, Ok(ChangeUserOutcome::Changed(_))), "{changed:?}");
    }
    mail::reset(store, 1, two_days).await.expect("a live token");
    let new = new_session(session(5, 4, two_days));
    let guard = own(6, 0);
    let changed = store.change_password(new, guard, password("x"), None, &context(two_days)).await;
    assert!(matches!(changed, Ok(OpenSessionOutcome::Opened { .. })), "{changed:?}");
    let recorded = events(store).await;
    let revoked = recorded[skipped..].iter().filter(|event| event.name == "session.revoked");
    let revoked: Vec<_> = revoked.map(|event| event.session_id).collect();
    assert_eq!(revoked, [Some(session_id(6))]);

    let reasons = [
        RevocationReason::UserDisabled,
        RevocationReason::PasswordReset,
        RevocationReason::PasswordReset,
        RevocationReason::PasswordChanged,
    ];
    for (number, reason) in (1..).zip(reasons) {
        let swap = Swap { session_id: session_id(number), ..swap(number, 9, 10) };
        let standing = refused(store, swap, 10).await;
        let revoked = standing.session.and_then(|session| session.revoked);
        assert_eq!(revoked, Some(Revocation { at: at(two_days), reason }));
    }
}

/// As above, where all sessions there are end at once, or all of a user's. The asker's clock may be
/// ahead, too.
pub async fn revives_nothing_from_before_the_end_of_all(store: &dyn Store) {
    let two_days = 2 * 24 * 3600;
    for number in 1..=2 {
        insert_user(store, number).await;
    }
    for (scope, first) in [(RevokeScope::All, 1), (RevokeScope::User(user_id(1)), 3)] {
        open(store, first, 1, 0).await;
        open(store, first + 1, 1, two_days).await;
        let skipped = events(store).await.len();
        assert_eq!(revoke(store, scope, two_days).await, [session_id(first + 1)], "{scope:?}");
        let told = format!(r#"session.revoked 1 {} {{"reason":"logout"}}"#, first + 1);
        assert_events(store, skipped, two_days, &[&told]).await;
        let swap =
            Swap { session_id: session_id(first), presented_hash: hash(first), ..swap(1, 9, 10) };
        let standing = refused(store, swap, 10).await;
        let revoked = standing.session.and_then(|session| session.revoked);
        let reason = RevocationReason::Logout;
        assert_eq!(revoked, Some(Revocation { at: at(two_days), reason }), "{scope:?}");
    }
}

/// Of fifty that present one token at once exactly one is answered with a swap, and the others
/// learn of it.
pub async fn rotates_once_of_many(store: &dyn Store) {
    insert_user_with_session(store).await;
    let context = context(10);
    let rotations = (0..50).map(|number| store.rotate(swap(1, 100 + number, 10), &context));
    let (mut swapped, mut refused) = (Vec::new(), Vec::new());
    for outcome in join_all(rotations).await {
        match outcome.expect(WORKS) {
            RotateOutcome::Swapped(found) => swapped.push(found.session),
            RotateOutcome::Refused(standing) => refused.extend(standing.session),
        }
    }
    assert_eq!((swapped.len(), refused.len()), (1, 49));
    for session in refused {
        // A loser may have been shown the session as it was before the race, and then asks again.
        let session = if session.accepts(&swap(1, 99, 10)) {
            self::refused(store, swap(1, 99, 10), 10).await.session.expect("a session")
        } else {
            session
        };
        assert_eq!(session, swapped[0]);
    }
    assert_events(store, 3, 10, &[r#"session.refreshed 1 1 {"generation":1}"#]).await;
}

/// Makes a swap that happens.
async fn swapped(store: &dyn Store, swap: Swap, secs: i64) -> SessionOfUser {
    match store.rotate(swap, &context(secs)).await.expect(WORKS) {
        RotateOutcome::Swapped(found) => found,
        RotateOutcome::Refused(standing) => panic!("it was refused: {standing:?}"),
    }
}

/// Makes a swap that does not happen.
async fn refused(store: &dyn Store, swap: Swap, secs: i64) -> Standing {
    match store.rotate(swap, &context(secs)).await.expect(WORKS) {
        RotateOutcome::Swapped(found) => panic!("it happened: {found:?}"),
        RotateOutcome::Refused(standing) => standing,
    }
}

async fn insert_user_with_session(store: &dyn Store) -> User {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    store.find_user(user_id(1)).await.expect(WORKS).expect("the user").user
}

/// Exchanges token `presented` of session 1 for token `successor`, with a key.
fn swap(presented: u8, successor: u8, secs: i64) -> Swap {
    Swap {
        session_id: session_id(1),
        presented_hash: hash(presented),
        successor_hash: hash(successor),
        generation: 1,
        retry: Some(SwapRetry {
            proof: RetryProof::from_bytes([successor; 16]),
            sealed_successor: SealedSuccessor::from_bytes(vec![successor; 130]),
        }),
        at: at(secs),
        idle_expires_at: at(secs).plus(DAY),
        device: device("192.0.2.99"),
    }
}
