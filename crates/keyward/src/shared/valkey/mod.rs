//! Shared state on a Valkey or Redis server.
//!
//! Counts are one script each, so one round trip, on the server's clock. Requests never connect:
//! they use the link that is there, or none. A call that fails or misses its deadline takes the
//! link away from all of them, and what runs in the background puts another in its place once the
//! server answers again. So a server that hangs costs each request that is on its way just then one
//! deadline, and those that follow nothing. A hint that the server refuses takes nothing away.

mod link;
mod names;
mod settings;
mod subscription;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use keyward_core::keys::MasterKey;
use keyward_core::limits::Quota;
use redis::{Script, ScriptInvocation};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Hints, SharedLimited, SharedStanding, SharedState, SharedTry};
use crate::said_once::SaidOnce;
use link::Link;
pub use link::ValkeyError;
use names::Names;
pub use settings::ValkeySettings;

/// Counts and hints on one server.
pub struct Valkey {
    names: Names,
    link: Link,
    count: Script,
    refund: Script,
    counters: Counters,
}

impl Valkey {
    /// Reaches for nothing yet. What nodes share they find by the master key, under names that say
    /// nothing to others: nodes with another master key on the same server have their own.
    pub fn new(settings: &ValkeySettings, master_key: &MasterKey) -> Self {
        Self {
            names: Names::new(master_key),
            link: Link::new(settings),
            count: Script::new(COUNT),
            refund: Script::new(REFUND),
            counters: Counters::default(),
        }
    }

    /// Connects, unless there is a connection, counts something of no meaning, and sends and awaits
    /// hints: whether all that nodes need is there and permitted.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub async fn probe(&self) -> Result<(), ValkeyError> {
        self.probe_counts().await?;
        self.publish().await?;
        subscription::probe(self.link.client(), self.names.channel()).await
    }

    /// Limits hold for all nodes where this succeeds, whatever becomes of hints.
    async fn probe_counts(&self) -> Result<(), ValkeyError> {
        let quota = Quota::new(1000, Duration::from_secs(1));
        let quota = quota.expect("a thousand a second are one each millisecond");
        let nobody = SharedTry { limit: "probe", key: Vec::new(), quota };
        let call = self.invocation(&self.count, &[nobody]);
        let ask = async |mut link| call.invoke_async::<Answer>(&mut link).await;
        let asked = if self.link.is_there() {
            self.link.call(ask).await
        } else {
            self.link.open(ask).await
        };
        asked.map(drop)
    }

    async fn run_script(&self, script: &Script, tries: &[SharedTry]) -> Option<Answer> {
        let call = self.invocation(script, tries);
        let ask = async |mut link| call.invoke_async(&mut link).await;
        // Why there is none was said when the link was lost.
        self.link.call(ask).await.ok()
    }

    fn invocation<'a>(&self, script: &'a Script, tries: &[SharedTry]) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        for SharedTry { limit, key, quota } in tries {
            call.key(self.names.counter(limit, key));
            call.arg(millis(quota.interval())).arg(millis(quota.window()));
        }
        call
    }

    /// Connects and connects again, and asks now and then, so that it is known how it stands while
    /// no request asks.
    async fn keep_link(&self) {
        loop {
            // Whatever comes of it, the link knows and has said.
            let pause = if self.probe_counts().await.is_ok() { PROBED_EVERY } else { AWAY_FOR };
            tokio::select! {
                () = self.link.lost() => sleep(AWAY_FOR).await,
                () = sleep(pause) => {}
            }
        }
    }

    async fn keep_listening(&self, hinted: &Notify) {
        let mut said = SaidOnce::new();
        loop {
            let begun = subscription::begin(self.link.client(), self.names.channel()).await;
            if let Some(error) = said.news(refusal_of(&begun)) {
                tracing::warn!("hints from other nodes do not arrive: {error}");
            }
            let end = match begun {
                Ok(begun) => subscription::listen(begun, || hinted.notify_one()).await,
                Err(error) => Err(error),
            };
            tracing::debug!("hints from other nodes will come again later: {end:?}");
            sleep(AWAY_FOR).await;
        }
    }

    /// Whoever may write to the server may send as many hints as it likes, each of them a read.
    async fn keep_passing_on(&self, hinted: &Notify, hints: &Hints) {
        loop {
            hinted.notified().await;
            count_one(&self.counters.hints_received);
            hints.receive();
            sleep(HINTED_EVERY).await;
        }
    }

    async fn keep_sending(&self, hints: &Hints) {
        let mut said = SaidOnce::new();
        loop {
            hints.to_send().await;
            let published = self.publish().await;
            if published.is_ok() {
                count_one(&self.counters.hints_sent);
            }
            if let Some(error) = said.news(refusal_of(&published)) {
                tracing::warn!("hints of this node reach no other: {error}");
            }
            sleep(HINTED_EVERY).await;
        }
    }

    async fn publish(&self) -> Result<(), ValkeyError> {
        let channel = self.names.channel();
        let hint = redis::cmd("PUBLISH").arg(channel).arg("").take();
        let publish = async |mut link| hint.exec_async(&mut link).await;
        let published = self.link.call_beside(publish).await;
        published.map_err(|error| error.of_hints(&format!("PUBLISH {channel}")))
    }
}

#[async_trait]
impl SharedState for Valkey {
    async fn count(&self, tries: &[SharedTry]) -> Option<Result<(), SharedLimited>> {
        let Some((refused, wait)) = self.run_script(&self.count, tries).await else {
            count_one(&self.counters.missed);
            return None;
        };
        // Counted from one, as Lua does; zero is none of them.
        let Some(index) = refused.checked_sub(1) else { return Some(Ok(())) };
        Some(Err(SharedLimited { index, retry_after: Duration::from_millis(wait) }))
    }

    async fn refund(&self, tries: &[SharedTry]) {
        self.run_script(&self.refund, tries).await;
    }

    fn standing(&self) -> SharedStanding {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SharedStanding {
            reachable: self.link.is_there(),
            missed: read(&self.counters.missed),
            hints_sent: read(&self.counters.hints_sent),
            hints_received: read(&self.counters.hints_received),
        }
    }

    async fn run(&self, hints: &Hints) {
        let hinted = Notify::new();
        tokio::join!(
            self.keep_link(),
            self.keep_listening(&hinted),
            self.keep_passing_on(&hinted, hints),
            self.keep_sending(hints),
        );
    }
}

impl fmt::Debug for Valkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Valkey").field("link", &self.link).finish_non_exhaustive()
    }
}

/// What [`SharedStanding`] shows.
#[derive(Debug, Default)]
struct Counters {
    missed: AtomicU64,
    hints_sent: AtomicU64,
    hints_received: AtomicU64,
}

/// Which key was refused, counted from one, and for how many milliseconds.
type Answer = (usize, u64);

/// What operators are told of hints. That the server is away is said of the link.
fn refusal_of<T>(outcome: &Result<T, ValkeyError>) -> Result<(), ValkeyError> {
    outcome.as_ref().map(drop).or_else(
        |error| {
            if error.is_refusal() { Err(error.clone()) } else { Ok(()) }
        },
    )
}

fn count_one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// As the core does its sums: a length of time in whole milliseconds.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const COUNT: &str = include_str!("count.lua");
const REFUND: &str = include_str!("refund.lua");

/// How long a server is left alone that failed to answer.
const AWAY_FOR: Duration = Duration::from_secs(1);

/// How often a server is asked that answers.
const PROBED_EVERY: Duration = Duration::from_secs(5);

/// How long the next hint waits for more to come.
const HINTED_EVERY: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests;
