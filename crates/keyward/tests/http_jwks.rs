//! `GET /.well-known/jwks.json`, and what verifiers do with it.

mod checks;
mod common;

use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use axum::http::StatusCode;
use checks::{header, unbase64};
use common::{Browser, PASSWORD, TestApp};
use keyward::store::{MemoryStore, Store};
use keyward_core::access_token::Algorithm;
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";

async fn signing_with(algorithm: Algorithm, store: Arc<dyn Store>) -> TestApp {
    TestApp::on_store(store, |policy| policy.access_token.algorithm = algorithm).await
}

async fn keys_of(app: &TestApp) -> Vec<Value> {
    let answer = app.browser().get("/.well-known/jwks.json").await;
    answer.assert(StatusCode::OK, None);
    answer.json()["keys"].as_array().expect("a list").clone()
}

/// Whether the signature of a token fits a public key, computed as a stranger would.
fn verifies(token: &str, key: &Value) -> bool {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let (message, signature) = (message.as_bytes(), unbase64(signature));
    let member = |name: &str| unbase64(key[name].as_str().expect("a member"));
    let verified = match key["kty"].as_str() {
        Some("EC") => {
            let point = [vec![4], member("x"), member("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &signature)
        }
        Some("OKP") => UnparsedPublicKey::new(&ED25519, member("x")).verify(message, &signature),
        _ => RsaPublicKeyComponents { n: member("n"), e: member("e") }.verify(
            &RSA_PKCS1_2048_8192_SHA256,
            message,
            &signature,
        ),
    };
    verified.is_ok()
}

async fn check_published(algorithm: Algorithm, members: &[&str]) {
    let app = signing_with(algorithm, Arc::new(MemoryStore::new())).await;
    let mut browser = app.registered(ADA).await;
    let keys = keys_of(&app).await;
    assert_eq!(keys.len(), 1);
    let key = keys[0].as_object().expect("an object");
    let names: Vec<&str> = key.keys().map(String::as_str).collect();
    assert_eq!(names, members, "public members only");
    assert_eq!((&key["alg"], &key["use"]), (&json!(algorithm.as_str()), &json!("sig")));

    let token = browser.access_token.clone().expect("a token");
    assert_eq!(header(&token)["kid"], key["kid"]);
    assert!(verifies(&token, &keys[0]));
    let bent = token.replacen('.', ".A", 1);
    assert!(!verifies(&bent, &keys[0]));
    browser.me().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn es256_is_published_and_verifies_without_a_private_member() {
    check_published(Algorithm::Es256, &["alg", "crv", "kid", "kty", "use", "x", "y"]).await;
}

#[tokio::test]
async fn eddsa_is_published_and_verifies_without_a_private_member() {
    check_published(Algorithm::EdDsa, &["alg", "crv", "kid", "kty", "use", "x"]).await;
}

#[tokio::test]
async fn rs256_is_published_and_verifies_without_a_private_member() {
    check_published(Algorithm::Rs256, &["alg", "e", "kid", "kty", "n", "use"]).await;
}

#[tokio::test]
async fn a_shared_secret_is_never_published() {
    let app = signing_with(Algorithm::Hs256, Arc::new(MemoryStore::new())).await;
    let mut browser = app.registered(ADA).await;
    assert_eq!(keys_of(&app).await, [json!(null); 0]);
    browser.me().await.assert(StatusCode::OK, None);
}

/// The browser's tokens as the next service on this store sees them.
fn moved(browser: &Browser, app: &TestApp) -> Browser {
    Browser { app: app.clone(), ..browser.clone() }
}

#[tokio::test]
async fn tokens_stay_good_when_the_algorithm_changes() {
    let before = signing_with(Algorithm::Es256, Arc::new(MemoryStore::new())).await;
    let browser = before.registered(ADA).await;
    for algorithm in [Algorithm::EdDsa, Algorithm::Hs256] {
        let after = signing_with(algorithm, Arc::clone(&before.store)).await;
        let mut browser = moved(&browser, &after);
        browser.me().await.assert(StatusCode::OK, None);
        let old_token = browser.access_token.clone().expect("a token");
        let published = keys_of(&after).await;
        assert!(published.iter().any(|key| key["alg"] == "ES256" && verifies(&old_token, key)));

        browser.cookies.clear();
        browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
        let new_token = browser.access_token.clone().expect("a token");
        assert_eq!(header(&new_token)["alg"], algorithm.as_str());
        browser.me().await.assert(StatusCode::OK, None);
    }
}

#[tokio::test]
async fn a_restart_keeps_every_key() {
    let before = TestApp::new().await;
    let browser = before.registered(ADA).await;
    let after = TestApp::on_store(Arc::clone(&before.store), |_| {}).await;
    assert_eq!(keys_of(&before).await, keys_of(&after).await);
    let mut browser = moved(&browser, &after);
    browser.me().await.assert(StatusCode::OK, None);
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn verifiers_may_keep_the_set_for_a_while() {
    let app = TestApp::new().await;
    let answer = app.browser().get("/.well-known/jwks.json").await;
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
}
