//! Whether a log and its chain belong together: a machine that is fed both in order, and finds the
//! first place where they do not.
//!
//! It holds what is between an event and the checkpoint that covers it, and of the whole log only
//! who was deleted and what has to be excused yet. So its memory does not grow with the log.

mod excuses;

use std::collections::BTreeMap;
use std::fmt;

use super::RecordedEvent;
use super::chain::{Anchor, Bearer, ChainHash, ChainPublicKey, Checkpoint, EventSalt, Tags};
use crate::time::Timestamp;
use excuses::{Excuses, Says};

/// Compares a log with its chain. Feed it each event before the checkpoint that covers it, those
/// between two checkpoints in the order of their ids, and checkpoints in that of their numbers.
#[derive(Debug, Clone)]
pub struct Verification {
    key: Option<ChainPublicKey>,
    anchor: Option<Anchor>,
    /// Whether a chain may begin anywhere: what was exported is part of one.
    is_part: bool,
    last: Option<Last>,
    /// Events that no checkpoint has covered yet.
    waiting: BTreeMap<i64, Seen>,
    last_id: Option<i64>,
    first: Option<Damage>,
    excuses: Excuses,
    verified: Verified,
}

/// The checkpoint before.
#[derive(Debug, Clone, Copy)]
struct Last {
    anchor: Anchor,
    key: ChainPublicKey,
}

/// An event, as far as a checkpoint speaks of it.
#[derive(Debug, Clone)]
struct Seen {
    at: Timestamp,
    tags: Tags,
    bearer: Bearer,
    /// Whether it tells no address and no browser.
    is_blank: bool,
    says: Says,
    /// The first checkpoint that could have covered it and does not.
    passed_by: Option<u64>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// How many checkpoints there are.
    pub checkpoints: u64,
    /// The number of the first one.
    pub first: Option<u64>,
    /// The last one.
    pub head: Option<Anchor>,
    /// How many of them were sealed with keys before the last one's.
    pub by_earlier_keys: u64,
    /// How many events agree with what was sealed of them.
    pub events: u64,
    /// How many of those have lost address and browser with their user.
    pub redacted: u64,
    /// How many sealed events have left with their month.
    pub purged: u64,
    /// How many events wait to be sealed.
    pub unsealed: u64,
    /// When the first of those happened.
    pub unsealed_since: Option<Timestamp>,
    /// Whether the anchor that was asked for is part of the chain.
    pub is_anchored: bool,
    /// The first place that is not as it was sealed.
    pub damage: Option<Damage>,
}

/// A place that is not as it was sealed. The first of several comes first in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The checkpoint that says so, or would have to.
    pub checkpoint: u64,
    /// The event.
    pub event_id: Option<i64>,
    /// What is wrong.
    pub kind: DamageKind,
    /// When the event happened; where there is none, when the checkpoint was sealed.
    pub at: Option<Timestamp>,
}

crate::named::named! {
    /// What is wrong with a place.
    DamageKind {
        /// The event is not what was sealed.
        Altered = "altered",
        /// The chain begins later than the log says that it was purged.
        BeginningMissing = "beginning_missing",
        /// The checkpoint is not what was sealed, or does not follow the one before it.
        CheckpointAltered = "checkpoint_altered",
        /// A checkpoint is missing between others.
        CheckpointMissing = "checkpoint_missing",
        /// The chain does not come as far as the anchor.
        EndMissing = "end_missing",
        /// The event was never sealed, and stands among those that were.
        Inserted = "inserted",
        /// The event is missing.
        Missing = "missing",
        /// Address and browser are gone, though nobody deleted their user.
        Redacted = "redacted",
        /// The events are not in the order of their ids.
        Reordered = "reordered",
        /// The chain was written anew: the anchor's head is not in it.
        Rewritten = "rewritten",
        /// The signature is not that of the key, or another key goes on without a hand-over.
        Unsigned = "unsigned",
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.checkpoint;
        let what = match self.kind {
            DamageKind::Altered => "is not what was sealed",
            DamageKind::BeginningMissing => {
                "is the first one, though the log was not purged so far"
            }
            DamageKind::CheckpointAltered => "is not what was sealed, or follows another one",
            DamageKind::CheckpointMissing => "is missing",
            DamageKind::EndMissing => "is known from the anchor, and the chain ends before it",
            DamageKind::Inserted => "was never sealed, and stands among events that were",
            DamageKind::Missing => "is missing",
            DamageKind::Redacted => "has lost its address and browser, and nobody deleted its user",
            DamageKind::Reordered => "does not follow the events before it",
            DamageKind::Rewritten => "has another head than the anchor",
            DamageKind::Unsigned => "is not signed by the key, nor handed over from the one before",
        };
        match self.event_id {
            Some(id) => write!(f, "event {id} of checkpoint {number} {what}")?,
            None => write!(f, "checkpoint {number} {what}")?,
        }
        match self.at {
            Some(at) => write!(f, " ({})", at.to_rfc3339()),
            None => Ok(()),
        }
    }
}

