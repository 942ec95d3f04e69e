//! Registration that is answered by mail alone.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use keyward::policy::{Policy, Registration};
use keyward_core::audit::RecordedEvent;
use keyward_core::service_key::Scope;
use serde_json::json;

use crate::checks::faulty_store::{Call, Fault, FaultyStore};
use crate::common::PASSWORD;
use crate::post::{ADA, Post};

async fn by_mail() -> Post {
    Post::with_policy(|policy| policy.accounts.registration = Registration::Verified).await
}

async fn verified() -> Post {
    Post::with_policy(verify).await
}

fn verify(policy: &mut Policy) {
    policy.accounts.registration = Registration::Verified;
    policy.accounts.require_verified_email = true;
}

#[tokio::test]
async fn the_mail_alone_tells_what_became_of_it() {
    let post = by_mail().await;
    let first = post.app.browser().register(ADA, PASSWORD).await;
    first.assert(StatusCode::ACCEPTED, None);
    let link = post.receive_one().await;
    post.verify(&link.token()).await.assert(StatusCode::OK, None);
    let second = post.app.browser().register(ADA, "ein anderes geheimnis").await;
    second.assert(StatusCode::ACCEPTED, None);
    assert_eq!(first.body, second.body);
    let told = post.receive_one().await;
    assert_eq!(
        (told.to.as_str(), told.subject.as_str()),
        (ADA, "Your account at auth.example.org")
    );
    assert!(!told.text.contains("token="));
    let mut browser = post.app.browser();
    browser
        .login(ADA, "ein anderes geheimnis")
        .await
        .assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}

/// One link, and as many letters as the owner gets from strangers; the links that the owner asks
/// for are counted by themselves.
#[tokio::test]
async fn strangers_cannot_fill_a_mailbox() {
    let post = by_mail().await;
    for _ in 0..10 {
        post.app.browser().register(ADA, PASSWORD).await.assert(StatusCode::ACCEPTED, None);
    }
    let mut links = post.receive().await;
    let told = links.extract_if(.., |mail| mail.subject == "Your account at auth.example.org");
    assert_eq!(told.count(), 3);
    let [link] = &links[..] else { panic!("{links:?}") };
    post.verify(&link.token()).await.assert(StatusCode::OK, None);
    for _ in 0..3 {
        post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
        assert_eq!(post.receive_one().await.subject, "Set a new password for auth.example.org");
    }
}

/// Neither by the answers nor by how many of them there are. The link that came with the
/// registration is good after all of them.
#[tokio::test]
async fn a_sign_in_tells_nobody_whether_the_address_was_free() {
    let post = verified().await;
    let (free, taken) = ("free@example.org", ADA);
    post.app.browser().register(taken, "ein anderes geheimnis").await;
    post.verify(&post.receive_one().await.token()).await.assert(StatusCode::OK, None);
    let (mut answers, mut told) = (Vec::new(), Vec::new());
    for email in [taken, free] {
        post.app.browser().register(email, PASSWORD).await.assert(StatusCode::ACCEPTED, None);
        told.push(post.receive_one().await);
        for status in [401, 401, 401, 401, 401, 429] {
            let answer = post.app.browser().login(email, PASSWORD).await;
            assert_eq!(answer.status.as_u16(), status, "{answer:?}");
            assert!(answer.set_cookies().is_empty());
            let mut body = answer.json();
            body["requestId"] = json!(null);
            answers.push(body);
        }
    }
    assert_eq!(answers[..6], answers[6..]);
    assert_eq!(answers[0]["code"], json!("INVALID_CREDENTIALS"));
    assert_eq!(post.receive().await.len(), 0);
    let link = told.pop().expect("a mail");
    assert_eq!(link.to, free);
    let failed = |event: &&RecordedEvent| event.detail.contains("email_not_verified");
    assert_eq!(post.app.audit().await.iter().filter(failed).count(), 5);
    post.verify(&link.token()).await.assert(StatusCode::OK, None);
    post.app.advance(900);
    post.app.browser().login(free, PASSWORD).await.assert(StatusCode::OK, None);
}

/// Only what is dead is followed by another.
#[tokio::test]
async fn sign_ins_before_the_link_was_opened_mail_another_a_day_later() {
    let post = verified().await;
    post.app.browser().register(ADA, PASSWORD).await.assert(StatusCode::ACCEPTED, None);
    post.receive_one().await;
    for _ in 0..3 {
        post.app.browser().login(ADA, PASSWORD).await;
        assert_eq!(post.receive().await.len(), 0);
    }
    // A wrong password is nobody's word for the address.
    post.app.advance(24 * 3600);
    post.app.browser().login(ADA, "not the password").await;
    assert!(post.receive().await.is_empty());
    post.app.browser().login(ADA, PASSWORD).await;
    post.receive_one().await;
}

