//! What must hold, and how a breach is told.

use std::fmt;

/// What the rotation of refresh tokens promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// At any time at most one token of a session can be exchanged.
    OneLine,
    /// Two parties who both exchange tokens of one session lose it both.
    TheftIsSeen,
    /// Who keeps the client's part is not signed out, but by time or somebody's decision.
    NoHonestLogout,
    /// No answer takes away a cookie that is still good for something.
    LosersDoNoHarm,
    /// What was revoked stays revoked, and generations only rise.
    Monotone,
    /// Who has no token of a session cannot touch it.
    NoOracle,
    /// What an answer says was committed before, and outlives every crash.
    Durable,
    /// Every answer is one that the contract knows, whatever fails.
    KnownAnswers,
}

/// A promise that a history has broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breach {
    pub(crate) promise: Promise,
    /// What was seen, for a person.
    pub(crate) seen: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.seen)
    }
}

impl Promise {
    /// `Ok` where the promise is kept.
    pub(crate) fn holds(self, kept: bool, seen: impl FnOnce() -> String) -> Result<(), Breach> {
        if kept { Ok(()) } else { Err(self.broken(seen())) }
    }

    pub(crate) fn broken(self, seen: impl Into<String>) -> Breach {
        Breach { promise: self, seen: seen.into() }
    }
}
