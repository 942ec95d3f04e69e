//! Accounts.

use keyward_core::audit::{Actor, AuditEvent, AuditKind, LoginFailure};
use keyward_core::email::Email;
use keyward_core::id::ServiceKeyId;
use keyward_core::session::{Device, RevocationReason};

use super::*;
use crate::store::Account;

/// An account is kept as it was given, and recorded.
pub async fn makes_an_account(store: &dyn Store) {
    let user = insert_user(store, 1).await;
    let expected = User {
        id: user_id(1),
        email: "User1@example.org".to_owned(),
        name: Some("User 1".to_owned()),
        roles: vec!["admin".to_owned(), "user".to_owned()],
        email_verified: false,
        claims: serde_json::Map::new(),
        created_at: at(0),
        disabled_at: None,
        last_login_at: None,
        last_logout_at: None,
        mfa_enabled_at: None,
    };
    assert_eq!(user, expected);
    let account = Account { user, password_hash: password("first"), credential_version: 0 };
    assert_eq!(store.find_user(user_id(1)).await, Ok(Some(account)));
    let registered = r#"user.registered 1 - {"by":"user","roles":["admin","user"]}"#;
    assert_events(store, 0, 0, &[registered]).await;
}

/// Two accounts do not mix.
pub async fn keeps_addresses_apart(store: &dyn Store) {
    let (first, second) = (insert_user(store, 1).await, insert_user(store, 2).await);
    assert_ne!(first.email, second.email);
    let found = store.find_user_by_email("user2@example.org").await.expect(WORKS);
    assert_eq!(found.map(|account| account.user), Some(second));
}

/// The first session comes with the account, and is no sign-in.
pub async fn makes_an_account_with_a_session(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    let skipped = events(store).await.len();
    let mut new = new_session(session(2, 2, 5));
    new.supersedes = Some(session_id(1));
    let outcome = store.insert_user(new_user(2), Some(new), &context(5)).await.expect(WORKS);
    let InsertUserOutcome::Inserted(user) = outcome else { panic!("{outcome:?}") };
    assert_eq!(user.last_login_at, None);
    let found = store.find_session(session_id(2)).await.expect(WORKS).expect("the session");
    assert_eq!((found.session, found.user), (session(2, 2, 5), user));
    assert_eq!(reason(store, 1).await, Some(RevocationReason::Superseded));
    let expected = [
        r#"user.registered 2 - {"by":"user","roles":["admin","user"]}"#,
        "session.created 2 2 {}",
        r#"session.revoked 1 1 {"reason":"superseded"}"#,
    ];
    assert_events(store, skipped, 5, &expected).await;
}

/// Addresses that differ in case are one.
pub async fn refuses_a_taken_address(store: &dyn Store) {
    insert_user(store, 1).await;
    let email = Email::parse("uSER1@EXAMPLE.org").expect("an address");
    let new = NewUser { email, ..new_user(2) };
    let first = Some(new_session(session(2, 2, 5)));
    let outcome = store.insert_user(new, first, &context(5)).await;
    assert_eq!(outcome, Ok(InsertUserOutcome::EmailTaken));
    assert_eq!(store.find_user(user_id(2)).await, Ok(None));
    assert_eq!(store.find_session(session_id(2)).await, Ok(None));
    assert_events(store, 1, 5, &[]).await;
}

/// By id and by the address's key.
pub async fn finds_users(store: &dyn Store) {
    insert_user(store, 1).await;
    let by_id = store.find_user(user_id(1)).await.expect(WORKS);
    assert!(by_id.is_some());
    assert_eq!(store.find_user_by_email("user1@example.org").await, Ok(by_id));
    assert_eq!(store.find_user_by_email("User1@example.org").await, Ok(None));
    assert_eq!(store.find_user(user_id(2)).await, Ok(None));
}

