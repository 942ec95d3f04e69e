//! What users are told of changes to their accounts, by themselves or by others.

use axum::http::{Method, StatusCode};
use keyward_core::service_key::Scope;
use serde_json::{Value, json};

use crate::common::second_factor::Authenticator;
use crate::common::{Answer, Backend, Browser, PASSWORD};
use crate::post::{ADA, Post};

const BOB: &str = "bob@example.org";
const NEW: &str = "ada@example.com";
const CHANGED: &str = "Your account has another address now";

#[tokio::test]
async fn new_recovery_codes_are_told_of() {
    let post = Post::new().await;
    let mut ada = post.registered(ADA).await;
    Authenticator::enable(&mut ada).await;
    post.receive_one().await;
    let refused = ada.new_recovery_codes("not the password").await;
    refused.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    assert!(post.receive().await.is_empty());
    let answer = ada.new_recovery_codes(PASSWORD).await;
    answer.assert(StatusCode::OK, None);
    let told = post.receive_one().await;
    assert_eq!((&*told.to, &*told.subject), (ADA, "You have new recovery codes"));
    let code = answer.json()["recoveryCodes"][0].as_str().expect("a code").to_owned();
    for body in [&told.text, &told.html] {
        assert!(body.contains("0.0.0.0") && !body.contains(&code), "{body}");
    }
}

/// Where its user can be reached no more is where it is said.
#[tokio::test]
async fn another_address_is_told_to_the_one_before() {
    let post = Post::new().await;
    let ada = post.registered(ADA).await;
    post.registered(BOB).await;
    let backend = backend(&post).await;
    for (change, code) in [
        (json!({ "email": BOB }), Some("EMAIL_TAKEN")),
        (json!({ "email": "ADA@example.org" }), None),
        (json!({ "name": "Ada", "emailVerified": true }), None),
    ] {
        let answer = patch(&backend, &ada, change).await;
        assert_eq!(answer.json()["code"].as_str(), code);
        assert!(post.receive().await.is_empty());
    }
    patch(&backend, &ada, json!({ "email": NEW })).await.assert(StatusCode::OK, None);
    let told = post.receive_one().await;
    assert_eq!((&*told.to, &*told.subject), ("ADA@example.org", CHANGED));
    for body in [&told.text, &told.html] {
        assert!(body.contains("Ada") && !body.contains(NEW), "{body}");
    }
}

/// However often, and whatever strangers have asked for before.
#[tokio::test]
async fn what_tells_of_a_change_is_under_no_limit() {
    let post = Post::new().await;
    let ada = post.registered(ADA).await;
    for _ in 0..5 {
        post.forgot(ADA).await;
    }
    post.receive().await;
    let backend = backend(&post).await;
    for number in 0..5 {
        let change = json!({ "email": format!("ada{number}@example.org") });
        patch(&backend, &ada, change).await.assert(StatusCode::OK, None);
        assert_eq!(post.receive_one().await.subject, CHANGED);
    }
}

/// Who registered with another's address keeps its owner out no longer, and nobody is left to
/// wonder where the second factor is.
#[tokio::test]
async fn a_second_factor_that_goes_with_a_reset_is_told_of() {
    let post = Post::new().await;
    let mut stranger = post.registered(ADA).await;
    Authenticator::enable(&mut stranger).await;
    post.receive_one().await;
    let name = json!({ "name": "Your account is at risk" });
    stranger.call(Method::PATCH, "/api/auth/me", Some(name)).await.assert(StatusCode::OK, None);
    assert!(!post.asks_for_a_code_after_a_reset(ADA).await);
    let mut told: Vec<_> = post.receive().await.into_iter().map(|mail| mail.subject).collect();
    told.sort();
    let gone = "Signing in takes no second factor any more";
    assert_eq!(told, ["A new sign-in to your account", gone, "Your password was changed"]);
}

/// Who may change accounts could take it from each of them otherwise.
#[tokio::test]
async fn a_reset_leaves_the_second_factor_of_an_account_that_was_changed() {
    let doubted = json!({ "emailVerified": false });
    let moved = json!({ "email": NEW });
    let moved_and_named = json!({ "email": NEW, "name": "Ada" });
    for (is_verified, change, address) in
        [(true, doubted, ADA), (true, moved, NEW), (false, moved_and_named, NEW)]
    {
        let post = Post::new().await;
        let mut ada = post.app.registered(ADA).await;
        let link = post.receive_one().await.token();
        if is_verified {
            post.verify(&link).await.assert(StatusCode::OK, None);
        }
        Authenticator::enable(&mut ada).await;
        patch(&backend(&post).await, &ada, change).await.assert(StatusCode::OK, None);
        post.receive().await;
        assert!(post.asks_for_a_code_after_a_reset(address).await, "{is_verified}, {address}");
        assert_eq!(post.receive_one().await.subject, "Your password was changed");
    }
}

async fn backend(post: &Post) -> Backend {
    post.app.backend(&post.app.service_key(&[Scope::UsersWrite]).await)
}

async fn patch(backend: &Backend, user: &Browser, change: Value) -> Answer {
    let id = user.clone().me().await.json()["user"]["id"].as_str().expect("an id").to_owned();
    backend.call(Method::PATCH, &format!("/api/admin/users/{id}"), Some(change)).await
}
