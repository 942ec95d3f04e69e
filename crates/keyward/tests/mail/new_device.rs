//! A sign-in from a device that the account does not know.

use axum::http::{Method, StatusCode};
use keyward::store::NewUser;
use keyward_core::audit::RegisteredBy;
use keyward_core::email::Email;
use keyward_core::id::UserId;

use super::post::{ADA, Post};
use crate::common::second_factor::Authenticator;
use crate::common::{Browser, PASSWORD};

const NEW: &str = "zimtkringel im nebel";
const DEVICE: &str = "__Secure-device";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0";

async fn login_with(browser: &mut Browser, user_agent: &str) {
    let body = serde_json::json!({ "email": ADA, "password": PASSWORD });
    let mut request = browser.request(Method::POST, "/api/auth/login", Some(body));
    request.headers_mut().insert("user-agent", user_agent.parse().expect("a value"));
    browser.send(request).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn is_told_to_the_user() {
    let post = Post::new().await;
    post.registered(ADA).await;
    let mut new = post.app.browser();
    login_with(&mut new, &format!("{FIREFOX} http://evil.example/")).await;
    let mail = post.receive_one().await;
    assert_eq!((&*mail.to, &*mail.subject), (ADA, "A new sign-in to your account"));
    for part in ["Firefox on Linux", "0.0.0.0"] {
        assert!(mail.text.contains(part) && mail.html.contains(part), "{part}: {}", mail.text);
    }
    for body in [&mail.text, &mail.html] {
        assert!(!body.contains("token=") && !body.contains("evil"), "{body}");
    }
    // From then on the device is known, signed out or not.
    new.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    login_with(&mut new, "another one").await;
    assert!(post.receive().await.is_empty());
}

#[tokio::test]
async fn is_not_told_of_a_first_sign_in() {
    let post = Post::new().await;
    let password_hash = {
        let mut eve = post.registered("eve@example.org").await;
        // Nor of the device that registered.
        login_with_email(&mut eve, "eve@example.org").await;
        assert!(post.receive().await.is_empty());
        let key = Email::parse("eve@example.org").expect("an address");
        let found = post.app.store.find_user_by_email(key.key()).await.expect("a store");
        found.expect("a user").password_hash
    };
    let ada = NewUser {
        id: UserId::from_bytes([9; 16]),
        email: Email::parse(ADA).expect("an address"),
        name: None,
        roles: Vec::new(),
        password_hash,
        email_verified: false,
        by: RegisteredBy::Operator,
        verification: None,
    };
    let context = post.app.nobody();
    post.app.store.insert_user(ada, None, &context).await.expect("a store");
    login_with_email(&mut post.app.browser(), ADA).await;
    assert!(post.receive().await.is_empty());
    login_with_email(&mut post.app.browser(), ADA).await;
    post.receive_one().await;
}

/// Of somebody who only registered, and of somebody who has signed in, too.
#[tokio::test]
async fn is_told_whatever_has_become_of_the_sessions() {
    for has_signed_in in [false, true] {
        for days in [0, 1, 15, 400] {
            let post = Post::new().await;
            let mut ada = post.registered(ADA).await;
            if has_signed_in {
                login_with_email(&mut ada, ADA).await;
            }
            if days == 0 {
                ada.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
            }
            post.app.advance(days * 24 * 3600);
            post.app.keyward.maintain().await.expect("the store works");
            login_with_email(&mut post.app.browser(), ADA).await;
            let told = post.receive().await;
            assert_eq!(told.len(), 1, "{has_signed_in}, after {days} days: {told:?}");
            assert_eq!(told[0].subject, "A new sign-in to your account");
        }
    }
}

#[tokio::test]
async fn is_told_of_with_a_second_factor_too_and_once() {
    let post = Post::new().await;
    let mut ada = post.registered(ADA).await;
    let authenticator = Authenticator::enable(&mut ada).await;
    post.receive_one().await;
    post.app.advance(60);
    let mut new = post.app.browser();
    let token = new.mfa_token(ADA).await;
    assert!(post.receive().await.is_empty(), "the password alone is no sign-in");
    let code = authenticator.code(&post.app);
    new.give_code(&token, &code).await.assert(StatusCode::OK, None);
    assert_eq!(post.receive_one().await.subject, "A new sign-in to your account");
    for browser in [&mut new, &mut ada] {
        post.app.advance(60);
        let token = browser.mfa_token(ADA).await;
        let code = authenticator.code(&post.app);
        browser.give_code(&token, &code).await.assert(StatusCode::OK, None);
        assert!(post.receive().await.is_empty());
    }
}

#[tokio::test]
async fn is_told_three_times_an_hour_whatever_strangers_ask_for() {
    let post = Post::new().await;
    post.registered(ADA).await;
    for _ in 0..5 {
        post.forgot(ADA).await;
    }
    post.receive().await;
    for _ in 0..5 {
        login_with(&mut post.app.browser(), FIREFOX).await;
    }
    assert_eq!(post.receive().await.len(), 3);
    post.app.advance(20 * 60);
    login_with(&mut post.app.browser(), FIREFOX).await;
    post.receive_one().await;
}

#[tokio::test]
async fn tries_that_fail_do_not_use_up_how_often_it_is_told() {
    let post = Post::new().await;
    let mut ada = post.registered(ADA).await;
    let authenticator = Authenticator::enable(&mut ada).await;
    post.receive_one().await;
    post.app.advance(60);
    let mut thief = post.app.browser();
    let token = thief.mfa_token(ADA).await;
    for _ in 0..4 {
        let wrong = thief.give_recovery_code(&token, "0000-0000-0000-0000").await;
        wrong.assert(StatusCode::UNAUTHORIZED, Some("INVALID_MFA_CODE"));
    }
    let code = authenticator.code(&post.app);
    thief.give_code(&token, &code).await.assert(StatusCode::OK, None);
    post.receive_one().await;
}

#[tokio::test]
async fn whoever_sets_a_new_password_by_mail_is_known_and_nobody_else() {
    let post = Post::new().await;
    let ada = post.registered(ADA).await;
    post.forgot(ADA).await;
    let token = post.receive_one().await.token();
    let mut browser = post.app.browser();
    let body = serde_json::json!({ "token": token, "newPassword": NEW });
    let reset = browser.post("/api/auth/password/reset", Some(body)).await;
    reset.assert(StatusCode::OK, None);
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), [DEVICE]);
    post.receive_one().await;
    browser.login(ADA, NEW).await.assert(StatusCode::OK, None);
    assert!(post.receive().await.is_empty());
    // A device of before may be whose the old password was.
    let mut old = post.app.browser();
    old.cookies.insert(DEVICE.to_owned(), ada.cookies[DEVICE].clone());
    old.login(ADA, NEW).await.assert(StatusCode::OK, None);
    assert_eq!(post.receive_one().await.subject, "A new sign-in to your account");
}

async fn login_with_email(browser: &mut Browser, email: &str) {
    browser.login(email, PASSWORD).await.assert(StatusCode::OK, None);
}
