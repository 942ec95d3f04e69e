//! Setting a second factor up, its recovery codes, and its removal.

mod common;

use axum::http::{Method, StatusCode};
use common::second_factor::{Authenticator, texts};
use common::{Browser, PASSWORD, TestApp};
use keyward::store::{OwnGuard, TotpSetup};
use serde_json::json;

const ADA: &str = "ada@example.org";
const WRONG: &str = "zimtkringel im schnee";

async fn is_enabled(browser: &mut Browser) -> bool {
    browser.me().await.json()["user"]["mfaEnabled"] == json!(true)
}

#[tokio::test]
async fn a_set_up_is_finished_by_its_first_code() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let answer = ada.begin_totp(PASSWORD).await;
    answer.assert(StatusCode::OK, None);
    let (secret, uri) = (answer.text("secret"), answer.text("otpauthUri"));
    assert_eq!(secret.len(), 32);
    let label = "otpauth://totp/auth.example.org:ada%40example.org?secret=";
    assert!(uri.starts_with(&format!("{label}{secret}&issuer=auth.example.org&")), "{uri}");
    assert!(answer.text("qrSvg").starts_with("<svg "), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(!is_enabled(&mut ada).await);

    let authenticator = Authenticator::begin(&mut ada).await;
    let answer = ada.confirm_totp(&authenticator.code(&app)).await;
    answer.assert(StatusCode::OK, None);
    let mut codes = texts(&answer.json()["recoveryCodes"]);
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), 10);
    assert!(is_enabled(&mut ada).await);
    assert_eq!(app.audit_names().await.last().map(String::as_str), Some("mfa.enabled"));
}

#[tokio::test]
async fn until_then_nobody_is_asked_for_a_code() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    Authenticator::begin(&mut ada).await;
    let answer = app.browser().login(ADA, PASSWORD).await;
    assert!(answer.json()["accessToken"].is_string(), "{answer:?}");
}

#[tokio::test]
async fn a_set_up_takes_its_own_code_only_and_waits_half_an_hour() {
    let app = TestApp::with_policy(|policy| {
        policy.accounts.reauthentication_window = std::time::Duration::from_secs(24 * 60 * 60);
    })
    .await;
    let mut ada = app.registered(ADA).await;
    let (conflict, refused) = (StatusCode::CONFLICT, StatusCode::UNAUTHORIZED);
    ada.confirm_totp("123456").await.assert(conflict, Some("CONFLICT"));
    let replaced = Authenticator::begin(&mut ada).await;
    let authenticator = Authenticator::begin(&mut ada).await;
    for code in [&replaced.code(&app), &authenticator.wrong_code(&app), "", "12345x"] {
        ada.confirm_totp(code).await.assert(refused, Some("INVALID_MFA_CODE"));
    }
    let mut bob = app.registered("bob@example.org").await;
    bob.confirm_totp(&authenticator.code(&app)).await.assert(conflict, Some("CONFLICT"));
    app.advance(30 * 60 + 1);
    ada.refresh().await.assert(StatusCode::OK, None);
    ada.confirm_totp(&authenticator.code(&app)).await.assert(conflict, Some("CONFLICT"));
    assert!(!is_enabled(&mut ada).await);
    Authenticator::enable(&mut ada).await;
    assert!(is_enabled(&mut ada).await);
}

/// Who knew the password before must not finish, in whatever session, what was begun with it.
#[tokio::test]
async fn a_set_up_goes_with_its_password() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let authenticator = Authenticator::begin(&mut ada).await;
    let body = json!({ "currentPassword": PASSWORD, "newPassword": "regenschirm aus zimt" });
    ada.post("/api/auth/password/change", Some(body)).await.assert(StatusCode::OK, None);
    let confirmed = ada.confirm_totp(&authenticator.code(&app)).await;
    confirmed.assert(StatusCode::CONFLICT, Some("CONFLICT"));
    assert!(!is_enabled(&mut ada).await);
}

#[tokio::test]
async fn there_is_one_at_a_time() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let authenticator = Authenticator::enable(&mut ada).await;
    ada.begin_totp(PASSWORD).await.assert(StatusCode::CONFLICT, Some("CONFLICT"));
    let again = ada.confirm_totp(&authenticator.code(&app)).await;
    again.assert(StatusCode::CONFLICT, Some("CONFLICT"));
}

/// The session says so, whatever its tokens said when they were signed.
#[tokio::test]
async fn the_session_that_sets_it_up_has_proven_both() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    Authenticator::enable(&mut ada).await;
    assert_eq!(ada.me().await.json()["session"]["amr"], json!(["pwd", "otp"]));
    ada.new_recovery_codes(PASSWORD).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn every_change_takes_the_password() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let (status, code) = (StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    ada.begin_totp(WRONG).await.assert(status, code);
    let authenticator = Authenticator::enable(&mut ada).await;
    ada.new_recovery_codes(WRONG).await.assert(status, code);
    app.advance(30);
    ada.remove_totp(WRONG, &authenticator.code(&app)).await.assert(status, code);
    assert!(is_enabled(&mut ada).await);
    ada.remove_totp(PASSWORD, &authenticator.code(&app)).await.assert(StatusCode::NO_CONTENT, None);
}

