//! Where only a verified address lets its user sign in: what is asked of those whose address is not
//! verified, or not any more.

use axum::http::{Method, StatusCode};
use keyward::policy::Policy;
use keyward::store::{ProfileChange, UserChange};
use keyward_core::id::UserId;
use keyward_core::service_key::Scope;
use serde_json::{Value, json};

use crate::common::second_factor::Authenticator;
use crate::common::{Answer, Backend, Browser, PASSWORD};
use crate::post::{ADA, Post};

const BOB: &str = "bob@example.org";
const USERS: &str = "/api/admin/users";

async fn strict() -> Post {
    let strict = |policy: &mut Policy| policy.accounts.require_verified_email = true;
    Post::with_policy(strict).await
}

/// Ada, whose address is verified.
async fn ada(post: &Post) -> (UserId, Browser) {
    let mut ada = post.app.browser();
    ada.register(ADA, PASSWORD).await.assert(StatusCode::ACCEPTED, None);
    post.verify(&post.receive_one().await.token()).await.assert(StatusCode::OK, None);
    ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    (post.app.users().await[0].id, ada)
}

/// Bob, whom a service has made.
async fn bob(post: &Post, email_verified: bool) -> (UserId, Backend) {
    let key = post.app.service_key(&[Scope::UsersRead, Scope::UsersWrite]).await;
    let backend = post.app.backend(&key);
    let bob = json!({ "email": BOB, "password": PASSWORD, "emailVerified": email_verified });
    let made = backend.post(USERS, Some(bob)).await;
    made.assert(StatusCode::CREATED, None);
    (made.json()["user"]["id"].as_str().expect("an id").parse().expect("an id"), backend)
}

/// However the address came not to be verified: who is told to open a link has one. A wrong
/// password mails none.
#[tokio::test]
async fn who_is_told_to_open_a_link_gets_one() {
    let post = strict().await;
    let (id, backend) = bob(&post, true).await;
    let moved = Some(json!({ "email": ADA }));
    let moved = backend.call(Method::PATCH, &format!("{USERS}/{id}"), moved).await;
    moved.assert(StatusCode::OK, None);
    assert_eq!(post.receive_one().await.to, BOB);

    let mut browser = post.app.browser();
    let wrong = browser.login(ADA, "not the password").await;
    wrong.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    assert_eq!(post.receive().await.len(), 0);
    let refused = browser.login(ADA, PASSWORD).await;
    refused.assert(StatusCode::FORBIDDEN, Some("EMAIL_NOT_VERIFIED"));
    let first = post.receive_one().await;
    assert_eq!(first.to, ADA);
    // Days later the link is dead, and there is another.
    post.app.advance(2 * 24 * 3600);
    let dead = post.verify(&first.token()).await;
    dead.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    let again = browser.login(ADA, PASSWORD).await;
    again.assert(StatusCode::FORBIDDEN, Some("EMAIL_NOT_VERIFIED"));
    post.verify(&post.receive_one().await.token()).await.assert(StatusCode::OK, None);
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}

/// Most who have just registered sign in before they open the link, and some again and again. A
/// link that is about to expire, or has, makes way for another.
#[tokio::test]
async fn a_refused_sign_in_leaves_the_link_in_hand() {
    const DAY: u64 = 24 * 3600;
    const LEFT: u64 = 10 * 60;
    let post = strict().await;
    let mut browser = post.app.browser();
    browser.register(ADA, PASSWORD).await.assert(StatusCode::ACCEPTED, None);
    let first = post.receive_one().await.token();
    let mut refused_after = async |seconds| {
        post.app.advance(seconds);
        let refused = browser.login(ADA, PASSWORD).await;
        refused.assert(StatusCode::FORBIDDEN, Some("EMAIL_NOT_VERIFIED"));
        post.receive().await
    };
    for seconds in [0, 0, 0, DAY - LEFT - 1] {
        assert_eq!(refused_after(seconds).await.len(), 0);
    }
    let [second] = &refused_after(1).await[..] else { panic!("one mail") };
    post.verify(&first).await.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    let [third] = &refused_after(DAY).await[..] else { panic!("one mail") };
    post.verify(&second.token()).await.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    assert_eq!(refused_after(0).await.len(), 0);
    post.verify(&third.token()).await.assert(StatusCode::OK, None);
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
}