impl Verification {
    /// Of a whole log. The last checkpoint must be signed by the key, where there is one; the chain
    /// must come by the anchor.
    pub fn new(key: Option<ChainPublicKey>, anchor: Option<Anchor>) -> Self {
        Self {
            key,
            anchor,
            is_part: false,
            last: None,
            waiting: BTreeMap::new(),
            last_id: None,
            first: None,
            excuses: Excuses::default(),
            verified: Verified::default(),
        }
    }

    /// Of a part of a log, whose chain may begin anywhere.
    pub fn of_part(key: Option<ChainPublicKey>, anchor: Option<Anchor>) -> Self {
        Self { is_part: true, ..Self::new(key, anchor) }
    }

    /// How many events have been verified.
    pub fn events(&self) -> u64 {
        self.verified.events
    }

    /// The next event, with the salt of what is personal in it, where that is still there.
    pub fn event(&mut self, event: &RecordedEvent, salt: Option<EventSalt>) {
        if self.last_id.is_some_and(|last| last >= event.id) {
            let next = self.next_number();
            self.note(DamageKind::Reordered, next, Some(event.id), Some(event.at));
        }
        self.last_id = self.last_id.max(Some(event.id));
        let seen = Seen {
            at: event.at,
            tags: Tags::of(event, salt),
            bearer: Bearer::of(event),
            is_blank: event.device.ip.is_none() && event.device.user_agent.is_none(),
            says: Says::of(event),
            passed_by: None,
        };
        self.waiting.insert(event.id, seen);
        if self.waiting.len() > WAITING_MAX
            && let Some((id, seen)) = self.waiting.pop_first()
        {
            self.note_uncovered(id, &seen);
        }
    }

    /// An event that is not sealed yet, as its store says; it may have been fed before.
    pub fn unsealed(&mut self, event: &RecordedEvent) {
        self.waiting.remove(&event.id);
        self.verified.unsealed += 1;
        let since = self.verified.unsealed_since;
        self.verified.unsealed_since = Some(since.map_or(event.at, |since| since.min(event.at)));
        // A purge has to be sealed: whoever writes an event writes its time, too. In a part of a
        // log nobody vouches for what is not sealed, while a store would have it sealed soon.
        if let Says::Deleted(id) = Says::of(event)
            && !self.is_part
        {
            self.excuses.hear_of_deletion(id);
        }
    }

