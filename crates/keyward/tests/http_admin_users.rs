//! Accounts over the admin API: `POST /users`, `GET /users/{id}` and `DELETE /users/{id}`.

mod checks;
mod common;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use checks::{assert_harmless, assert_touches_no_cookie, details};
use common::{Answer, Backend, Browser, PASSWORD, TestApp};
use futures_util::future::join;
use keyward::policy::Registration;
use keyward::store::SqliteStore;
use keyward_core::id::UserId;
use keyward_core::service_key::Scope;
use keyward_core::time::Timestamp;
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const USERS: &str = "/api/admin/users";
const SERVICE_KEY_ID: &str = "01010101-0101-0101-0101-010101010101";

async fn writer(app: &TestApp) -> Backend {
    app.backend(&app.service_key(&[Scope::UsersRead, Scope::UsersWrite]).await)
}

async fn user_id(browser: &Browser) -> UserId {
    checks::stored(browser).await.user.id
}

async fn delete(browser: &mut Browser, id: UserId) -> Answer {
    browser.call(Method::DELETE, &format!("{USERS}/{id}"), None).await
}

async fn delete_me(browser: &mut Browser) -> Answer {
    let body = json!({ "password": PASSWORD });
    browser.call(Method::DELETE, "/api/auth/me", Some(body)).await
}

#[tokio::test]
async fn an_account_is_made_as_it_was_given() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    let body = json!({
        "email": "Ada@example.org",
        "password": PASSWORD,
        "name": "Ada",
        "roles": ["editor", "author", "editor"],
        "emailVerified": true,
    });
    let answer = writer.post(USERS, Some(body)).await;
    answer.assert(StatusCode::CREATED, None);
    assert_touches_no_cookie(&answer);
    let id = answer.json()["user"]["id"].as_str().expect("an id").to_owned();
    let expected = json!({ "user": {
        "id": id,
        "email": "Ada@example.org",
        "name": "Ada",
        "roles": ["author", "editor"],
        "emailVerified": true,
        "mfaEnabled": false,
        "createdAt": "2026-09-21T14:13:20.000Z",
        "disabledAt": null,
        "lastLoginAt": null,
        "lastLogoutAt": null,
        "claims": {},
    } });
    assert_eq!(answer.json(), expected);
    assert_eq!(writer.get(&format!("{USERS}/{id}")).await.json(), expected);

    let actor = json!({ "serviceKeyId": SERVICE_KEY_ID });
    let registered = json!({ "by": "admin", "roles": ["author", "editor"], "actor": actor });
    assert_eq!(details(&app, "user.registered").await, [registered]);
    assert_eq!(checks::count_events(&app, "session.created").await, 0);
    app.browser().login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn an_account_is_made_where_registration_is_closed() {
    let app = TestApp::with_policy(|policy| {
        policy.accounts.registration = Registration::Closed;
    })
    .await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    let answer = writer(&app).await.post(USERS, Some(body)).await;
    answer.assert(StatusCode::CREATED, None);
    app.browser().login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}

/// What may be left out may be null, and nobody signs in where there is no password.
#[tokio::test]
async fn an_address_is_enough() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    let nulls = json!({
        "email": BOB, "password": null, "name": null, "roles": null, "emailVerified": null,
    });
    for body in [json!({ "email": ADA }), nulls] {
        let email = body["email"].as_str().expect("an address").to_owned();
        let answer = writer.post(USERS, Some(body)).await;
        answer.assert(StatusCode::CREATED, None);
        let user = answer.json()["user"].clone();
        assert_eq!((&user["name"], &user["roles"]), (&Value::Null, &json!([])));
        assert_eq!(user["emailVerified"], false);
        for password in ["", PASSWORD, "null"] {
            let refused = app.browser().login(&email, password).await;
            assert_harmless(&refused, StatusCode::UNAUTHORIZED, "INVALID_CREDENTIALS");
        }
    }
}

#[tokio::test]
async fn the_rules_for_accounts_hold_for_administrators_too() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    let seventeen: Vec<String> = (0..17).map(|number| format!("role{number}")).collect();
    for (field, value) in [
        ("email", json!("nobody")),
        ("password", json!("short")),
        ("password", json!("password1")),
        ("password", json!("ada@example.org")),
        ("name", json!("a\u{202e}b")),
        ("roles", json!([""])),
        ("roles", json!(["two words"])),
        ("roles", json!(["x".repeat(65)])),
        ("roles", json!(seventeen)),
        ("roles", json!("admin")),
        ("roles", json!([["admin"]])),
        ("emailVerified", json!("true")),
        ("disabled", json!(true)),
        ("claims", json!({})),
    ] {
        let mut body = json!({ "email": ADA, "password": PASSWORD });
        body[field] = value;
        let answer = writer.post(USERS, Some(body)).await;
        assert_harmless(&answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
        assert!(answer.json()["fields"][field].is_string(), "{field}: {}", answer.json());
    }
    assert!(app.users().await.is_empty());
}

#[tokio::test]
async fn an_address_is_taken_once() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    let body = json!({ "email": "ADA@EXAMPLE.ORG", "password": PASSWORD });
    let answer = writer(&app).await.post(USERS, Some(body)).await;
    assert_harmless(&answer, StatusCode::CONFLICT, "EMAIL_TAKEN");
}

/// It is what other services make their accounts with, at their own pace.
#[tokio::test]
async fn registrations_are_not_counted() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    for number in 0..25 {
        let body = json!({ "email": format!("user{number}@example.org") });
        writer.post(USERS, Some(body)).await.assert(StatusCode::CREATED, None);
    }
}

