//! What a moment of the model is made of.

use std::fmt;

use keyward_core::rotation::Decision;

use crate::rules::{Key, Row, Token};
use crate::set::Set;

/// A token presented with a key: what a request carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// The refresh token.
    pub token: Token,
    /// The `Idempotency-Key`.
    pub key: Key,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with {:?}", self.token, self.key)
    }
}

/// What an answer does to whoever waits for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// 200: the cookie is set to this token.
    Tokens(Token),
    /// 401, or 409 where `conflict` says so.
    Refused {
        /// 409 `REFRESH_RACE`.
        conflict: bool,
        /// Whether the cookie is taken away.
        clears: bool,
    },
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(token) => write!(f, "200 with {token:?}"),
            Self::Refused { conflict, clears } => {
                let status = if *conflict { "409" } else { "401" };
                write!(f, "{status}, {} the cookie", if *clears { "clearing" } else { "keeping" })
            }
        }
    }
}

/// Everything at one moment.
#[derive(Debug, Clone, Hash)]
pub struct State {
    /// What the store has committed: the first session, and one opened later.
    pub rows: [Option<Row>; 2],
    /// What a backup holds.
    pub backup: Option<[Option<Row>; 2]>,
    /// Whether the store came back from it.
    pub restored: bool,
    /// Which instant the clock shows.
    pub clock: u8,
    /// Exchanges that the server has begun and not finished.
    pub work: Set<Work, 2>,
    /// Requests of the browser that may arrive, any number of times.
    pub sent: Set<Request, 14>,
    /// Answers on their way to whoever waits for one to this request.
    pub answers: Set<(Request, Answer), 8>,
    /// The honest client.
    pub browser: Browser,
    /// Who copies what the browser holds.
    pub thief: Thief,
    /// Who has exchanged tokens of the first session.
    pub shared: Shared,
    /// How often the bounded things have happened.
    pub spent: Spent,
}

/// Who presents a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// The honest client.
    Browser,
    /// Whoever copied its cookie.
    Thief,
    /// Somebody who never saw a token of the session.
    Stranger,
}

/// An exchange that the server has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work {
    /// Who asked.
    pub party: Party,
    /// What for.
    pub request: Request,
    /// When it was begun.
    pub at: u8,
    /// How far it is.
    pub stage: Stage,
}

/// How far an exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The statement that swaps has begun, with this row in its snapshot.
    Swapping(Row),
    /// Row 9 or 10 was decided; the session is not ended yet.
    Ending,
}

/// The honest client: tabs over one cookie jar.
#[derive(Debug, Clone, Hash)]
pub struct Browser {
    /// The refresh cookie.
    pub jar: Option<Token>,
    /// The key of the exchange that was begun, stored for all tabs.
    pub pending: Option<Key>,
    /// How many keys it has made.
    pub keys_made: u8,
    /// What its tabs do. They are alike, so their order does not matter.
    pub tabs: [Tab; 3],
    /// Requests that were given up and whose answers still reach the cookie jar.
    pub leaking: Set<Request, 2>,
}

/// What a tab does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tab {
    /// Nothing.
    Idle,
    /// Waits for an answer.
    Waiting {
        /// To this.
        request: Request,
        /// Whether it is the try that follows a 409.
        second: bool,
        /// Whether it has to find the session ended, since a thief has exchanged meanwhile.
        owed: bool,
    },
}

/// Who copies what the browser holds.
#[derive(Debug, Clone, Hash)]
pub struct Thief {
    /// The tokens that it has.
    pub tokens: Set<Token, 12>,
    /// The keys that it copied.
    pub keys: Set<Key, 4>,
    /// The session's generation when it last copied.
    pub copied_at: Option<u8>,
    /// Whether it has presented anything.
    pub acted: bool,
}

/// Who has exchanged tokens of the first session under a key that the other never had.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub struct Shared {
    /// The browser.
    pub browser: bool,
    /// The thief.
    pub thief: bool,
    /// Whether the last exchange was the thief's.
    pub thief_was_last: bool,
}

impl Shared {
    /// Whether both have.
    pub fn by_both(self) -> bool {
        self.browser && self.thief
    }
}

/// How often the bounded things have happened.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub struct Spent {
    /// Copies of the cookie jar.
    pub copies: u8,
    /// Sessions ended by the operator.
    pub revocations: u8,
    /// Requests given up whose answers leak.
    pub leaks: u8,
}

