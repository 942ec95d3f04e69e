//! What administrators do with accounts.

use keyward_core::one_time_token::TokenPurpose;
use keyward_core::session::RevocationReason;
use serde_json::{Map, json};

use super::*;
use crate::store::{
    ChallengeOutcome, EndSessionsOutcome, GivenPassword, ProfileChange, RevokedSubject, UserFilter,
    UserOrder,
};

const KEEPS_ADMIN: AdministrationGuard =
    AdministrationGuard { last_of_role: Some(ADMIN), spared_role: None };
const KEEPS_VERIFIED_ADMIN: AdministrationGuard = AdministrationGuard {
    last_of_role: Some(KeptRole { verified_only: true, ..ADMIN }),
    spared_role: None,
};
const SPARES_ADMIN: AdministrationGuard =
    AdministrationGuard { last_of_role: None, spared_role: Some("admin") };

async fn change(
    store: &dyn Store,
    number: u8,
    change: UserChange,
    guard: AdministrationGuard,
    secs: i64,
) -> ChangeUserOutcome {
    store.change_user(user_id(number), change, guard, &context(secs)).await.expect(WORKS)
}

fn roles(roles: &[&str]) -> UserChange {
    UserChange::Roles(roles.iter().map(|&role| role.to_owned()).collect())
}

fn email(text: &str) -> Option<Email> {
    Some(Email::parse(text).expect("an address"))
}

#[track_caller]
fn changed(outcome: ChangeUserOutcome) -> User {
    match outcome {
        ChangeUserOutcome::Changed(user) => user,
        refused => panic!("{refused:?}"),
    }
}

async fn found(store: &dyn Store, order: UserOrder, limit: u32) -> Vec<u8> {
    found_with(store, UserFilter { order, role: None, disabled: None, limit }).await
}

async fn found_with(store: &dyn Store, filter: UserFilter) -> Vec<u8> {
    let users = store.list_users(filter).await.expect(WORKS);
    users.iter().map(|user| user.id.as_bytes()[0]).collect()
}

/// By id, page by page; by role and by whether they are disabled.
pub async fn lists_users_by_filter(store: &dyn Store) {
    for number in [3, 1, 4, 2] {
        insert_user(store, number).await;
    }
    let keeps_nothing = AdministrationGuard::default();
    changed(change(store, 2, roles(&["editor"]), keeps_nothing, 1).await);
    changed(change(store, 3, UserChange::Disable, keeps_nothing, 1).await);
    let by_id = |after: Option<u8>| UserOrder::ById { after: after.map(user_id) };
    assert_eq!(found(store, by_id(None), 9).await, [1, 2, 3, 4]);
    assert_eq!(found(store, by_id(None), 2).await, [1, 2]);
    assert_eq!(found(store, by_id(Some(1)), 2).await, [2, 3]);
    assert_eq!(found(store, by_id(Some(4)), 9).await, [0; 0]);
    for (role, disabled, expected) in [
        (Some("admin"), None, &[1, 3, 4][..]),
        (Some("editor"), None, &[2]),
        (Some("adm"), None, &[]),
        (None, Some(true), &[3]),
        (None, Some(false), &[1, 2, 4]),
        (Some("admin"), Some(false), &[1, 4]),
    ] {
        let role = role.map(str::to_owned);
        let filter = UserFilter { order: by_id(None), role, disabled, limit: 9 };
        assert_eq!(found_with(store, filter.clone()).await, expected, "{filter:?}");
    }
}

/// Addresses that begin with a text, in their order and page by page; nothing in it is a pattern.
pub async fn lists_users_by_address(store: &dyn Store) {
    for (number, address) in
        [(1, "Ada@x.org"), (2, "adam@x.org"), (3, "bob@x.org"), (4, "a_a@x.org"), (5, "ädä@x.org")]
    {
        insert_user(store, number).await;
        let profile = ProfileChange { email: email(address), ..ProfileChange::default() };
        let guard = AdministrationGuard::default();
        changed(change(store, number, UserChange::Profile(profile), guard, 1).await);
    }
    for (prefix, after, limit, expected) in [
        ("ad", None, 9, &[1, 2][..]),
        ("ada@x.org", None, 9, &[1]),
        ("a", None, 2, &[4, 1]),
        ("a", Some("ada@x.org"), 2, &[2]),
        ("ä", None, 9, &[5]),
        ("a_", None, 9, &[4]),
        ("%", None, 9, &[]),
        ("z", None, 9, &[]),
    ] {
        let after = after.map(str::to_owned);
        let order = UserOrder::ByEmail { prefix: prefix.to_owned(), after };
        assert_eq!(found(store, order.clone(), limit).await, expected, "{order:?}");
    }
}

