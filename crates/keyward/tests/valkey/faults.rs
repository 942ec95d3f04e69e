//! A server that hangs, goes away, forgets or refuses: sign-ins go on, each node's own limits hold,
//! and counting for all resumes by itself.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::FutureExt as _;
use keyward::shared::{SharedState as _, SharedTry, ValkeySettings};
use keyward::store::{MemoryStore, Store};
use keyward_core::limits::Quota;
use serde_json::json;

use super::server::Server;
use super::{ADA, Node, assert_limited, assert_wrong};
use crate::common::PASSWORD;

/// Two nodes and their server.
struct World {
    server: Server,
    nodes: [Node; 2],
}

impl World {
    async fn new() -> Self {
        let server = Server::start().await;
        let settings = server.settings();
        Self::reaching(server, &settings).await
    }

    async fn reaching(server: Server, settings: &ValkeySettings) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let node = || Node::reaching(settings, &store, |_| {});
        let nodes = [node().await, node().await];
        nodes[0].app.registered(ADA).await;
        Self { server, nodes }
    }

    /// What must hold once the server is of no use.
    async fn assert_goes_on_alone(&self) {
        for node in &self.nodes {
            // The first to notice may wait for a deadline.
            node.app.browser().login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
            node.wait(|standing| !standing.reachable).await;
            assert_eq!(shown(node).await, json!({ "status": "ready", "shared": "unreachable" }));
            // Whoever comes after that waits for nothing at all.
            let missed = node.standing().missed;
            assert_eq!(node.valkey.count(&[a_try()]).now_or_never(), Some(None));
            assert_eq!(node.standing().missed, missed + 1);
            for _ in 0..5 {
                assert_wrong(&node.fail("alone@example.org").await);
            }
            assert_limited(&node.fail("alone@example.org").await);
            node.app.browser().login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
            assert_eq!(node.measured("keyward_shared_up"), 0.0);
            // What follows the missed one above has missed it as well.
            let missed = (missed + 1) as f64;
            assert!(node.measured("keyward_shared_missed_total") > missed);
        }
    }

    /// What must hold once it is of use again, without a restart of any node.
    async fn assert_counts_together(&self) {
        for node in &self.nodes {
            node.wait(|standing| standing.reachable).await;
            assert_eq!(shown(node).await, json!({ "status": "ready", "shared": "reachable" }));
            assert_eq!(node.measured("keyward_shared_up"), 1.0);
        }
        for number in 0..5 {
            assert_wrong(&self.nodes[number % 2].fail("together@example.org").await);
        }
        for node in &self.nodes {
            assert_limited(&node.fail("together@example.org").await);
            // What each has counted alone it still knows.
            assert_limited(&node.fail("alone@example.org").await);
        }
    }
}

async fn shown(node: &Node) -> serde_json::Value {
    let answer = node.app.browser().get("/readyz").await;
    answer.assert(StatusCode::OK, None);
    answer.json()
}

fn a_try() -> SharedTry {
    let quota = Quota::new(1000, Duration::from_secs(60)).expect("a quota");
    SharedTry { limit: "login", key: Vec::new(), quota }
}

#[tokio::test]
async fn a_server_that_hangs() {
    let server = Server::start().await;
    let mut settings = server.settings();
    // Short enough to be waited for, and long enough for a busy machine to answer in.
    settings.deadline = Duration::from_secs(3);
    let world = World::reaching(server, &settings).await;
    world.server.stall();
    world.assert_goes_on_alone().await;
    world.server.go_on();
    world.assert_counts_together().await;
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again() {
    let mut world = World::new().await;
    world.server.kill();
    world.assert_goes_on_alone().await;
    world.server.restart().await;
    world.assert_counts_together().await;
}

#[tokio::test]
async fn a_server_that_changed_its_password() {
    let world = World::new().await;
    let password = super::server::PASSWORD;
    let () = world.server.tell("CONFIG SET requirepass another").await;
    // The connection that is there has signed in already.
    let url = format!("redis://:another@127.0.0.1:{}", world.server.port);
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").take();
    kill.exec_async(&mut connection).await.expect("killed");
    world.assert_goes_on_alone().await;
    let mut mend = redis::cmd("CONFIG");
    mend.arg("SET").arg("requirepass").arg(password);
    mend.exec_async(&mut connection).await.expect("as before");
    world.assert_counts_together().await;
}

#[tokio::test]
async fn a_server_that_has_no_connection_left() {
    let world = World::new().await;
    let client = redis::Client::open(world.server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    for (number, value) in ["1", "1000"].iter().enumerate() {
        let mut bound = redis::cmd("CONFIG");
        bound.arg("SET").arg("maxclients").arg(value);
        bound.exec_async(&mut connection).await.expect("set");
        if number == 0 {
            let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").take();
            kill.exec_async(&mut connection).await.expect("killed");
            world.assert_goes_on_alone().await;
        }
    }
    world.assert_counts_together().await;
}

#[tokio::test]
async fn a_server_that_has_no_memory_left() {
    let world = World::new().await;
    let () = world.server.tell("CONFIG SET maxmemory 1").await;
    world.assert_goes_on_alone().await;
    let () = world.server.tell("CONFIG SET maxmemory 0").await;
    world.assert_counts_together().await;
}

#[tokio::test]
async fn a_server_that_became_a_replica() {
    let world = World::new().await;
    let () = world.server.tell("REPLICAOF 127.0.0.1 1").await;
    world.assert_goes_on_alone().await;
    let () = world.server.tell("REPLICAOF NO ONE").await;
    world.assert_counts_together().await;
}

/// No fault at all: each count brings its script along where that is not there.
#[tokio::test]
async fn a_server_that_forgets_everything_is_told_again() {
    let world = World::new().await;
    for number in 0..5 {
        assert_wrong(&world.nodes[number % 2].fail("alone@example.org").await);
        let () = world.server.tell("SCRIPT FLUSH").await;
    }
    let () = world.server.tell("FLUSHALL").await;
    // Each node has its own memory, too, and refuses what it has counted itself.
    for node in &world.nodes {
        assert_wrong(&node.fail("alone@example.org").await);
        assert_eq!(node.standing().missed, 0);
    }
    world.nodes[0].fail("alone@example.org").await;
    assert_limited(&world.nodes[0].fail("alone@example.org").await);
}
