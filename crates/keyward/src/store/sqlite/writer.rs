//! The one thread that writes, and its group commit.
//!
//! A commit waits for the disk once, however many changes it holds. So the thread takes whatever
//! waits into one transaction, each job in a savepoint of its own, commits, and answers all of
//! them. A job that comes alone is never held back.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::connection::{BUSY_TIMEOUT, LOCKED, open_writer, unavailable};
use super::queue::{Queue, Refused};
use crate::store::load::CommitCounts;
use crate::store::{Commits, StoreError};

/// The way to the writing thread.
pub(super) struct Writer {
    queue: Arc<Queue<Box<dyn Job>>>,
    committed: Arc<CommitCounts>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread with its connection to the file at `path`.
    pub(super) fn start(path: &Path, connection: Connection) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue::new(QUEUE_MAX));
        let committer = Committer {
            path: path.to_owned(),
            connection: Some(connection),
            is_locked_out: false,
            unchecked: 0,
        };
        let (jobs, committed) = (Arc::clone(&queue), Arc::<CommitCounts>::default());
        let counted = Arc::clone(&committed);
        let thread = Builder::new()
            .name("keyward-writer".to_owned())
            .spawn(move || run(&jobs, committer, &counted))
            .map_err(|_| unavailable("the system refuses another thread"))?;
        Ok(Self { queue, committed, thread: Mutex::new(Some(thread)) })
    }

    /// What was committed, and what waits.
    pub(super) fn commits(&self) -> Commits {
        self.committed.beside(self.queue.len())
    }

    /// Runs `work` in a transaction and answers once that is committed. What `work` has changed is
    /// undone where it fails. It runs even if the caller goes away meanwhile.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Write { work: Some(work), outcome: None, reply };
        self.queue.push(Box::new(job))?;
        answer.await.unwrap_or_else(|_| Err(Refused::Closed.into()))
    }

    /// Lets the thread finish what waits, and waits for its end.
    pub(super) fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the store's writing thread has panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> Self {
        unavailable(match refused {
            Refused::Full => "too much waits for the database",
            Refused::Closed => "the database is closed",
        })
    }
}

/// One change, as the thread sees it.
trait Job: Send {
    /// Makes the change within the open transaction; tells whether it failed.
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError>;

    /// Answers whoever asked for it, now that the transaction has or has not been committed.
    fn answer(self: Box<Self>, committed: &Result<(), StoreError>);
}

struct Write<W, T> {
    work: Option<W>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<W, T> Job for Write<W, T>
where
    W: FnOnce(&Connection) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let outcome = work(connection);
        let ran = outcome.as_ref().map(|_| ()).map_err(Clone::clone);
        self.outcome = Some(outcome);
        ran
    }

    fn answer(self: Box<Self>, committed: &Result<(), StoreError>) {
        let outcome = match (committed, self.outcome) {
            (Err(error), _) => Err(error.clone()),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(unavailable("the change was not made")),
        };
        // Whoever asked may have gone; the change was made all the same.
        drop(self.reply.send(outcome));
    }
}

fn run(queue: &Queue<Box<dyn Job>>, mut committer: Committer, counted: &CommitCounts) {
    let _abandon = queue.abandon_on_drop();
    loop {
        let mut group = queue.take(GROUP_MAX);
        if group.is_empty() {
            break;
        }
        let committed = committer.commit(&mut group);
        match &committed {
            Ok(()) => counted.add(group.len()),
            Err(error) => {
                tracing::error!(%error, jobs = group.len(), "the database did not commit");
            }
        }
        for job in group {
            job.answer(&committed);
        }
        committer.checkpoint_if_due(queue.is_empty());
    }
    committer.optimize();
}

/// The connection that writes.
struct Committer {
    path: PathBuf,
    /// `None` after a failure, whatever it was: the next group opens a new one.
    connection: Option<Connection>,
    /// Whether the last group waited in vain for another process.
    is_locked_out: bool,
    /// Rows changed and commits made since the last checkpoint.
    unchecked: u64,
}

