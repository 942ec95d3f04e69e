//! Connections to the server: made, lent one at a time, and taken back.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio::time::timeout;

use super::connection::{SILENT, store_error, unavailable};
use super::settings::PostgresSettings;
use crate::store::StoreError;

/// The bounded set of connections.
pub(super) type Links = Pool<Connector>;

/// One of them, as long as it is lent.
pub(super) type LentLink = Object<Connector>;

/// One connection to the server.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: ClientWrapper,
    /// The host that it leads to, by its place in the URL.
    host: usize,
    /// Whether somebody has sent a statement whose answer is not there yet.
    pub(super) awaits_answer: AtomicBool,
}

/// Makes connections and takes them back.
#[derive(Debug)]
pub(super) struct Connector {
    hosts: Vec<deadpool_postgres::Manager>,
    /// The host that was connected to last. It is tried first, so that after a failover nobody
    /// waits for the one that hangs, and one that comes back is not taken for the primary that it
    /// was.
    last: AtomicUsize,
}

impl Connector {
    /// Connects to nothing yet.
    pub(super) fn new(settings: &PostgresSettings) -> Self {
        let host = |config: &tokio_postgres::Config| {
            deadpool_postgres::Manager::new(config.clone(), settings.tls())
        };
        Self { hosts: settings.hosts().iter().map(host).collect(), last: AtomicUsize::new(0) }
    }
}

impl Manager for Connector {
    type Type = Link;
    type Error = StoreError;

    /// Tries one host after the other, each with a deadline of its own: a primary that hangs must
    /// not keep anybody from the standby that was promoted.
    async fn create(&self) -> Result<Link, StoreError> {
        let first = self.last.load(Ordering::Relaxed);
        let mut failure = None;
        for host in (0..self.hosts.len()).map(|turn| (first + turn) % self.hosts.len()) {
            match timeout(CONNECT_MAX, self.hosts[host].create()).await {
                Ok(Ok(client)) => {
                    self.last.store(host, Ordering::Relaxed);
                    return Ok(Link { client, host, awaits_answer: AtomicBool::new(false) });
                }
                Ok(Err(error)) => failure = Some(store_error(&error)),
                Err(_) => {}
            }
        }
        Err(failure.unwrap_or_else(|| unavailable(SILENT)))
    }

    /// Whoever goes away in the middle of a statement leaves it running. The next one waits for its
    /// end before the connection is lent again: requests that are given up at any rate pile up
    /// nothing.
    async fn recycle(&self, link: &mut Link, metrics: &Metrics) -> RecycleResult<StoreError> {
        if *link.awaits_answer.get_mut() {
            link.client.batch_execute("").await.map_err(|error| store_error(&error))?;
            link.awaits_answer.store(false, Ordering::Relaxed);
        }
        let recycled = self.hosts[link.host].recycle(&mut link.client, metrics).await;
        recycled.map_err(|_| RecycleError::message("the connection has ended"))
    }

    fn detach(&self, link: &mut Link) {
        self.hosts[link.host].detach(&mut link.client);
    }
}

/// How long a connection to one host may take to be made, TLS and sign-in included.
const CONNECT_MAX: Duration = Duration::from_secs(3);