/// What differs is set and recorded by name; nothing is where nothing differs. Sessions live on.
pub async fn changes_a_profile(store: &dyn Store) {
    let before = insert_user(store, 1).await;
    open(store, 1, 1, 0).await;
    let skipped = events(store).await.len();
    let claims: Map<_, _> = [("plan".to_owned(), json!({ "level": 3 }))].into_iter().collect();
    let profile = ProfileChange {
        email: email("Ada@example.org"),
        name: Some(None),
        email_verified: Some(true),
        claims: Some(claims.clone()),
        notice: None,
    };
    let guard = AdministrationGuard::default();
    let set = UserChange::Profile(profile);
    let user = changed(change(store, 1, set.clone(), guard, 5).await);
    let email = "Ada@example.org".to_owned();
    let last_login_at = Some(at(0));
    let expected =
        User { email, name: None, email_verified: true, claims, last_login_at, ..before };
    assert_eq!(user, expected);
    let account = store.find_user_by_email("ada@example.org").await.expect(WORKS);
    assert_eq!(account.map(|account| account.user), Some(user.clone()));
    assert_eq!(store.find_user_by_email("user1@example.org").await, Ok(None));
    assert_eq!(reason(store, 1).await, None);
    assert_eq!(changed(change(store, 1, set, guard, 5).await), user);
    let updated = r#"user.updated 1 - {"fields":["claims","email","emailVerified","name"]}"#;
    assert_events(store, skipped, 5, &[updated]).await;
}

/// Another address is not known to be the user's; the same one in other letters is.
pub async fn doubts_another_address(store: &dyn Store) {
    insert_user(store, 1).await;
    let guard = AdministrationGuard::default();
    for (address, said, verified) in [
        (None, Some(true), true),
        (email("USER1@example.org"), None, true),
        (email("other@example.org"), None, false),
        (email("third@example.org"), Some(true), true),
    ] {
        let profile =
            ProfileChange { email: address, email_verified: said, ..ProfileChange::default() };
        let user = changed(change(store, 1, UserChange::Profile(profile), guard, 1).await);
        assert_eq!(user.email_verified, verified, "{user:?}");
    }
}

/// Whatever the letters; the account itself is in nobody's way.
pub async fn changes_to_no_taken_address(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    let guard = AdministrationGuard::default();
    let to = |address: &str| {
        UserChange::Profile(ProfileChange { email: email(address), ..ProfileChange::default() })
    };
    let taken = change(store, 1, to("uSER2@example.org"), guard, 1).await;
    assert_eq!(taken, ChangeUserOutcome::EmailTaken);
    assert_events(store, 2, 1, &[]).await;
    changed(change(store, 1, to("user1@EXAMPLE.org"), guard, 1).await);
    assert_eq!(change(store, 9, to("new@x.org"), guard, 1).await, ChangeUserOutcome::Unmatched);
}

/// Roles are replaced, and left alone where they are so already.
pub async fn sets_the_roles(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    let user = changed(change(store, 1, roles(&["user"]), KEEPS_ADMIN, 1).await);
    assert_eq!(user.roles, ["user"]);
    let found = store.find_user(user_id(1)).await.expect(WORKS);
    assert_eq!(found.map(|account| account.user), Some(user.clone()));
    assert_eq!(changed(change(store, 1, roles(&["user"]), KEEPS_ADMIN, 1).await), user);
    let nobody = change(store, 9, roles(&["user"]), KEEPS_ADMIN, 1).await;
    assert_eq!(nobody, ChangeUserOutcome::Unmatched);
    let expected = r#"user.roles_changed 1 - {"before":["admin","user"],"after":["user"]}"#;
    assert_events(store, 2, 1, &[expected]).await;
}

