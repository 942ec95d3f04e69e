//! Hints: a node that ended a session wakes the others.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::FutureExt as _;
use keyward::shared::{Hints, SharedStanding, SharedState as _, Valkey, ValkeySettings};
use keyward::store::layer::{Call, Layer};
use keyward::store::{MemoryStore, Store, StoreError};
use keyward_core::keys::MasterKey;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::server::Server;
use super::{ADA, Node, wait_for};
use crate::common::PASSWORD;

/// What of a node gives hints and hears them.
pub(crate) struct Ear {
    valkey: Arc<Valkey>,
    hints: Arc<Hints>,
    _background: JoinSet<()>,
}

impl Ear {
    /// In touch with the server.
    pub(crate) async fn on(server: &Server) -> Self {
        Self::reaching(&server.settings()).await
    }

    pub(crate) async fn reaching(settings: &ValkeySettings) -> Self {
        let valkey = Arc::new(Valkey::new(settings, &MasterKey::new(&[7; 32])));
        let hints = Arc::new(Hints::default());
        let mut background = JoinSet::new();
        let (running, given) = (Arc::clone(&valkey), Arc::clone(&hints));
        background.spawn(async move { running.run(&given).await });
        let ear = Self { valkey, hints, _background: background };
        ear.wait(|standing| standing.reachable).await;
        ear
    }

    pub(crate) fn send(&self) {
        self.hints.send();
    }

    pub(crate) async fn hear(&self) {
        self.hints.next().await;
    }

    async fn wait(&self, until: impl Fn(SharedStanding) -> bool) {
        wait_for(&self.valkey, until).await;
    }
}

/// A store, and when each reading of revocations began.
#[derive(Debug)]
struct Readings {
    store: Arc<dyn Store>,
    began: watch::Sender<Vec<Instant>>,
}

impl Readings {
    fn of(store: &Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store: Arc::clone(store), began: watch::Sender::default() })
    }

    fn count(&self) -> usize {
        self.began.borrow().len()
    }

    /// Waits for another one than the first so many.
    async fn after(&self, count: usize) -> Instant {
        let mut began = self.began.subscribe();
        let began = began.wait_for(|began| began.len() > count).await.expect("a sender");
        began[count]
    }
}

impl Layer for Readings {
    fn inner(&self) -> &dyn Store {
        &*self.store
    }

    async fn pass<T: Send>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if call == Call::ListRevocations {
            self.began.send_modify(|began| began.push(Instant::now()));
        }
        work.await
    }
}

/// How often it may be too slow to tell.
const TRIES: usize = 200;

/// Two that hear each other, each with nothing left to read: what was missed before the
/// subscription counts as a hint.
async fn pair(server: &Server) -> [Ear; 2] {
    let pair = [Ear::on(server).await, Ear::on(server).await];
    for ear in &pair {
        ear.hear().await;
    }
    pair
}

#[tokio::test]
async fn a_session_that_ends_on_one_node_has_the_other_read_at_once() {
    let server = Server::start().await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let [one, other] = [Node::on(&server, &store).await, Node::on(&server, &store).await];
    let mut ada = one.app.registered(ADA).await;
    other.wait(|standing| standing.hints_received > 0).await;
    let before = other.standing().hints_received;
    assert_eq!(one.measured("keyward_shared_hints_sent_total"), 0.0);
    ada.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    other.wait(|standing| standing.hints_received > before).await;
    one.wait(|standing| standing.hints_sent > 0).await;
    assert_eq!(one.measured("keyward_shared_hints_sent_total"), 1.0);
    assert_eq!(other.measured("keyward_shared_hints_sent_total"), 0.0);
    assert!(other.measured("keyward_shared_hints_received_total") > before as f64);
}

/// Readings of a node's own are a quarter of a second apart. Of two within half of that one is of
/// a hint.
#[tokio::test]
async fn a_hint_has_the_other_node_read_of_revocations() {
    let server = Server::start().await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let readings = Readings::of(&store);
    let one = Node::on(&server, &store).await;
    let other = Node::on(&server, &(Arc::clone(&readings) as _)).await;
    one.app.registered(ADA).await;
    other.wait(|standing| standing.hints_received > 0).await;
    for _ in 0..TRIES {
        let mut ada = one.app.browser();
        ada.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
        let before = readings.after(readings.count()).await;
        let count = readings.count();
        ada.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
        let since_before = readings.after(count).await - before;
        if since_before < Duration::from_millis(125) {
            return;
        }
    }
    panic!("it reads when it would have read");
}

#[tokio::test]
async fn a_hint_wakes_the_other_node() {
    let server = Server::start().await;
    let [one, other] = pair(&server).await;
    for _ in 0..10 {
        one.send();
        other.hear().await;
        other.send();
        one.hear().await;
    }
}

#[tokio::test]
async fn a_burst_of_hints_is_few_messages() {
    let server = Server::start().await;
    let [one, other] = pair(&server).await;
    for _ in 0..1000 {
        one.send();
    }
    other.hear().await;
    one.wait(|standing| standing.hints_sent == 1).await;
    assert_eq!(other.hints.next().now_or_never(), None);
}

/// The other half of a flood: whoever may write to the server causes few reads.
#[tokio::test]
async fn a_flood_of_messages_is_few_hints() {
    let server = Server::start().await;
    let [one, _other] = pair(&server).await;
    let channels: Vec<String> = server.tell("PUBSUB CHANNELS *").await;
    let [channel] = channels.as_slice() else { panic!("{channels:?}") };
    let before = one.valkey.standing().hints_received;
    let script = format!("for i=1,10000 do redis.call('PUBLISH','{channel}','') end");
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let flood = redis::cmd("EVAL").arg(script).arg(0).take();
    flood.exec_async(&mut connection).await.expect("sent");
    one.hear().await;
    assert!(one.valkey.standing().hints_received - before < 1000);
}

#[tokio::test]
async fn hints_come_again_after_the_server_was_gone() {
    let mut server = Server::start().await;
    let [one, other] = pair(&server).await;
    server.kill();
    one.wait(|standing| !standing.reachable).await;
    // Nobody hears it, and nobody has to: what it is about is in the store.
    one.send();
    server.restart().await;
    other.hear().await;
    for ear in [&one, &other] {
        ear.wait(|standing| standing.reachable).await;
    }
    one.send();
    other.hear().await;
}
