//! What a service runs on: time that is turned by hand, a thread that runs one request at a time,
//! and a disk that keeps what was committed.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use keyward::store::{MemoryStore, SqliteStore, Store};
use keyward_core::time::Timestamp;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// One thread and its virtual time, for one history after the other.
#[derive(Debug)]
pub(crate) struct Host {
    runtime: Runtime,
    signal: Arc<Signal>,
}

impl Host {
    /// For the thread that calls this.
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        Self { runtime: runtime.expect("a runtime"), signal: Signal::of_this_thread() }
    }

    /// Runs a future to its end.
    pub(crate) fn finish<T>(&self, future: impl Future<Output = T>) -> T {
        let _runtime = self.runtime.enter();
        finish(future)
    }

    /// Runs a future until it ends, or until `stopped` says that it waits for the scheduler. Where
    /// it waits for another thread, so does this: nothing else goes on meanwhile.
    pub(crate) fn run<T>(
        &self,
        mut future: Pin<&mut (impl Future<Output = T> + ?Sized)>,
        mut stopped: impl FnMut() -> bool,
    ) -> Option<T> {
        let _runtime = self.runtime.enter();
        let waker = Waker::from(Arc::clone(&self.signal));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(done) => return Some(done),
                Poll::Pending if stopped() => return None,
                Poll::Pending => self.signal.wait(),
            }
        }
    }

    /// Lets the deadlines of requests come nearer.
    pub(crate) fn advance(&self, duration: Duration) {
        self.runtime.block_on(tokio::time::advance(duration));
    }
}

/// Runs a future to its end, whatever other threads it waits for.
pub(crate) fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let signal = Signal::of_this_thread();
    let waker = Waker::from(Arc::clone(&signal));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => signal.wait(),
        }
    }
}

/// Wakes the thread of a host.
#[derive(Debug)]
struct Signal {
    thread: Thread,
    woken: AtomicBool,
}

impl Signal {
    fn of_this_thread() -> Arc<Self> {
        Arc::new(Self { thread: std::thread::current(), woken: AtomicBool::new(false) })
    }

    fn wait(&self) {
        while !self.woken.swap(false, Ordering::SeqCst) {
            std::thread::park();
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// Which store a history is played on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    Sqlite,
    Memory,
}

/// What holds the data of a service. A crash takes the service and leaves this.
#[derive(Debug)]
pub(crate) enum Disk {
    Memory(Arc<MemoryStore>),
    /// A folder for each life of the service.
    Files {
        folder: TempDir,
        lives: u64,
    },
}

impl Disk {
    pub(crate) fn empty(kind: StoreKind) -> Self {
        match kind {
            StoreKind::Memory => Self::Memory(Arc::default()),
            StoreKind::Sqlite => Self::Files { folder: scratch_folder(), lives: 0 },
        }
    }

    /// The same data once more, as they stand on this disk.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::empty(StoreKind::Sqlite);
        match (self, &copy) {
            (Self::Files { .. }, Self::Files { .. }) => copy_files(&self.place(), &copy.place()),
            _ => panic!("what is in memory is not copied"),
        }
        copy
    }

    /// Opens the store over what the disk holds.
    pub(crate) fn open(&self, now: Timestamp) -> Arc<dyn Store> {
        match self {
            Self::Memory(store) => Arc::clone(store) as _,
            Self::Files { .. } => {
                let store = SqliteStore::open(&self.place().join(DATABASE), now);
                Arc::new(store.expect("the database opens"))
            }
        }
    }

    /// What the machine finds when it is switched on again: the files as they are at this moment,
    /// whatever an open store would still have written at its close. `log_bytes` cuts the
    /// write-ahead log, as if the last write had not got further.
    pub(crate) fn lose_power(&mut self, log_bytes: Option<u64>) {
        let before = self.place();
        let Self::Files { lives, .. } = self else { return };
        *lives += 1;
        let after = self.place();
        copy_files(&before, &after);
        if let Some(bytes) = log_bytes {
            let log = std::fs::File::options().write(true).open(after.join(LOG));
            log.and_then(|log| log.set_len(bytes)).expect("the log is cut");
        }
    }

    /// How long the write-ahead log is.
    pub(crate) fn log_bytes(&self) -> u64 {
        match self {
            Self::Memory(_) => 0,
            Self::Files { .. } => {
                std::fs::metadata(self.place().join(LOG)).map_or(0, |log| log.len())
            }
        }
    }

    fn place(&self) -> PathBuf {
        match self {
            Self::Memory(_) => PathBuf::new(),
            Self::Files { folder, lives } => folder.path().join(lives.to_string()),
        }
    }
}

/// Copies the database first and its log second: what a checkpoint has only begun to bring into the
/// database is still in the log.
fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for name in [DATABASE, LOG] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).expect("a copy");
        }
    }
}

/// In memory where the system has such a place: a power cut is simulated, so no disk need be waited
/// for.
fn scratch_folder() -> TempDir {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let folder = folder.expect("a folder");
    std::fs::create_dir(folder.path().join("0")).expect("a folder");
    folder
}

const DATABASE: &str = "keyward.db";
const LOG: &str = "keyward.db-wal";