/// Disabling ends every live session; enabling brings none back.
pub async fn disables_and_enables(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    for (number, user) in [(2, 1), (1, 1), (3, 2)] {
        open(store, number, user, 0).await;
    }
    let skipped = events(store).await.len();
    let user = changed(change(store, 1, UserChange::Disable, KEEPS_ADMIN, 5).await);
    assert_eq!(user.disabled_at, Some(at(5)));
    let expected = [
        "user.disabled 1 - {}",
        r#"session.revoked 1 1 {"reason":"user_disabled"}"#,
        r#"session.revoked 1 2 {"reason":"user_disabled"}"#,
    ];
    assert_events(store, skipped, 5, &expected).await;
    let again = changed(change(store, 1, UserChange::Disable, KEEPS_ADMIN, 6).await);
    assert_eq!(again.disabled_at, Some(at(5)));

    let user = changed(change(store, 1, UserChange::Enable, KEEPS_ADMIN, 7).await);
    assert_eq!(user.disabled_at, None);
    assert_eq!(changed(change(store, 1, UserChange::Enable, KEEPS_ADMIN, 7).await), user);
    let nobody = change(store, 9, UserChange::Enable, KEEPS_ADMIN, 7).await;
    assert_eq!(nobody, ChangeUserOutcome::Unmatched);
    assert_events(store, skipped + 3, 7, &["user.enabled 1 - {}"]).await;
    assert_eq!(reason(store, 1).await, Some(RevocationReason::UserDisabled));
    assert_eq!(reason(store, 3).await, None);
}

/// A sign-in that waits for a code ends with another address, and is not there again where the user
/// is enabled again. The same address in other letters is no other one.
pub async fn ends_sign_ins_that_wait(store: &dyn Store) {
    second_factor::enable(store).await;
    let address = |text| ProfileChange { email: email(text), ..ProfileChange::default() };
    for (number, changes, is_over) in [
        (1, vec![UserChange::Disable, UserChange::Enable], true),
        (2, vec![UserChange::Profile(address("other@example.org"))], true),
        (3, vec![UserChange::Profile(address("OTHER@example.org")), UserChange::Enable], false),
    ] {
        let waiting = second_factor::challenge(number);
        let outcome = store.insert_mfa_challenge(waiting, &context(5)).await.expect(WORKS);
        assert!(matches!(outcome, ChallengeOutcome::Inserted { .. }), "{outcome:?}");
        for set in changes {
            changed(change(store, 1, set, AdministrationGuard::default(), 6).await);
        }
        let tried = second_factor::count(store, number, None, 7).await;
        assert_eq!(second_factor::is_counted(&tried), !is_over, "{number}: {tried:?}");
    }
}

