//! The threads that read, each with a connection of its own that cannot write.

use std::panic::{AssertUnwindSafe, catch_unwind};
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
        answer.await.unwrap_or_else(|_| Err(unavailable(UNANSWERED)))
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
    /// Answers until the queue is closed. A panic costs the one answer: the others that wait have
    /// nothing to do with it, and the thread is needed on.
    fn run(&mut self, queue: &Queue<Job>) {
        while let Some(job) = queue.take(1).pop() {
            // Nothing of what a panic leaves behind is used again: the connection has been taken.
            let connection = self.connection.take();
            let answered = catch_unwind(AssertUnwindSafe(|| self.answer(job, connection)));
            self.connection = answered.unwrap_or_else(|_| {
                tracing::error!("a question to the database has panicked");
                None
            });
        }
    }

    /// The connection, where it is still to be trusted.
    fn answer(&self, job: Job, connection: Option<Connection>) -> Option<Connection> {
        // Without a connection the job is dropped, which answers it.
        let connection = connection.or_else(|| open_reader(&self.path).ok())?;
        match job(&connection) {
            Trust::Keep => Some(connection),
            Trust::Reopen => None,
        }
    }
}

/// Of a question that was dropped.
const UNANSWERED: &str = "the database cannot be opened, or a question to it has failed";

/// Far more than wait in good times; a lookup takes microseconds.
const QUEUE_MAX: usize = 4096;
