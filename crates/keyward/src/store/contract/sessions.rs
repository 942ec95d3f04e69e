//! Opening sessions and ending them.

use keyward_core::audit::AuditKind;
use keyward_core::session::Revocation;

use super::*;

/// A session is kept as it was given, and the sign-in is remembered.
pub async fn opens_a_session(store: &dyn Store) {
    insert_user(store, 1).await;
    let new = new_session(session(1, 1, 5));
    let outcome = store.open_session(new, 0, &context(5)).await.expect(WORKS);
    let OpenSessionOutcome::Opened { user, ended_others: false } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(user.last_login_at, Some(at(5)));
    let found = store.find_session(session_id(1)).await.expect(WORKS).expect("the session");
    assert_eq!((found.session, found.user), (session(1, 1, 5), user));
    assert_events(store, 1, 5, &["login.succeeded 1 1 {}", "session.created 1 1 {}"]).await;
}

/// Another version, or no such user: one answer, and nothing happens.
pub async fn opens_none_without_the_verified_credential(store: &dyn Store) {
    insert_user(store, 1).await;
    for (user, version) in [(1, 1), (2, 0)] {
        let new = new_session(session(1, user, 5));
        let outcome = store.open_session(new, version, &context(5)).await;
        assert_eq!(outcome, Ok(OpenSessionOutcome::CredentialChanged));
    }
    assert_nothing_opened(store).await;
}

/// A disabled user is told so only with the present version.
pub async fn opens_none_for_the_disabled(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 9, 1, 0).await;
    let skipped = events(store).await.len() + 2;
    set_disabled(store, 1, true, &context(1)).await;
    for (version, expected) in
        [(0, OpenSessionOutcome::Disabled), (1, OpenSessionOutcome::CredentialChanged)]
    {
        let new = new_session(session(1, 1, 5));
        let outcome = store.open_session(new.clone(), version, &context(5)).await;
        assert_eq!(outcome, Ok(expected.clone()));
        let guard = own(9, version);
        let outcome = store.change_password(new, guard, password("x"), None, &context(5)).await;
        assert_eq!(outcome, Ok(expected));
    }
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!(account.user.last_login_at, Some(at(0)));
    assert_events(store, skipped, 5, &[]).await;
}

/// Whoever signs in anew leaves the old line, even that of another user.
pub async fn ends_the_superseded_session(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    open(store, 1, 1, 0).await;
    let skipped = events(store).await.len();
    let supersedes = Some(session_id(1));
    assert!(open_as(store, NewSession { supersedes, ..new_session(session(2, 2, 5)) }, 5).await);
    let found = store.find_session(session_id(1)).await.expect(WORKS).expect("the session");
    let revocation = Revocation { at: at(5), reason: RevocationReason::Superseded };
    assert_eq!(found.session.revoked, Some(revocation));
    let expected = [
        "login.succeeded 2 2 {}",
        "session.created 2 2 {}",
        r#"session.revoked 1 1 {"reason":"superseded"}"#,
    ];
    assert_events(store, skipped, 5, &expected).await;
}

/// A session that was ended before, or is not there, is left as it is.
pub async fn leaves_an_ended_session_superseded_by_nobody(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    revoke(store, RevokeScope::Session(session_id(1)), 1).await;
    for (number, superseded) in [(2, 1), (3, 99)] {
        let skipped = events(store).await.len();
        let supersedes = Some(session_id(superseded));
        let new = NewSession { supersedes, ..new_session(session(number, 1, 5)) };
        assert!(!open_as(store, new, 5).await);
        assert_eq!(events(store).await.len(), skipped + 2);
    }
    assert_eq!(reason(store, 1).await, Some(RevocationReason::Logout));
}

/// Beyond the maximum the longest unused sessions end; ended and timed-out ones do not count, nor
/// do those of others.
pub async fn ends_the_longest_unused(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    open(store, 9, 2, 0).await;
    let timed_out = Session { idle_expires_at: at(50), ..session(8, 1, 0) };
    open_as(store, new_session(timed_out), 0).await;
    for (number, secs) in [(1, 40), (2, 10), (3, 30), (4, 20), (5, 35)] {
        open(store, number, 1, secs).await;
    }
    revoke(store, RevokeScope::Session(session_id(5)), 50).await;
    let skipped = events(store).await.len();
    let new = NewSession { sessions_max: 3, ..new_session(session(6, 1, 60)) };
    assert!(open_as(store, new, 60).await);
    let expected = [
        "login.succeeded 1 6 {}",
        "session.created 1 6 {}",
        r#"session.revoked 1 2 {"reason":"too_many"}"#,
        r#"session.revoked 1 4 {"reason":"too_many"}"#,
    ];
    assert_events(store, skipped, 60, &expected).await;
    for number in [1, 3, 6, 8, 9] {
        assert_eq!(reason(store, number).await, None, "session {number}");
    }
}

