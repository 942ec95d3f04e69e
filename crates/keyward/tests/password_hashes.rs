//! Hashes of other systems and of earlier policies: who signs in with them, and what becomes of
//! them.

mod checks;
mod common;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use checks::faulty_store::{Call, Fault, FaultyStore};
use common::{PASSWORD, TestApp};
use futures_util::future::join_all;
use keyward::hashing::adopt;
use keyward::store::{
    Account, ImportOutcome, ImportedUser, MemoryStore, NewUser, SqliteStore, Store,
};
use keyward_core::audit::RegisteredBy;
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::service_key::Scope;
use keyward_core::time::Timestamp;
use serde_json::{Map, json};

const ADA: &str = "ada@example.org";
const NEW: &str = "regenschirm aus zimt";
const USERS: &str = "/api/admin/users";

/// [`PASSWORD`] by bcrypt 5.0.0 for Python.
const BCRYPT: &str = "$2b$05$l/ZbgzjC13Dnf9kvBReJz.boyk3QHeZnAxoZxSmUOPJ.zw2XDYl4K";

async fn import(app: &TestApp, hash: &str) {
    let user = NewUser {
        id: UserId::from_bytes([7; 16]),
        email: Email::parse(ADA).expect("an address"),
        name: None,
        roles: Vec::new(),
        password_hash: adopt(hash, None).expect("a hash"),
        email_verified: true,
        by: RegisteredBy::Operator,
        verification: None,
    };
    let users = vec![ImportedUser { user, claims: Map::new(), created_at: app.keyward.now() }];
    let outcomes = app.store.insert_users(users, &app.nobody()).await;
    assert_eq!(outcomes, Ok(vec![ImportOutcome::Inserted]));
}

async fn account(app: &TestApp) -> Account {
    app.store.find_user_by_email(ADA).await.expect("a store").expect("the user")
}

async fn rehashed(app: &TestApp) -> usize {
    app.audit_names().await.iter().filter(|name| *name == "password.rehashed").count()
}

async fn check_login(app: &TestApp, password: &str, status: StatusCode) {
    let answer = app.browser().login(ADA, password).await;
    assert_eq!(answer.status, status, "{}", answer.json());
}

async fn of_many_sign_ins_one_renews_the_hash(store: Arc<dyn Store>) {
    let app = TestApp::on_store(store, |policy| policy.limits.login_account = None).await;
    import(&app, BCRYPT).await;
    let before = account(&app).await;
    let sign_in = || async { app.browser().login(ADA, PASSWORD).await.status };
    let statuses = join_all((0..20).map(|_| sign_in())).await;
    assert!(statuses.iter().all(|status| *status == StatusCode::OK), "{statuses:?}");
    assert_eq!(rehashed(&app).await, 1);
    let after = account(&app).await;
    assert!(after.password_hash.as_phc().starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
    assert_eq!(after.credential_version, before.credential_version);
    check_login(&app, PASSWORD, StatusCode::OK).await;
    check_login(&app, NEW, StatusCode::UNAUTHORIZED).await;
    assert_eq!(rehashed(&app).await, 1);
}

#[tokio::test]
async fn of_many_sign_ins_one_renews_the_hash_in_memory() {
    of_many_sign_ins_one_renews_the_hash(Arc::new(MemoryStore::new())).await;
}

#[tokio::test]
async fn of_many_sign_ins_one_renews_the_hash_in_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("test.db"), Timestamp::from_secs(1));
    of_many_sign_ins_one_renews_the_hash(Arc::new(store.expect("a store"))).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn of_many_sign_ins_one_renews_the_hash_in_postgres() {
    let (store, _database) = keyward::store::postgres::fresh::fresh_postgres().await;
    of_many_sign_ins_one_renews_the_hash(Arc::new(store)).await;
}

#[tokio::test]
async fn a_password_that_is_changed_meanwhile_stays_changed() {
    for overtaken in [Call::FindUserByEmail, Call::ReplaceHash] {
        let store = FaultyStore::new();
        let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
        import(&app, BCRYPT).await;
        let other = app.clone();
        store.meanwhile(overtaken, async move {
            let mut ada = other.browser();
            ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
            let body = json!({ "currentPassword": PASSWORD, "newPassword": NEW });
            let changed = ada.post("/api/auth/password/change", Some(body)).await;
            changed.assert(StatusCode::OK, None);
        });
        check_login(&app, PASSWORD, StatusCode::UNAUTHORIZED).await;
        check_login(&app, PASSWORD, StatusCode::UNAUTHORIZED).await;
        check_login(&app, NEW, StatusCode::OK).await;
        assert_eq!(rehashed(&app).await, 1, "{overtaken:?}");
    }
}