impl Committer {
    /// Runs the jobs and commits them together. After an error none of them has happened: whatever
    /// is open is rolled back with the connection. A new one also notices that a file has become
    /// writable again.
    fn commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => open_writer(&self.path)?,
        };
        if self.is_locked_out {
            // Whoever holds the lock that long has long work, such as a copy of everything. Nobody
            // should wait for seconds to be told so.
            connection.busy_timeout(BUSY_TIMEOUT_AGAIN)?;
        }
        let rows = connection.total_changes();
        if let Err(error) = commit_group(&connection, group) {
            self.is_locked_out = error == unavailable(LOCKED);
            return Err(error);
        }
        if std::mem::take(&mut self.is_locked_out) {
            // Where it fails the next wait is a short one, no more.
            drop(connection.busy_timeout(BUSY_TIMEOUT));
        }
        // Each commit counts: not everything that takes pages is a row.
        self.unchecked += connection.total_changes() - rows + 1;
        self.connection = Some(connection);
        Ok(())
    }

    /// Copies the write-ahead log into the database now and then, between two groups: seldom while
    /// there is work, as a page that is written often is then copied once.
    fn checkpoint_if_due(&mut self, idle: bool) {
        let due = if idle { CHECKPOINT_ROWS_IDLE } else { CHECKPOINT_ROWS_BUSY };
        let Some(connection) = self.connection.as_ref().filter(|_| self.unchecked >= due) else {
            return;
        };
        self.unchecked = 0;
        // A failure costs nothing but disk space, and the next commit meets it too.
        if let Ok(pages) = checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)")
            && pages > WAL_PAGES_MAX
        {
            // Readers have kept the log from starting over. This waits for them.
            drop(checkpoint(connection, "PRAGMA wal_checkpoint(RESTART)"));
        }
    }

    /// Refreshes the planner's statistics before the file is closed.
    fn optimize(&self) {
        if let Some(connection) = &self.connection {
            drop(connection.execute_batch("PRAGMA optimize"));
        }
    }
}

fn commit_group(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    execute(connection, "BEGIN IMMEDIATE")?;
    for job in group {
        execute(connection, "SAVEPOINT job")?;
        if let Err(error) = job.run(connection) {
            // A full disk can make SQLite roll the whole transaction back by itself.
            if connection.is_autocommit() {
                return Err(error);
            }
            execute(connection, "ROLLBACK TO job")?;
        }
        execute(connection, "RELEASE job")?;
    }
    execute(connection, "COMMIT")
}