    /// The next checkpoint.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.last_id = None;
        self.join(checkpoint);
        self.verified.checkpoints += 1;
        self.verified.first.get_or_insert(checkpoint.number);
        self.verified.head = Some(checkpoint.anchor());
        let (number, at) = (checkpoint.number, Some(checkpoint.at));
        if !checkpoint.is_whole() {
            self.note(DamageKind::CheckpointAltered, number, None, at);
            // What it covers is not known, and must not be taken for what was inserted.
            if let Some(last) = checkpoint.events.last() {
                self.waiting = self.waiting.split_off(&last.saturating_add(1));
            }
            return;
        }
        if !checkpoint.is_signed() {
            self.note(DamageKind::Unsigned, number, None, at);
        }
        for (place, id) in checkpoint.events.iter().enumerate() {
            let sealed = checkpoint.tags_at(place);
            match (self.waiting.remove(&id), sealed) {
                (Some(seen), Some(sealed)) => self.compare(id, &seen, sealed, checkpoint),
                (None, _) | (_, None) => self.note_missing(id, checkpoint),
            }
        }
        for seen in self.waiting.range_mut(..=checkpoint.events.last().unwrap_or(0)) {
            seen.1.passed_by.get_or_insert(number);
        }
    }

    /// Ends: what was not excused by now is damage.
    pub fn finish(mut self) -> Verified {
        for (id, seen) in std::mem::take(&mut self.waiting) {
            self.note_uncovered(id, &seen);
        }
        let last = self.last;
        if let (Some(key), Some(last)) = (self.key, last)
            && last.key != key
        {
            self.note(DamageKind::Unsigned, last.anchor.number, None, None);
        }
        let reached = last.map_or(0, |last| last.anchor.number);
        if let Some(anchor) = self.anchor.filter(|anchor| anchor.number > reached) {
            self.note(DamageKind::EndMissing, anchor.number, None, None);
        }
        let Self { first, excuses, mut verified, .. } = self;
        verified.damage = first.into_iter().chain(excuses.not_excused()).min();
        verified
    }

    /// Whether the checkpoint follows the one before it.
    fn join(&mut self, checkpoint: &Checkpoint) {
        let (number, at) = (checkpoint.number, Some(checkpoint.at));
        match self.last {
            None if number == 1 => {
                if checkpoint.previous != ChainHash::START {
                    self.note(DamageKind::CheckpointAltered, number, None, at);
                }
            }
            None if self.is_part => {}
            None => {
                // The last one whose months have all gone stays, so that this can be told.
                let kind = DamageKind::BeginningMissing;
                let damage = Damage { checkpoint: number, event_id: None, kind, at };
                self.excuses.begin(checkpoint.reached, damage);
            }
            Some(Last { anchor, .. }) if number > anchor.number + 1 => {
                // They may have been purged since those before them were read, which then are, too.
                let kind = DamageKind::CheckpointMissing;
                let checkpoint_missing = anchor.number + 1;
                let damage = Damage { checkpoint: checkpoint_missing, event_id: None, kind, at };
                self.excuses.begin(checkpoint.reached, damage);
            }
            Some(Last { anchor, .. }) if number <= anchor.number => {
                self.note(DamageKind::CheckpointAltered, number, None, at);
            }
            Some(Last { anchor, .. }) if checkpoint.previous != anchor.head => {
                self.note(DamageKind::CheckpointAltered, number, None, at);
            }
            Some(Last { key, .. }) => {
                // Whoever has no key could go on with one of their own.
                let goes_on = key == checkpoint.key && !checkpoint.is_hand_over();
                if !goes_on && !checkpoint.is_handed_over_by(&key) {
                    self.note(DamageKind::Unsigned, number, None, at);
                }
            }
        }
        if self.last.is_some_and(|last| last.key != checkpoint.key) {
            self.verified.by_earlier_keys = self.verified.checkpoints;
        }
        if let Some(anchor) = self.anchor.filter(|anchor| anchor.number == number) {
            if anchor.head == checkpoint.head {
                self.verified.is_anchored = true;
            } else {
                self.note(DamageKind::Rewritten, number, None, at);
            }
        }
        self.last = Some(Last { anchor: checkpoint.anchor(), key: checkpoint.key });
    }

    fn compare(&mut self, id: i64, seen: &Seen, sealed: Tags, by: &Checkpoint) {
        let (event_id, at, number) = (Some(id), Some(seen.at), by.number);
        if seen.tags.open != sealed.open {
            return self.note(DamageKind::Altered, number, event_id, at);
        }
        if sealed.personal != Tags::SILENT && seen.tags.personal != sealed.personal {
            match seen.bearer {
                Bearer::User(user_id) if seen.is_blank => {
                    let kind = DamageKind::Redacted;
                    let damage = Damage { checkpoint: number, event_id, kind, at };
                    self.excuses.redact(user_id, damage);
                    self.verified.redacted += 1;
                }
                Bearer::User(_) | Bearer::Nobody | Bearer::Unknown => {
                    return self.note(DamageKind::Altered, number, event_id, at);
                }
            }
        }
        self.verified.events += 1;
        self.excuses.keep(by.month, number);
        self.excuses.hear(seen.says, by.at);
    }

    fn note_missing(&mut self, id: i64, of: &Checkpoint) {
        let (kind, event_id, at) = (DamageKind::Missing, Some(id), Some(of.at));
        let damage = Damage { checkpoint: of.number, event_id, kind, at };
        self.excuses.miss(of.month, damage);
        self.verified.purged += 1;
    }

    /// It may be on its way out, when its checkpoint has left before it.
    fn note_uncovered(&mut self, id: i64, seen: &Seen) {
        let (kind, event_id, at) = (DamageKind::Inserted, Some(id), Some(seen.at));
        let checkpoint = seen.passed_by.unwrap_or_else(|| self.next_number());
        let damage = Damage { checkpoint, event_id, kind, at };
        self.excuses.leave_uncovered(seen.at.start_of_month(), damage);
    }

    fn note(
        &mut self,
        kind: DamageKind,
        checkpoint: u64,
        event_id: Option<i64>,
        at: Option<Timestamp>,
    ) {
        let damage = Damage { checkpoint, event_id, kind, at };
        self.first = Some(self.first.map_or(damage, |first| first.min(damage)));
    }

    fn next_number(&self) -> u64 {
        self.last.map_or(1, |last| last.anchor.number + 1)
    }
}

/// How many events may wait for the checkpoint that covers them. Those that are committed late are
/// a handful.
const WAITING_MAX: usize = 200_000;

#[cfg(test)]
mod tests;