/// A name is set, taken away, and left alone where it is so already.
pub async fn sets_the_name(store: &dyn Store) {
    insert_user(store, 1).await;
    for (secs, name) in [(1, Some("Ada".to_owned())), (2, None)] {
        let user = store.set_name(user_id(1), name.clone(), &context(secs)).await.expect(WORKS);
        assert_eq!(user.as_ref().map(|user| &user.name), Some(&name));
        let found = store.find_user(user_id(1)).await.expect(WORKS);
        assert_eq!(found.map(|account| account.user), user);
        assert_events(store, secs as usize, secs, &["user.updated 1 - {}"]).await;
    }
    let same = store.set_name(user_id(1), None, &context(3)).await.expect(WORKS);
    assert!(same.is_some());
    assert_eq!(store.set_name(user_id(9), None, &context(3)).await, Ok(None));
    assert_events(store, 3, 3, &[]).await;
}

/// The account goes, its sessions end; the address is free again.
pub async fn deletes_a_user(store: &dyn Store) {
    insert_user(store, 1).await;
    for number in [2, 1, 3] {
        open(store, number, 1, 0).await;
    }
    revoke(store, RevokeScope::Session(session_id(3)), 1).await;
    let skipped = events(store).await.len();
    assert_eq!(delete(store, 1, 5).await, DeleteUserOutcome::Deleted);
    assert_eq!(store.find_user(user_id(1)).await, Ok(None));
    let recorded: Vec<_> = events(store).await[skipped..].iter().map(told).collect();
    let expected = [
        "user.deleted 1 - {}",
        r#"session.revoked 1 1 {"reason":"user_deleted"}"#,
        r#"session.revoked 1 2 {"reason":"user_deleted"}"#,
    ];
    assert_eq!(recorded, expected);
    assert_eq!(delete(store, 1, 6).await, DeleteUserOutcome::Unmatched);
    assert_eq!(events(store).await.len(), skipped + 3);
    let again = NewUser { email: new_user(1).email, ..new_user(2) };
    let outcome = store.insert_user(again, None, &context(7)).await.expect(WORKS);
    assert!(matches!(outcome, InsertUserOutcome::Inserted(_)));
}

/// With a version, only where that is still the user's.
pub async fn deletes_only_the_verified_version(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    let skipped = events(store).await.len();
    let delete = async |version| {
        let guard = DeleteGuard { own: Some(own(1, version)), ..DeleteGuard::default() };
        store.delete_user(user_id(1), guard, &context(1)).await
    };
    assert_eq!(delete(7).await, Ok(DeleteUserOutcome::Unmatched));
    assert_events(store, skipped, 1, &[]).await;
    assert_eq!(delete(0).await, Ok(DeleteUserOutcome::Deleted));
}

/// Only another user who is enabled counts; who has not the role, or is disabled, can go.
pub async fn deletes_not_the_last_of_a_role(store: &dyn Store) {
    let guard = DeleteGuard { last_of_role: Some(ADMIN), ..DeleteGuard::default() };
    let delete = async |number| store.delete_user(user_id(number), guard, &context(1)).await;
    for number in 1..=5 {
        insert_user(store, number).await;
    }
    let roles = vec!["administrator".to_owned(), "user".to_owned()];
    let change = UserChange::Roles(roles);
    let unguarded = AdministrationGuard::default();
    store.change_user(user_id(2), change, unguarded, &context(1)).await.expect(WORKS);
    for number in [3, 4] {
        set_disabled(store, number, true, &context(1)).await;
    }
    assert_eq!(delete(1).await, Ok(DeleteUserOutcome::Deleted));
    let skipped = events(store).await.len();
    assert_eq!(delete(5).await, Ok(DeleteUserOutcome::LastOfRole));
    assert_events(store, skipped, 1, &[]).await;
    for number in [2, 3] {
        assert_eq!(delete(number).await, Ok(DeleteUserOutcome::Deleted));
    }
    set_disabled(store, 4, false, &context(1)).await;
    assert_eq!(delete(5).await, Ok(DeleteUserOutcome::Deleted));
    assert_eq!(delete(4).await, Ok(DeleteUserOutcome::LastOfRole));
}

