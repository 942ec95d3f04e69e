//! What has had its time leaves the store, in small steps beside the traffic.
//!
//! - **Sessions** leave when their absolute timeout is so long ago that a list of ended sessions
//!   would not show them any more. Until then a late refresh token is answered by what became of
//!   its session; afterwards it is one of an unknown session, and is refused and recorded all the
//!   same. No theft goes unseen by that: nothing has been exchanged since the timeout, and past it
//!   nothing is left to take.
//! - **Audit events** leave by whole months, once the last event of the month is older than the
//!   retention. So a store that keeps the log by month drops it at once, and each store deletes the
//!   same, from the oldest event on.
//! - **Checkpoints** of the chain over the audit log leave after the months that they are about.
//! - **Revocations** leave the outbox once every access token that they are about has expired.
//! - **Sign-ins that wait for a code** leave once they take none any more.
//! - **One-time tokens** leave when they expire, and **mails** that no sender was there to give up.
//! - Keys that are gone leave when their purpose rotates; service keys stay, since events name
//!   them.
//!
//! Each step is a transaction of its own, after which a pause leaves the store to others. Several
//! nodes may be at it at once. Whatever is interrupted goes on in a later round.

use std::time::Duration;

use keyward_core::time::Timestamp;

use super::sessions::ENDED_SHOWN_FOR;
use super::{Keyward, own_context};
use crate::policy::AuditPolicy;
use crate::said_once::SaidOnce;
use crate::store::{Purge, Purged, StoreError};

impl Keyward {
    /// Deletes what has had its time, until nothing of it is left, and prepares the audit log for
    /// the coming months. A round of [`Keyward::run_background`]; it may be dropped at any point.
    ///
    /// # Errors
    ///
    /// The first one of the store. What the round has deleted by then is deleted, and what one kind
    /// of row meets keeps no other one from leaving.
    pub async fn maintain(&self) -> Result<(), StoreError> {
        let mut outcome = self.store.prepare_audit().await;
        for purge in due(&self.policy.audit, self.clock.now()) {
            outcome = outcome.and(self.purge(purge).await);
        }
        outcome
    }

    /// Maintains the store until dropped. What fails is said once, until something else does.
    pub(super) async fn run_maintenance(&self) {
        let mut said = SaidOnce::new();
        loop {
            tokio::time::sleep(self.spread(ROUND)).await;
            if let Some(error) = said.news(self.maintain().await) {
                tracing::error!("maintenance is not done, and is tried again: {error}");
            }
        }
    }

    /// Takes steps until nothing is left. Says what has gone, and how much of it.
    async fn purge(&self, mut purge: Purge) -> Result<(), StoreError> {
        let (mut rows, mut months) = (0, 0);
        let mut outcome = Ok(());
        loop {
            let context = own_context(self.clock.now());
            match self.store.purge(purge, STEP_ROWS_MAX, &context).await {
                Ok(Purged::Rows(0)) => break,
                Ok(Purged::Rows(count)) => rows += count,
                Ok(Purged::Month) => months += 1,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
            // One event tells of all the steps.
            if let Purge::Events { recorded, .. } = &mut purge
                && std::mem::take(recorded)
            {
                // Until it is sealed it excuses nothing that is gone, to whoever verifies the log.
                // What keeps it from being sealed is said by the rounds that do nothing else.
                let _sealed = self.seal_audit().await;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if rows > 0 || months > 0 {
            let what = match purge {
                Purge::Sessions { .. } => "sessions",
                Purge::MfaChallenges { .. } => "sign-ins without a code",
                Purge::Revocations { .. } => "revocations",
                Purge::OneTimeTokens { .. } => "one-time tokens",
                Purge::Mail { .. } => "mails",
                Purge::Checkpoints { .. } => "checkpoints",
                Purge::Events { .. } => "audit events",
            };
            tracing::info!(what, rows, months, "deleted what had expired");
        }
        outcome
    }
}

/// What has had its time at `now`.
fn due(policy: &AuditPolicy, now: Timestamp) -> impl Iterator<Item = Purge> {
    let expired_before = now.minus(ENDED_SHOWN_FOR);
    let months = policy.retention.map(|retention| now.minus(retention).start_of_month());
    let events = months.map(|before| Purge::Events { before, recorded: true });
    let checkpoints = months.map(|before| Purge::Checkpoints { before });
    let revocations = Purge::Revocations { before: now.minus(REVOCATIONS_KEPT_FOR) };
    let challenges = Purge::MfaChallenges { expired_before: now };
    let tokens = Purge::OneTimeTokens { expired_before: now };
    // Whoever sends it finds out first, and says so.
    let mail = Purge::Mail { expired_before: now.minus(MAIL_KEPT_FOR) };
    let sessions = Purge::Sessions { expired_before };
    let rest = [sessions, revocations, challenges, tokens, mail].into_iter();
    rest.chain(events).chain(checkpoints)
}

/// No access token lives as long.
const REVOCATIONS_KEPT_FOR: Duration = Duration::from_secs(2 * 60 * 60);

/// How long a mail that has expired waits for a sender who gives it up.
const MAIL_KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// The longest wait for a round, the first one included; the shortest is half of it. A start is
/// never slowed by what has piled up.
const ROUND: Duration = Duration::from_secs(60 * 60);

/// How many rows one step deletes at most: some milliseconds of work, after which whoever waits for
/// the store goes first.
const STEP_ROWS_MAX: u32 = 500;

/// Between two steps. A million rows leave within a few minutes.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_rfc3339(text).expect("a time")
    }

    fn due_at(now: &str, retention_days: u64) -> Vec<Purge> {
        let retention = Some(Duration::from_secs(retention_days * 24 * 60 * 60));
        due(&AuditPolicy { retention }, at(now)).collect()
    }

    #[test]
    fn sessions_leave_thirty_days_after_their_timeout() {
        let sessions = Purge::Sessions { expired_before: at("2026-10-22T13:14:15.016Z") };
        assert_eq!(due_at("2026-11-21T13:14:15.016Z", 365)[0], sessions);
    }

    #[test]
    fn events_leave_by_the_month_after_their_retention() {
        for (now, days, before) in [
            ("2026-11-21T13:14:15.016Z", 365, "2025-11-01T00:00:00Z"),
            ("2026-03-03T00:00:00Z", 30, "2026-02-01T00:00:00Z"),
            ("2026-03-02T23:59:59.999Z", 30, "2026-01-01T00:00:00Z"),
            ("2026-03-02T23:59:59.999Z", 3650, "2016-03-01T00:00:00Z"),
        ] {
            let events = Purge::Events { before: at(before), recorded: true };
            let checkpoints = Purge::Checkpoints { before: at(before) };
            assert_eq!(due_at(now, days)[5..], [events, checkpoints], "{now}");
        }
    }

    #[test]
    fn events_may_stay_for_ever() {
        let kept = due(&AuditPolicy { retention: None }, at("2026-11-21T00:00:00Z"));
        let sessions = Purge::Sessions { expired_before: at("2026-10-22T00:00:00Z") };
        let revocations = Purge::Revocations { before: at("2026-11-20T22:00:00Z") };
        let challenges = Purge::MfaChallenges { expired_before: at("2026-11-21T00:00:00Z") };
        let tokens = Purge::OneTimeTokens { expired_before: at("2026-11-21T00:00:00Z") };
        let mail = Purge::Mail { expired_before: at("2026-11-20T23:00:00Z") };
        assert!(kept.eq([sessions, revocations, challenges, tokens, mail]));
    }
}