/// What happens in a step, for whoever reads a run.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// A tab sends.
    Send(Request),
    /// A tab gives up, and aborts.
    GiveUp(Request),
    /// A tab gets its answer, and after a 409 tries once more.
    Receive(Request, Answer, Option<Request>),
    /// The answer of a request that was given up reaches the cookie jar.
    Leak(Request, Answer),
    /// The browser signs in anew; the answer arrives, or is lost.
    SignIn(bool),
    /// The server carries out a whole exchange.
    Exchange(Party, Request),
    /// The server begins one and does not finish it yet.
    Begin(Party, Request),
    /// The server finishes one. With the flag, it had read the row as it was when it began.
    Finish(Work, bool),
    /// The server crashes, and starts again.
    Crash,
    /// The thief copies the cookie, with the pending key where the flag says so.
    Copy(bool),
    /// The operator ends the session.
    Revoke,
    /// A backup is taken.
    Backup,
    /// The store comes back from it.
    Restore,
    /// The clock moves on to this instant.
    Tick(u8),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(request) => write!(f, "a tab sends {request:?}"),
            Self::GiveUp(request) => write!(f, "a tab gives up on {request:?}"),
            Self::Receive(request, answer, None) => {
                write!(f, "a tab gets {answer:?} to {request:?}")
            }
            Self::Receive(_, answer, Some(again)) => {
                write!(f, "a tab gets {answer:?}, and tries again with {again:?}")
            }
            Self::Leak(_, answer) => write!(f, "the answer of an aborted request: {answer:?}"),
            Self::SignIn(true) => write!(f, "the browser signs in anew"),
            Self::SignIn(false) => write!(f, "the browser signs in anew; the answer is lost"),
            Self::Exchange(party, request) => {
                write!(f, "the server answers {party:?}: {request:?}")
            }
            Self::Begin(party, request) => write!(f, "the server begins {party:?}'s {request:?}"),
            Self::Finish(work, stale) => {
                let read = if *stale { ", from its old snapshot" } else { "" };
                write!(f, "the server finishes {:?}'s {:?}{read}", work.party, work.request)
            }
            Self::Crash => write!(f, "the server crashes and starts again"),
            Self::Copy(false) => write!(f, "the thief copies the cookie"),
            Self::Copy(true) => write!(f, "the thief copies the cookie and the pending key"),
            Self::Revoke => write!(f, "the operator ends the session"),
            Self::Backup => write!(f, "a backup is taken"),
            Self::Restore => write!(f, "the store comes back from the backup"),
            Self::Tick(instant) => write!(f, "the clock moves to instant {instant}"),
        }
    }
}

/// What is worth knowing to have happened, so that no promise holds for want of an occasion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Row 1: what was made up is refused as junk.
    Junk,
    /// Row 3.
    Revoked,
    /// Row 4.
    Expired,
    /// Row 5.
    Rotate,
    /// Row 6.
    Retry,
    /// Row 7.
    Late,
    /// Row 8.
    Race,
    /// Row 9.
    Reuse,
    /// Row 10.
    Rollback,
    /// A swap was begun, and another one was committed first.
    RaceLost,
    /// Both parties had exchanged, and the session ended for it.
    TheftSeen,
    /// A crash interrupted an exchange.
    Interrupted,
    /// A 409 came to a browser that held a later cookie by then, and left it alone.
    CookieKept,
    /// The answer of an aborted request reached the cookie jar.
    Leaked,
    /// A second session was opened in the same browser.
    SignedInAnew,
    /// Every session of the user was ended for one.
    UserEnded,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Junk,
        Self::Revoked,
        Self::Expired,
        Self::Rotate,
        Self::Retry,
        Self::Late,
        Self::Race,
        Self::Reuse,
        Self::Rollback,
        Self::RaceLost,
        Self::TheftSeen,
        Self::Interrupted,
        Self::CookieKept,
        Self::Leaked,
        Self::SignedInAnew,
        Self::UserEnded,
    ];

    /// Its bit among the events of a search.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The event of a decision.
    pub fn of(decision: Decision) -> Self {
        match decision {
            Decision::Invalid => Self::Junk,
            Decision::Revoked(_) => Self::Revoked,
            Decision::Expired { .. } => Self::Expired,
            Decision::Rotate => Self::Rotate,
            Decision::Retry => Self::Retry,
            Decision::Late => Self::Late,
            Decision::Race => Self::Race,
            Decision::Reuse => Self::Reuse,
            Decision::Rollback => Self::Rollback,
        }
    }
}
