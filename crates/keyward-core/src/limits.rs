//! The arithmetic of limits on trying: the generic cell rate algorithm, as plain functions.
//!
//! A limit of 5 per 15 minutes allows five at once and then one more every three minutes. All that
//! is kept per key is one point in time, so memory is small and a shared counter is one number.

use std::time::Duration;

use crate::time::Timestamp;

/// So many per so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    count: u32,
    window: Duration,
}

impl Quota {
    /// `count` per `window`. `None` for a count or a window of zero, or a window that gives each
    /// of the `count` less than a millisecond.
    pub fn new(count: u32, window: Duration) -> Option<Self> {
        (count > 0 && window.as_millis() >= u128::from(count)).then_some(Self { count, window })
    }

    /// How many are allowed at once, and again after [`Quota::window`]. At least one.
    pub fn count(self) -> u32 {
        self.count
    }

    /// How long it takes until a used-up quota is whole again.
    pub fn window(self) -> Duration {
        self.window
    }

    /// The time that one of the quota takes to come back. At least a millisecond.
    pub fn interval(self) -> Duration {
        self.window / self.count
    }
}

/// What is kept of a key that was counted: when its quota will be whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WholeAt(pub Timestamp);

impl WholeAt {
    /// Whether this still counts for something.
    ///
    /// What one clock has counted lies within one window of it. Up to one window more it can be
    /// that of a node whose clock is ahead, and is no less used up: it would otherwise take two
    /// nodes to try for ever. Beyond that it was kept before the clock stepped back, and would lock
    /// its key out for as long as the step was.
    pub fn counts(self, quota: Quota, now: Timestamp) -> bool {
        now < self.0 && self.0 <= now.plus(quota.window).plus(quota.window)
    }
}

/// The quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// How long until one more is allowed.
    pub retry_after: Duration,
}

/// Counts one. `kept` is what was kept of this key before, if anything was.
///
/// # Errors
///
/// [`Limited`] where the quota is used up; then nothing is counted.
pub fn count(kept: Option<WholeAt>, quota: Quota, now: Timestamp) -> Result<WholeAt, Limited> {
    let kept = kept.filter(|kept| kept.counts(quota, now));
    let kept = kept.map_or(now, |kept| kept.0);
    let whole_at = kept.plus(quota.interval());
    let ahead = whole_at.since(now);
    if ahead > quota.window {
        Err(Limited { retry_after: ahead - quota.window })
    } else {
        Ok(WholeAt(whole_at))
    }
}

/// Gives back one that was counted and turned out not to matter, such as a sign-in that succeeded.
pub fn refund(kept: WholeAt, quota: Quota) -> WholeAt {
    WholeAt(kept.0.minus(quota.interval()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIVE: Quota = Quota { count: 5, window: Duration::from_secs(900) };

    #[test]
    fn allows_the_count_at_once_and_then_one_per_interval() {
        let now = Timestamp::from_secs(1000);
        let mut kept = None;
        for _ in 0..5 {
            kept = Some(count(kept, FIVE, now).expect("within the quota"));
        }
        let limited = count(kept, FIVE, now).expect_err("the sixth");
        assert_eq!(limited.retry_after, Duration::from_secs(180));

        let later = now.plus(limited.retry_after);
        let kept = Some(count(kept, FIVE, later).expect("one came back"));
        count(kept, FIVE, later).expect_err("and only one");
    }

    #[test]
    fn a_refund_undoes_a_count() {
        let now = Timestamp::from_secs(1000);
        let mut kept = WholeAt(now);
        for _ in 0..100 {
            kept = refund(count(Some(kept), FIVE, now).expect("refunded each time"), FIVE);
        }
        assert_eq!(kept, WholeAt(now));
    }

    #[test]
    fn a_clock_that_steps_back_locks_nobody_out() {
        let now = Timestamp::from_secs(1_000_000);
        let kept = count(None, FIVE, now).expect("the first");
        let before = now.minus(Duration::from_secs(100_000));
        let kept = count(Some(kept), FIVE, before).expect("nothing of this clock's time is kept");
        assert_eq!(kept, WholeAt(before.plus(FIVE.interval())));
    }

    /// Otherwise who knows two nodes would use one up and begin anew on the other, for ever.
    #[test]
    fn a_clock_that_is_behind_counts_what_the_one_ahead_has_counted() {
        let now = Timestamp::from_secs(1_000_000);
        let kept = WholeAt(now.plus(FIVE.window()));
        for behind in [Duration::from_millis(1), FIVE.interval(), FIVE.window()] {
            let limited = count(Some(kept), FIVE, now.minus(behind)).expect_err("used up");
            assert_eq!(limited.retry_after, FIVE.interval() + behind);
        }
    }

    proptest! {
        #[test]
        fn who_waits_as_told_is_let_in(
            kept in prop_oneof![any::<i64>(), -2_000_000_i64..2_000_000],
            (quota_count, window) in (1_u32..100, 100_u64..1_000_000),
        ) {
            let now = Timestamp::from_millis(1_000_000_000);
            let kept = Some(WholeAt(Timestamp::from_millis(now.millis().saturating_add(kept))));
            let quota = Quota::new(quota_count, Duration::from_millis(window)).expect("a quota");
            if let Err(limited) = count(kept, quota, now) {
                prop_assert!(limited.retry_after <= quota.window() + quota.interval());
                prop_assert!(count(kept, quota, now.plus(limited.retry_after)).is_ok());
            }
        }
    }

    #[test]
    fn refuses_quotas_that_mean_nothing() {
        assert_eq!(Quota::new(0, Duration::from_secs(1)), None);
        assert_eq!(Quota::new(1, Duration::ZERO), None);
        assert_eq!(Quota::new(u32::MAX, Duration::from_secs(1)), None);
        assert!(Quota::new(5, Duration::from_secs(900)).is_some());
    }
}