#[tokio::test]
async fn a_hash_that_cannot_be_renewed_keeps_nobody_out() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    import(&app, BCRYPT).await;
    store.fail(Call::ReplaceHash, Fault::Down);
    check_login(&app, PASSWORD, StatusCode::OK).await;
    assert_eq!(account(&app).await.password_hash.as_phc(), BCRYPT);
}

#[tokio::test]
async fn nobody_renews_the_hash_with_a_wrong_password_or_while_disabled() {
    let app = TestApp::new().await;
    import(&app, BCRYPT).await;
    check_login(&app, NEW, StatusCode::UNAUTHORIZED).await;
    let id = account(&app).await.user.id;
    app.set_disabled(id, true).await;
    check_login(&app, PASSWORD, StatusCode::FORBIDDEN).await;
    assert_eq!(account(&app).await.password_hash.as_phc(), BCRYPT);
    assert_eq!(rehashed(&app).await, 0);
}

/// What bcrypt did not look at could be a typing error.
#[tokio::test]
async fn a_password_beyond_72_bytes_keeps_its_bcrypt_until_it_is_changed() {
    const OF_72: &str = "$2b$04$tiMPLrFhH.qFGrVez2KtRO1oQEfvlpEH5HYyn9TKG6p/xnkHFssva";
    let app = TestApp::new().await;
    import(&app, OF_72).await;
    let long = "x".repeat(80);
    check_login(&app, &long, StatusCode::OK).await;
    assert_eq!(account(&app).await.password_hash.as_phc(), OF_72);
    check_login(&app, &long[..72], StatusCode::OK).await;
    assert_ne!(account(&app).await.password_hash.as_phc(), OF_72);
    check_login(&app, &long, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test]
async fn a_hash_follows_the_policy_when_its_work_rises_only() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let with_memory = async |memory_kib| {
        let app = TestApp::on_store(Arc::clone(&store), |policy| {
            policy.hashing.memory_kib = memory_kib;
        });
        app.await
    };
    with_memory(16).await.registered(ADA).await;
    for (memory_kib, kept) in [(8, "m=16,"), (16, "m=16,"), (32, "m=32,"), (16, "m=32,")] {
        let app = with_memory(memory_kib).await;
        check_login(&app, PASSWORD, StatusCode::OK).await;
        let hash = account(&app).await.password_hash;
        assert!(hash.as_phc().contains(kept), "{memory_kib}");
    }
}

/// Whoever proves the password for something else than a sign-in renews it as well.
#[tokio::test]
async fn any_proof_of_the_password_renews_the_hash() {
    let app = TestApp::with_policy(|policy| policy.hashing.memory_kib = 8).await;
    let mut ada = app.registered(ADA).await;
    let cheap = account(&app).await.password_hash;
    let dear = TestApp::on_store(Arc::clone(&app.store), |policy| policy.hashing.memory_kib = 64);
    ada.app = dear.await;
    let body = json!({ "currentPassword": PASSWORD, "newPassword": "password" });
    let refused = ada.post("/api/auth/password/change", Some(body)).await;
    refused.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    assert_ne!(account(&app).await.password_hash, cheap);
    check_login(&app, PASSWORD, StatusCode::OK).await;
}

#[tokio::test]
async fn an_account_can_be_given_a_hash() {
    let app = TestApp::new().await;
    let writer = app.backend(&app.service_key(&[Scope::UsersWrite]).await);
    let body = json!({ "email": ADA, "passwordHash": BCRYPT });
    let answer = writer.call(Method::POST, USERS, Some(body)).await;
    answer.assert(StatusCode::CREATED, None);
    check_login(&app, PASSWORD, StatusCode::OK).await;
    assert_eq!(rehashed(&app).await, 1);

    for (password, hash) in [
        (Some(PASSWORD), BCRYPT.to_owned()),
        (None, "5f4dcc3b5aa765d61d8327deb882cf99".to_owned()),
        (None, BCRYPT.replace("$05$", "$31$")),
        (None, BCRYPT[..40].to_owned()),
        (None, format!("$firebase-scrypt$AAAA$AAAA{BCRYPT}")),
        (None, "x".repeat(50_000)),
    ] {
        let body = json!({ "email": "bob@b.c", "password": password, "passwordHash": hash });
        let answer = writer.post(USERS, Some(body)).await;
        answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
        let told = answer.json().to_string();
        assert!(told.contains("passwordHash") && !told.contains(&hash[..20]), "{told}");
    }
}
