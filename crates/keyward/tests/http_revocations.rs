//! The feed of revocations, as services follow it that verify access tokens by themselves.

mod checks;
mod common;
#[path = "common/events.rs"]
mod events;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, Method, StatusCode};
use checks::faulty_store::{Call, Fault, FaultyStore};
use common::{PASSWORD, TestApp};
use events::REVOCATIONS;
use futures_util::FutureExt as _;
use keyward::policy::Policy;
use keyward::store::{MemoryStore, SqliteStore, Store};
use keyward_core::id::ServiceKeyId;
use keyward_core::service_key::Scope;
use keyward_core::time::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";

#[tokio::test]
async fn the_live_set_comes_first_and_then_what_is_new() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let first = session_of(&mut ada).await;
    ada.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    let mut events = app.follow(None).await;
    let exp = app.keyward.now().secs() + 60 * 60 + 60;
    assert_eq!(events.live_set().await, [json!({ "sid": first, "exp": exp })]);

    app.advance(7);
    ada.login(ADA, PASSWORD).await;
    let second = session_of(&mut ada).await;
    ada.post("/api/auth/logout-all", None).await.assert(StatusCode::OK, None);
    app.keyward.read_revocations().await.expect("the store works");
    assert_eq!(events.revoked().await, json!({ "sid": second, "exp": exp + 7 }));
}

#[tokio::test]
async fn a_disabled_user_is_told_of_with_the_time() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let me = ada.me().await.json();
    let id = me["user"]["id"].as_str().expect("an id").to_owned();
    app.set_disabled(id.parse().expect("an id"), true).await;
    let at = app.keyward.now().secs();
    let live = app.follow(None).await.live_set().await;
    let user = json!({ "sub": id, "exp": at + 3660, "revokedAt": at });
    assert!(live.contains(&user) && live.len() == 2, "{live:?}");

    // Within the same second: neither the time nor a session refuses the new token.
    app.set_disabled(id.parse().expect("an id"), false).await;
    ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    let claims = checks::claims(ada.access_token.as_deref().expect("a token"));
    assert_eq!(claims["iat"], user["revokedAt"]);
    app.keyward.read_revocations().await.expect("the store works");
    let live = app.follow(None).await.live_set().await;
    assert!(live.len() == 2 && live.iter().all(|told| told["sid"] != claims["sid"]), "{live:?}");
}

