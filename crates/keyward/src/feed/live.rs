//! The revocations that still matter, in the order in which they became known. No I/O, no clock.

use std::collections::VecDeque;
use std::time::Duration;

use keyward_core::time::Timestamp;

use crate::store::{Place, Revoked, RevokedSubject};

/// A revocation that still matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveRevocation {
    /// What was revoked.
    pub subject: RevokedSubject,
    /// When.
    pub at: Timestamp,
    /// When the last access token that it is about has expired for everybody.
    pub until: Timestamp,
}

/// Every revocation that an unexpired access token may be about.
#[derive(Debug)]
pub(super) struct Live {
    lifetime: Duration,
    log: VecDeque<Entry>,
    /// The number of the first entry. Entries are numbered in their order, and no number comes
    /// twice.
    first: u64,
    /// What has been read completely; `None` before the first reading has ended.
    place: Option<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    subject: RevokedSubject,
    at: Timestamp,
    position: u64,
}

/// How far somebody has come who is told of every entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// The number of the next entry.
    next: u64,
    /// Of the entries before this number, only those at `from` or later are news.
    past_end: u64,
    from: u64,
}

/// Some entries for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Portion {
    pub(super) revocations: Vec<LiveRevocation>,
    /// Whether nothing is left.
    pub(super) is_rest: bool,
}

impl Live {
    /// An empty set of revocations that matter for `lifetime`.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { lifetime, log: VecDeque::new(), first: 0, place: None }
    }

    /// Adds what was read, but for what no longer matters.
    pub(super) fn add(&mut self, revoked: &[Revoked], now: Timestamp) {
        // A time that lies far ahead would stay, and keep those behind it, for as long.
        let latest = now.plus(AHEAD_MAX);
        let entries = revoked.iter().map(|revoked| Entry {
            subject: revoked.subject,
            at: revoked.at.min(latest),
            position: revoked.position,
        });
        let lifetime = self.lifetime;
        self.log.extend(entries.filter(|entry| entry.at.plus(lifetime) > now));
    }

    /// Notes that everything before this place is there.
    pub(super) fn reach(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// Forgets the entries, since all of them are about to be added again.
    pub(super) fn restart(&mut self) {
        self.first = self.end();
        self.log.clear();
        self.place = None;
    }

    /// Drops the oldest entries that no longer matter.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while self.log.front().is_some_and(|entry| entry.at.plus(self.lifetime) <= now) {
            self.log.pop_front();
            self.first += 1;
        }
        if self.log.len() < self.log.capacity() / 4 {
            self.log.shrink_to(self.log.len() * 2);
        }
    }

    /// What was read completely.
    pub(super) const fn place(&self) -> Option<Place> {
        self.place
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.log.len()
    }

    /// The number that the next new entry gets.
    pub(super) fn end(&self) -> u64 {
        self.first + self.log.len() as u64
    }

    /// The progress of somebody who has been told of everything before `from`. A place of another
    /// history, or one that was not reached here, proves nothing.
    pub(super) fn begin(&self, from: Option<Place>) -> Progress {
        let vouched = |from: &Place| {
            self.place.is_some_and(|place| {
                from.history == place.history && from.position <= place.position
            })
        };
        let from = from.filter(vouched).map_or(0, |from| from.position);
        Progress { next: self.first, past_end: self.end(), from }
    }

    /// Whether somebody was told of everything that was read, and all of it was.
    pub(super) fn is_told(&self, progress: &Progress) -> bool {
        self.place.is_some() && progress.next == self.end()
    }

    /// The next portion for somebody, from at most `max` entries; moves the progress behind it.
    pub(super) fn take(&self, progress: &mut Progress, max: usize) -> Portion {
        let begin = progress.next.max(self.first);
        let skipped = usize::try_from(begin - self.first).unwrap_or(usize::MAX).min(self.log.len());
        let end = skipped.saturating_add(max).min(self.log.len());
        let news = (begin..).zip(self.log.range(skipped..end));
        let news = news.filter(|(number, entry)| {
            *number >= progress.past_end || entry.position >= progress.from
        });
        let revocations = news.map(|(_, entry)| self.revocation(entry)).collect();
        progress.next = self.first + end as u64;
        Portion { revocations, is_rest: progress.next == self.end() }
    }

    fn revocation(&self, entry: &Entry) -> LiveRevocation {
        let &Entry { subject, at, .. } = entry;
        LiveRevocation { subject, at, until: at.plus(self.lifetime) }
    }
}

impl Progress {
    /// Whether the past has been told.
    pub(super) const fn is_synced(&self) -> bool {
        self.next >= self.past_end
    }
}