fn execute(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// How many pages the log holds afterwards.
fn checkpoint(connection: &Connection, sql: &str) -> rusqlite::Result<i64> {
    connection.query_row(sql, [], |row| row.get(1))
}

/// About a second of work at full load: whoever waits longer has given up.
const QUEUE_MAX: usize = 4096;

/// How many changes share one commit at most, so that the first of them need not wait long.
const GROUP_MAX: usize = 256;

/// How long to wait for another process where one wait was in vain.
const BUSY_TIMEOUT_AGAIN: Duration = Duration::from_millis(200);

const CHECKPOINT_ROWS_IDLE: u64 = 1000;
const CHECKPOINT_ROWS_BUSY: u64 = 8000;

/// 64 MiB.
const WAL_PAGES_MAX: i64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::store::sqlite::connection::create_file;

    #[tokio::test]
    async fn a_job_that_fails_in_a_group_is_undone_alone() {
        let (writer, dir) = writer();
        let resume = hold(&writer).await;
        let jobs = [insert(&writer, 1), insert_and_fail(&writer, 2), insert(&writer, 3)];
        resume.send(()).expect("the writer waits");
        let [first, second, third] = jobs;
        assert_eq!(first.await, Ok(Ok(())));
        assert_eq!(second.await, Ok(Err(unavailable("it fails"))));
        assert_eq!(third.await, Ok(Ok(())));
        assert_eq!(numbers(dir.path()), [1, 3]);
    }

    #[tokio::test]
    async fn a_group_is_answered_only_after_its_commit() {
        let (writer, dir) = writer();
        let resume = hold(&writer).await;
        let mut first = insert(&writer, 1);
        let (started, second_started) = mpsc::channel();
        let (finish, second_finish) = mpsc::channel();
        let second = push(&writer, move |_| {
            started.send(()).expect("the test waits");
            second_finish.recv().expect("the test goes on");
            Ok(())
        });
        resume.send(()).expect("the writer waits");
        second_started.recv().expect("the writer lives");
        // The first job has run, and its group is still open.
        assert_eq!(first.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert!(numbers(dir.path()).is_empty());
        finish.send(()).expect("the writer waits");
        assert_eq!(first.await, Ok(Ok(())));
        assert_eq!(numbers(dir.path()), [1]);
        assert_eq!(second.await, Ok(Ok(())));
    }

    #[tokio::test]
    async fn a_job_runs_though_its_caller_has_gone() {
        let (writer, dir) = writer();
        let resume = hold(&writer).await;
        drop(insert(&writer, 1));
        resume.send(()).expect("the writer waits");
        writer.close();
        assert_eq!(numbers(dir.path()), [1]);
    }

    #[tokio::test]
    async fn a_failed_commit_fails_every_job_and_the_writer_goes_on() {
        let (writer, dir) = writer();
        let resume = hold(&writer).await;
        let first = insert(&writer, 1);
        // The transaction ends behind the back of the group, so the commit finds none.
        let second = push(&writer, |connection| Ok(connection.execute_batch("ROLLBACK")?));
        resume.send(()).expect("the writer waits");
        assert!(matches!(first.await, Ok(Err(StoreError::Unavailable(_)))));
        assert!(matches!(second.await, Ok(Err(StoreError::Unavailable(_)))));
        assert_eq!(insert(&writer, 2).await, Ok(Ok(())));
        assert_eq!(numbers(dir.path()), [2]);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_dead_writer_leaves_nobody_waiting() {
        let (writer, _dir) = writer();
        let resume = hold(&writer).await;
        let waiting: Vec<_> = (0..QUEUE_MAX).map(|_| push(&writer, |_| Ok(()))).collect();
        assert_eq!(writer.write(|_| Ok(())).await, Err(Refused::Full.into()));
        // Dropping the sender makes the held job panic.
        drop(resume);
        for answer in waiting {
            assert!(answer.await.is_err());
        }
        assert_eq!(writer.write(|_| Ok(())).await, Err(Refused::Closed.into()));
    }

    #[tokio::test]
    async fn the_log_is_copied_into_the_database_and_starts_over() {
        let (writer, dir) = writer();
        let wal = dir.path().join("test.db-wal");
        let mut sizes = Vec::new();
        for _ in 0..6 {
            let many =
                "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 9000)
                        INSERT INTO number SELECT i FROM n";
            let done = push(&writer, move |connection| Ok(connection.execute_batch(many)?));
            assert_eq!(done.await, Ok(Ok(())));
            sizes.push(std::fs::metadata(&wal).expect("the log").len());
        }
        assert!(sizes[5] < 3 * sizes[0], "{sizes:?}");
    }

    /// A writer on a fresh database with one table of numbers.
    fn writer() -> (Writer, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("test.db");
        create_file(&path).expect("a file");
        let connection = open_writer(&path).expect("a database");
        connection.execute_batch("CREATE TABLE number (value INTEGER)").expect("a table");
        (Writer::start(&path, connection).expect("a thread"), dir)
    }

    /// Keeps the writer busy, so that what comes next waits together. It panics if the sender goes
    /// without a word.
    async fn hold(writer: &Writer) -> mpsc::Sender<()> {
        let (held, holding) = oneshot::channel();
        let (resume, resumed) = mpsc::channel();
        drop(push(writer, move |_| {
            held.send(()).expect("the test waits");
            resumed.recv().expect("the test goes on");
            Ok(())
        }));
        holding.await.expect("the writer lives");
        resume
    }

    fn push(
        writer: &Writer,
        work: impl FnOnce(&Connection) -> Result<(), StoreError> + Send + 'static,
    ) -> oneshot::Receiver<Result<(), StoreError>> {
        let (reply, answer) = oneshot::channel();
        let job = Write { work: Some(work), outcome: None, reply };
        writer.queue.push(Box::new(job)).expect("the queue has room");
        answer
    }

    fn insert(writer: &Writer, value: i64) -> oneshot::Receiver<Result<(), StoreError>> {
        push(writer, move |connection| {
            connection.execute("INSERT INTO number VALUES (?1)", [value])?;
            Ok(())
        })
    }

    fn insert_and_fail(writer: &Writer, value: i64) -> oneshot::Receiver<Result<(), StoreError>> {
        push(writer, move |connection| {
            connection.execute("INSERT INTO number VALUES (?1)", [value])?;
            Err(unavailable("it fails"))
        })
    }

    /// What another connection sees.
    fn numbers(dir: &Path) -> Vec<i64> {
        let connection = Connection::open(dir.join("test.db")).expect("a database");
        let mut statement =
            connection.prepare("SELECT value FROM number ORDER BY value").expect("a statement");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.map(|row| row.expect("a row")).collect()
    }
}