/// Whoever has registered with another's address, and signs in with the password of their own, is
/// no better off than by asking for links, however often these end. What mails nothing is not
/// counted.
#[tokio::test]
async fn signing_in_fills_no_mailbox() {
    let post = strict().await;
    let mut browser = post.app.browser();
    browser.register(ADA, PASSWORD).await.assert(StatusCode::ACCEPTED, None);
    post.receive_one().await;
    let id = post.app.users().await[0].id;
    for expected in [1, 1, 0] {
        for ends in [false, false, true] {
            for disabled in [true, false].into_iter().filter(|_| ends) {
                post.app.set_disabled(id, disabled).await;
            }
            let refused = browser.login(ADA, PASSWORD).await;
            refused.assert(StatusCode::FORBIDDEN, Some("EMAIL_NOT_VERIFIED"));
            assert_eq!(post.receive().await.len(), if ends { expected } else { 0 });
        }
    }
}

/// By the policy as it is when the code is given; the code is not used up.
#[tokio::test]
async fn no_code_signs_in_by_a_doubted_address() {
    let post = strict().await;
    let (id, mut browser) = ada(&post).await;
    let authenticator = Authenticator::enable(&mut browser).await;
    post.app.advance(30);
    let set_verified = async |verified| {
        let email_verified = Some(verified);
        let change = ProfileChange { email_verified, ..ProfileChange::default() };
        post.app.change_user(id, UserChange::Profile(change)).await;
    };
    let token = browser.mfa_token(ADA).await;
    set_verified(false).await;
    let code = authenticator.code(&post.app);
    let by_code = browser.give_code(&token, &code).await;
    let recovery_code = &authenticator.recovery_codes[0];
    let by_recovery_code = browser.give_recovery_code(&token, recovery_code).await;
    for answer in [by_code, by_recovery_code] {
        answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_MFA_TOKEN"));
    }
    let refused = browser.login(ADA, PASSWORD).await;
    refused.assert(StatusCode::FORBIDDEN, Some("EMAIL_NOT_VERIFIED"));
    set_verified(true).await;
    browser.give_code(&token, &code).await.assert(StatusCode::OK, None);
}

/// An address that is not the user's takes the role as well: a slip of the keyboard would end the
/// administration.
#[tokio::test]
async fn the_last_administrator_keeps_an_address_that_signs_in() {
    let post = strict().await;
    let ((ada_id, mut ada), (bob_id, _)) = (ada(&post).await, bob(&post, false).await);
    for id in [ada_id, bob_id] {
        post.app.set_roles(id, &["admin"]).await;
    }
    let mut set = async |id: UserId, body: Value| -> Answer {
        ada.call(Method::PATCH, &format!("{USERS}/{id}"), Some(body)).await
    };
    // Bob has the role, but cannot sign in.
    for taken in [json!({ "email": "typo@example.org" }), json!({ "emailVerified": false })] {
        set(ada_id, taken).await.assert(StatusCode::CONFLICT, Some("CONFLICT"));
    }
    for kept in [
        json!({ "email": "ADA@example.org", "name": "Ada" }),
        json!({ "email": "ada@example.net", "emailVerified": true }),
    ] {
        set(ada_id, kept).await.assert(StatusCode::OK, None);
    }
    set(bob_id, json!({ "emailVerified": true })).await.assert(StatusCode::OK, None);
    set(ada_id, json!({ "email": "typo@example.org" })).await.assert(StatusCode::OK, None);
    let left = set(bob_id, json!({ "emailVerified": false })).await;
    left.assert(StatusCode::CONFLICT, Some("CONFLICT"));
}