/// Not even where it was last used before all others.
pub async fn never_ends_the_new_session(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 40).await;
    open_as(store, NewSession { sessions_max: 1, ..new_session(session(2, 1, 10)) }, 50).await;
    assert_eq!(reason(store, 1).await, Some(RevocationReason::TooMany));
    assert_eq!(reason(store, 2).await, None);
    open_as(store, NewSession { sessions_max: 0, ..new_session(session(3, 1, 10)) }, 50).await;
    assert_eq!(reason(store, 3).await, None);
}

/// Every earlier session ends, this device gets a new one, the version rises.
pub async fn changes_the_password(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    for (number, user) in [(2, 1), (1, 1), (3, 2), (4, 2)] {
        open(store, number, user, 0).await;
    }
    let skipped = events(store).await.len();
    let supersedes = Some(session_id(3));
    let new = NewSession { supersedes, ..new_session(session(5, 1, 5)) };
    let outcome =
        store.change_password(new, own(2, 0), password("second"), None, &context(5)).await;
    let outcome = outcome.expect(WORKS);
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    let user = account.user.clone();
    assert_eq!(outcome, OpenSessionOutcome::Opened { user, ended_others: true });
    assert_eq!(account.user.last_login_at, Some(at(0)));
    assert_eq!((account.password_hash, account.credential_version), (password("second"), 1));
    let expected = [
        "password.changed 1 - {}",
        "session.created 1 5 {}",
        r#"session.revoked 1 1 {"reason":"password_changed"}"#,
        r#"session.revoked 1 2 {"reason":"password_changed"}"#,
        r#"session.revoked 2 3 {"reason":"superseded"}"#,
    ];
    assert_events(store, skipped, 5, &expected).await;
    let found = store.find_session(session_id(5)).await.expect(WORKS).expect("the session");
    assert_eq!(found.session, session(5, 1, 5));
    assert_eq!(reason(store, 4).await, None);
}

/// Another version, or no such user: the password stays.
pub async fn changes_no_password_without_the_verified_credential(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 9, 1, 0).await;
    let skipped = events(store).await.len();
    for (user, version) in [(1, 1), (2, 0)] {
        let (new, guard) = (new_session(session(1, user, 5)), own(9, version));
        let outcome = store.change_password(new, guard, password("x"), None, &context(5)).await;
        assert_eq!(outcome, Ok(OpenSessionOutcome::CredentialChanged));
    }
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!((account.password_hash, account.credential_version), (password("first"), 0));
    assert_eq!(store.find_session(session_id(1)).await, Ok(None));
    assert_eq!(reason(store, 9).await, None);
    assert_events(store, skipped, 5, &[]).await;
}

/// The password was verified before the change and the session opens after it: it must not.
pub async fn a_sign_in_in_flight_does_not_survive_a_password_change(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 9, 1, 0).await;
    let verified = store.find_user_by_email("user1@example.org").await.expect(WORKS);
    let version = verified.expect("the user").credential_version;
    let (owner, thief) = (new_session(session(1, 1, 5)), new_session(session(2, 1, 5)));
    let guard = own(9, version);
    let changed = store.change_password(owner, guard, password("second"), None, &context(5)).await;
    assert!(matches!(changed, Ok(OpenSessionOutcome::Opened { ended_others: true, .. })));
    let late = store.open_session(thief.clone(), version, &context(6)).await;
    assert_eq!(late, Ok(OpenSessionOutcome::CredentialChanged));
    let late = store.change_password(thief, guard, password("third"), None, &context(6)).await;
    assert_eq!(late, Ok(OpenSessionOutcome::CredentialChanged));
    assert_eq!(store.find_session(session_id(2)).await, Ok(None));
}