#[tokio::test]
async fn every_change_takes_a_recent_sign_in() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let mut bob = app.registered("bob@example.org").await;
    let of_bob = Authenticator::begin(&mut bob).await;
    let authenticator = Authenticator::enable(&mut ada).await;
    app.advance(15 * 60 + 1);
    ada.refresh().await.assert(StatusCode::OK, None);
    bob.refresh().await.assert(StatusCode::OK, None);
    let (status, code) = (StatusCode::FORBIDDEN, Some("REAUTHENTICATION_REQUIRED"));
    ada.new_recovery_codes(PASSWORD).await.assert(status, code);
    ada.remove_totp(PASSWORD, &authenticator.code(&app)).await.assert(status, code);
    bob.begin_totp(PASSWORD).await.assert(status, code);
    bob.confirm_totp(&of_bob.code(&app)).await.assert(status, code);
    assert!(is_enabled(&mut ada).await && !is_enabled(&mut bob).await);
}

/// A thief who had signed in with the password before is not let at the second factor by it.
#[tokio::test]
async fn a_session_without_the_second_factor_changes_nothing_about_it() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let mut thief = app.browser();
    thief.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    let authenticator = Authenticator::enable(&mut ada).await;
    app.advance(30);
    let (status, code) = (StatusCode::FORBIDDEN, Some("REAUTHENTICATION_REQUIRED"));
    thief.new_recovery_codes(PASSWORD).await.assert(status, code);
    thief.remove_totp(PASSWORD, &authenticator.code(&app)).await.assert(status, code);
    assert!(is_enabled(&mut ada).await);
}

#[tokio::test]
async fn a_removal_takes_a_code_that_was_not_used() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let authenticator = Authenticator::enable(&mut ada).await;
    let (status, refused) = (StatusCode::UNAUTHORIZED, Some("INVALID_MFA_CODE"));
    for code in
        [&authenticator.code(&app), &authenticator.wrong_code(&app), "", "AAAA-AAAA-AAAA-AAAA"]
    {
        ada.remove_totp(PASSWORD, code).await.assert(status, refused);
    }
    let removed = ada.remove_totp(PASSWORD, &authenticator.recovery_codes[3]).await;
    removed.assert(StatusCode::NO_CONTENT, None);
    assert!(!is_enabled(&mut ada).await);
    let names = app.audit_names().await;
    assert_eq!(names[names.len() - 2..], ["recovery_code.used", "mfa.disabled"]);
    assert_eq!(names.iter().filter(|name| *name == "mfa.failed").count(), 3);
    for answer in [
        ada.remove_totp(PASSWORD, &authenticator.code(&app)).await,
        ada.new_recovery_codes(PASSWORD).await,
    ] {
        answer.assert(StatusCode::CONFLICT, Some("CONFLICT"));
    }
    let answer = app.browser().login(ADA, PASSWORD).await;
    assert!(answer.json()["accessToken"].is_string(), "{answer:?}");
}

#[tokio::test]
async fn a_removal_counts_its_wrong_codes() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let authenticator = Authenticator::enable(&mut ada).await;
    for _ in 0..20 {
        let answer = ada.remove_totp(PASSWORD, &authenticator.wrong_code(&app)).await;
        answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_MFA_CODE"));
    }
    app.advance(30);
    let answer = ada.remove_totp(PASSWORD, &authenticator.code(&app)).await;
    answer.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
    assert_eq!(answer.header("ratelimit-policy"), Some("\"mfa_account\";q=20;w=3600"));
    assert!(app.audit_names().await.ends_with(&["mfa.rate_limited".to_owned()]));
}

#[tokio::test]
async fn new_recovery_codes_take_the_place_of_the_old_ones() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let authenticator = Authenticator::enable(&mut ada).await;
    let answer = ada.new_recovery_codes(PASSWORD).await;
    answer.assert(StatusCode::OK, None);
    let codes = texts(&answer.json()["recoveryCodes"]);
    assert_eq!(codes.len(), 10);
    let mut browser = app.browser();
    let token = browser.mfa_token(ADA).await;
    let old = browser.give_recovery_code(&token, &authenticator.recovery_codes[0]).await;
    old.assert(StatusCode::UNAUTHORIZED, Some("INVALID_MFA_CODE"));
    browser.give_recovery_code(&token, &codes[0]).await.assert(StatusCode::OK, None);
    let names = app.audit_names().await;
    assert!(names.iter().any(|name| name == "recovery_codes.replaced"), "{names:?}");
}

