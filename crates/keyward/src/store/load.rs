//! How busy a store is, as far as it knows by itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// What can be told without asking anyone.
pub trait LoadStore {
    /// How busy the store is at this moment.
    fn load(&self) -> StoreLoad;
}

/// How busy a store is. What a store has none of is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreLoad {
    /// Its connections to a server.
    pub connections: Option<Connections>,
    /// Its commits that changes share.
    pub commits: Option<Commits>,
}

/// The bounded set of connections to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// How many there may be.
    pub max: usize,
    /// How many are lent.
    pub in_use: usize,
    /// How many are open and not lent.
    pub idle: usize,
    /// How many requests wait for one.
    pub waiting: usize,
}

/// Commits that changes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commits {
    /// How many there were since the start.
    pub made: u64,
    /// How many changes were in them; divided by the commits, how many share one.
    pub changes: u64,
    /// How many changes wait for a commit.
    pub waiting: usize,
}

/// What a store counts of its commits.
#[derive(Debug, Default)]
pub(super) struct CommitCounts {
    made: AtomicU64,
    changes: AtomicU64,
}

impl CommitCounts {
    /// Counts a commit of so many changes.
    pub(super) fn add(&self, changes: usize) {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.changes.fetch_add(changes as u64, Ordering::Relaxed);
    }

    /// The counts, beside what waits.
    pub(super) fn beside(&self, waiting: usize) -> Commits {
        let (made, changes) = (&self.made, &self.changes);
        let (made, changes) = (made.load(Ordering::Relaxed), changes.load(Ordering::Relaxed));
        Commits { made, changes, waiting }
    }
}
