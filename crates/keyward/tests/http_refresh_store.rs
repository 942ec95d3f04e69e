//! `POST /refresh` over a store that fails: nothing is touched, and never is there a second line.

mod checks;
mod common;

use std::sync::Arc;

use axum::http::StatusCode;
use checks::faulty_store::{Call, Fault, FaultyStore};
use checks::{
    assert_harmless, assert_refused_for_good, assert_revoked, count_events, idempotency_key,
    restored, stored,
};
use common::{Answer, Browser, TestApp};
use keyward_core::refresh_token::SealedSuccessor;

async fn on_faulty_store() -> (Arc<FaultyStore>, Browser) {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let browser = app.registered("ada@example.org").await;
    (store, browser)
}

#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_harmless(answer, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE");
    let retry_after = answer.header("retry-after").and_then(|secs| secs.parse::<u64>().ok());
    assert!(retry_after.is_some_and(|secs| secs > 0), "{answer:?}");
    assert_eq!(answer.json()["retryAfter"].as_u64(), retry_after);
    let body = String::from_utf8_lossy(&answer.body);
    assert!(!body.contains("fire") && !body.contains("line is"), "{body}");
}

#[tokio::test]
async fn while_the_store_is_down_nothing_happens() {
    let (store, mut browser) = on_faulty_store().await;
    store.go_down();
    assert_unavailable(&browser.refresh().await);
    assert_unavailable(&browser.get("/api/auth/csrf").await);
    assert_unavailable(&browser.me().await);
    assert_unavailable(&browser.post("/api/auth/logout", None).await);
    store.heal();
    assert_eq!(stored(&browser).await.session.generation, 0);
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn junk_is_refused_without_the_store() {
    let (store, mut browser) = on_faulty_store().await;
    store.go_down();
    browser.cookies.insert(checks::REFRESH_COOKIE.to_owned(), "kwr_junk".to_owned());
    assert_refused_for_good(&browser.refresh().await, "INVALID_REFRESH_TOKEN");
}

#[tokio::test]
async fn a_swap_whose_answer_was_lost_is_found_again_with_its_key() {
    let (store, mut browser) = on_faulty_store().await;
    store.fail(Call::Rotate, Fault::AnswerLost);
    assert_unavailable(&browser.refresh_with_key(&idempotency_key(1)).await);
    store.heal();
    browser.refresh_with_key(&idempotency_key(1)).await.assert(StatusCode::OK, None);
    assert_eq!(stored(&browser).await.session.generation, 1);
    browser.refresh().await.assert(StatusCode::OK, None);
}

/// Nothing tells such a client from a thief.
#[tokio::test]
async fn a_swap_whose_answer_was_lost_ends_the_session_of_who_has_no_key() {
    let (store, mut browser) = on_faulty_store().await;
    store.fail(Call::Rotate, Fault::AnswerLost);
    assert_unavailable(&browser.refresh().await);
    store.heal();
    assert_refused_for_good(&browser.refresh().await, "REFRESH_TOKEN_REUSED");
}

#[tokio::test]
async fn a_reuse_that_could_not_be_written_is_noticed_again() {
    let (store, mut victim) = on_faulty_store().await;
    let mut thief = victim.clone();
    victim.refresh().await.assert(StatusCode::OK, None);
    store.fail(Call::Revoke, Fault::Down);
    assert_unavailable(&thief.refresh().await);
    store.heal();
    assert_refused_for_good(&thief.refresh().await, "REFRESH_TOKEN_REUSED");
    assert_revoked(&victim.refresh().await, "reuse_detected");
}

#[tokio::test]
async fn a_revocation_whose_answer_was_lost_stands() {
    let (store, mut victim) = on_faulty_store().await;
    let mut thief = victim.clone();
    victim.refresh().await.assert(StatusCode::OK, None);
    store.fail(Call::Revoke, Fault::AnswerLost);
    assert_unavailable(&thief.refresh().await);
    assert_revoked(&victim.refresh().await, "reuse_detected");
    assert_revoked(&thief.refresh().await, "reuse_detected");
}

#[tokio::test]
async fn a_logout_that_could_not_be_written_keeps_the_cookies() {
    let (store, mut browser) = on_faulty_store().await;
    store.fail(Call::Revoke, Fault::Down);
    assert_unavailable(&browser.post("/api/auth/logout", None).await);
    assert_unavailable(&browser.post("/api/auth/logout-all", None).await);
    store.heal();
    browser.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
}

/// An event that belongs to an answer is written before the answer is given.
#[tokio::test]
async fn no_retry_is_answered_that_the_audit_log_does_not_tell() {
    let (store, mut browser) = on_faulty_store().await;
    let mut retrying = browser.clone();
    browser.refresh_with_key(&idempotency_key(1)).await.assert(StatusCode::OK, None);
    store.fail(Call::Record, Fault::Down);
    assert_unavailable(&retrying.refresh_with_key(&idempotency_key(1)).await);
    store.heal();
    retrying.refresh_with_key(&idempotency_key(1)).await.assert(StatusCode::OK, None);
    assert_eq!(retrying.refresh_token(), browser.refresh_token());
    assert_eq!(count_events(&browser.app, "refresh.retried").await, 1);
}

#[tokio::test]
async fn a_stale_read_is_read_again() {
    let (store, mut browser) = on_faulty_store().await;
    store.fail(Call::Rotate, Fault::StaleReads(2));
    browser.refresh().await.assert(StatusCode::OK, None);
    assert_eq!(stored(&browser).await.session.generation, 1);
}

#[tokio::test]
async fn a_store_that_stays_stale_neither_issues_nor_refuses() {
    let (store, mut browser) = on_faulty_store().await;
    store.fail(Call::Rotate, Fault::StaleReads(u32::MAX));
    assert_unavailable(&browser.refresh().await);
    store.heal();
    assert_eq!(stored(&browser).await.session.generation, 0);
    assert_eq!(count_events(&browser.app, "session.reuse_detected").await, 0);
    browser.refresh().await.assert(StatusCode::OK, None);
}

/// The proof is right, but what was sealed does not open: damage, and no theft.
#[tokio::test]
async fn a_damaged_seal_is_our_error_and_revokes_nothing() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut retrying = browser.clone();
    browser.refresh_with_key(&idempotency_key(1)).await.assert(StatusCode::OK, None);
    let damaged = restored(&browser, |session| {
        let mut sealed = session.sealed_successor.take().expect("a seal").as_bytes().to_vec();
        sealed[40] ^= 1;
        session.sealed_successor = Some(SealedSuccessor::from_bytes(sealed));
    });
    let damaged = damaged.await;
    retrying.app = damaged.clone();
    let answer = retrying.refresh_with_key(&idempotency_key(1)).await;
    assert_harmless(&answer, StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL");
    assert!(!String::from_utf8_lossy(&answer.body).contains("session."), "{answer:?}");
    browser.app = damaged;
    browser.refresh().await.assert(StatusCode::OK, None);
}