/// Neither here, nor on another node that has seen them, nor by what other services are told.
#[tokio::test]
async fn a_deletion_ends_nobody_elses_tokens() {
    let app = TestApp::new().await;
    let other = TestApp::on_store(Arc::clone(&app.store), |_| {}).await;
    let mut ada = app.registered(ADA).await;
    let mut bob = app.registered(BOB).await;
    let mut elsewhere = [ada.clone(), bob.clone()];
    for browser in &mut elsewhere {
        browser.app = other.clone();
        browser.me().await.assert(StatusCode::OK, None);
    }
    let me = bob.me().await.json();
    let (id, session) = (&me["user"]["id"], &me["session"]["id"]);
    let writer = app.backend(&app.service_key(&[Scope::UsersWrite]).await);
    let path = format!("/api/admin/users/{}", id.as_str().expect("an id"));
    writer.delete(&path).await.assert(StatusCode::NO_CONTENT, None);
    for node in [&app, &other] {
        node.keyward.read_revocations().await.expect("the store works");
        let live = node.follow(None).await.live_set().await;
        let is_bobs = |told: &Value| told["sub"] == *id || told["sid"] == *session;
        assert!(!live.is_empty() && live.iter().all(is_bobs), "{live:?}");
    }
    let [ada_there, bob_there] = &mut elsewhere;
    for gone in [&mut bob, bob_there] {
        gone.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    }
    for kept in [ada_there, &mut ada] {
        kept.me().await.assert(StatusCode::OK, None);
    }
    ada.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn what_no_token_can_be_about_is_told_no_more() {
    // Tokens that were signed before the setting was lowered live on.
    let app = TestApp::with_policy(|policy: &mut Policy| {
        policy.access_token.ttl = Duration::from_secs(300);
    })
    .await;
    sign_in_and_out(&app, ADA).await;
    app.advance(60 * 60 + 60 - 1);
    assert_eq!(app.follow(None).await.live_set().await.len(), 1);
    app.advance(1);
    assert_eq!(app.follow(None).await.live_set().await.len(), 0);
}

#[tokio::test]
async fn a_client_goes_on_where_it_was() {
    let app = TestApp::new().await;
    sign_in_and_out(&app, ADA).await;
    let mut events = app.follow(None).await;
    assert_eq!(events.live_set().await.len(), 1);
    let id = events.last_id.clone().expect("an id");
    drop(events);
    let missed = sign_in_and_out(&app, BOB).await;
    let mut events = app.follow(Some(&id)).await;
    assert_eq!(sids(&events.live_set().await), [missed]);
    // The id of a single event does as well.
    let seen = sign_in_and_out(&app, "eve@example.org").await;
    app.keyward.read_revocations().await.expect("the store works");
    assert_eq!(sids(&[events.revoked().await]), [seen]);
    let id = events.last_id.expect("an id");
    assert_eq!(app.follow(Some(&id)).await.live_set().await.len(), 0);
}

/// Whatever happens while a client has only part of the live set, it is told all of it again.
#[tokio::test]
async fn a_part_of_the_live_set_has_no_id_to_go_on_from() {
    let app = TestApp::new().await;
    for email in [ADA, BOB] {
        sign_in_and_out(&app, email).await;
    }
    let mut events = app.follow(None).await;
    assert_eq!(events.next().await.expect("the time").id, None);
    assert_eq!(events.next().await.expect("an event").id, None);
    assert_eq!(events.next().await.expect("an event").id, None);
    assert!(events.next().await.expect("synced").id.is_some());
}

#[tokio::test]
async fn an_id_that_is_none_of_ours_begins_with_everything() {
    let app = TestApp::new().await;
    sign_in_and_out(&app, ADA).await;
    let long = "9".repeat(4096);
    for id in ["", "junk", "0", "-", "0-", "1-1", "0-99999", "0--1", " 0-1", "0-1,0-1", &long] {
        assert_eq!(app.follow(Some(id)).await.live_set().await.len(), 1, "{id}");
    }
    let bytes = HeaderValue::from_bytes(b"\xff\xfe").expect("a value");
    let key = app.service_key(&[Scope::Revocations]).await;
    let mut request = app.browser().request(Method::GET, REVOCATIONS, None);
    request.headers_mut().insert("last-event-id", bytes);
    let bearer = format!("Bearer {key}").parse().expect("a value");
    request.headers_mut().insert("authorization", bearer);
    let response = app.router.clone().oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
}

/// Two nodes on one store; the client is told by the other one where the first one left off.
async fn check_nodes(store: Arc<dyn Store>) {
    let one = TestApp::on_store(Arc::clone(&store), |_| {}).await;
    let other = TestApp::on_store(store, |_| {}).await;
    let mut events = other.follow(None).await;
    assert_eq!(events.live_set().await.len(), 0);
    let mut ada = one.registered(ADA).await;
    let sid = session_of(&mut ada).await;
    ada.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    other.keyward.read_revocations().await.expect("the store works");
    assert_eq!(events.revoked().await["sid"], sid);
    let id = events.last_id.expect("an id");

    let missed = sign_in_and_out(&other, BOB).await;
    let restarted = TestApp::on_store(Arc::clone(&one.store), |_| {}).await;
    for node in [&one, &restarted, &other] {
        let told = sids(&node.follow(Some(&id)).await.live_set().await);
        assert!(told.contains(&missed), "{told:?}");
        let told = sids(&node.follow(None).await.live_set().await);
        assert_eq!(told, [sid.clone(), missed.clone()]);
    }
}

#[tokio::test]
async fn every_node_tells_of_what_another_one_did() {
    check_nodes(Arc::new(MemoryStore::new())).await;
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&dir.path().join("test.db"), Timestamp::from_secs(1));
    check_nodes(Arc::new(store.expect("a store"))).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn every_node_tells_of_what_another_one_did_on_postgres() {
    use keyward::store::postgres::fresh::fresh_postgres_as_service;

    let (store, _database) = fresh_postgres_as_service().await;
    check_nodes(Arc::new(store)).await;
}

/// The node itself reads the truth, whether or not it has been told.
#[tokio::test]
async fn the_service_refuses_at_once_on_every_node() {
    let one = TestApp::new().await;
    let other = TestApp::on_store(Arc::clone(&one.store), |_| {}).await;
    let mut ada = one.registered(ADA).await;
    let mut elsewhere = common::Browser { app: other, ..ada.clone() };
    elsewhere.me().await.assert(StatusCode::OK, None);
    ada.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    elsewhere.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
}

#[tokio::test]
async fn nobody_else_is_told() {
    let app = TestApp::new().await;
    app.keyward.read_revocations().await.expect("the store works");
    let mut admin = app.admin(ADA).await;
    admin.get(REVOCATIONS).await.assert(StatusCode::UNAUTHORIZED, Some("INVALID_TOKEN"));
    app.browser().get(REVOCATIONS).await.assert(StatusCode::UNAUTHORIZED, Some("NO_TOKEN"));
    for scope in Scope::ALL.iter().filter(|scope| **scope != Scope::Revocations) {
        let backend = app.backend(&app.service_key(&[*scope]).await);
        let answer = backend.get(REVOCATIONS).await;
        answer.assert(StatusCode::FORBIDDEN, Some("INSUFFICIENT_PERMISSIONS"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_just_started_is_waited_for() {
    let app = TestApp::new().await;
    let key = app.service_key(&[Scope::Revocations]).await;
    let start = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        app.keyward.run_background().await;
    };
    let follow = async {
        let mut events = app.follow_with(&key, None).await;
        assert!(events.live_set().await.is_empty());
    };
    tokio::select! {
        () = start => {}
        () = follow => {}
    }
}

#[tokio::test(start_paused = true)]
async fn before_the_first_reading_nobody_is_told() {
    let app = TestApp::new().await;
    let backend = app.backend(&app.service_key(&[Scope::Revocations]).await);
    let answer = backend.get(REVOCATIONS).await;
    answer.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_comment_comes_while_nothing_else_does() {
    let app = TestApp::new().await;
    beside(&app, async {
        let mut events = app.follow(None).await;
        let begin = events.next().await.expect("the time");
        assert_eq!((begin.name.as_str(), begin.data), ("", json!(app.keyward.now().millis())));
        events.live_set().await;
        for _ in 0..3 {
            app.advance(15);
            let comment = events.next().await.expect("a comment");
            assert_eq!((comment.name.as_str(), comment.id), ("", None));
            assert_eq!(comment.data, json!(app.keyward.now().millis()));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_revoked_ends_its_feed() {
    let app = TestApp::new().await;
    beside(&app, async {
        let mut events = app.follow(None).await;
        events.live_set().await;
        assert!(events.next().await.is_some());
        let id = ServiceKeyId::from_bytes([1; 16]);
        app.store.revoke_service_key(id, &app.nobody()).await.expect("the store works");
        let before = tokio::time::Instant::now();
        assert_eq!(events.next().await, None);
        assert!(before.elapsed() <= Duration::from_secs(60));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_read_lets_its_clients_go() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    beside(&app, async {
        let mut events = app.follow(None).await;
        events.live_set().await;
        store.fail(Call::ListRevocations, Fault::Down);
        assert_eq!(events.next().await, None);
    })
    .await;
}

/// A client that reads nothing holds no memory, and one that goes frees its place.
#[tokio::test]
async fn who_goes_away_frees_a_place() {
    let app = TestApp::new().await;
    app.keyward.read_revocations().await.expect("the store works");
    let key = app.service_key(&[Scope::Revocations]).await;
    let mut held = Vec::new();
    for _ in 0..keyward::feed::FOLLOWERS_PER_KEY_MAX {
        held.push(app.follow_with(&key, None).await);
    }
    let refused = app.backend(&key).get(REVOCATIONS).await;
    refused.assert(StatusCode::SERVICE_UNAVAILABLE, Some("OVERLOADED"));
    assert!(refused.header("retry-after").is_some());
    held.pop();
    assert!(app.follow_with(&key, None).now_or_never().is_some());
}

/// Does something while the service's background work runs.
async fn beside(app: &TestApp, work: impl Future<Output = ()>) {
    tokio::select! {
        () = app.keyward.run_background() => {}
        () = work => {}
    }
}

/// Answers which session it was.
async fn sign_in_and_out(app: &TestApp, email: &str) -> String {
    let mut browser = app.registered(email).await;
    let id = session_of(&mut browser).await;
    browser.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    id
}

async fn session_of(browser: &mut common::Browser) -> String {
    browser.me().await.json()["session"]["id"].as_str().expect("an id").to_owned()
}

fn sids(told: &[Value]) -> Vec<String> {
    told.iter().map(|data| data["sid"].as_str().expect("a session").to_owned()).collect()
}
