//! The layer that the service lies on: counts and times every call, and says when a store that
//! failed works again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::layer::{Call, Layer};
use super::{Store, StoreError};
use crate::metrics::Metrics;

/// A store whose calls are counted.
#[derive(Debug)]
pub(crate) struct Metered {
    inner: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    outage: Mutex<Outage>,
    /// Whether there is an outage, to be seen without the lock.
    is_out: AtomicBool,
}

/// The calls that found the store out of reach when they were last made, and when that was. A disk
/// that is full lets calls succeed that only read, so each stands for itself.
#[derive(Debug, Default)]
struct Outage {
    failing: HashMap<Call, Instant>,
    since: Option<Instant>,
}

impl Metered {
    /// Counts the calls of this store.
    pub(crate) fn new(inner: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics, outage: Mutex::default(), is_out: AtomicBool::new(false) }
    }

    /// Whether nothing has found the store out of reach lately that has not succeeded since.
    pub(crate) fn is_up(&self) -> bool {
        !self.is_out.load(Ordering::Relaxed) || !self.with_outage(Outage::is_on)
    }

    fn note<T>(&self, call: Call, outcome: &Result<T, StoreError>) {
        match outcome {
            Err(error) => {
                self.metrics.store_failed(call, error);
                if matches!(error, StoreError::Unavailable(_)) {
                    self.with_outage(|outage| outage.begin(call));
                    self.is_out.store(true, Ordering::Relaxed);
                }
            }
            Ok(_) if self.is_out.load(Ordering::Relaxed) => {
                let lasted = self.with_outage(|outage| {
                    let lasted = outage.end(call);
                    self.is_out.store(!outage.failing.is_empty(), Ordering::Relaxed);
                    lasted
                });
                // Whoever fails says why at its place; that it is over is said nowhere else.
                if let Some(lasted) = lasted.filter(|lasted| *lasted >= WORTH_SAYING) {
                    tracing::info!(secs = lasted.as_secs(), "the store works again");
                }
            }
            Ok(_) => {}
        }
    }

    fn with_outage<T>(&self, change: impl FnOnce(&mut Outage) -> T) -> T {
        // Nothing in there panics halfway through a change.
        change(&mut self.outage.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Outage {
    fn begin(&mut self, call: Call) {
        let now = Instant::now();
        self.since.get_or_insert(now);
        self.failing.insert(call, now);
    }

    /// For how long it lasted, if this was the last call that failed.
    fn end(&mut self, succeeded: Call) -> Option<Duration> {
        self.failing.remove(&succeeded);
        self.is_on();
        if self.failing.is_empty() { self.since.take().map(|since| since.elapsed()) } else { None }
    }

    /// Forgets calls that nobody has made again: they may succeed by now.
    fn is_on(&mut self) -> bool {
        self.failing.retain(|_, failed_at| failed_at.elapsed() < REMEMBERED);
        !self.failing.is_empty()
    }
}

impl Layer for Metered {
    fn inner(&self) -> &dyn Store {
        &*self.inner
    }

    async fn pass<T: Send>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let outcome = work.await;
        self.metrics.called_store(call, began.elapsed());
        self.note(call, &outcome);
        outcome
    }
}

/// A single call that found the queue full is no outage to speak of.
const WORTH_SAYING: Duration = Duration::from_secs(1);

const REMEMBERED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::io;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_works_again_is_told_of_once() {
        let log = Log::default();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        let _heard = tracing::subscriber::set_default(subscriber);
        let store = Metered::new(Arc::new(MemoryStore::new()), Arc::new(Metrics::new()));
        let down = || async { Err::<(), _>(StoreError::Unavailable("it is down".to_owned())) };
        for _ in 0..3 {
            let outcome = store.pass(Call::Ping, down()).await;
            assert!(outcome.is_err() && !store.is_up());
            tokio::time::advance(Duration::from_secs(5)).await;
        }
        for _ in 0..3 {
            assert_eq!(store.ping().await, Ok(None));
        }
        let told = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
        let told: Vec<&str> = told.lines().filter(|line| line.contains("works again")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("INFO") && told[0].ends_with("secs=15"), "{told:?}");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }
}
