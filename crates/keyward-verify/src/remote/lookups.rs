//! Tokens that name a key which is not known yet, and the one fetch that all of them wait for.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use crate::refusal::Refusal;

/// Who waits for which fetch.
pub(crate) struct Lookups {
    wanted: Notify,
    fetches: watch::Sender<Fetches>,
    waiting: Semaphore,
    /// Keys that were looked for and are not there, since when.
    missing: Mutex<HashMap<String, Instant>>,
}

/// The fetches of this process so far.
#[derive(Debug, Clone, Copy, Default)]
struct Fetches {
    /// How many futures fetch.
    runners: usize,
    begun: u64,
    ended: u64,
    /// Whether the last one that ended brought keys.
    succeeded: bool,
}

impl Lookups {
    pub(crate) fn new() -> Self {
        Self {
            wanted: Notify::new(),
            fetches: watch::Sender::new(Fetches::default()),
            waiting: Semaphore::new(WAITING_MAX),
            missing: Mutex::default(),
        }
    }

    /// Waits until the key is known, or a fetch that began after this call has not brought it. Such
    /// a fetch knows every key that a token which is already here can have been signed with.
    pub(super) async fn look_for(
        &self,
        kid: &str,
        is_known: impl Fn() -> bool,
    ) -> Result<(), Refusal> {
        if self.is_missing(kid) {
            return Err(Refusal::Invalid);
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Err(Refusal::NotCurrent) };
        let mut fetches = self.fetches.subscribe();
        let awaited = fetches.borrow_and_update().begun + 1;
        self.wanted.notify_one();
        while !is_known() {
            let seen = *fetches.borrow_and_update();
            if seen.ended >= awaited && seen.succeeded {
                self.note_missing(kid);
                return Err(Refusal::Invalid);
            }
            let is_hopeless = seen.runners == 0 || seen.ended >= awaited;
            if is_hopeless || fetches.changed().await.is_err() {
                return Err(Refusal::NotCurrent);
            }
        }
        Ok(())
    }

    /// Somebody fetches until the answer is dropped.
    pub(super) fn run(&self) -> Running<'_> {
        self.fetches.send_modify(|fetches| fetches.runners += 1);
        Running(self)
    }

    /// Waits until somebody waits.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(super) fn begin(&self) {
        self.fetches.send_modify(|fetches| fetches.begun += 1);
    }

    pub(super) fn end(&self, succeeded: bool) {
        self.fetches.send_modify(|fetches| {
            fetches.ended = fetches.begun;
            fetches.succeeded = succeeded;
        });
    }

    fn is_missing(&self, kid: &str) -> bool {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.get(kid).is_some_and(|since| since.elapsed() < MISSING_FOR)
    }

    fn note_missing(&self, kid: &str) {
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|_, since| since.elapsed() < MISSING_FOR);
        // Past the bound the cool-down alone protects the service.
        if missing.len() < MISSING_MAX {
            missing.insert(kid.to_owned(), Instant::now());
        }
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookups")
    }
}

/// Whoever fetches. Once it is gone nobody waits in vain.
pub(super) struct Running<'a>(&'a Lookups);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetches.send_modify(|fetches| fetches.runners -= 1);
    }
}

/// How many requests may wait for keys at a time.
const WAITING_MAX: usize = 1024;

/// How many missing keys are remembered, and for how long. Another node of the service may publish
/// a key a moment later than the one that signs with it.
const MISSING_MAX: usize = 256;
const MISSING_FOR: Duration = Duration::from_secs(10);
