//! What leaves the store when it has had its time.

use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::time::Timestamp;

use super::state::State;
use crate::store::{Purge, Purged};

impl State {
    /// See `Store::purge`.
    pub(super) fn purge(&mut self, purge: Purge, limit: u32, context: &AuditContext) -> Purged {
        match purge {
            Purge::Sessions { expired_before } => {
                let sessions = self.sessions.values();
                let due = sessions.map(|session| (session.expires_at, session.id));
                let due = oldest(due, expired_before, limit);
                self.sessions.retain(|id, _| !due.contains(id));
                Purged::Rows(due.len() as u64)
            }
            Purge::MfaChallenges { expired_before } => {
                let challenges = self.challenges.values();
                let due = challenges.map(|challenge| (challenge.expires_at, challenge.hash));
                let due = oldest(due, expired_before, limit);
                self.challenges.retain(|hash, _| !due.contains(hash));
                Purged::Rows(due.len() as u64)
            }
            Purge::Revocations { before } => {
                let revocations = self.revocations.iter().map(|it| (it.at, it.position));
                let due = oldest(revocations, before, limit);
                self.revocations.retain(|revoked| !due.contains(&revoked.position));
                Purged::Rows(due.len() as u64)
            }
            Purge::OneTimeTokens { expired_before } => {
                let tokens =
                    self.tokens.iter().map(|token| (token.expires_at, token.hash.as_bytes()));
                let due = oldest(tokens.map(|(at, hash)| (at, *hash)), expired_before, limit);
                self.tokens.retain(|token| !due.contains(token.hash.as_bytes()));
                Purged::Rows(due.len() as u64)
            }
            Purge::Mail { expired_before } => {
                let mails = self.mails.values().map(|row| (row.mail.expires_at, row.mail.id));
                let due = oldest(mails, expired_before, limit);
                self.mails.retain(|id, _| !due.contains(id));
                Purged::Rows(due.len() as u64)
            }
            Purge::Checkpoints { before } => {
                let gone = self.checkpoints.iter().rposition(|it| it.reached < before);
                let count = gone.unwrap_or(0).min(limit as usize);
                self.checkpoints.drain(..count);
                Purged::Rows(count as u64)
            }
            Purge::Events { before, recorded } => {
                let events = self.events.iter().map(|event| (event.at, event.id));
                let due = oldest(events, before, limit);
                if recorded && !due.is_empty() {
                    let purged = AuditKind::AuditPurged { until: before };
                    self.record(AuditEvent::of_nobody(purged), context);
                }
                self.events.retain(|event| !due.contains(&event.id));
                Purged::Rows(due.len() as u64)
            }
        }
    }
}

/// Which of these have their time before another one, at most `limit`, the oldest first.
fn oldest<T: Ord>(
    items: impl Iterator<Item = (Timestamp, T)>,
    before: Timestamp,
    limit: u32,
) -> Vec<T> {
    let mut due: Vec<_> = items.filter(|(at, _)| *at < before).collect();
    due.sort_unstable();
    due.into_iter().take(limit as usize).map(|(_, item)| item).collect()
}
