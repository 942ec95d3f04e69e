//! `POST /refresh` at the end of a session: timeouts, revocations of every reason, a store that
//! forgot.

mod checks;
mod common;

use std::time::Duration;

use axum::http::{Method, StatusCode};
use checks::{
    assert_refused_for_good, assert_revoked, assert_touched, claims, context, count_events,
    details, restored, stored,
};
use common::{Browser, PASSWORD, TestApp};
use keyward::store::{Revoke, RevokeScope};
use keyward_core::session::RevocationReason;
use serde_json::json;

const DAY: u64 = 24 * 60 * 60;
const ADA: &str = "ada@example.org";

/// The browser's next refresh: refused for this reason, and nothing is left in the jar.
async fn check_ended(browser: &mut Browser, reason: &str) {
    let answer = browser.refresh().await;
    assert_revoked(&answer, reason);
    browser.assert_signed_out();
    let told = details(&browser.app, "refresh.after_revocation").await;
    assert_eq!(told, [json!({ "reason": reason })]);
}

#[tokio::test]
async fn row_4_a_session_unused_for_seven_days_has_expired() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    app.advance(7 * DAY - 1);
    browser.refresh().await.assert(StatusCode::OK, None);
    app.advance(7 * DAY);
    assert_refused_for_good(&browser.refresh().await, "SESSION_EXPIRED");
    let expected = json!({ "reason": "expired", "count": 1 });
    assert_eq!(details(&app, "refresh.rejected").await, [expected]);
}

#[tokio::test]
async fn row_4_no_use_keeps_a_session_beyond_thirty_days() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    for _ in 0..5 {
        app.advance(6 * DAY - 1);
        browser.refresh().await.assert(StatusCode::OK, None);
    }
    app.advance(5);
    assert_refused_for_good(&browser.refresh().await, "SESSION_EXPIRED");
}

#[tokio::test]
async fn row_4_tells_whether_the_expired_token_was_already_spent() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut spent = browser.clone();
    browser.refresh().await.assert(StatusCode::OK, None);
    app.advance(7 * DAY);
    assert_refused_for_good(&spent.refresh().await, "SESSION_EXPIRED");
    let expected = json!({ "reason": "expired_and_spent", "count": 1 });
    assert_eq!(details(&app, "refresh.rejected").await, [expected]);
    assert_eq!(stored(&browser).await.session.revoked, None);
}

#[tokio::test]
async fn tokens_and_cookies_live_no_longer_than_the_session() {
    let app = TestApp::with_policy(|policy| {
        policy.rotation.idle_ttl = policy.rotation.absolute_ttl;
    })
    .await;
    let mut browser = app.registered(ADA).await;
    app.advance(30 * DAY - 60);
    let answer = browser.refresh().await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json()["expiresIn"], 60);
    for line in answer.set_cookies() {
        assert!(line.ends_with("Max-Age=60"), "{line}");
    }
    let session = stored(&browser).await.session;
    let claims = claims(browser.access_token.as_deref().expect("a token"));
    assert_eq!(claims["exp"], session.expires_at.secs());
    assert_eq!(claims["iat"], app.keyward.now().secs());

    app.advance(60);
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_EXPIRED"));
    assert_refused_for_good(&browser.refresh().await, "SESSION_EXPIRED");
}

/// Seconds are whole in a token: this one's `exp` is its `iat`.
#[tokio::test]
async fn a_token_of_the_last_half_second_has_expired_and_is_no_forgery() {
    let app = TestApp::with_policy(|policy| {
        policy.rotation.idle_ttl = policy.rotation.absolute_ttl;
    })
    .await;
    app.clock.advance(Duration::from_millis(700));
    let mut browser = app.registered(ADA).await;
    app.clock.advance(Duration::from_millis(30 * DAY * 1000 - 500));
    browser.refresh().await.assert(StatusCode::OK, None);
    let claims = claims(browser.access_token.as_deref().expect("a token"));
    assert_eq!(claims["exp"], stored(&browser).await.session.expires_at.secs());
    assert_eq!(claims["exp"], claims["iat"]);
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_EXPIRED"));
    assert_eq!(count_events(&app, "access_token.rejected").await, 0);
}

