//! A store that can be told to fail, and that lets other requests in between any two steps.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
pub(crate) use keyward::store::layer::Call;
use keyward::store::layer::Layer;
use keyward::store::{MemoryStore, RotateOutcome, Standing, Store, StoreError};
use keyward_core::audit::AuditContext;
use keyward_core::id::SessionId;
use keyward_core::session::Swap;
use tokio::task::yield_now;

/// A store, with faults.
pub(crate) struct FaultyStore {
    inner: Arc<dyn Store>,
    is_down: AtomicBool,
    faults: Mutex<Vec<(Call, Fault)>>,
    meanwhile: Mutex<Option<(Call, BoxFuture<'static, ()>)>>,
    key_reads: AtomicUsize,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store is out of reach; nothing happens.
    Down,
    /// It is done, but the answer is lost on the way back.
    AnswerLost,
    /// So many swaps do not happen, and the session is answered as it was.
    StaleReads(u32),
}

impl FaultyStore {
    /// A store in memory that works.
    pub(crate) fn new() -> Arc<Self> {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// This store, working.
    pub(crate) fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            is_down: AtomicBool::default(),
            faults: Mutex::default(),
            meanwhile: Mutex::default(),
            key_reads: AtomicUsize::default(),
        })
    }

    /// Lets something happen once, between the next such call and its answer.
    pub(crate) fn meanwhile(&self, call: Call, what: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.lock().expect("no panic") = Some((call, Box::pin(what)));
    }

    /// Such calls fail from now on.
    pub(crate) fn fail(&self, call: Call, fault: Fault) {
        self.faults.lock().expect("no panic").push((call, fault));
    }

    /// Every call fails from now on.
    pub(crate) fn go_down(&self) {
        self.is_down.store(true, Ordering::SeqCst);
    }

    /// Works again.
    pub(crate) fn heal(&self) {
        self.is_down.store(false, Ordering::SeqCst);
        self.faults.lock().expect("no panic").clear();
    }

    /// How often the keys were read.
    pub(crate) fn key_reads(&self) -> usize {
        self.key_reads.load(Ordering::SeqCst)
    }

    fn fault_of(&self, call: Call) -> Option<Fault> {
        if self.is_down.load(Ordering::SeqCst) {
            return Some(Fault::Down);
        }
        let faults = self.faults.lock().expect("no panic");
        faults.iter().find(|(failing, _)| *failing == call).map(|(_, fault)| *fault)
    }

    fn is_stale(&self) -> bool {
        self.faults.lock().expect("no panic").iter_mut().any(|(_, fault)| match fault {
            Fault::StaleReads(left) if *left > 0 => {
                *left -= 1;
                true
            }
            Fault::StaleReads(_) | Fault::Down | Fault::AnswerLost => false,
        })
    }

    async fn read_stale(&self, id: SessionId) -> Result<RotateOutcome, StoreError> {
        let (session, user) =
            self.inner.find_session(id).await?.map(|found| (found.session, found.user)).unzip();
        Ok(RotateOutcome::Refused(Standing { session, user }))
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl Layer for FaultyStore {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    async fn pass<T: Send>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if call == Call::ListKeys {
            self.key_reads.fetch_add(1, Ordering::SeqCst);
        }
        let fault = self.fault_of(call);
        if fault == Some(Fault::Down) {
            return Err(StoreError::Unavailable("table session is on fire".to_owned()));
        }
        yield_now().await;
        let done = work.await;
        let meanwhile = self.meanwhile.lock().expect("no panic").take_if(|(at, _)| *at == call);
        if let Some((_, what)) = meanwhile {
            what.await;
        }
        yield_now().await;
        if fault == Some(Fault::AnswerLost) {
            return Err(StoreError::Unavailable("the line is dead".to_owned()));
        }
        done
    }

    async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        if self.is_stale() {
            return self.read_stale(swap.session_id).await;
        }
        self.pass(Call::Rotate, self.inner.rotate(swap, context)).await
    }
}
