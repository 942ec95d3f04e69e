//! The bounded audit of junk: refusals that any stranger can cause at will.
//!
//! Such an event never touches the store on its request's path. The first ten of a minute and
//! address are written one by one, the rest of that minute is counted into one event per kind;
//! where even the addresses are too many, they are counted together. So no flood can fill the log
//! or slow the store, and none goes unseen.

mod tally;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyward_core::audit::{AuditContext, AuditEvent, AuditKind, RefreshRefusal};
use keyward_core::id::SessionId;
use tokio::sync::Notify;

use self::tally::Tally;
use crate::store::Store;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// An access token.
    AccessToken,
    /// A request that failed the CSRF check.
    Csrf,
    /// A sign-in, before any password work.
    LoginRateLimited,
    /// A code for a second factor, before it was looked at.
    MfaRateLimited,
    /// A caller of an admin route that may not call it.
    Permission,
    /// A refresh token that is not one of ours.
    RefreshJunk,
    /// A refresh token with a good tag, of a session that there is not.
    RefreshUnknownSession,
}

impl Rejection {
    /// The event that stands for `count` of these.
    const fn event(self, count: u64) -> AuditKind {
        match self {
            Self::AccessToken => AuditKind::AccessTokenRejected { count },
            Self::Csrf => AuditKind::CsrfRejected { count },
            Self::LoginRateLimited => AuditKind::LoginRateLimited { count },
            Self::MfaRateLimited => AuditKind::MfaRateLimited { count },
            Self::Permission => AuditKind::PermissionDenied { count },
            Self::RefreshJunk => AuditKind::RefreshRejected { reason: RefreshRefusal::Junk, count },
            Self::RefreshUnknownSession => {
                AuditKind::RefreshRejected { reason: RefreshRefusal::UnknownSession, count }
            }
        }
    }
}

/// Takes refusals from requests and writes them in the background.
#[derive(Debug)]
pub struct Rejections {
    store: Arc<dyn Store>,
    tally: Mutex<Tally>,
    noted: Notify,
    /// What is being written. It stays here until the store has it, so that a failed write or an
    /// abandoned [`Rejections::run`] loses nothing.
    in_flight: tokio::sync::Mutex<Vec<(AuditEvent, AuditContext)>>,
}

impl Rejections {
    /// Writes into `store`, once [`Rejections::run`] runs.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            tally: Mutex::default(),
            noted: Notify::new(),
            in_flight: tokio::sync::Mutex::default(),
        }
    }

    /// Notes a refusal. Never waits for the store; memory is bounded.
    pub fn note(&self, rejection: Rejection, session_id: Option<SessionId>, context: AuditContext) {
        self.tally().note(rejection, session_id, context);
        self.noted.notify_one();
    }

    /// Writes what is noted, at most one batch a second, until dropped. What was counted is
    /// written once a minute.
    pub async fn run(&self) {
        let mut minute = tokio::time::interval(Duration::from_secs(60));
        loop {
            tokio::select! {
                () = self.noted.notified() => {}
                _ = minute.tick() => self.tally().close(),
            }
            self.write().await;
            tokio::time::sleep(BATCH_INTERVAL).await;
        }
    }

    /// Writes everything noted so far, what was counted included. For the end of the service.
    pub async fn flush(&self) {
        loop {
            self.tally().close();
            if !self.write().await {
                return;
            }
        }
    }

    /// Whether there was anything to write and the store has all of it now.
    async fn write(&self) -> bool {
        let mut batch = self.in_flight.lock().await;
        // While the store is down the batch stays as it is, and the tally fills up to its bound.
        if batch.is_empty() {
            *batch = self.tally().take();
        }
        let any = !batch.is_empty();
        while !batch.is_empty() {
            if let Err(error) = self.store.record(batch.clone()).await {
                let waiting = batch.len();
                tracing::warn!(waiting, "refused requests could not be recorded yet: {error}");
                return false;
            }
            *batch = self.tally().take();
        }
        any
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        // A panic in here would at worst have lost a count.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const BATCH_INTERVAL: Duration = Duration::from_secs(1);