/// How far ahead the clock of another node may be.
const AHEAD_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use keyward_core::id::SessionId;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(100);

    #[test]
    fn everybody_is_told_of_everything_once() {
        let mut live = Live::new(LIFETIME);
        live.add(&[revoked(1, 5), revoked(2, 6)], at(6));
        let mut progress = live.begin(None);
        assert_eq!(told(&live, &mut progress, 1), ([1].into(), false));
        assert!(!progress.is_synced());
        assert_eq!(told(&live, &mut progress, 9), ([2].into(), true));
        assert!(progress.is_synced());
        live.add(&[revoked(3, 7)], at(7));
        assert_eq!(told(&live, &mut progress, 9), ([3].into(), true));
        assert_eq!(told(&live, &mut progress, 9), (Vec::new(), true));
    }

    #[test]
    fn entries_end_with_the_last_token_that_they_are_about() {
        let mut live = Live::new(LIFETIME);
        live.add(&[revoked(1, 5), revoked(2, 6)], at(6));
        let mut progress = live.begin(None);
        live.expire(at(104));
        assert_eq!(live.end() - live.first, 2);
        live.expire(at(105));
        assert_eq!(told(&live, &mut progress, 9), ([2].into(), true));
        live.add(&[revoked(3, 5)], at(105));
        assert_eq!(told(&live, &mut progress, 9), (Vec::new(), true));
        let mut late = live.begin(None);
        live.expire(at(106));
        live.add(&[revoked(4, 106)], at(106));
        assert_eq!(told(&live, &mut late, 9), ([4].into(), true));
    }

    #[test]
    fn a_clock_that_is_ahead_keeps_nothing_for_ever() {
        let mut live = Live::new(LIFETIME);
        live.add(&[revoked(1, 1_000_000)], at(5));
        live.expire(at(164));
        assert_eq!(live.end() - live.first, 1);
        live.expire(at(165));
        assert_eq!(live.end() - live.first, 0);
    }

    #[test]
    fn who_was_told_before_is_told_the_rest() {
        let mut live = Live::new(LIFETIME);
        live.add(&[revoked(10, 5), revoked(30, 5), revoked(20, 5)], at(5));
        live.reach(Place { history: 1, position: 31 });
        for (history, position, expected) in
            [(1, 20, &[30, 20][..]), (1, 31, &[]), (1, 0, &[10, 30, 20])]
        {
            let mut progress = live.begin(Some(Place { history, position }));
            assert_eq!(told(&live, &mut progress, 9), (expected.to_vec(), true), "{position}");
            // What comes later is news, wherever it stands.
            let mut live = Live { log: live.log.clone(), ..live };
            live.add(&[revoked(5, 6)], at(6));
            assert_eq!(told(&live, &mut progress, 9), (vec![5], true));
        }
    }

    #[test]
    fn a_place_that_proves_nothing_begins_with_everything() {
        let mut live = Live::new(LIFETIME);
        live.add(&[revoked(10, 5)], at(5));
        let everything = live.begin(None);
        assert_eq!(live.begin(Some(Place { history: 1, position: 20 })), everything);
        live.reach(Place { history: 1, position: 20 });
        for place in [Place { history: 1, position: 21 }, Place { history: 2, position: 20 }] {
            assert_eq!(live.begin(Some(place)), everything, "{place}");
        }
    }

    #[test]
    fn a_restart_tells_everybody_of_everything_again() {
        let mut live = Live::new(LIFETIME);
        live.add(&[revoked(1, 5), revoked(2, 5)], at(5));
        live.reach(Place { history: 1, position: 3 });
        let mut behind = live.begin(Some(Place { history: 1, position: 3 }));
        let mut done = behind;
        live.take(&mut done, 9);
        assert!(live.is_told(&done));
        live.restart();
        // Until all of it was read, no place is reached, and nobody knows everything.
        assert_eq!(live.place(), None);
        assert!(!live.is_told(&done));
        for history in [1, 2] {
            let begin = live.begin(Some(Place { history, position: 3 }));
            assert_eq!(begin, live.begin(None), "{history}");
        }
        live.add(&[revoked(1, 5), revoked(2, 5)], at(6));
        for progress in [&mut behind, &mut done] {
            assert_eq!(told(&live, progress, 9), ([1, 2].into(), true));
        }
    }

    /// Where its position is its name.
    fn revoked(position: u8, secs: i64) -> Revoked {
        let subject = RevokedSubject::Session(SessionId::from_bytes([position; 16]));
        Revoked { subject, at: at(secs), position: position.into() }
    }

    fn told(live: &Live, progress: &mut Progress, max: usize) -> (Vec<u8>, bool) {
        let Portion { revocations, is_rest } = live.take(progress, max);
        let name = |revocation: &LiveRevocation| match revocation.subject {
            RevokedSubject::Session(id) => id.as_bytes()[0],
            RevokedSubject::User(id) => panic!("{id}"),
        };
        (revocations.iter().map(name).collect(), is_rest)
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }
}