/// Each scope ends what it names and nothing else.
pub async fn revokes_by_scope(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    for (number, user) in [(3, 1), (1, 1), (2, 1), (4, 2), (5, 2)] {
        open(store, number, user, 0).await;
    }
    for (scope, expected) in [
        (RevokeScope::Session(session_id(99)), &[][..]),
        (RevokeScope::SessionOf(session_id(1), user_id(2)), &[]),
        (RevokeScope::SessionOf(session_id(1), user_id(1)), &[(1, 1)]),
        (RevokeScope::Session(session_id(4)), &[(4, 2)]),
        (RevokeScope::User(user_id(1)), &[(2, 1), (3, 1)]),
        (RevokeScope::All, &[(5, 2)]),
        (RevokeScope::All, &[]),
    ] {
        let skipped = events(store).await.len();
        let ended = revoke(store, scope, 5).await;
        assert_eq!(ended, expected.iter().map(|(id, _)| session_id(*id)).collect::<Vec<_>>());
        let told: Vec<String> = expected
            .iter()
            .map(|(id, user)| format!(r#"session.revoked {user} {id} {{"reason":"logout"}}"#))
            .collect();
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        assert_events(store, skipped, 5, &told).await;
    }
    let found = store.find_session(session_id(5)).await.expect(WORKS).expect("the session");
    let revocation = Revocation { at: at(5), reason: RevocationReason::Logout };
    assert_eq!(found.session, Session { revoked: Some(revocation), ..session(5, 2, 0) });
}

/// Sessions that have timed out or were ended before are left as they are. Where all end, or all of
/// a user's, those that have timed out do too, and the log says nothing of them.
pub async fn revokes_what_is_live_only(store: &dyn Store) {
    insert_user(store, 1).await;
    let idle = Session { idle_expires_at: at(9), ..session(1, 1, 0) };
    let old = Session { expires_at: at(9), ..session(2, 1, 0) };
    for session in [idle, old, session(3, 1, 0)] {
        open_as(store, new_session(session), 0).await;
    }
    assert_eq!(revoke(store, RevokeScope::Session(session_id(3)), 1).await, [session_id(3)]);
    let skipped = events(store).await.len();
    for scope in
        [RevokeScope::Session(session_id(1)), RevokeScope::SessionOf(session_id(2), user_id(1))]
    {
        assert!(revoke(store, scope, 9).await.is_empty());
        assert_eq!((reason(store, 1).await, reason(store, 2).await), (None, None), "{scope:?}");
    }
    let ended = Some(RevocationReason::Logout);
    for scope in [RevokeScope::User(user_id(1)), RevokeScope::All] {
        assert!(revoke(store, scope, 9).await.is_empty());
        assert_eq!((reason(store, 1).await, reason(store, 2).await), (ended, ended), "{scope:?}");
    }
    assert_events(store, skipped, 9, &[]).await;
    let found = store.find_session(session_id(3)).await.expect(WORKS).expect("the session");
    assert_eq!(found.session.revoked.map(|revocation| revocation.at), Some(at(1)));
}

/// The noticed session's end is recorded as what was noticed, and first.
pub async fn revokes_and_notices(store: &dyn Store) {
    insert_user(store, 1).await;
    for number in 1..=3 {
        open(store, number, 1, 0).await;
    }
    let skipped = events(store).await.len();
    let noticed = Some((session_id(2), noticed_kind()));
    let scope = RevokeScope::User(user_id(1));
    let revoke = Revoke { scope, reason: RevocationReason::ReuseDetected, noticed };
    let ended = store.revoke(revoke, &context(5)).await;
    assert_eq!(ended, Ok(vec![session_id(2), session_id(1), session_id(3)]));
    let expected = [
        r#"session.reuse_detected 1 2 {"generation":1,"currentGeneration":2}"#,
        r#"session.revoked 1 1 {"reason":"reuse_detected"}"#,
        r#"session.revoked 1 3 {"reason":"reuse_detected"}"#,
    ];
    assert_events(store, skipped, 5, &expected).await;
    assert_eq!(reason(store, 2).await, Some(RevocationReason::ReuseDetected));
}

/// Otherwise nothing happens at all.
pub async fn notices_only_a_live_session_in_scope(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    for (number, user) in [(1, 1), (2, 2), (3, 1)] {
        open(store, number, user, 0).await;
    }
    revoke(store, RevokeScope::Session(session_id(3)), 1).await;
    let skipped = events(store).await.len();
    for (scope, noticed) in [
        (RevokeScope::User(user_id(1)), 2),
        (RevokeScope::Session(session_id(1)), 2),
        (RevokeScope::SessionOf(session_id(1), user_id(1)), 2),
        (RevokeScope::SessionOf(session_id(1), user_id(2)), 1),
        (RevokeScope::User(user_id(1)), 3),
        (RevokeScope::All, 99),
    ] {
        let noticed = Some((session_id(noticed), noticed_kind()));
        let revoke = Revoke { scope, reason: RevocationReason::LogoutAll, noticed };
        assert_eq!(store.revoke(revoke, &context(5)).await, Ok(vec![]), "{scope:?}");
    }
    assert_events(store, skipped, 5, &[]).await;
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!((reason(store, 1).await, account.user.last_logout_at), (None, None));
}

/// Signing out everywhere is remembered, even where no session was left.
pub async fn remembers_logout_all(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    let scope = RevokeScope::User(user_id(1));
    for (secs, reason, remembered) in [
        (1, RevocationReason::Admin, None),
        (2, RevocationReason::LogoutAll, Some(at(2))),
        (3, RevocationReason::LogoutAll, Some(at(3))),
        (4, RevocationReason::Admin, Some(at(3))),
    ] {
        let revoke = Revoke { scope, reason, noticed: None };
        store.revoke(revoke, &context(secs)).await.expect(WORKS);
        let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
        assert_eq!(account.user.last_logout_at, remembered);
    }
}

/// The account is as it was made, and no session is there.
async fn assert_nothing_opened(store: &dyn Store) {
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!((account.password_hash, account.credential_version), (password("first"), 0));
    assert_eq!(account.user.last_login_at, None);
    assert_eq!(store.find_session(session_id(1)).await, Ok(None));
    assert_events(store, 1, 5, &[]).await;
}

fn noticed_kind() -> AuditKind {
    AuditKind::SessionReuseDetected { generation: 1, current_generation: 2 }
}
