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

    /// Writes what was noted before, and no more: whoever waits for that does not wait for as long
    /// as strangers go on.
    pub async fn flush_noted(&self) {
        self.tally().close();
        let mut batch = self.in_flight.lock().await;
        // What an earlier write has left, and what was noted since.
        for _ in 0..2 {
            if batch.is_empty() {
                *batch = self.tally().take();
            }
            if !self.record(&mut batch).await {
                return;
            }
        }
    }

    /// Whether there was anything to write and the store has all of it now.
    async fn write(&self) -> bool {
        let mut any = false;
        loop {
            // Let go of after each batch: whoever waits for it besides is next.
            let mut batch = self.in_flight.lock().await;
            if batch.is_empty() {
                *batch = self.tally().take();
            }
            if batch.is_empty() {
                return any;
            }
            if !self.record(&mut batch).await {
                return false;
            }
            any = true;
        }
    }

    /// Whether the store has the batch now. While it is down the batch stays as it is, and the
    /// tally fills up to its bound.
    async fn record(&self, batch: &mut Vec<(AuditEvent, AuditContext)>) -> bool {
        if batch.is_empty() {
            return true;
        }
        if let Err(error) = self.store.record(batch.clone()).await {
            let waiting = batch.len();
            tracing::warn!(waiting, "refused requests could not be recorded yet: {error}");
            return false;
        }
        batch.clear();
        true
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        // A panic in here would at worst have lost a count.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const BATCH_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use keyward_core::session::Device;
    use keyward_core::time::Timestamp;

    use super::*;
    use crate::store::layer::{Call, Layer};
    use crate::store::{MemoryStore, StoreError};

    fn note(rejections: &Rejections) {
        let (at, device) = (Timestamp::from_secs(1), Device::default());
        let context = AuditContext { at, device, request_id: None, actor: None };
        rejections.note(Rejection::RefreshJunk, None, context);
    }

    /// While it writes, a stranger is refused again.
    #[derive(Debug, Default)]
    struct Besieged {
        inner: MemoryStore,
        rejections: OnceLock<Arc<Rejections>>,
        writes: AtomicUsize,
    }

    impl Layer for Besieged {
        fn inner(&self) -> &dyn Store {
            &self.inner
        }

        async fn pass<T: Send>(
            &self,
            _: Call,
            work: impl Future<Output = Result<T, StoreError>> + Send,
        ) -> Result<T, StoreError> {
            assert!(self.writes.fetch_add(1, Ordering::Relaxed) < 9, "it never ends");
            note(self.rejections.get().expect("set before"));
            tokio::task::yield_now().await;
            work.await
        }
    }

    #[tokio::test]
    async fn whoever_waits_for_what_was_noted_does_not_wait_for_strangers() {
        let store = Arc::new(Besieged::default());
        let rejections = Arc::new(Rejections::new(Arc::clone(&store) as _));
        store.rejections.set(Arc::clone(&rejections)).expect("set once");
        note(&rejections);
        rejections.flush_noted().await;
        assert!((1..=2).contains(&store.writes.load(Ordering::Relaxed)));
        // Nor for whoever writes as long as there is something.
        tokio::select! {
            biased;
            _ = rejections.write() => panic!("there is always more"),
            () = rejections.flush_noted() => {}
        }
    }
}
