//! What users change of their own account, on the word of a session: it must be live when the
//! change commits. A request may be under way for as long as a password takes to hash.

use futures_util::future::join;
use keyward_core::one_time_token::TokenPurpose;

use super::second_factor::{begin, begin_in, code, enabled, enabling, removal};
use super::*;
use crate::store::{
    BeginTotpOutcome, DisableTotpOutcome, EnableTotp, EnableTotpOutcome, GivenPassword, MfaProof,
    ProfileChange, ReplaceCodesOutcome,
};

/// Whether it was ended or has timed out, is another user's, or was never there.
pub async fn changes_nothing_for_a_session_that_is_over(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    for (number, user) in [(1, 1), (2, 1), (3, 2)] {
        open(store, number, user, 0).await;
    }
    let timed_out = Session { idle_expires_at: at(5), ..session(4, 1, 0) };
    open_as(store, new_session(timed_out), 0).await;
    revoke(store, RevokeScope::SessionOf(session_id(2), user_id(1)), 1).await;
    begin(store, 0, 7, 1).await;
    for number in [2, 3, 4, 99] {
        refuses_all_without_a_factor(store, number).await;
    }
    assert!(enabled(store, enabling(store).await, 5).await.is_some());
    for number in [2, 3, 4, 99] {
        refuses_all_with_a_factor(store, number).await;
    }
}

/// It has ended the session, and enabling the user brings that back for nothing.
pub async fn changes_nothing_after_a_disabling(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    begin(store, 0, 7, 1).await;
    let read = enabling(store).await;
    for disabled in [true, false] {
        set_disabled(store, 1, disabled, &context(2)).await;
        let outcome = store.enable_totp(read.clone(), &context(5)).await;
        assert_eq!(outcome, Ok(EnableTotpOutcome::SessionEnded));
    }
    refuses_all_without_a_factor(store, 1).await;
}

/// Whichever is first: the new session is open, or the old one was ended and none is.
pub async fn of_a_change_and_the_end_of_its_session_one_happens(store: &dyn Store) {
    insert_user(store, 1).await;
    let (mut version, context) = (0, context(5));
    for round in 0..20_u8 {
        let (asking, opened) = (2 * round + 1, 2 * round + 2);
        let by_password = store.open_session(new_session(session(asking, 1, 5)), version, &context);
        assert!(matches!(by_password.await, Ok(OpenSessionOutcome::Opened { .. })));
        let new = new_session(session(opened, 1, 5));
        let guard = own(asking, version);
        let change = store.change_password(new, guard, password("x"), None, &context);
        let end = revoke(store, RevokeScope::SessionOf(session_id(asking), user_id(1)), 5);
        // Whoever is asked first wins more often.
        let (changed, ended) = if round % 2 == 0 {
            join(change, end).await
        } else {
            let (ended, changed) = join(end, change).await;
            (changed, ended)
        };
        match changed.expect(WORKS) {
            OpenSessionOutcome::Opened { .. } => {
                assert_eq!((ended, reason(store, opened).await), (vec![], None));
                version += 1;
            }
            OpenSessionOutcome::SessionEnded => {
                assert_eq!(ended, [session_id(asking)]);
                assert_eq!(store.find_session(session_id(opened)).await, Ok(None));
            }
            refused => panic!("{refused:?}"),
        }
    }
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!(account.credential_version, version);
}

/// Whoever sets the other one: who knew the password before must not finish in a session that is
/// opened with the new one. One that is finished stays.
pub async fn a_setup_goes_with_its_password(store: &dyn Store) {
    insert_user(store, 1).await;
    let mut issued = mail::mailed(1, TokenPurpose::ResetPassword);
    let verified = ProfileChange { email_verified: Some(true), ..ProfileChange::default() };
    let (change, guard) = (UserChange::Profile(verified), AdministrationGuard::default());
    store.change_user(user_id(1), change, guard, &context(0)).await.expect(WORKS);
    open(store, 1, 1, 0).await;

    begin(store, 0, 7, 1).await;
    let stale = enabling(store).await;
    let new = new_session(session(2, 1, 2));
    let changed = store.change_password(new, own(1, 0), password("x"), None, &context(2)).await;
    assert!(matches!(changed, Ok(OpenSessionOutcome::Opened { .. })), "{changed:?}");
    assert_gone(store, stale, 2).await;

    begin_in(store, own(2, 1), 8, 2).await;
    let stale = enabling(store).await;
    let given = GivenPassword { hash: password("given"), notice: None };
    let (change, guard) = (UserChange::Password(given), AdministrationGuard::default());
    store.change_user(user_id(1), change, guard, &context(3)).await.expect(WORKS);
    open_at(store, 3, 2).await;
    assert_gone(store, stale, 3).await;

    begin_in(store, own(3, 2), 9, 3).await;
    let stale = enabling(store).await;
    issued.token.credential_version = 2;
    mail::issue(store, issued, 3).await;
    mail::reset(store, 1, 4).await.expect("a live token");
    open_at(store, 4, 3).await;
    assert_gone(store, stale, 4).await;

    begin_in(store, own(4, 3), 10, 5).await;
    let finishing = EnableTotp { session_id: session_id(4), ..enabling(store).await };
    assert!(enabled(store, finishing, 5).await.is_some());
    let new = new_session(session(5, 1, 5));
    let changed = store.change_password(new, own(4, 4), password("y"), None, &context(5)).await;
    assert!(matches!(changed, Ok(OpenSessionOutcome::Opened { .. })), "{changed:?}");
    let totp = store.find_totp(user_id(1)).await.expect(WORKS).expect("the app");
    assert_eq!(totp.confirmed_at, Some(at(5)));
}

