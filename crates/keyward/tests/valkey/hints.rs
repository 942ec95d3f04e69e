//! Hints: a node that ended a session wakes the others.

use std::sync::Arc;

use futures_util::FutureExt as _;
use keyward::store::{MemoryStore, Store};

use super::Node;
use super::server::Server;

/// Two nodes that hear each other, each with nothing left to read.
async fn nodes(server: &Server) -> [Node; 2] {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let nodes = [Node::on(server, &store).await, Node::on(server, &store).await];
    for node in &nodes {
        hear(node).await;
    }
    nodes
}

/// What was missed before the subscription counts as a hint.
async fn hear(node: &Node) {
    node.app.keyward.wake_ups().next().await;
}

#[tokio::test]
async fn a_hint_wakes_the_other_node() {
    let server = Server::start().await;
    let [one, other] = nodes(&server).await;
    for _ in 0..10 {
        one.app.keyward.wake_ups().send();
        hear(&other).await;
        other.app.keyward.wake_ups().send();
        hear(&one).await;
    }
}

#[tokio::test]
async fn a_burst_of_hints_is_few_messages() {
    let server = Server::start().await;
    let [one, other] = nodes(&server).await;
    for _ in 0..1000 {
        one.app.keyward.wake_ups().send();
    }
    hear(&other).await;
    one.wait(|standing| standing.hints_sent == 1).await;
    assert_eq!(other.app.keyward.wake_ups().next().now_or_never(), None);
}

/// The other half of a flood: whoever may write to the server causes few reads.
#[tokio::test]
async fn a_flood_of_messages_is_few_hints() {
    let server = Server::start().await;
    let [one, _other] = nodes(&server).await;
    let channels: Vec<String> = server.tell("PUBSUB CHANNELS *").await;
    let [channel] = channels.as_slice() else { panic!("{channels:?}") };
    let before = one.standing().hints_received;
    let script = format!("for i=1,10000 do redis.call('PUBLISH','{channel}','') end");
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let flood = redis::cmd("EVAL").arg(script).arg(0).take();
    flood.exec_async(&mut connection).await.expect("sent");
    hear(&one).await;
    assert!(one.standing().hints_received - before < 1000);
}

#[tokio::test]
async fn hints_come_again_after_the_server_was_gone() {
    let mut server = Server::start().await;
    let [one, other] = nodes(&server).await;
    server.kill();
    one.wait(|standing| !standing.reachable).await;
    // Nobody hears it, and nobody has to: what it is about is in the store.
    one.app.keyward.wake_ups().send();
    server.restart().await;
    hear(&other).await;
    for node in [&one, &other] {
        node.wait(|standing| standing.reachable).await;
    }
    one.app.keyward.wake_ups().send();
    hear(&other).await;
}
