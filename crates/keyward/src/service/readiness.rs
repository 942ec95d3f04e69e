//! Whether the service can do its work right now.
//!
//! Anyone may ask, as often as they like. So a write that is tried for the sake of the answer costs
//! a wait for the disk and a page of its log once for everybody who asks within a moment.
//!
//! The same write brings the time by the clock of the store's server, where it has one. A node
//! whose clock differs says so in its log and its metrics, and is ready nevertheless: it cannot
//! know whether the server's clock is the wrong one. Then no node at all would be ready, for the
//! sake of a clock that nobody's request depends on.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use keyward_core::id::SessionId;
use keyward_core::time::Timestamp;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Failure, Keyward};
use crate::clock::Clock;
use crate::store::{Metered, Store as _, StoreError};

impl Keyward {
    /// Whether the store can be read and written to right now, and all its keys are here. While
    /// nothing has failed lately the store is written to once in two seconds at most, however many
    /// ask.
    ///
    /// # Errors
    ///
    /// Where they cannot.
    pub async fn ready(&self) -> Result<(), Failure> {
        self.store.find_session(NOBODYS).await?;
        self.probe.write_to(&self.metered, &*self.clock).await?;
        let ready = self.keyring.ready();
        Ok(ready.map_err(|error| StoreError::Unavailable(error.to_string()))?)
    }

    /// Compares the clocks until dropped, where the store's server has one: nobody may ever ask
    /// whether this node is ready.
    pub(super) async fn run_clock_rounds(&self) {
        let mut rounds = interval(CLOCKS_COMPARED_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            // What fails is said by the layer that counts the calls.
            if let Ok(None) = self.probe.write_to(&self.metered, &*self.clock).await {
                return;
            }
        }
    }

    /// By how much the clock of this node is ahead of the one of the store's server at least, in
    /// milliseconds; below zero where it is behind.
    pub(super) fn clock_lead(&self) -> i64 {
        self.probe.lead.load(Ordering::Relaxed)
    }
}

/// What is wrong where the clocks of this machine and of the store's server differ by more than
/// [`CLOCK_DIFFERENCE_MAX`], as a sentence. The server told its time between two readings of this
/// machine's clock: how long it took to answer is not taken for a difference.
pub fn clock_complaint(asked: Timestamp, server: Timestamp, answered: Timestamp) -> Option<String> {
    complaint(lead(asked, server, answered))
}

/// By how much the clocks of a node and of the store's server may differ. Two nodes then differ by
/// twice as much at most, which is how far ahead of its own clock a verifier lets a token's be.
pub const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(30);

/// How close they have to come to each other after they have differed.
const CLOCK_AGREES_WITHIN: Duration = Duration::from_secs(25);

fn complaint(lead: i64) -> Option<String> {
    (side(lead, 0) != 0).then(|| difference(lead))
}

/// On which side this node's clock is: -1 behind, 1 ahead, 0 where the two agree. Those that differ
/// already, as was `said`, agree again well within the bound: at it they would do both in turns.
fn side(lead: i64, said: i64) -> i64 {
    let side = lead.signum();
    let bound = if said == side { CLOCK_AGREES_WITHIN } else { CLOCK_DIFFERENCE_MAX };
    if Duration::from_millis(lead.unsigned_abs()) > bound { side } else { 0 }
}

fn difference(lead: i64) -> String {
    let secs = Duration::from_millis(lead.unsigned_abs()).as_secs();
    let side = if lead < 0 { "behind" } else { "ahead of" };
    format!(
        "the clock of this machine is {secs} s {side} the one of the store's server; set right the \
         one that is wrong, since each node judges tokens and sessions by its own"
    )
}

fn lead(asked: Timestamp, server: Timestamp, answered: Timestamp) -> i64 {
    let (asked, server, answered) = (asked.millis(), server.millis(), answered.millis());
    // This machine's clock may have been set back in between.
    server.clamp(asked.min(answered), asked.max(answered)).saturating_sub(server)
}

/// What came of the last write that was tried.
#[derive(Debug, Default)]
pub(super) struct Probe {
    last: Mutex<Option<Probed>>,
    lead: AtomicI64,
    /// What was said last: -1 that this node is behind, 1 that it is ahead, 0 neither.
    said: AtomicI64,
}

#[derive(Debug)]
struct Probed {
    began_at: Instant,
    outcome: Result<Option<Timestamp>, StoreError>,
}

impl Probe {
    pub(super) async fn write_to(
        &self,
        store: &Metered,
        clock: &dyn Clock,
    ) -> Result<Option<Timestamp>, StoreError> {
        let asked_at = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(Probed { began_at, outcome }) = &*last {
            // Who has waited while another one tried shares what came of it.
            let is_news = *began_at > asked_at;
            let still_holds = outcome.is_ok() && store.is_up() && began_at.elapsed() < HOLDS_FOR;
            if is_news || still_holds {
                return outcome.clone();
            }
        }
        let (began_at, asked) = (Instant::now(), clock.now());
        let outcome = store.ping().await;
        if let Ok(Some(server)) = outcome {
            self.compare(lead(asked, server, clock.now()));
        }
        *last = Some(Probed { began_at, outcome: outcome.clone() });
        outcome
    }

    fn compare(&self, lead: i64) {
        self.lead.store(lead, Ordering::Relaxed);
        let said = self.said.load(Ordering::Relaxed);
        let side = side(lead, said);
        self.said.store(side, Ordering::Relaxed);
        if side != said && side == 0 {
            tracing::info!("the clocks of node and server agree again");
        } else if side != said {
            tracing::error!("{}", difference(lead));
        }
    }
}

/// No session has this id.
const NOBODYS: SessionId = SessionId::from_bytes([0; 16]);

/// How long a write that succeeded answers for those that would follow, unless any call of the
/// store fails meanwhile.
const HOLDS_FOR: Duration = Duration::from_secs(2);

const CLOCKS_COMPARED_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_journey_explains_is_a_difference() {
        let at = Timestamp::from_secs;
        for (asked, server, answered, expected) in [
            (100, 100, 100, 0),
            (100, 160, 190, 0),
            (100, 131, 100, -31_000),
            (100, 60, 140, 40_000),
            (100, 200, 150, -50_000),
        ] {
            assert_eq!(lead(at(asked), at(server), at(answered)), expected);
        }
        assert_eq!(complaint(30_000), None);
        assert!(complaint(-31_000).is_some_and(|text| text.contains("31 s behind")));
        assert!(complaint(31_000).is_some_and(|text| text.contains("31 s ahead of")));
    }

    #[test]
    fn clocks_at_the_bound_do_not_differ_and_agree_in_turns() {
        let mut said = 0;
        for (lead, expected) in [
            (30_000, 0),
            (31_000, 1),
            (29_000, 1),
            (25_000, 0),
            (29_000, 0),
            (31_000, 1),
            (-29_000, 0),
            (-31_000, -1),
            (31_000, 1),
            (0, 0),
        ] {
            said = side(lead, said);
            assert_eq!(said, expected, "{lead}");
        }
    }
}
