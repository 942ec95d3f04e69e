//! Accounts that come from elsewhere.

use serde_json::json;

use super::*;
use crate::store::{Account, HashReplacement, ImportOutcome, ImportedUser};

/// User `number` of the case, who comes from elsewhere.
fn imported(number: u8) -> ImportedUser {
    let mut user = new_user(number);
    user.by = RegisteredBy::Operator;
    user.password_hash = password("$2b$10$elsewhere");
    let claims = json!({ "tenant": number }).as_object().expect("an object").clone();
    ImportedUser { user, claims, created_at: at(-1000) }
}

async fn insert(store: &dyn Store, users: Vec<ImportedUser>, secs: i64) -> Vec<ImportOutcome> {
    store.insert_users(users, &context(secs)).await.expect(WORKS)
}

async fn account(store: &dyn Store, number: u8) -> Account {
    store.find_user(user_id(number)).await.expect(WORKS).expect("the user")
}

/// Everything that the accounts had is there, and an event for each.
pub async fn imports_users(store: &dyn Store) {
    let mut plain = imported(2);
    (plain.user.name, plain.user.roles, plain.user.email_verified) = (None, Vec::new(), true);
    plain.claims = serde_json::Map::new();
    let outcomes = insert(store, vec![imported(1), plain], 5).await;
    assert_eq!(outcomes, [ImportOutcome::Inserted; 2]);
    let user = User {
        id: user_id(1),
        email: "User1@example.org".to_owned(),
        name: Some("User 1".to_owned()),
        roles: vec!["admin".to_owned(), "user".to_owned()],
        email_verified: false,
        claims: imported(1).claims,
        created_at: at(-1000),
        disabled_at: None,
        last_login_at: None,
        last_logout_at: None,
        mfa_enabled_at: None,
    };
    let password_hash = password("$2b$10$elsewhere");
    let expected = Account { user, password_hash, credential_version: 0 };
    assert_eq!(account(store, 1).await, expected);
    let User { name, roles, email_verified, claims, .. } = account(store, 2).await.user;
    assert_eq!((name, roles.len(), email_verified, claims.len()), (None, 0, true, 0));
    let expected = [
        r#"user.registered 1 - {"by":"operator","roles":["admin","user"]}"#,
        r#"user.registered 2 - {"by":"operator"}"#,
    ];
    assert_events(store, 0, 5, &expected).await;
    assert_eq!(insert(store, Vec::new(), 6).await, []);
}

/// Who is there already stays as they are, and everybody else is made.
pub async fn imports_nobody_twice(store: &dyn Store) {
    insert_user(store, 1).await;
    let before = account(store, 1).await;
    let mut of_another_id = imported(4);
    of_another_id.user.email = Email::parse("uSER1@EXAMPLE.org").expect("an address");
    let mut of_another_address = imported(1);
    of_another_address.user.email = new_user(9).email;
    let mut again = imported(2);
    again.user.id = user_id(5);
    let mut same_id = imported(6);
    same_id.user.id = user_id(3);
    let users = vec![
        imported(1),
        of_another_id,
        of_another_address,
        imported(2),
        again,
        imported(2),
        imported(3),
        same_id,
    ];
    let expected = [
        ImportOutcome::EmailTaken(user_id(1)),
        ImportOutcome::EmailTaken(user_id(1)),
        ImportOutcome::IdTaken,
        ImportOutcome::Inserted,
        ImportOutcome::EmailTaken(user_id(2)),
        ImportOutcome::EmailTaken(user_id(2)),
        ImportOutcome::Inserted,
        ImportOutcome::IdTaken,
    ];
    assert_eq!(insert(store, users, 5).await, expected);
    assert_eq!(account(store, 1).await, before);
    for number in [4, 5, 6, 9] {
        assert_eq!(store.find_user(user_id(number)).await, Ok(None), "{number}");
    }
    let registered = |number| {
        format!(r#"user.registered {number} - {{"by":"operator","roles":["admin","user"]}}"#)
    };
    assert_events(store, 1, 5, &[&registered(2), &registered(3)]).await;
}

/// A hash of the same password takes the place of the verified one, and of no other; the version
/// and the sessions stay.
pub async fn replaces_the_verified_hash_only(store: &dyn Store) {
    insert_user(store, 1).await;
    insert_user(store, 2).await;
    open(store, 1, 1, 0).await;
    let skipped = events(store).await.len();
    let replace = async |from, to| {
        let (from, to) = (password(from), password(to));
        let replacement = HashReplacement { user_id: user_id(1), from, scheme: "bcrypt", to };
        store.replace_hash(replacement, &context(5)).await.expect(WORKS)
    };
    assert!(!replace("another", "second").await);
    assert_events(store, skipped, 5, &[]).await;
    assert!(replace("first", "second").await);
    assert!(!replace("first", "third").await);
    assert_events(store, skipped, 5, &[r#"password.rehashed 1 - {"scheme":"bcrypt"}"#]).await;
    let Account { password_hash, credential_version, .. } = account(store, 1).await;
    assert_eq!((password_hash, credential_version), (password("second"), 0));
    assert_eq!(account(store, 2).await.password_hash, password("first"));
    assert_eq!(reason(store, 1).await, None);

    let unknown = HashReplacement {
        user_id: user_id(9),
        from: password("first"),
        scheme: "bcrypt",
        to: password("second"),
    };
    assert_eq!(store.replace_hash(unknown, &context(6)).await, Ok(false));
}

/// A password that was changed since it was verified stays changed.
pub async fn a_changed_password_is_not_replaced(store: &dyn Store) {
    insert_user(store, 1).await;
    open(store, 9, 1, 0).await;
    let (new, guard) = (new_session(session(1, 1, 5)), own(9, 0));
    let changed = store.change_password(new, guard, password("changed"), None, &context(5)).await;
    assert!(matches!(changed, Ok(OpenSessionOutcome::Opened { .. })));
    let (from, to) = (password("first"), password("first again"));
    let replacement = HashReplacement { user_id: user_id(1), from, scheme: "argon2", to };
    assert_eq!(store.replace_hash(replacement, &context(6)).await, Ok(false));
    assert_eq!(account(store, 1).await.password_hash, password("changed"));
}
