//! Several services that share a Valkey: what one has counted the others know, and nothing stops
//! while it is away.

#![cfg(feature = "valkey")]

#[path = "../common/mod.rs"]
mod common;

mod faults;
mod hints;
mod limits;
mod rights;
mod server;
mod silence;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use common::{Answer, TestApp};
use keyward::clock::ManualClock;
use keyward::entropy::danger_for_tests::SeededEntropy;
use keyward::policy::Policy;
use keyward::shared::{SharedStanding, SharedState as _, Valkey, ValkeySettings};
use keyward::store::Store;
use keyward_core::keys::MasterKey;
use keyward_core::time::Timestamp;
use server::Server;
use tokio::task::JoinSet;

/// How many nodes there have been: no two draw the same ids.
static NODES: AtomicU64 = AtomicU64::new(1);

const ADA: &str = "ada@example.org";
const WRONG: &str = "not the password";

/// One service, with what runs beside its requests.
struct Node {
    app: TestApp,
    valkey: Arc<Valkey>,
    _background: JoinSet<()>,
}

impl Node {
    /// In touch with the server.
    async fn on(server: &Server, store: &Arc<dyn Store>) -> Self {
        Self::with_policy(server, store, |_| {}).await
    }

    async fn with_policy(
        server: &Server,
        store: &Arc<dyn Store>,
        change: impl FnOnce(&mut Policy),
    ) -> Self {
        Self::reaching(&server.settings(), store, change).await
    }

    async fn reaching(
        settings: &ValkeySettings,
        store: &Arc<dyn Store>,
        change: impl FnOnce(&mut Policy),
    ) -> Self {
        let valkey = Arc::new(Valkey::new(settings, &MasterKey::new(&[7; 32])));
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_790_000_000)));
        let entropy = Arc::new(SeededEntropy::new(NODES.fetch_add(1, Ordering::Relaxed)));
        let shared = Some(Arc::clone(&valkey) as _);
        let app = TestApp::start_sharing(Arc::clone(store), clock, entropy, shared, change).await;
        let mut background = JoinSet::new();
        let keyward = Arc::clone(&app.keyward);
        background.spawn(async move { keyward.run_background().await });
        let node = Self { app, valkey, _background: background };
        node.wait(|standing| standing.reachable).await;
        node
    }

    /// Tries to sign in, with a password that is wrong.
    async fn fail(&self, email: &str) -> Answer {
        self.app.browser().login(email, WRONG).await
    }

    /// A value of the page of metrics.
    fn measured(&self, name: &str) -> f64 {
        let page = self.app.keyward.metrics();
        let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        page.lines().find_map(of).unwrap_or_else(|| panic!("no {name} in\n{page}"))
    }

    fn standing(&self) -> SharedStanding {
        self.valkey.standing()
    }

    async fn wait(&self, until: impl Fn(SharedStanding) -> bool) {
        wait_for(&self.valkey, until).await;
    }
}

async fn wait_for(valkey: &Valkey, until: impl Fn(SharedStanding) -> bool) {
    for _ in 0..6000 {
        if until(valkey.standing()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it stays at {:?}", valkey.standing());
}

#[track_caller]
fn assert_wrong(answer: &Answer) {
    answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
}

#[track_caller]
fn assert_limited(answer: &Answer) {
    answer.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
}
