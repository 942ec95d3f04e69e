//! The outbox of revocations: what verifiers of access tokens are told.

use std::fmt;
use std::str::FromStr;

use keyward_core::id::{SessionId, UserId};
use keyward_core::time::Timestamp;

/// What was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevokedSubject {
    /// One session.
    Session(SessionId),
    /// Everything that a user had by then: the user was disabled or deleted.
    User(UserId),
}

/// A revocation, as verifiers are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// What was revoked.
    pub subject: RevokedSubject,
    /// When.
    pub at: Timestamp,
    /// Where it stands in the outbox; several may stand at one position.
    pub position: u64,
}

/// A place in the outbox of one store, for readers on any node.
///
/// Whoever has read up to a place has everything at the positions before it. What stands at its
/// position or later may be known already; to be told again does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Within one history positions mean the same. A database server that was started anew, or
    /// has recovered from a crash, may have lost some, and begins another.
    pub history: u64,
    /// A position, whether anything stands there or not.
    pub position: u64,
}

impl Place {
    /// Before everything, in the one history that a store has which cannot lose positions.
    pub(super) const START: Self = Self { history: 0, position: 0 };
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.history, self.position)
    }
}

/// A text that is not a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPlace;

impl fmt::Display for InvalidPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is not a place in the outbox")
    }
}

impl std::error::Error for InvalidPlace {}

impl FromStr for Place {
    type Err = InvalidPlace;

    /// Reads the form that is displayed, and no other.
    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let (history, position) = text.split_once('-').ok_or(InvalidPlace)?;
        let number = |text: &str| text.parse().map_err(|_| InvalidPlace);
        let place = Self { history: number(history)?, position: number(position)? };
        if place.to_string() == text { Ok(place) } else { Err(InvalidPlace) }
    }
}

/// Where a reader goes on: exactly behind what it has read. Of use to the store that made it, on
/// any node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationCursor {
    /// The place that was reached with the last complete reading.
    pub place: Place,
    /// What of the positions from there on was read.
    #[cfg(feature = "postgres")]
    pub(super) reading: Option<super::postgres::Reading>,
}

impl RevocationCursor {
    /// Of a store whose transactions commit one after the other: the place says it all.
    pub(super) const fn at(place: Place) -> Self {
        Self {
            place,
            #[cfg(feature = "postgres")]
            reading: None,
        }
    }
}

/// Some revocations, in the order of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationPage {
    /// The revocations.
    pub revocations: Vec<Revoked>,
    /// Where to go on.
    pub cursor: RevocationCursor,
    /// Whether this was all that had been committed when the reading began.
    pub is_last: bool,
}

impl RevocationPage {
    /// The page of a store whose transactions commit one after the other, read from `after` with
    /// this limit.
    pub(super) fn in_order(
        revocations: Vec<Revoked>,
        after: Option<&RevocationCursor>,
        limit: u32,
    ) -> Self {
        let place = match (revocations.last(), after) {
            (Some(last), _) => Place { position: last.position + 1, ..Place::START },
            (None, Some(after)) => after.place,
            (None, None) => Place::START,
        };
        let is_last = revocations.len() < limit as usize;
        Self { revocations, cursor: RevocationCursor::at(place), is_last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_text() {
        let place = Place { history: 7, position: u64::MAX };
        assert_eq!(place.to_string().parse(), Ok(place));
        for text in ["", "-", "7", "7-", "-7", "07-7", "7-+7", "7-7-7", "7-18446744073709551616"] {
            assert_eq!(text.parse::<Place>(), Err(InvalidPlace), "{text}");
        }
    }
}
