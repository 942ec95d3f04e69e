//! A user of the server that may count, and may not hint.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use keyward::shared::Valkey;
use keyward::store::{MemoryStore, Store};
use keyward_core::keys::MasterKey;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use super::server::{Server, settings};
use super::{ADA, Node, assert_limited, assert_wrong};

/// As the line in docs/valkey.md, but for a channel.
const RIGHTS: &str = "reset on >hush ~keyward:* resetchannels +@all";

#[tokio::test]
async fn a_user_without_a_channel_counts_for_all_nodes() {
    let (log, _guard) = Log::of_this_thread();
    let server = Server::start().await;
    give(&server, RIGHTS).await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let settings = settings(&url(&server));
    let [one, other] = [
        Node::reaching(&settings, &store, |_| {}).await,
        Node::reaching(&settings, &store, |_| {}).await,
    ];
    // The server refuses each of the hints, and goes on counting.
    for number in 0..2 {
        let mut ada = one.app.registered(&format!("ada{number}@example.org")).await;
        ada.post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
        log.wait("hints of this node reach no other", 1).await;
    }
    for node in [&one, &other, &one, &other, &one] {
        assert_wrong(&node.fail(ADA).await);
    }
    for node in [&one, &other] {
        assert_limited(&node.fail(ADA).await);
        assert_eq!((node.standing().missed, node.standing().hints_sent), (0, 0));
    }
    // Both nodes try again and again, and each says so once.
    log.wait("hints from other nodes will come again later", 5).await;
    assert_eq!(log.count("hints from other nodes do not arrive: SUBSCRIBE keyward:wake:"), 2);
    assert_eq!(log.count("hints of this node reach no other: PUBLISH keyward:wake:"), 1);
    assert_eq!(log.count("unreachable"), 0, "{}", log.text());

    give(&server, "&keyward:*").await;
    for node in [&one, &other] {
        node.wait(|standing| standing.hints_received > 0).await;
    }
}

#[tokio::test]
async fn a_right_that_hints_lack_is_named() {
    let server = Server::start().await;
    let valkey = Valkey::new(&settings(&url(&server)), &MasterKey::new(&[7; 32]));
    for (lacking, named) in [
        ("", "PUBLISH keyward:wake:"),
        ("&keyward:* -publish", "PUBLISH keyward:wake:"),
        ("&keyward:* -subscribe", "SUBSCRIBE keyward:wake:"),
        ("&keyward:* -ping", "PING is refused"),
    ] {
        give(&server, format!("{RIGHTS} {lacking}").trim()).await;
        let why = valkey.probe().await.expect_err(lacking).to_string();
        assert!(why.starts_with(named), "{lacking}: {why}");
        assert!(why.contains("&keyward:* +publish +subscribe +ping"), "{lacking}: {why}");
    }
    give(&server, &format!("{RIGHTS} &keyward:*")).await;
    assert_eq!(valkey.probe().await, Ok(()));
}

async fn give(server: &Server, rights: &str) {
    let () = server.tell(&format!("ACL SETUSER app {rights}")).await;
}

fn url(server: &Server) -> String {
    format!("redis://app:hush@127.0.0.1:{}", server.port)
}

/// What one test logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Until the guard is dropped; all that such a test starts stays on its thread.
    fn of_this_thread() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(BoxMakeWriter::new(move || writer.clone()))
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("a lock")).into_owned()
    }

    fn count(&self, what: &str) -> usize {
        self.text().matches(what).count()
    }

    async fn wait(&self, what: &str, count: usize) {
        for _ in 0..6000 {
            if self.count(what) >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: not so often in {}", self.text());
    }
}

impl io::Write for Log {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").extend_from_slice(written);
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
