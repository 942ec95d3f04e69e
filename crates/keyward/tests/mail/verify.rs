//! Verified addresses.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::json;

use crate::checks::faulty_store::{Call, Fault, FaultyStore};
use crate::common::PASSWORD;
use crate::post::{ADA, Post};

#[tokio::test]
async fn a_link_verifies_the_address() {
    let post = Post::new().await;
    let mut ada = post.app.registered(ADA).await;
    let mail = post.receive_one().await;
    assert_eq!(mail.subject, "Confirm your address for auth.example.org");
    let answer = post.verify(&mail.token()).await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert_eq!(answer.json()["user"]["emailVerified"], json!(true));
    assert_eq!(ada.me().await.json()["user"]["emailVerified"], json!(true));
    let spent = post.verify(&mail.token()).await;
    spent.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    assert!(post.app.audit_names().await.contains(&"email.verified".to_owned()));
}

/// Both forms are one account's, whose mail goes to the form that mailboxes are made in.
#[tokio::test]
async fn an_address_typed_with_accents_apart_is_mailed_to_in_one_form() {
    let post = Post::new().await;
    post.app.registered("zoe\u{308}@x.org").await;
    assert_eq!(post.receive_one().await.to, "zoë@x.org");
    post.forgot("zoë@x.org").await.assert(StatusCode::ACCEPTED, None);
    assert_eq!(post.receive_one().await.to, "zoë@x.org");
}

#[tokio::test]
async fn another_link_takes_the_place_of_the_first() {
    let post = Post::new().await;
    let mut ada = post.app.registered(ADA).await;
    let first = post.receive_one().await.token();
    let path = "/api/auth/email/verification";
    for status in [202, 202, 429] {
        assert_eq!(ada.post(path, None).await.status.as_u16(), status);
    }
    // Of the two that were asked for at once the first was never sent.
    let second = post.receive_one().await.token();
    post.verify(&first).await.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    post.app.advance(24 * 3600 - 1);
    post.verify(&second).await.assert(StatusCode::OK, None);
    ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    ada.post(path, None).await.assert(StatusCode::ACCEPTED, None);
    assert_eq!(post.receive().await.len(), 0);
    post.app.browser().post(path, None).await.assert(StatusCode::UNAUTHORIZED, Some("NO_TOKEN"));
}

/// Who has registered with the address of another asks for links in vain: the owner's own come.
#[tokio::test]
async fn links_that_verify_leave_those_that_reset() {
    let post = Post::new().await;
    let mut ada = post.registered(ADA).await;
    let path = "/api/auth/email/verification";
    for status in [202, 202, 429] {
        assert_eq!(ada.post(path, None).await.status.as_u16(), status);
    }
    post.receive_one().await;
    for status in [202, 202, 202, 429] {
        assert_eq!(post.forgot(ADA).await.status.as_u16(), status);
    }
    assert_eq!(post.receive_one().await.subject, "Set a new password for auth.example.org");
}

/// Nor does a registration that is refused count, for which no mail is sent.
#[tokio::test]
async fn registrations_with_a_taken_address_leave_the_owners_links() {
    let post = Post::new().await;
    let mut ada = post.registered(ADA).await;
    for _ in 0..5 {
        let taken = post.app.browser().register(ADA, PASSWORD).await;
        taken.assert(StatusCode::CONFLICT, Some("EMAIL_TAKEN"));
    }
    ada.post("/api/auth/email/verification", None).await.assert(StatusCode::ACCEPTED, None);
    post.receive_one().await;
}

#[tokio::test]
async fn a_link_that_the_store_does_not_take_is_not_counted() {
    let store = FaultyStore::new();
    let post = Post::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut ada = post.registered(ADA).await;
    let path = "/api/auth/email/verification";
    store.fail(Call::IssueToken, Fault::Down);
    for _ in 0..4 {
        let answer = ada.post(path, None).await;
        answer.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    }
    store.heal();
    ada.post(path, None).await.assert(StatusCode::ACCEPTED, None);
    post.verify(&post.receive_one().await.token()).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_link_verifies_for_a_day() {
    let post = Post::new().await;
    post.app.registered(ADA).await;
    let token = post.receive_one().await.token();
    post.app.advance(24 * 3600);
    post.verify(&token).await.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
}

/// Whoever knows the password learns it, and nobody else.
#[tokio::test]
async fn signing_in_may_take_a_verified_address() {
    let post = Post::with_policy(|policy| policy.accounts.require_verified_email = true).await;
    let mut ada = post.app.browser();
    let answer = ada.register(ADA, PASSWORD).await;
    answer.assert(StatusCode::ACCEPTED, None);
    assert_eq!(answer.set_cookies(), [""; 0]);
    let token = post.receive_one().await.token();
    let wrong = ada.login(ADA, "not the password").await;
    wrong.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    let refused = ada.login(ADA, PASSWORD).await;
    refused.assert(StatusCode::FORBIDDEN, Some("EMAIL_NOT_VERIFIED"));
    let last = post.app.audit().await.pop().expect("an event");
    assert_eq!(
        (last.name.as_str(), last.detail.contains("email_not_verified")),
        ("login.failed", true)
    );
    // The link in hand is good still, and no other is mailed.
    assert_eq!(post.receive().await.len(), 0);
    post.verify(&token).await.assert(StatusCode::OK, None);
    ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}
