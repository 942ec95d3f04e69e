//! Connections to the server: made, lent one at a time, and taken back.

use std::sync::atomic::{AtomicBool, Ordering};

use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Error;

/// The bounded set of connections.
pub(super) type Links = Pool<Connector>;

/// One of them, as long as it is lent.
pub(super) type LentLink = Object<Connector>;

/// One connection to the server.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: ClientWrapper,
    /// Whether somebody has sent a statement whose answer is not there yet.
    pub(super) awaits_answer: AtomicBool,
}

/// Makes connections and takes them back.
#[derive(Debug)]
pub(super) struct Connector(pub(super) deadpool_postgres::Manager);

impl Manager for Connector {
    type Type = Link;
    type Error = Error;

    async fn create(&self) -> Result<Link, Error> {
        let client = self.0.create().await?;
        Ok(Link { client, awaits_answer: AtomicBool::new(false) })
    }

    /// Whoever goes away in the middle of a statement leaves it running. The next one waits for its
    /// end before the connection is lent again: requests that are given up at any rate pile up
    /// nothing.
    async fn recycle(&self, link: &mut Link, metrics: &Metrics) -> RecycleResult<Error> {
        if *link.awaits_answer.get_mut() {
            link.client.batch_execute("").await?;
            link.awaits_answer.store(false, Ordering::Relaxed);
        }
        self.0.recycle(&mut link.client, metrics).await
    }

    fn detach(&self, link: &mut Link) {
        self.0.detach(&mut link.client);
    }
}