/// As often as it is tried, be it for the owner or for a stranger.
#[tokio::test]
async fn a_mail_that_the_store_does_not_take_is_not_counted() {
    let store = FaultyStore::new();
    let post = Post::on_store(Arc::clone(&store) as _, verify).await;
    post.app.browser().register(ADA, PASSWORD).await.assert(StatusCode::ACCEPTED, None);
    post.receive_one().await;
    // Until then sign-ins leave the link alone.
    post.app.advance(24 * 3600);
    for call in [Call::IssueToken, Call::QueueMail] {
        store.fail(call, Fault::Down);
    }
    for _ in 0..4 {
        post.app.browser().login(ADA, PASSWORD).await;
        post.app.browser().register(ADA, PASSWORD).await.assert(StatusCode::ACCEPTED, None);
        post.app.keyward.flush().await;
    }
    assert!(post.receive().await.is_empty());
    store.heal();
    post.app.browser().login(ADA, PASSWORD).await;
    assert!(!post.receive_one().await.token().is_empty());
    post.app.browser().register(ADA, PASSWORD).await.assert(StatusCode::ACCEPTED, None);
    assert_eq!(post.receive_one().await.subject, "Your account at auth.example.org");
}

/// It would be lost with the process: while a store is moved, say.
#[tokio::test]
async fn what_the_store_could_not_keep_is_not_accepted() {
    let store = FaultyStore::new();
    let post = Post::on_store(Arc::clone(&store) as _, verify).await;
    store.go_down();
    // More often than a mailbox may be written to.
    for _ in 0..9 {
        let refused = post.forgot(ADA).await;
        refused.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    }
    let refused = post.app.browser().register(ADA, PASSWORD).await;
    refused.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    store.heal();
    post.app.browser().register(ADA, PASSWORD).await.assert(StatusCode::ACCEPTED, None);
    post.receive_one().await;
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    post.receive_one().await;
}

/// And whoever is signed in goes on, and changes what is theirs as ever.
#[tokio::test]
async fn an_address_that_an_operator_doubts_is_answered_alike() {
    let post = verified().await;
    let mut ada = post.app.browser();
    ada.register(ADA, PASSWORD).await.assert(StatusCode::ACCEPTED, None);
    post.verify(&post.receive_one().await.token()).await.assert(StatusCode::OK, None);
    ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    let id = ada.me().await.json()["user"]["id"].as_str().expect("an id").to_owned();
    let backend = post.app.backend(&post.app.service_key(&[Scope::UsersWrite]).await);
    let change = Some(json!({ "emailVerified": false }));
    let changed = backend.call(Method::PATCH, &format!("/api/admin/users/{id}"), change).await;
    changed.assert(StatusCode::OK, None);
    let refused = post.app.browser().login(ADA, PASSWORD).await;
    refused.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    let link = post.receive_one().await;
    for _ in 0..6 {
        ada.begin_totp(PASSWORD).await.assert(StatusCode::OK, None);
    }
    post.verify(&link.token()).await.assert(StatusCode::OK, None);
    ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}

/// A stranger's words reach nobody in a mail of ours.
#[tokio::test]
async fn an_unverified_name_is_in_no_mail() {
    let post = Post::new().await;
    let name = "You have won! evil.example/prize";
    let body = json!({ "email": ADA, "password": PASSWORD, "name": name });
    let mut eve = post.app.browser();
    eve.call(Method::POST, "/api/auth/register", Some(body))
        .await
        .assert(StatusCode::CREATED, None);
    let link = post.receive_one().await;
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let reset = post.receive_one().await;
    for mail in [&link, &reset] {
        assert!(!mail.text.contains("evil") && !mail.html.contains("evil"), "{mail:?}");
    }
    post.verify(&link.token()).await.assert(StatusCode::OK, None);
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    assert!(post.receive_one().await.text.contains(name));
}

/// An address of any script arrives as it was written, and none brings a header along.
#[tokio::test]
async fn unusual_addresses_are_mailed_to_as_they_are() {
    let post = Post::new().await;
    let long = format!("{}@{}.example.org", "a".repeat(64), "b".repeat(60));
    for email in ["用户@例子.广告", "o'neil+tag@example.org", "{{7*7}}@example.org", &long] {
        post.app.registered(email).await;
        let mail = post.receive_one().await;
        assert_eq!(mail.headers.iter().filter(|name| *name == "To").count(), 1);
        assert!(mail.text.contains(email) || mail.text.contains(&email.to_lowercase()), "{mail:?}");
    }
    for email in
        ["ada@example.org\r\nBcc: eve@example.org", "\"@evil\"@example.org", "<ada@example.org>"]
    {
        let answer = post.forgot(email).await;
        answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    }
}
