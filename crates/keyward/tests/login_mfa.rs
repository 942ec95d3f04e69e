//! `POST /login/mfa`: the second step of a sign-in, and the ways around it.

mod common;

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use common::second_factor::Authenticator;
use common::{Answer, Browser, PASSWORD, TestApp};
use futures_util::future::join_all;
use keyward::clock::ManualClock;
use keyward::entropy::danger_for_tests::SeededEntropy;
use keyward::store::{MemoryStore, SqliteStore, Store};
use keyward_core::time::Timestamp;

use serde_json::json;

const ADA: &str = "ada@example.org";
const NEW: &str = "zimtkringel im schnee";

/// Ada with a second factor, whose code of this step is used.
async fn enrolled(app: &TestApp) -> (Browser, Authenticator) {
    let mut ada = app.registered(ADA).await;
    let authenticator = Authenticator::enable(&mut ada).await;
    (ada, authenticator)
}

#[track_caller]
fn assert_wrong(answer: &Answer) {
    answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_MFA_CODE"));
    assert!(answer.set_cookies().is_empty());
}

#[track_caller]
fn assert_over(answer: &Answer) {
    answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_MFA_TOKEN"));
    assert!(answer.set_cookies().is_empty());
}

#[tokio::test]
async fn the_password_alone_gives_nothing_but_a_challenge() {
    let app = TestApp::new().await;
    let (mut ada, _) = enrolled(&app).await;
    let answer = app.browser().login(ADA, PASSWORD).await;
    answer.assert(StatusCode::OK, None);
    let mut body = answer.json();
    let token = body.as_object_mut().and_then(|body| body.remove("mfaToken")).expect("a token");
    assert!(token.as_str().is_some_and(|token| token.starts_with("kwm_")), "{token}");
    let methods = ["totp", "recovery_code"];
    assert_eq!(body, json!({ "mfaRequired": true, "methods": methods, "expiresIn": 600 }));
    assert!(answer.set_cookies().is_empty());
    assert_eq!(
        ada.get("/api/auth/sessions").await.json()["sessions"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(app.audit_names().await.last().map(String::as_str), Some("mfa.required"));
}

#[tokio::test]
async fn a_code_signs_in_as_a_password_does_elsewhere() {
    let app = TestApp::new().await;
    let (mut ada, authenticator) = enrolled(&app).await;
    app.advance(30);
    // The same browser: it leaves its old session.
    let token = ada.mfa_token(ADA).await;
    let mut old = ada.clone();
    let answer = ada.give_code(&token, &authenticator.code(&app)).await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json()["user"]["mfaEnabled"], json!(true));
    assert_eq!(ada.me().await.json()["session"]["amr"], json!(["pwd", "otp"]));
    old.refresh().await.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
    ada.refresh().await.assert(StatusCode::OK, None);
    let names = app.audit_names().await;
    let signed_in = names.iter().rposition(|name| name == "login.succeeded").expect("an event");
    assert_eq!(names[signed_in + 1..][..2], ["session.created", "session.revoked"]);
}

#[tokio::test]
async fn a_recovery_code_signs_in_once() {
    let app = TestApp::new().await;
    let (_, authenticator) = enrolled(&app).await;
    let code = authenticator.recovery_codes[7].to_lowercase().replace('-', " ");
    let mut browser = app.browser();
    let token = browser.mfa_token(ADA).await;
    browser.give_recovery_code(&token, &code).await.assert(StatusCode::OK, None);
    assert_eq!(browser.me().await.json()["session"]["amr"], json!(["pwd", "otp"]));
    let used = app.audit().await.into_iter().find(|event| event.name == "recovery_code.used");
    assert_eq!(used.map(|event| event.detail).as_deref(), Some(r#"{"left":9}"#));
    let token = browser.mfa_token(ADA).await;
    assert_wrong(&browser.give_recovery_code(&token, &code).await);
    for code in &authenticator.recovery_codes[..7] {
        let token = browser.mfa_token(ADA).await;
        browser.give_recovery_code(&token, code).await.assert(StatusCode::OK, None);
    }
    for code in &authenticator.recovery_codes[8..] {
        let token = browser.mfa_token(ADA).await;
        browser.give_recovery_code(&token, code).await.assert(StatusCode::OK, None);
    }
    let answer = browser.login(ADA, PASSWORD).await;
    assert_eq!(answer.json()["methods"], json!(["totp"]));
}

#[tokio::test]
async fn a_clock_may_be_half_a_minute_off() {
    let app = TestApp::new().await;
    let (_, authenticator) = enrolled(&app).await;
    app.advance(300);
    for (secs, is_good) in [(-60, false), (60, false), (-30, true), (30, true)] {
        let mut browser = app.browser();
        let token = browser.mfa_token(ADA).await;
        let answer = browser.give_code(&token, &authenticator.code_in(&app, secs)).await;
        assert_eq!(answer.status == StatusCode::OK, is_good, "{secs}");
    }
    // The step after this one was used: none up to it is good any more.
    let mut browser = app.browser();
    let token = browser.mfa_token(ADA).await;
    assert_wrong(&browser.give_code(&token, &authenticator.code(&app)).await);
}

/// Whoever looks over a shoulder is too late, in whatever sign-in.
#[tokio::test]
async fn no_code_is_good_twice() {
    let app = TestApp::new().await;
    let (_, authenticator) = enrolled(&app).await;
    let (mut ada, mut thief) = (app.browser(), app.browser());
    let of_thief = thief.mfa_token(ADA).await;
    assert_wrong(&thief.give_code(&of_thief, &authenticator.code(&app)).await);
    app.advance(30);
    let (token, code) = (ada.mfa_token(ADA).await, authenticator.code(&app));
    ada.give_code(&token, &code).await.assert(StatusCode::OK, None);
    assert_wrong(&thief.give_code(&of_thief, &code).await);
    assert_over(&thief.give_code(&token, &authenticator.code_in(&app, 30)).await);
}

#[tokio::test]
async fn a_challenge_takes_five_codes_within_ten_minutes() {
    let app = TestApp::new().await;
    let (_, authenticator) = enrolled(&app).await;
    app.advance(60);
    let mut browser = app.browser();
    let token = browser.mfa_token(ADA).await;
    for _ in 0..5 {
        assert_wrong(&browser.give_code(&token, &authenticator.wrong_code(&app)).await);
    }
    assert_over(&browser.give_code(&token, &authenticator.code(&app)).await);
    let token = browser.mfa_token(ADA).await;
    app.advance(600);
    assert_over(&browser.give_code(&token, &authenticator.code(&app)).await);
    let token = browser.mfa_token(ADA).await;
    app.advance(599);
    let answer = browser.give_code(&token, &authenticator.code(&app)).await;
    answer.assert(StatusCode::OK, None);
}

/// What is no code costs no try, and tells nothing about the token.
#[tokio::test]
async fn malformed_codes_and_tokens() {
    let app = TestApp::new().await;
    let (_, authenticator) = enrolled(&app).await;
    app.advance(30);
    let mut browser = app.browser();
    let token = browser.mfa_token(ADA).await;
    for code in ["", "12345", "1234567", "12345a", "１２３４５６", "000000 OR 1=1"] {
        for token in [&token, "kwm_x", ""] {
            assert_wrong(&browser.give_code(token, code).await);
            assert_wrong(&browser.give_recovery_code(token, code).await);
        }
    }
    for token in ["", "x", &token[..46], &format!("{token}A"), &token.replace("kwm_", "kwk_")] {
        assert_over(&browser.give_code(token, "123456").await);
    }
    for body in [
        json!({ "mfaToken": token }),
        json!({ "mfaToken": token, "code": "123456", "recoveryCode": "x" }),
        json!({ "mfaToken": token, "code": null }),
    ] {
        let answer = browser.post("/api/auth/login/mfa", Some(body)).await;
        answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    }
    let answer = browser.give_code(&token, &authenticator.code(&app)).await;
    answer.assert(StatusCode::OK, None);
    assert!(!app.audit_names().await.contains(&"mfa.failed".to_owned()));
}

#[tokio::test]
async fn a_page_of_another_origin_signs_nobody_in() {
    let app = TestApp::new().await;
    let (_, authenticator) = enrolled(&app).await;
    app.advance(30);
    let mut browser = app.browser();
    let token = browser.mfa_token(ADA).await;
    let body = json!({ "mfaToken": token, "code": authenticator.code(&app) });
    let mut request = browser.request(Method::POST, "/api/auth/login/mfa", Some(body));
    request.headers_mut().insert("origin", "https://evil.example".parse().expect("a value"));
    let answer = browser.send(request).await;
    answer.assert(StatusCode::FORBIDDEN, Some("ORIGIN_NOT_ALLOWED"));
}

/// Whatever changes about the account between password and code ends the sign-in.
#[tokio::test]
async fn a_sign_in_does_not_survive_a_change_of_the_credentials() {
    let app = TestApp::new().await;
    let (mut ada, authenticator) = enrolled(&app).await;
    app.advance(30);
    let mut browser = app.browser();
    let token = browser.mfa_token(ADA).await;
    let body = json!({ "currentPassword": PASSWORD, "newPassword": NEW });
    let changed = ada.post("/api/auth/password/change", Some(body)).await;
    changed.assert(StatusCode::OK, None);
    assert_over(&browser.give_code(&token, &authenticator.code(&app)).await);

    let token = browser.login(ADA, NEW).await.text("mfaToken");
    let removed = ada.remove_totp(NEW, &authenticator.code(&app)).await;
    removed.assert(StatusCode::NO_CONTENT, None);
    assert_over(&browser.give_recovery_code(&token, &authenticator.recovery_codes[0]).await);
}

#[tokio::test]
async fn a_disabled_user_is_not_signed_in() {
    let app = TestApp::new().await;
    let (_, authenticator) = enrolled(&app).await;
    app.advance(30);
    let mut browser = app.browser();
    let token = browser.mfa_token(ADA).await;
    let id = app.users().await[0].id;
    app.set_disabled(id, true).await;
    assert_over(&browser.give_code(&token, &authenticator.code(&app)).await);
    let answer = browser.login(ADA, PASSWORD).await;
    answer.assert(StatusCode::FORBIDDEN, Some("ACCOUNT_DISABLED"));
}

/// Nor later: whoever disabled them knew of no sign-in that waits.
#[tokio::test]
async fn a_user_who_is_enabled_again_signs_in_anew() {
    let app = TestApp::new().await;
    let (_, authenticator) = enrolled(&app).await;
    app.advance(30);
    let mut browser = app.browser();
    let token = browser.mfa_token(ADA).await;
    let id = app.users().await[0].id;
    for disabled in [true, false] {
        app.set_disabled(id, disabled).await;
    }
    assert_over(&browser.give_code(&token, &authenticator.code(&app)).await);
    let token = browser.mfa_token(ADA).await;
    let answer = browser.give_code(&token, &authenticator.code(&app)).await;
    answer.assert(StatusCode::OK, None);
}

/// Who does not know the password cannot keep its owner out: only a challenge has tries to use up.
#[tokio::test]
async fn strangers_lock_nobody_out() {
    let app = TestApp::new().await;
    let (_, authenticator) = enrolled(&app).await;
    app.advance(30);
    let mut stranger = app.browser();
    for number in 0..30 {
        let token = format!("kwm_{number:043}");
        assert_over(&stranger.give_code(&token, "123456").await);
    }
    let mut ada = app.browser();
    let token = ada.mfa_token(ADA).await;
    ada.give_code(&token, &authenticator.code(&app)).await.assert(StatusCode::OK, None);
}

/// Of all that know the password together, on two nodes that share nothing but the store.
#[tokio::test]
async fn an_account_takes_twenty_wrong_codes_an_hour_on_all_nodes_together() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_790_000_000)));
    let start = async |seed| {
        let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
        TestApp::start(store, clock, Arc::new(SeededEntropy::new(seed)), |_| {}).await
    };
    let nodes = [start(1).await, start(2).await];
    let (_, authenticator) = enrolled(&nodes[0]).await;
    let mut wrong = 0;
    for number in 0..12 {
        let mut browser = nodes[number % 2].browser();
        let token = browser.mfa_token(ADA).await;
        for _ in 0..5 {
            let code = authenticator.wrong_code(&nodes[0]);
            let answer = nodes[wrong % 2].browser().give_code(&token, &code).await;
            match answer.status {
                StatusCode::UNAUTHORIZED => wrong += 1,
                status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
            }
        }
    }
    assert_eq!(wrong, 20);
    // A restart forgets nothing of it.
    let node = start(3).await;
    let mut browser = node.browser();
    let token = browser.mfa_token(ADA).await;
    node.advance(60);
    let limited = browser.give_code(&token, &authenticator.code(&node)).await;
    limited.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
    assert_eq!(limited.header("retry-after"), Some("120"));
    node.advance(120);
    let answer = browser.give_code(&token, &authenticator.code(&node)).await;
    answer.assert(StatusCode::OK, None);
    let names = node.audit_names().await;
    let count = |name: &str| names.iter().filter(|other| *other == name).count();
    assert_eq!((count("mfa.failed"), count("mfa.rate_limited")), (20, 1));
}

