//! Connections to the server: made, lent one at a time, and taken back.
//!
//! Whoever goes away while a statement is on its way leaves it running. Its connection keeps its
//! place among the bounded set until the statement has ended, for which the server is asked soon:
//! requests that are given up at any rate pile up nothing, here or there, and others wait for a
//! place for some hundredths of a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::{SILENT, no_entry, unavailable};
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
    /// Of [`Connector::generation`], the one in which it was made.
    generation: usize,
    /// Whether somebody has sent a statement whose answer is not there yet.
    pub(super) awaits_answer: AtomicBool,
}

/// Makes connections and takes them back.
#[derive(Debug)]
pub(super) struct Connector {
    hosts: Vec<deadpool_postgres::Manager>,
    database: String,
    /// The host that was connected to last. It is tried first, so that after a failover nobody
    /// waits for the one that hangs, and one that comes back is not taken for the primary that it
    /// was.
    last: AtomicUsize,
    /// How often a connection has turned out to lead to a server that is read-only. Connections
    /// from before may lead there too, and are not lent again.
    generation: AtomicUsize,
}

impl Connector {
    /// Connects to nothing yet.
    pub(super) fn new(settings: &PostgresSettings) -> Self {
        let host = |config: &tokio_postgres::Config| {
            deadpool_postgres::Manager::new(config.clone(), settings.tls())
        };
        Self {
            hosts: settings.hosts().iter().map(host).collect(),
            database: settings.database().to_owned(),
            last: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
        }
    }
}

/// Has connections made anew, of which it is asked whether they can be written: this one leads to a
/// server that cannot, since a standby took over, say.
pub(super) fn renounce(link: &LentLink) {
    if let Some(links) = LentLink::pool(link) {
        let (now, next) = (link.generation, link.generation.wrapping_add(1));
        let generation = &links.manager().generation;
        // Whoever finds it changed was not the first to see.
        let _first = generation.compare_exchange(now, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Manager for Connector {
    type Type = Link;
    type Error = NoLink;

    /// Tries one host after the other, each with a deadline of its own: a primary that hangs must
    /// not keep anybody from the standby that was promoted.
    async fn create(&self) -> Result<Link, NoLink> {
        let generation = self.generation.load(Ordering::Relaxed);
        let first = self.last.load(Ordering::Relaxed);
        let mut failure = None;
        let mut is_full = false;
        for host in (0..self.hosts.len()).map(|turn| (first + turn) % self.hosts.len()) {
            match timeout(CONNECT_MAX, self.hosts[host].create()).await {
                Ok(Ok(client)) => {
                    self.last.store(host, Ordering::Relaxed);
                    let awaits_answer = AtomicBool::new(false);
                    return Ok(Link { client, host, generation, awaits_answer });
                }
                Ok(Err(error)) => {
                    is_full |= error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS);
                    failure = Some(no_entry(&error, &self.database));
                }
                Err(_) => {}
            }
        }
        Err(NoLink { why: failure.unwrap_or_else(|| unavailable(SILENT)), is_full })
    }

    async fn recycle(&self, link: &mut Link, metrics: &Metrics) -> RecycleResult<NoLink> {
        if link.generation != self.generation.load(Ordering::Relaxed) {
            return Err(RecycleError::message("the server may be read-only"));
        }
        if *link.awaits_answer.get_mut() {
            return Err(RecycleError::message("the runtime ended before the statement did"));
        }
        let recycled = self.hosts[link.host].recycle(&mut link.client, metrics).await;
        recycled.map_err(|_| RecycleError::message("the connection has ended"))
    }

    fn detach(&self, link: &mut Link) {
        self.hosts[link.host].detach(&mut link.client);
    }
}

/// Why there is no further connection.
#[derive(Debug)]
pub(super) struct NoLink {
    pub(super) why: StoreError,
    /// Whether a server has none left, and would give one when another ends.
    pub(super) is_full: bool,
}

/// The way of lent connections back.
#[derive(Clone)]
pub(super) struct Returns {
    /// To ask the server with. `None` behind a PgBouncer before 1.21, which crashes where whoever
    /// asks it to stop a statement does not wait until it hangs up.
    tls: Option<MakeRustlsConnect>,
    one: Arc<Notify>,
}

impl Returns {
    /// Nothing is lent yet.
    pub(super) fn new(settings: &PostgresSettings) -> Self {
        Self { tls: settings.prepares.then(|| settings.tls()), one: Arc::default() }
    }

    /// Takes a connection back: at once, or by a task where a statement is on its way.
    pub(super) fn take(&self, link: LentLink) -> Option<JoinHandle<()>> {
        if !link.awaits_answer.load(Ordering::Relaxed) {
            drop(link);
            self.one.notify_one();
            return None;
        }
        let Ok(runtime) = Handle::try_current() else {
            // The process is about to end.
            drop(LentLink::take(link));
            return None;
        };
        let returns = self.clone();
        Some(runtime.spawn(async move {
            settle(link, returns.tls).await;
            returns.one.notify_one();
        }))
    }

    /// Returns when a connection comes back, or one has since somebody last waited for that.
    pub(super) async fn one(&self) {
        self.one.notified().await;
    }
}

/// Waits a moment for a statement that nobody waits for, as most of them have ended soon; then asks
/// the server to stop it. The request to stop may arrive after the end of that statement, and would
/// stop the next one: it is sent for a connection that nobody is lent again.
async fn settle(link: LentLink, tls: Option<MakeRustlsConnect>) {
    match timeout(MOMENT, link.client.batch_execute("")).await {
        Ok(Ok(())) => return link.awaits_answer.store(false, Ordering::Relaxed),
        Ok(Err(_)) => {}
        Err(_) => {
            let stop = async {
                if let Some(tls) = tls {
                    // Where it does not arrive, the statement may still end by itself.
                    let _sent = link.client.cancel_token().cancel_query(tls).await;
                }
                // Answered or refused, it is over.
                let _over = link.client.batch_execute("").await;
            };
            // Where even this gets no answer the server is gone, and its end of the connection too.
            let _stopped = timeout(STOP_MAX, stop).await;
        }
    }
    drop(LentLink::take(link));
}

/// How long a connection to one host may take to be made, TLS and sign-in included.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How long a statement may go on that nobody waits for. Others wait as long for its place, and to
/// make another connection takes some of it too.
const MOMENT: Duration = Duration::from_millis(50);

/// How long a server is asked to stop a statement.
const STOP_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
