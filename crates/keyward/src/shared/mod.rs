//! What several nodes share besides their store: how often something was tried, and a word that
//! there is something new to read.
//!
//! Neither is the truth about anything. Limits hold on each node alone where this is away, and what
//! a hint announces is in the store and read from there in any case. So nothing that happens here
//! can fail a request, lift a limit of the node's own or hide a revocation.

mod hints;
#[cfg(feature = "valkey")]
mod valkey;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use keyward_core::limits::Quota;

pub use hints::Hints;
#[cfg(feature = "valkey")]
pub use valkey::{Valkey, ValkeyError, ValkeySettings};

/// Counts and hints that every node sees.
///
/// No method fails or waits for long: an implementation bounds what it asks of others by a deadline
/// of its own, and does not ask again for a while after one was missed.
#[async_trait]
pub trait SharedState: fmt::Debug + Send + Sync {
    /// Counts one try under each of the names, or none of them where a quota is used up.
    ///
    /// `None` where nobody can say, now: then they may or may not have been counted.
    async fn count(&self, tries: &[SharedTry]) -> Option<Result<(), SharedLimited>>;

    /// Gives back what was counted. What cannot be given back now comes back by itself in time.
    async fn refund(&self, tries: &[SharedTry]);

    /// What is known without asking anyone.
    fn standing(&self) -> SharedStanding;

    /// Keeps in touch with the others, and carries wake-ups to them and from them, until dropped.
    async fn run(&self, hints: &Hints);
}

/// One try, as nodes know it from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedTry {
    /// The limit's name, as in [`crate::limits::Limiter::new`].
    pub limit: &'static str,
    /// Whom it counts. Equal on every node for the same; may hold an address, so it must not leave
    /// the process as it is.
    pub key: Vec<u8>,
    /// The quota.
    pub quota: Quota,
}

/// A quota is used up, by all nodes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedLimited {
    /// Which of the tries it was, counted from 0.
    pub index: usize,
    /// How long until one more is allowed.
    pub retry_after: Duration,
}

/// How it stands with the shared state, and what it has done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SharedStanding {
    /// Whether it answered when it was last asked.
    pub reachable: bool,
    /// Requests whose tries were counted on this node alone.
    pub missed: u64,
    /// Hints given to the other nodes.
    pub hints_sent: u64,
    /// Hints received, this node's own included.
    pub hints_received: u64,
}