#[tokio::test]
async fn after_logout() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    browser.clone().post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    check_ended(&mut browser, "logout").await;
}

#[tokio::test]
async fn after_logout_from_everywhere() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut phone = app.browser();
    phone.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    phone.post("/api/auth/logout-all", None).await.assert(StatusCode::OK, None);
    check_ended(&mut browser, "logout_all").await;
}

#[tokio::test]
async fn after_a_password_change() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut phone = app.browser();
    phone.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    let body = json!({ "currentPassword": PASSWORD, "newPassword": "vier volle fässer tinte" });
    let mut changing = browser.clone();
    changing.post("/api/auth/password/change", Some(body)).await.assert(StatusCode::OK, None);

    check_ended(&mut browser, "password_changed").await;
    assert_revoked(&phone.refresh().await, "password_changed");
    changing.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn after_the_user_was_disabled() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let user_id = stored(&browser).await.user.id;
    app.set_disabled(user_id, true).await;
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    check_ended(&mut browser, "user_disabled").await;
}

#[tokio::test]
async fn after_the_user_was_disabled_and_enabled_again() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let user_id = stored(&browser).await.user.id;
    for disabled in [true, false] {
        app.set_disabled(user_id, disabled).await;
    }
    check_ended(&mut browser, "user_disabled").await;
}

#[tokio::test]
async fn after_the_user_was_deleted() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let body = json!({ "password": PASSWORD });
    let answer = browser.clone().call(Method::DELETE, "/api/auth/me", Some(body)).await;
    answer.assert(StatusCode::NO_CONTENT, None);
    let cleared = ["-__Secure-refreshToken", "-__Host-csrfToken", "-__Secure-device"];
    assert_touched(&answer, &cleared);
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    check_ended(&mut browser, "user_deleted").await;
}

#[tokio::test]
async fn after_an_administrator_ended_it() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let scope = RevokeScope::Session(checks::session_id(&browser));
    let revoke = Revoke { scope, reason: RevocationReason::Admin, noticed: None };
    app.store.revoke(revoke, &context(&app)).await.expect("the store works");
    check_ended(&mut browser, "admin").await;
}

#[tokio::test]
async fn after_a_new_sign_in_in_the_same_browser() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut left = browser.clone();
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    check_ended(&mut left, "superseded").await;
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn after_a_new_sign_in_that_carried_a_spent_token() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut old_jar = browser.clone();
    browser.refresh().await.assert(StatusCode::OK, None);
    old_jar.register("bob@example.org", PASSWORD).await.assert(StatusCode::CREATED, None);
    check_ended(&mut browser, "superseded").await;
}

#[tokio::test]
async fn of_too_many_sessions_the_one_longest_unused_ends() {
    let app = TestApp::with_policy(|policy| policy.accounts.sessions_max = 2).await;
    let mut first = app.registered(ADA).await;
    let mut second = app.browser();
    app.advance(1);
    second.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    app.advance(1);
    first.refresh().await.assert(StatusCode::OK, None);
    let mut third = app.browser();
    third.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);

    check_ended(&mut second, "too_many").await;
    first.refresh().await.assert(StatusCode::OK, None);
    third.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn row_10_a_token_ahead_of_the_store_ends_the_session() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let first = browser.clone();
    let restored = restored(&browser, |_| {}).await;
    for _ in 0..2 {
        browser.refresh().await.assert(StatusCode::OK, None);
    }
    browser.app = restored.clone();
    assert_revoked(&browser.clone().refresh().await, "store_rollback");
    let expected = json!({ "generation": 2, "storedGeneration": 0 });
    assert_eq!(details(&restored, "refresh.ahead_of_store").await, [expected]);
    assert_eq!(count_events(&restored, "session.revoked").await, 0);

    // Its spent tokens would be current again.
    let mut spent = Browser { app: restored, ..first };
    assert_revoked(&spent.refresh().await, "store_rollback");
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
}