/// A right code is given back: who signs in all day is not slowed down.
#[tokio::test]
async fn right_codes_use_nothing_up() {
    let app = TestApp::new().await;
    let (_, authenticator) = enrolled(&app).await;
    for _ in 0..30 {
        app.advance(30);
        let mut browser = app.browser();
        let token = browser.mfa_token(ADA).await;
        let answer = browser.give_code(&token, &authenticator.code(&app)).await;
        answer.assert(StatusCode::OK, None);
    }
}

/// Twenty at once, over HTTP: one session, whether they share the token or the code only.
async fn one_of_many(store: Arc<dyn Store>) {
    let app = TestApp::on_store(store, |policy| policy.limits.mfa_challenge = None).await;
    let (_, authenticator) = enrolled(&app).await;
    app.advance(60);
    let one = app.browser().mfa_token(ADA).await;
    let mut tokens = vec![one; 20];
    let code = authenticator.code_in(&app, -30);
    let race = async |tokens: &[String], code: &str| {
        let browsers = tokens.iter().map(|token| {
            let (mut browser, code) = (app.browser(), code.to_owned());
            async move { browser.give_code(token, &code).await.status }
        });
        let statuses = join_all(browsers).await;
        statuses.iter().filter(|status| **status == StatusCode::OK).count()
    };
    assert_eq!(race(&tokens, &code).await, 1);
    tokens.clear();
    for _ in 0..20 {
        tokens.push(app.browser().mfa_token(ADA).await);
    }
    assert_eq!(race(&tokens, &authenticator.code(&app)).await, 1);
    let created = app.audit_names().await;
    assert_eq!(created.iter().filter(|name| *name == "login.succeeded").count(), 2);
}

#[tokio::test]
async fn of_twenty_at_once_one_is_signed_in() {
    one_of_many(Arc::new(MemoryStore::new())).await;
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&dir.path().join("test.db"), Timestamp::from_secs(1));
    one_of_many(Arc::new(store.expect("a store"))).await;
}
