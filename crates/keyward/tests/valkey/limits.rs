//! Limits that hold for all nodes together.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use keyward::store::{MemoryStore, Store};
use keyward_core::limits::Quota;

use super::server::Server;
use super::{ADA, Node, assert_limited, assert_wrong};
use crate::common::{PASSWORD, TestApp};

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

#[tokio::test]
async fn two_nodes_allow_five_tries_together() {
    let (server, store) = (Server::start().await, store());
    let nodes = [Node::on(&server, &store).await, Node::on(&server, &store).await];
    for number in 0..5 {
        assert_wrong(&nodes[number % 2].fail(ADA).await);
    }
    // One has counted three of them, the other two; what they say is the same.
    for node in &nodes {
        let answer = node.fail(ADA).await;
        assert_limited(&answer);
        assert_eq!(answer.header("retry-after"), Some("180"));
        assert_eq!(answer.header("ratelimit-policy"), Some("\"login_account\";q=5;w=900"));
    }
    for node in &nodes {
        assert_wrong(&node.fail("bob@example.org").await);
    }
}

#[tokio::test]
async fn without_shared_state_each_node_allows_five() {
    let store = store();
    for _ in 0..2 {
        let app = TestApp::on_store(Arc::clone(&store), |_| {}).await;
        assert_eq!(app.keyward.shared_standing(), None);
        assert!(!app.keyward.metrics().contains("keyward_shared_"));
        for _ in 0..5 {
            assert_wrong(&app.browser().login(ADA, super::WRONG).await);
        }
        assert_limited(&app.browser().login(ADA, super::WRONG).await);
    }
}

#[tokio::test]
async fn a_sign_in_that_succeeds_gives_its_try_back_to_all() {
    let (server, store) = (Server::start().await, store());
    let nodes = [Node::on(&server, &store).await, Node::on(&server, &store).await];
    nodes[0].app.registered(ADA).await;
    for number in 0..12 {
        let answer = nodes[number % 2].app.browser().login(ADA, PASSWORD).await;
        answer.assert(StatusCode::OK, None);
    }
    for number in 0..5 {
        assert_wrong(&nodes[number % 2].fail(ADA).await);
    }
    assert_limited(&nodes[0].app.browser().login(ADA, PASSWORD).await);
}

#[tokio::test]
async fn a_try_that_one_limit_refuses_counts_against_none() {
    let (server, store) = (Server::start().await, store());
    let six = |policy: &mut keyward::policy::Policy| {
        policy.limits.login_address = Quota::new(6, Duration::from_secs(900));
    };
    let one = Node::with_policy(&server, &store, six).await;
    let other = Node::with_policy(&server, &store, six).await;
    for _ in 0..5 {
        assert_wrong(&one.fail(ADA).await);
    }
    for _ in 0..5 {
        assert_limited(&other.fail(ADA).await);
    }
    assert_wrong(&other.fail("bob@example.org").await);
    let answer = other.fail("bob@example.org").await;
    assert_limited(&answer);
    assert_eq!(answer.header("ratelimit-policy"), Some("\"login_address\";q=6;w=900"));
    // It knows of none of what the other limit had refused.
    assert_limited(&one.fail("bob@example.org").await);
}

#[tokio::test]
async fn every_limit_is_counted_for_all_nodes() {
    let (server, store) = (Server::start().await, store());
    let one_each = |policy: &mut keyward::policy::Policy| {
        let limits = &mut policy.limits;
        for limit in [
            &mut limits.register_address,
            &mut limits.refresh_session,
            &mut limits.refresh_address,
            &mut limits.service_key_address,
        ] {
            *limit = Quota::new(1, Duration::from_secs(900));
        }
    };
    let one = Node::with_policy(&server, &store, one_each).await;
    let other = Node::with_policy(&server, &store, one_each).await;

    let mut ada = one.app.registered(ADA).await;
    assert_limited(&other.app.browser().register("bob@example.org", PASSWORD).await);

    ada.refresh().await.assert(StatusCode::OK, None);
    ada.app = other.app.clone();
    assert_limited(&ada.refresh().await);

    let junk = |node: &Node| {
        let mut browser = node.app.browser();
        browser.cookies.insert("__Secure-refreshToken".to_owned(), "kwr_junk".to_owned());
        async move { browser.refresh().await }
    };
    junk(&one).await.assert(StatusCode::UNAUTHORIZED, Some("INVALID_REFRESH_TOKEN"));
    assert_limited(&junk(&other).await);

    let guess = |node: &Node| {
        let backend = node.app.backend("kwk_none");
        async move { backend.get("/api/admin/audit").await }
    };
    guess(&one).await.assert(StatusCode::UNAUTHORIZED, Some("INVALID_TOKEN"));
    assert_limited(&guess(&other).await);
}

/// By its name alone: nothing on the server is told to go.
#[tokio::test]
async fn an_unlocked_account_begins_anew_on_all_nodes() {
    let (server, store) = (Server::start().await, store());
    let three = |policy: &mut keyward::policy::Policy| {
        policy.limits.login_account = None;
        policy.limits.login_account_total = Quota::new(3, Duration::from_secs(900));
    };
    let nodes = [
        Node::with_policy(&server, &store, three).await,
        Node::with_policy(&server, &store, three).await,
    ];
    nodes[0].app.registered(ADA).await;
    let id = nodes[0].app.users().await[0].id;
    for _ in 0..2 {
        for number in 0..3 {
            assert_wrong(&nodes[number % 2].fail(ADA).await);
        }
        for node in &nodes {
            assert_limited(&node.fail(ADA).await);
        }
        assert_eq!(store.unlock(id, &nodes[0].app.nobody()).await, Ok(true));
        for node in &nodes {
            node.app.keyward.read_unlocked().await.expect("a store");
        }
    }
    assert_wrong(&nodes[1].fail(ADA).await);
}

#[tokio::test]
async fn what_is_kept_names_nobody_and_goes_by_itself() {
    let (server, store) = (Server::start().await, store());
    let node = Node::on(&server, &store).await;
    for _ in 0..3 {
        assert_wrong(&node.fail(ADA).await);
    }
    // Four, and what probes count, which is gone within a millisecond.
    let keys: Vec<String> = server.tell("KEYS *").await;
    assert!(keys.len() >= 4, "{keys:?}");
    for key in keys {
        let random = key.strip_prefix("keyward:count:").expect("a name of its own");
        assert!(random.len() == 22 && random.parse::<IpAddr>().is_err(), "{key}");
        let millis: i64 = server.tell(&format!("PTTL {key}")).await;
        assert!(millis == -2 || (0..=3 * 180_000).contains(&millis), "{key}: {millis}");
    }
}

/// The names are made with the master key, so that another service on the server has its own.
#[tokio::test]
async fn services_with_other_master_keys_count_apart() {
    use keyward::shared::{SharedState as _, SharedTry, Valkey};
    use keyward_core::keys::MasterKey;

    let server = Server::start().await;
    let quota = Quota::new(1, Duration::from_secs(900)).expect("a quota");
    let tries = [SharedTry { limit: "login", key: b"ada".to_vec(), quota }];
    for number in 0..3 {
        let valkey = Valkey::new(&server.settings(), &MasterKey::new(&[number; 32]));
        assert_eq!(valkey.count(&tries).await, None, "it has not connected yet");
        valkey.probe().await.expect("a server");
        assert_eq!(valkey.count(&tries).await, Some(Ok(())));
        assert!(matches!(valkey.count(&tries).await, Some(Err(_))));
    }
}