/// Neither sessions nor events keep an address or a browser; those of others do.
pub async fn deletes_all_that_is_personal(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    for (number, user) in [(1, 1), (2, 1), (3, 2)] {
        open(store, number, user, 0).await;
    }
    revoke(store, RevokeScope::Session(session_id(2)), 1).await;
    // Refusals that strangers can cause name a session only, since no user was looked up.
    let refused = |number| AuditEvent {
        kind: AuditKind::CsrfRejected { count: 1 },
        user_id: None,
        session_id: Some(session_id(number)),
    };
    let refusals = vec![(refused(1), context(2)), (refused(3), context(2))];
    assert_eq!(store.record(refusals).await, Ok(()));
    assert_eq!(delete(store, 1, 5).await, DeleteUserOutcome::Deleted);
    for event in events(store).await {
        let sessions = [Some(session_id(1)), Some(session_id(2))];
        let own = event.user_id == Some(user_id(1)) || sessions.contains(&event.session_id);
        assert_eq!(event.device == Device::default(), own, "{event:?}");
    }
    for which in [crate::store::WhichSessions::EndedSince(at(0)), crate::store::WhichSessions::Live]
    {
        let filter = crate::store::SessionFilter { user_id: None, which, now: at(5), limit: 100 };
        for session in store.list_sessions(filter).await.expect(WORKS) {
            let own = session.user_id == user_id(1);
            assert_eq!(session.device == Device::default(), own, "{session:?}");
        }
    }
}

/// Who did something to the user has to answer for it, and does so after the user is gone too.
pub async fn remembers_where_others_acted(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    let by = |actor: u8, secs| AuditContext {
        actor: Some(Actor::User(user_id(actor))),
        ..context(secs)
    };
    set_disabled(store, 1, true, &by(2, 1)).await;
    set_disabled(store, 1, false, &by(1, 2)).await;
    let guard = DeleteGuard::default();
    let deleted = store.delete_user(user_id(1), guard, &by(2, 3)).await;
    assert_eq!(deleted, Ok(DeleteUserOutcome::Deleted));
    for event in events(store).await {
        let is_others = event.at == at(1) || event.at == at(3);
        let expected = if is_others {
            context(event.at.secs() - at(0).secs()).device
        } else {
            Device::default()
        };
        assert_eq!(event.device, expected, "{event:?}");
    }
}

/// Requests that were on their way when their user was deleted. What others did, and what is about
/// others or nobody known, keeps where it came from.
pub async fn records_nothing_personal_of_the_deleted(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    open(store, 1, 1, 0).await;
    open(store, 2, 2, 0).await;
    assert_eq!(delete(store, 1, 5).await, DeleteUserOutcome::Deleted);
    let failed = AuditKind::LoginFailed { reason: LoginFailure::WrongPassword };
    let denied = AuditKind::PermissionDenied { count: 1 };
    let by = |actor: u8, secs| AuditContext {
        actor: Some(Actor::User(user_id(actor))),
        ..context(secs)
    };
    let by_key = Some(Actor::ServiceKey(ServiceKeyId::from_bytes([1; 16])));
    let by_key = AuditContext { actor: by_key, ..context(14) };
    let event = |kind: &AuditKind, user: Option<u8>, session: Option<u8>| AuditEvent {
        kind: kind.clone(),
        user_id: user.map(user_id),
        session_id: session.map(session_id),
    };
    let late = vec![
        (event(&failed, Some(1), None), context(6)),
        (event(&denied, None, Some(1)), by(1, 7)),
        (event(&failed, Some(1), Some(1)), context(8)),
        (event(&failed, Some(2), None), context(9)),
        (event(&denied, None, Some(2)), by(2, 10)),
        (event(&failed, Some(1), None), by(2, 11)),
        (event(&failed, Some(1), None), by_key),
        (event(&failed, None, None), context(12)),
        (event(&denied, None, Some(9)), context(13)),
    ];
    let skipped = events(store).await.len();
    assert_eq!(store.record(late.clone()).await, Ok(()));
    for ((event, context), recorded) in late.iter().zip(&events(store).await[skipped..]) {
        let is_kept = context.at > at(8);
        let device = if is_kept { context.device.clone() } else { Device::default() };
        assert_eq!((recorded.at, &recorded.device), (context.at, &device), "{recorded:?}");
        assert_eq!(recorded.user_id, event.user_id);
        assert_eq!(recorded.request_id, context.request_id);
    }
}
