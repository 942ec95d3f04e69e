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
    months: BTreeMap<Timestamp, Month>,
    /// Where the chain begins, and the latest month of what it says nothing of any more.
    beginning: Option<(Timestamp, Damage)>,
}

/// The events of one month.
#[derive(Debug, Clone, Default)]
struct Month {
    /// The first that is covered by nothing: its checkpoint may have left before it.
    uncovered: Option<Damage>,
    /// The first that is missing.
    missing: Option<Damage>,
    /// The last checkpoint that one of them is missing from.
    missed_last: u64,
    /// The first checkpoint that one of them is there of.
    kept_first: Option<u64>,
}

impl Month {
    /// Whether no event is missing behind one that is there. While a month is on its way out, those
    /// of a checkpoint or two leave in another order than they were sealed in.
    fn is_kept_to_its_end(&self) -> bool {
        self.kept_first.is_none_or(|kept| self.missed_last <= kept + 1)
    }
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

    /// An event of this month is there, as the checkpoint says.
    pub(super) fn keep(&mut self, month: Timestamp, checkpoint: u64) {
        let kept = &mut self.months.entry(month).or_default().kept_first;
        *kept = Some(kept.map_or(checkpoint, |first| first.min(checkpoint)));
    }

    /// An event of this month is gone.
    pub(super) fn miss(&mut self, month: Timestamp, damage: Damage) {
        let month = self.months.entry(month).or_default();
        month.missing = Some(month.missing.map_or(damage, |first| first.min(damage)));
        month.missed_last = month.missed_last.max(damage.checkpoint);
    }

    /// An event of this month is there, and covered by nothing.
    pub(super) fn leave_uncovered(&mut self, month: Timestamp, damage: Damage) {
        let first = &mut self.months.entry(month).or_default().uncovered;
        *first = Some(first.map_or(damage, |first| first.min(damage)));
    }

    /// The chain begins here, behind what was of this month at the latest. What was told before is
    /// not told by this chain: it neither excuses anything nor has to be excused.
    pub(super) fn begin(&mut self, reached: Timestamp, damage: Damage) {
        *self = Self { beginning: Some((reached, damage)), ..Self::default() };
    }

    /// What nothing in the log has excused. Months leave from the first one on, and nothing leaves
    /// from the middle.
    pub(super) fn not_excused(self) -> impl Iterator<Item = Damage> {
        let Self { deleted, purged_until, redacted, months, beginning } = self;
        let redacted = redacted.into_iter().filter(move |(id, _)| !deleted.contains(id));
        let stays = move |month: Timestamp| purged_until.is_none_or(|until| month >= until);
        let kept = months.iter().find(|(_, month)| month.kept_first.is_some());
        let first_kept = kept.map(|(month, _)| *month);
        let left = months.into_iter().flat_map(move |(at, month)| {
            let is_due = !stays(at) && first_kept.is_none_or(|first| at <= first);
            let missing = month.missing.filter(|_| !is_due || !month.is_kept_to_its_end());
            [missing, month.uncovered.filter(|_| stays(at))]
        });
        let beginning = beginning.filter(move |(month, _)| stays(*month));
        let rest = left.flatten().chain(beginning.map(|(_, damage)| damage));
        redacted.map(|(_, damage)| damage).chain(rest)
    }
}

/// Until when the event says that the log was purged.
fn purged_until(event: &RecordedEvent) -> Option<Timestamp> {
    let detail: serde_json::Value = serde_json::from_str(&event.detail).ok()?;
    Timestamp::from_rfc3339(detail.get("until")?.as_str()?)
}

/// As PostgreSQL's functions, which delete nothing younger.
const PURGED_AGE_MIN: Duration = Duration::from_secs(29 * 24 * 60 * 60);
