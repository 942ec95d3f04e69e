//! The threads that read, each with a connection of its own that cannot write.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::connection::{open_reader, unavailable};
use super::queue::Queue;
use crate::store::StoreError;

/// The way to the reading threads.
pub(super) struct Readers {
    queue: Arc<Queue<Job>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// One question; tells whether the connection may be in doubt afterwards.
type Job = Box<dyn FnOnce(&Connection) -> Trust + Send>;

enum Trust {
    Keep,
    Reopen,
}

impl Readers {
    /// Starts so many threads.
    pub(super) fn start(path: &Path, count: usize) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::new(QUEUE_MAX));
        let readers = Self { queue, threads: Mutex::default() };
        for _ in 0..count {
            let mut reader = Reader { path: path.to_owned(), connection: Some(open_reader(path)?) };
            let queue = Arc::clone(&readers.queue);
            let thread = Builder::new()
                .name("keyward-reader".to_owned())
                .spawn(move || reader.run(&queue))
                .map_err(|_| unavailable("the system refuses another thread"))?;
            readers.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(readers)
    }

    /// Answers `work` from what is committed by now.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Box::new(move |connection| {
            let outcome = work(connection);
            let trust = match &outcome {
                Err(StoreError::Unavailable(_)) => Trust::Reopen,
                Ok(_) | Err(StoreError::Inconsistent(_)) => Trust::Keep,
            };
            // Whoever asked may have gone.
            drop(reply.send(outcome));
            trust
        }))?;
        answer.await.unwrap_or_else(|_| Err(unavailable("the database cannot be opened")))
    }

    /// Lets the threads finish what waits, and waits for their end.
    pub(super) fn close(&self) {
        self.queue.close();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("one of the store's reading threads has panicked");
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

struct Reader {
    path: PathBuf,
    /// `None` after a failure: the next question opens a new one.
    connection: Option<Connection>,
}

impl Reader {
    fn run(&mut self, queue: &Queue<Job>) {
        let _abandon = queue.abandon_on_drop();
        while let Some(job) = queue.take(1).pop() {
            if self.connection.is_none() {
                self.connection = open_reader(&self.path).ok();
            }
            // Without a connection the job is dropped, which answers it.
            if let Some(connection) = &self.connection
                && let Trust::Reopen = job(connection)
            {
                self.connection = None;
            }
        }
    }
}

/// Far more than wait in good times; a lookup takes microseconds.
const QUEUE_MAX: usize = 4096;
