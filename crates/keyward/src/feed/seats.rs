//! The places of those who follow: bounded, and so for each service key, so that no service takes
//! all of them. Whoever does not read on loses its place, even where nobody asks it for more: over
//! HTTP/2 a client can keep a stream open and never read from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyward_core::id::ServiceKeyId;
use tokio::time::Instant;

use super::{FOLLOWERS_MAX, FOLLOWERS_PER_KEY_MAX, LAG_MAX};

/// Every place of this node.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Occupant>,
}

#[derive(Debug)]
struct Occupant {
    key: ServiceKeyId,
    /// Since when it has not asked for more; `None` while it waits for news.
    reading_since: Option<Instant>,
}

impl Seats {
    /// Takes a place for whoever brings this key; `None` where too many are taken.
    pub(super) fn take(self: &Arc<Self>, key: ServiceKeyId) -> Option<Seat> {
        let mut taken = self.taken();
        let of_key = taken.seats.values().filter(|occupant| occupant.key == key).count();
        if taken.seats.len() >= FOLLOWERS_MAX || of_key >= FOLLOWERS_PER_KEY_MAX {
            return None;
        }
        let number = taken.next;
        taken.next += 1;
        taken.seats.insert(number, Occupant { key, reading_since: Some(Instant::now()) });
        Some(Seat { seats: Arc::clone(self), number })
    }

    /// Frees the places of those who have not asked for more for long, or never did.
    pub(super) fn free_unread(&self) {
        self.taken().seats.retain(|_, occupant| {
            occupant.reading_since.is_none_or(|since| since.elapsed() <= LAG_MAX)
        });
    }

    /// How many places are taken.
    pub(super) fn taken_count(&self) -> usize {
        self.taken().seats.len()
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Nothing in here panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place. It is given back with this value.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

impl Seat {
    /// Its occupant asks for more. `false`: it took too long, and has lost the place.
    pub(super) fn come_back(&self) -> bool {
        self.note(None)
    }

    /// Its occupant was given something.
    pub(super) fn give(&self) {
        self.note(Some(Instant::now()));
    }

    fn note(&self, reading_since: Option<Instant>) -> bool {
        let mut taken = self.seats.taken();
        let occupant = taken.seats.get_mut(&self.number);
        occupant.map(|occupant| occupant.reading_since = reading_since).is_some()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken().seats.remove(&self.number);
    }
}
