//! What a history is about: drawn from its seed, so that each kind of trouble comes alone, together
//! with others, and not at all.

use std::time::Duration;

use keyward::policy::Policy;
use keyward_core::limits::Quota;
use keyward_core::rotation::OnReuse;

use crate::random::Random;

/// The weights of one history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How many moves before everything comes to rest.
    pub(crate) moves: u64,
    pub(crate) browsers: usize,
    pub(crate) has_thief: bool,
    pub(crate) by_cookie: bool,
    pub(crate) on_reuse: OnReuse,
    pub(crate) race_window: Duration,
    /// Of a hundred calls of the store, how many fail.
    pub(crate) faults: u64,
    /// Of a hundred swaps, how many are answered from a snapshot.
    pub(crate) snapshots: u64,
    /// How often messages are lost or come twice, by weight; so below.
    pub(crate) losses: u64,
    pub(crate) crashes: u64,
    pub(crate) waits: u64,
    /// How often users and operators end sessions.
    pub(crate) departures: u64,
    /// How many refreshes of a session are let through in a minute.
    pub(crate) refreshes_max: u32,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random) -> Self {
        Self {
            moves: 30 + random.below(50),
            browsers: random.pick(&[1, 1, 2]),
            has_thief: random.percent(40),
            by_cookie: random.percent(25),
            on_reuse: random.pick(&[OnReuse::Session, OnReuse::Session, OnReuse::User]),
            race_window: Duration::from_secs(random.pick(&[0, 0, 5])),
            faults: random.pick(&[0, 0, 4, 15]),
            snapshots: random.pick(&[0, 50]),
            losses: random.pick(&[0, 4, 12]),
            crashes: random.pick(&[0, 0, 1, 2]),
            waits: random.pick(&[4, 8, 16]),
            departures: random.pick(&[0, 1, 2]),
            refreshes_max: random.pick(&[5, 60]),
        }
    }

    /// Sets what the service is told.
    pub(crate) fn steer(&self, policy: &mut Policy) {
        if self.by_cookie {
            policy.deliver_by_cookie();
        }
        policy.limits.refresh_session = Quota::new(self.refreshes_max, MINUTE);
        policy.rotation.on_reuse = self.on_reuse;
        policy.rotation.race_window = self.race_window;
    }

    /// How long a proof counts, by the policy's defaults.
    pub(crate) fn retry_window(&self) -> Duration {
        if self.by_cookie { MINUTE } else { 24 * 60 * MINUTE }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