/// Whatever the user held before is good for nothing: sessions, mailed tokens, a sign-in in flight.
pub async fn gives_a_password(store: &dyn Store) {
    second_factor::enable(store).await;
    insert_user(store, 2).await;
    open(store, 2, 2, 3).await;
    let opened = store.open_session(new_session(session(3, 1, 3)), 1, &context(3)).await;
    assert!(matches!(opened, Ok(OpenSessionOutcome::Opened { .. })), "{opened:?}");
    let mut issued = mail::mailed(1, TokenPurpose::ResetPassword);
    issued.token.credential_version = 1;
    mail::issue(store, issued, 4).await;
    let before = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    let skipped = events(store).await.len();
    let given = || {
        let notice = Some(mail::mail(9, 1));
        UserChange::Password(GivenPassword { hash: password("given"), notice })
    };
    let user = changed(change(store, 1, given(), KEEPS_ADMIN, 5).await);
    let account = store.find_user(user_id(1)).await.expect(WORKS).expect("the user");
    assert_eq!((&account.user, &user), (&before.user, &before.user));
    assert_eq!((account.password_hash, account.credential_version), (password("given"), 2));
    assert!(store.find_totp(user_id(1)).await.expect(WORKS).is_some());
    let ended =
        [1, 3].map(|number| format!(r#"session.revoked 1 {number} {{"reason":"password_reset"}}"#));
    assert_events(store, skipped, 5, &["password.set 1 - {}", &ended[0], &ended[1]]).await;
    assert_eq!(reason(store, 2).await, None);
    assert_eq!(mail::claim(store, 9, 9).await, [(1, 1), (9, 1)]);
    assert_eq!(mail::reset(store, 1, 6).await, None);
    let in_flight = store.open_session(new_session(session(4, 1, 6)), 1, &context(6)).await;
    assert_eq!(in_flight, Ok(OpenSessionOutcome::CredentialChanged));
    assert_eq!(change(store, 9, given(), KEEPS_ADMIN, 6).await, ChangeUserOutcome::Unmatched);
    assert_eq!(change(store, 1, given(), SPARES_ADMIN, 6).await, ChangeUserOutcome::Spared);
}

/// Only of those who are enabled, and only where the change would end it.
pub async fn keeps_the_last_of_a_role(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    changed(change(store, 2, UserChange::Disable, KEEPS_ADMIN, 1).await);
    let skipped = events(store).await.len();
    for ends in [UserChange::Disable, roles(&[]), roles(&["user"])] {
        let outcome = change(store, 1, ends.clone(), KEEPS_ADMIN, 1).await;
        assert_eq!(outcome, ChangeUserOutcome::LastOfRole, "{ends:?}");
    }
    assert_events(store, skipped, 1, &[]).await;
    changed(change(store, 1, roles(&["admin"]), KEEPS_ADMIN, 1).await);
    changed(change(store, 2, roles(&[]), KEEPS_ADMIN, 1).await);
}

/// Of any number who take each other's role at once, one keeps it.
pub async fn keeps_one_of_many_at_once(store: &dyn Store) {
    const MANY: u8 = 20;
    for number in 1..=MANY {
        insert_user(store, number).await;
    }
    let changes = (1..=MANY).map(|number| {
        let ends = if number % 2 == 0 { UserChange::Disable } else { roles(&["user"]) };
        change(store, number, ends, KEEPS_ADMIN, 1)
    });
    let outcomes = futures_util::future::join_all(changes).await;
    let refused = outcomes.iter().filter(|outcome| **outcome == ChangeUserOutcome::LastOfRole);
    assert_eq!(refused.count(), 1, "{outcomes:?}");
    let order = UserOrder::ById { after: None };
    let role = Some("admin".to_owned());
    let filter = UserFilter { order, role, disabled: Some(false), limit: 99 };
    assert_eq!(found_with(store, filter).await.len(), 1);
}

/// Where only the verified can sign in, neither does who is not keep the role, nor does anybody
/// lose the last address that does.
pub async fn keeps_the_last_verified_of_a_role(store: &dyn Store) {
    for number in 1..=2 {
        insert_user(store, number).await;
    }
    changed(change(store, 1, verified(true), AdministrationGuard::default(), 1).await);
    let skipped = events(store).await.len();
    for ends in [UserChange::Disable, roles(&["user"]), moved("typo@x.org"), verified(false)] {
        let outcome = change(store, 1, ends.clone(), KEEPS_VERIFIED_ADMIN, 1).await;
        assert_eq!(outcome, ChangeUserOutcome::LastOfRole, "{ends:?}");
    }
    let guard =
        DeleteGuard { last_of_role: KEEPS_VERIFIED_ADMIN.last_of_role, ..DeleteGuard::default() };
    let deleted = store.delete_user(user_id(1), guard, &context(1)).await;
    assert_eq!(deleted, Ok(DeleteUserOutcome::LastOfRole));
    assert_events(store, skipped, 1, &[]).await;
    for (number, keeps) in [
        (1, moved("USER1@example.org")),
        (
            1,
            UserChange::Profile(ProfileChange {
                email: email("one@x.org"),
                email_verified: Some(true),
                ..ProfileChange::default()
            }),
        ),
        // Nothing is lost of what they have not.
        (2, moved("two@x.org")),
        (2, verified(false)),
        (2, verified(true)),
        (1, moved("typo@x.org")),
    ] {
        changed(change(store, number, keeps, KEEPS_VERIFIED_ADMIN, 1).await);
    }
    let outcome = change(store, 2, moved("slip@x.org"), KEEPS_VERIFIED_ADMIN, 1).await;
    assert_eq!(outcome, ChangeUserOutcome::LastOfRole);
    changed(change(store, 2, moved("slip@x.org"), KEEPS_ADMIN, 1).await);
}

/// Of any number who doubt each other's address at once, or take each other's role, one keeps both.
pub async fn keeps_one_verified_of_many_at_once(store: &dyn Store) {
    const MANY: u8 = 20;
    for number in 1..=MANY {
        insert_user(store, number).await;
        changed(change(store, number, verified(true), AdministrationGuard::default(), 1).await);
    }
    let changes = (1..=MANY).map(|number| {
        let ends = match number % 4 {
            0 => UserChange::Disable,
            1 => moved(&format!("other{number}@x.org")),
            2 => verified(false),
            _ => roles(&["user"]),
        };
        change(store, number, ends, KEEPS_VERIFIED_ADMIN, 1)
    });
    let outcomes = futures_util::future::join_all(changes).await;
    let refused = outcomes.iter().filter(|outcome| **outcome == ChangeUserOutcome::LastOfRole);
    assert_eq!(refused.count(), 1, "{outcomes:?}");
    let role = Some("admin".to_owned());
    let order = UserOrder::ById { after: None };
    let filter = UserFilter { order, role, disabled: Some(false), limit: 99 };
    let left = store.list_users(filter).await.expect(WORKS);
    assert_eq!(left.iter().filter(|user| user.email_verified).count(), 1, "{left:?}");
}

fn moved(address: &str) -> UserChange {
    UserChange::Profile(ProfileChange { email: email(address), ..ProfileChange::default() })
}

fn verified(verified: bool) -> UserChange {
    let email_verified = Some(verified);
    UserChange::Profile(ProfileChange { email_verified, ..ProfileChange::default() })
}

/// Who has the role is changed in nothing, and nobody gets it.
pub async fn spares_a_role(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    changed(change(store, 2, roles(&["user"]), KEEPS_ADMIN, 1).await);
    let skipped = events(store).await.len();
    let profile = UserChange::Profile(ProfileChange::default());
    for unreached in [UserChange::Disable, UserChange::Enable, profile, roles(&[])] {
        let outcome = change(store, 1, unreached.clone(), SPARES_ADMIN, 1).await;
        assert_eq!(outcome, ChangeUserOutcome::Spared, "{unreached:?}");
    }
    let given = change(store, 2, roles(&["admin", "user"]), SPARES_ADMIN, 1).await;
    assert_eq!(given, ChangeUserOutcome::Spared);
    let guard = DeleteGuard { spared_role: Some("admin"), ..DeleteGuard::default() };
    let delete = async |number| store.delete_user(user_id(number), guard, &context(1)).await;
    assert_eq!(delete(1).await, Ok(DeleteUserOutcome::Spared));
    assert_events(store, skipped, 1, &[]).await;
    changed(change(store, 2, roles(&["editor"]), SPARES_ADMIN, 1).await);
    assert_eq!(delete(2).await, Ok(DeleteUserOutcome::Deleted));
}

/// An administrator ends one session or all, but none of who has the spared role.
pub async fn ends_sessions_but_the_spared(store: &dyn Store) {
    for number in 1..=2 {
        insert_user(store, number).await;
        open(store, number, number, 1).await;
    }
    open(store, 3, 2, 1).await;
    changed(change(store, 2, roles(&["user"]), KEEPS_ADMIN, 1).await);
    let skipped = events(store).await.len();
    let spared = Some("admin");
    let end =
        async |subject, role| store.end_sessions(subject, role, &context(2)).await.expect(WORKS);
    let (session, user) = (
        |number| RevokedSubject::Session(session_id(number)),
        |number| RevokedSubject::User(user_id(number)),
    );
    let ended = |numbers: &[u8]| {
        EndSessionsOutcome::Ended(numbers.iter().map(|number| session_id(*number)).collect())
    };
    for subject in [session(1), user(1)] {
        assert_eq!(end(subject, spared).await, EndSessionsOutcome::Spared, "{subject:?}");
    }
    for subject in [session(9), user(9)] {
        assert_eq!(end(subject, spared).await, EndSessionsOutcome::Unmatched, "{subject:?}");
    }
    assert_eq!(events(store).await.len(), skipped);
    assert_eq!(end(session(3), spared).await, ended(&[3]));
    assert_eq!(end(session(3), spared).await, ended(&[]));
    assert_eq!(end(user(2), spared).await, ended(&[2]));
    assert_eq!(end(user(1), None).await, ended(&[1]));
    let expected = ["2 3", "2 2", "1 1"]
        .map(|whose| format!(r#"session.revoked {whose} {{"reason":"admin"}}"#));
    assert_events(store, skipped, 2, &expected.each_ref().map(String::as_str)).await;
}

/// Of two accounts that take one free address at once one gets it.
pub async fn gives_an_address_once(store: &dyn Store) {
    const MANY: u8 = 8;
    for number in 1..=MANY {
        insert_user(store, number).await;
    }
    let wanted = ProfileChange { email: email("one@example.org"), ..ProfileChange::default() };
    let guard = AdministrationGuard::default();
    let changes = (1..=MANY)
        .map(|number| change(store, number, UserChange::Profile(wanted.clone()), guard, 1));
    let outcomes = futures_util::future::join_all(changes).await;
    let got = outcomes.iter().filter(|outcome| matches!(outcome, ChangeUserOutcome::Changed(_)));
    assert_eq!(got.count(), 1, "{outcomes:?}");
}