#[tokio::test]
async fn an_account_tells_its_last_sign_in_and_sign_out() {
    let app = TestApp::new().await;
    let reader = writer(&app).await;
    let mut ada = app.registered(ADA).await;
    let path = format!("{USERS}/{}", user_id(&ada).await);
    app.advance(60);
    ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    app.advance(60);
    ada.post("/api/auth/logout-all", None).await.assert(StatusCode::OK, None);
    let user = reader.get(&path).await.json()["user"].clone();
    assert_eq!(user["lastLoginAt"], "2026-09-21T14:14:20.000Z");
    assert_eq!(user["lastLogoutAt"], "2026-09-21T14:15:20.000Z");
    let id = user["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    app.set_disabled(id, true).await;
    let user = reader.get(&path).await.json()["user"].clone();
    assert_eq!(user["disabledAt"], "2026-09-21T14:15:20.000Z");
}

#[tokio::test]
async fn no_answer_tells_a_password_or_its_hash() {
    let app = TestApp::new().await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    let answer = writer(&app).await.post(USERS, Some(body)).await;
    let text = String::from_utf8_lossy(&answer.body).to_lowercase();
    for word in ["password", "argon2", "hash", "credential", PASSWORD] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

#[tokio::test]
async fn a_deleted_account_is_gone_with_its_sessions_and_what_is_personal() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    let mut ada = app.registered(ADA).await;
    let id = user_id(&ada).await;
    let path = format!("{USERS}/{id}");
    let answer = writer.delete(&path).await;
    answer.assert(StatusCode::NO_CONTENT, None);
    assert!(answer.body.is_empty());
    assert_touches_no_cookie(&answer);

    ada.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    checks::assert_revoked(&ada.refresh().await, "user_deleted");
    assert_harmless(&writer.get(&path).await, StatusCode::NOT_FOUND, "NOT_FOUND");
    assert_harmless(&writer.delete(&path).await, StatusCode::NOT_FOUND, "NOT_FOUND");
    let actor = json!({ "serviceKeyId": SERVICE_KEY_ID });
    assert_eq!(details(&app, "user.deleted").await, [json!({ "actor": actor })]);
    let revoked = json!({ "reason": "user_deleted", "actor": actor });
    assert_eq!(details(&app, "session.revoked").await, [revoked]);
    for event in app.audit().await.iter().filter(|event| event.user_id == Some(id)) {
        // What the service did is its own to answer for.
        let by_service = event.detail.contains("actor");
        assert_eq!(event.device.ip.is_some(), by_service, "{event:?}");
        assert_eq!(event.device.user_agent, None, "{event:?}");
    }
}

#[tokio::test]
async fn an_administrator_deletes_others_and_is_named() {
    let app = TestApp::new().await;
    let mut ada = app.admin(ADA).await;
    let bob = app.registered(BOB).await;
    delete(&mut ada, user_id(&bob).await).await.assert(StatusCode::NO_CONTENT, None);
    let actor = json!({ "userId": user_id(&ada).await.to_string() });
    assert_eq!(details(&app, "user.deleted").await, [json!({ "actor": actor })]);
    ada.me().await.assert(StatusCode::OK, None);
}

/// Neither over the admin API nor as its user.
#[tokio::test]
async fn the_last_administrator_stays() {
    let app = TestApp::new().await;
    let mut ada = app.admin(ADA).await;
    let bob = app.admin(BOB).await;
    let (ada_id, bob_id) = (user_id(&ada).await, user_id(&bob).await);
    // Who is disabled administrates nothing.
    app.set_disabled(bob_id, true).await;
    for answer in [delete(&mut ada, ada_id).await, delete_me(&mut ada).await] {
        assert_harmless(&answer, StatusCode::CONFLICT, "CONFLICT");
    }
    assert_eq!(details(&app, "user.deleted").await, [json!(null); 0]);

    app.set_disabled(bob_id, false).await;
    delete_me(&mut ada).await.assert(StatusCode::NO_CONTENT, None);
    let mut bob = app.browser();
    bob.login(BOB, PASSWORD).await.assert(StatusCode::OK, None);
    assert_harmless(&delete(&mut bob, bob_id).await, StatusCode::CONFLICT, "CONFLICT");
}

/// The key of a service that keeps accounts is no way to become an administrator, nor to get rid of
/// one.
#[tokio::test]
async fn a_service_key_reaches_no_administrator() {
    let app = TestApp::new().await;
    let writer = writer(&app).await;
    app.admin(BOB).await;
    let ada = app.admin(ADA).await;
    let bob = json!({ "email": "eve@example.org", "roles": ["admin"] });
    let made = writer.post(USERS, Some(bob)).await;
    let deleted = writer.delete(&format!("{USERS}/{}", user_id(&ada).await)).await;
    for answer in [made, deleted] {
        assert_harmless(&answer, StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS");
    }
    assert_eq!(app.users().await.len(), 2);
}

#[tokio::test]
async fn two_administrators_who_delete_each_other_at_once_leave_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&dir.path().join("test.db"), Timestamp::from_secs(1));
    let app = TestApp::on_store(Arc::new(store.expect("a store")), |_| {}).await;
    let (mut ada, mut bob) = (app.admin(ADA).await, app.admin(BOB).await);
    let (ada_id, bob_id) = (user_id(&ada).await, user_id(&bob).await);
    let answers = join(delete(&mut ada, bob_id), delete(&mut bob, ada_id)).await;
    let deleted = [&answers.0, &answers.1]
        .into_iter()
        .filter(|answer| answer.status == StatusCode::NO_CONTENT);
    assert_eq!(deleted.count(), 1, "{answers:?}");
    assert_eq!(app.users().await.len(), 1);
}