/// The set-up cannot be finished in this session, whatever was read of it.
async fn assert_gone(store: &dyn Store, stale: EnableTotp, number: u8) {
    assert_eq!(store.find_totp(user_id(1)).await, Ok(None));
    let finishing = EnableTotp { session_id: session_id(number), ..stale };
    let outcome = store.enable_totp(finishing, &context(5)).await;
    assert_eq!(outcome, Ok(EnableTotpOutcome::SetupGone));
}

/// Opens session `number` of user 1 at this version of the credentials.
async fn open_at(store: &dyn Store, number: u8, version: u64) {
    let new = new_session(session(number, 1, 3));
    let opened = store.open_session(new, version, &context(3)).await;
    assert!(matches!(opened, Ok(OpenSessionOutcome::Opened { .. })), "{opened:?}");
}

/// User 1, at version 0 and with a set-up, changes nothing in session `number`.
async fn refuses_all_without_a_factor(store: &dyn Store, number: u8) {
    let before = everything(store).await;
    let new = new_session(session(100, 1, 5));
    let changed =
        store.change_password(new, own(number, 0), password("x"), None, &context(5)).await;
    assert_eq!(changed, Ok(OpenSessionOutcome::SessionEnded), "{number}");
    let begun = begin_in(store, own(number, 0), 9, 5).await;
    assert_eq!(begun, BeginTotpOutcome::SessionEnded, "{number}");
    let finishing = EnableTotp { session_id: session_id(number), ..enabling(store).await };
    let finished = store.enable_totp(finishing, &context(5)).await;
    assert_eq!(finished, Ok(EnableTotpOutcome::SessionEnded), "{number}");
    assert_eq!(delete_own(store, number, 0).await, DeleteUserOutcome::SessionEnded, "{number}");
    assert_eq!(everything(store).await, before, "{number}");
}

/// User 1, at version 1 and with a second factor, changes nothing in session `number`.
async fn refuses_all_with_a_factor(store: &dyn Store, number: u8) {
    let before = everything(store).await;
    let codes = vec![code(9)];
    let guard = own(number, 1);
    let replaced = store.replace_recovery_codes(user_id(1), guard, codes, None, &context(5)).await;
    assert_eq!(replaced, Ok(ReplaceCodesOutcome::SessionEnded), "{number}");
    for proof in [MfaProof::Step(101), MfaProof::RecoveryCode(code(1))] {
        let own = Some(removal(number, proof));
        let removed = store.disable_totp(user_id(1), own, None, &context(5)).await;
        assert_eq!(removed, Ok(DisableTotpOutcome::SessionEnded), "{number}");
    }
    assert_eq!(delete_own(store, number, 1).await, DeleteUserOutcome::SessionEnded, "{number}");
    assert_eq!(everything(store).await, before, "{number}");
}

async fn delete_own(store: &dyn Store, number: u8, version: u64) -> DeleteUserOutcome {
    let guard = DeleteGuard { own: Some(own(number, version)), ..DeleteGuard::default() };
    store.delete_user(user_id(1), guard, &context(5)).await.expect(WORKS)
}

/// User 1 and the log, as they are.
async fn everything(store: &dyn Store) -> String {
    let account = store.find_user(user_id(1)).await.expect(WORKS);
    let totp = store.find_totp(user_id(1)).await.expect(WORKS);
    let opened = store.find_session(session_id(100)).await.expect(WORKS);
    let first = store.find_session(session_id(1)).await.expect(WORKS);
    format!("{account:?} {totp:?} {opened:?} {first:?} {:?}", events(store).await)
}
