//! What may be gone from a log, since something in the log says so that comes later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Damage, RecordedEvent};
use crate::id::UserId;
use crate::time::Timestamp;

/// What an event says of others.
#[derive(Debug, Clone, Copy)]
pub(super) enum Says {
    Deleted(UserId),
    Purged(Timestamp),
    Nothing,
}

impl Says {
    /// What this one says.
    pub(super) fn of(event: &RecordedEvent) -> Self {
        match (&*event.name, event.user_id) {
            ("user.deleted", Some(id)) => Self::Deleted(id),
            ("audit.purged", _) => purged_until(event).map_or(Self::Nothing, Self::Purged),
            _ => Self::Nothing,
        }
    }
}

/// What has to be excused by the end, and what excuses it.
#[derive(Debug, Clone, Default)]
pub(super) struct Excuses {
    deleted: BTreeSet<UserId>,
    purged_until: Option<Timestamp>,
    /// The first redacted event of each user.
    redacted: BTreeMap<UserId, Damage>,
    /// The first event of each month that is missing, or covered by nothing.
    purged: BTreeMap<Timestamp, Damage>,
    /// Where the chain begins, and the latest month of what it says nothing of any more.
    beginning: Option<(Timestamp, Damage)>,
}

impl Excuses {
    /// Takes up what a sealed event says. Nothing leaves that was younger than a month when it was
    /// sealed, whatever an event says.
    pub(super) fn hear(&mut self, says: Says, sealed_at: Timestamp) {
        match says {
            Says::Deleted(id) => self.hear_of_deletion(id),
            Says::Purged(until) if until <= sealed_at.minus(PURGED_AGE_MIN) => {
                self.purged_until = self.purged_until.max(Some(until));
            }
            Says::Purged(_) | Says::Nothing => {}
        }
    }

    /// This user was deleted.
    pub(super) fn hear_of_deletion(&mut self, id: UserId) {
        self.deleted.insert(id);
    }

    /// What is personal in an event of this user is gone.
    pub(super) fn redact(&mut self, id: UserId, damage: Damage) {
        self.redacted.entry(id).or_insert(damage);
    }

    /// An event of this month is gone, or is there and covered by nothing.
    pub(super) fn purge(&mut self, month: Timestamp, damage: Damage) {
        let first = self.purged.entry(month).or_insert(damage);
        *first = damage.min(*first);
    }

    /// The chain begins here, behind what was of this month at the latest. What was told before is
    /// not told by this chain: it neither excuses anything nor has to be excused.
    pub(super) fn begin(&mut self, reached: Timestamp, damage: Damage) {
        *self = Self { beginning: Some((reached, damage)), ..Self::default() };
    }

    /// What nothing in the log has excused.
    pub(super) fn not_excused(self) -> impl Iterator<Item = Damage> {
        let Self { deleted, purged_until, redacted, purged, beginning } = self;
        let redacted = redacted.into_iter().filter(move |(id, _)| !deleted.contains(id));
        let left = purged.into_iter().chain(beginning);
        let left = left.filter(move |(month, _)| purged_until.is_none_or(|until| *month >= until));
        redacted.map(|(_, damage)| damage).chain(left.map(|(_, damage)| damage))
    }
}

/// Until when the event says that the log was purged.
fn purged_until(event: &RecordedEvent) -> Option<Timestamp> {
    let detail: serde_json::Value = serde_json::from_str(&event.detail).ok()?;
    Timestamp::from_rfc3339(detail.get("until")?.as_str()?)
}

/// As PostgreSQL's functions, which delete nothing younger.
const PURGED_AGE_MIN: Duration = Duration::from_secs(29 * 24 * 60 * 60);