/// What one has proven it goes on having proven, and no longer ago than it did.
#[tokio::test]
async fn a_changed_password_neither_gains_nor_loses_the_second_factor() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let mut without = app.browser();
    without.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    Authenticator::enable(&mut ada).await;
    let since = ada.me().await.json()["session"]["createdAt"].clone();
    app.advance(60);
    let change = |from: &str, to: &str| json!({ "currentPassword": from, "newPassword": to });
    // It would outlive those that have proven more.
    let (status, code) = (StatusCode::FORBIDDEN, Some("REAUTHENTICATION_REQUIRED"));
    let refused = without.post("/api/auth/password/change", Some(change(PASSWORD, WRONG))).await;
    refused.assert(status, code);
    let password = json!({ "password": PASSWORD });
    without.call(Method::DELETE, "/api/auth/me", Some(password)).await.assert(status, code);
    let changed = ada.post("/api/auth/password/change", Some(change(PASSWORD, WRONG))).await;
    changed.assert(StatusCode::OK, None);
    let me = ada.me().await.json();
    assert_eq!(me["session"]["amr"], json!(["pwd", "otp"]));
    assert_ne!(me["session"]["createdAt"], since);
    app.advance(14 * 60 + 1);
    ada.new_recovery_codes(WRONG).await.assert(status, code);
    assert!(is_enabled(&mut ada).await);
}

/// Whoever holds an access token of the owner's does not guess what the owner's app shows.
#[tokio::test]
async fn a_set_up_takes_twenty_wrong_codes_an_hour() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let authenticator = Authenticator::begin(&mut ada).await;
    for _ in 0..20 {
        let refused = ada.confirm_totp(&authenticator.wrong_code(&app)).await;
        refused.assert(StatusCode::UNAUTHORIZED, Some("INVALID_MFA_CODE"));
    }
    let limited = ada.confirm_totp(&authenticator.code(&app)).await;
    limited.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
    let names = app.audit_names().await;
    assert_eq!(names.iter().filter(|name| *name == "mfa.failed").count(), 20);
    assert!(names.ends_with(&["mfa.rate_limited".to_owned()]));
}

/// With the database alone nobody makes a code, and none of the recovery codes is in it.
#[tokio::test]
async fn a_stolen_database_holds_no_code() {
    let app = TestApp::new().await;
    let store = &app.store;
    let mut ada = app.registered(ADA).await;
    let answer = ada.begin_totp(PASSWORD).await;
    let id = store.find_user_by_email(ADA).await.expect("a store").expect("Ada").user.id;
    let sealed = store.find_totp(id).await.expect("a store").expect("an app").sealed;
    // Version and number of the key, nonce, secret and tag.
    assert_eq!(sealed.len(), 2 + 12 + 20 + 16);
    let again = ada.begin_totp(PASSWORD).await;
    assert_ne!(answer.text("secret"), again.text("secret"));
    let other = store.find_totp(id).await.expect("a store").expect("an app").sealed;
    assert_ne!(sealed[14..], other[14..]);
}

/// Anybody's row under somebody else's id opens nothing.
#[tokio::test]
async fn a_secret_moved_to_another_user_does_not_open() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let mut bob = app.registered("bob@example.org").await;
    let of_bob = Authenticator::begin(&mut bob).await;
    let find = async |email| {
        let found = app.store.find_user_by_email(email).await.expect("a store");
        found.expect("an account").user.id
    };
    let (ada_id, bob_id) = (find(ADA).await, find("bob@example.org").await);
    let sealed = app.store.find_totp(bob_id).await.expect("a store").expect("an app").sealed;
    let me = ada.me().await.json();
    let session_id = me["session"]["id"].as_str().and_then(|id| id.parse().ok());
    let session_id = session_id.expect("a session id");
    let guard = OwnGuard { session_id, credential_version: 0 };
    let setup = TotpSetup { user_id: ada_id, guard, sealed };
    app.store.begin_totp(setup, &app.nobody()).await.expect("a store");
    let answer = ada.confirm_totp(&of_bob.code(&app)).await;
    answer.assert(StatusCode::INTERNAL_SERVER_ERROR, Some("INTERNAL"));
}

#[tokio::test]
async fn a_deleted_account_takes_its_second_factor_along() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    Authenticator::enable(&mut ada).await;
    let body = Some(json!({ "password": PASSWORD }));
    let deleted = ada.call(Method::DELETE, "/api/auth/me", body).await;
    deleted.assert(StatusCode::NO_CONTENT, None);
    let mut again = app.registered(ADA).await;
    assert!(!is_enabled(&mut again).await);
    app.browser().login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}
