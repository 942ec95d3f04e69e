//! What must hold, and what happens to it when one rule is taken away.
//!
//! A check that nothing can fail shows nothing. Each [`Mutation`] takes one rule away, of the
//! server, of the client, or of what a promise assumes; [`DEMONSTRATIONS`] names the promise that
//! has to fail then.

use std::fmt;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// At most one token of a session can be exchanged, and each is exchanged once.
    OneLine,
    /// Of two parties that have both exchanged tokens of one session, the second one's next refresh
    /// ends it.
    TheftIsSeen,
    /// A client that keeps its part is not signed out by its own refreshes.
    NoHonestLogout,
    /// No answer takes away a cookie that a later sign-in or rotation set.
    LosersDoNoHarm,
    /// A revoked session stays revoked, and generations only rise.
    Monotone,
    /// Whoever never saw a token of a session cannot change it.
    NoOracle,
    /// What a client holds was committed before.
    Durable,
}

impl Property {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::OneLine,
        Self::TheftIsSeen,
        Self::NoHonestLogout,
        Self::LosersDoNoHarm,
        Self::Monotone,
        Self::NoOracle,
        Self::Durable,
    ];
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneLine => "one line",
            Self::TheftIsSeen => "theft is seen",
            Self::NoHonestLogout => "no honest logout",
            Self::LosersDoNoHarm => "losers do no harm",
            Self::Monotone => "monotone",
            Self::NoOracle => "no oracle",
            Self::Durable => "durable",
        })
    }
}

/// A rule taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// The write that swaps does not ask which token is current.
    SwapUnguarded,
    /// The write that swaps does not ask whether the session was ended.
    SwapOfRevoked,
    /// A restart forgets that sessions were ended.
    RevocationForgotten,
    /// The answer leaves before the commit.
    AnswerBeforeCommit,
    /// The loser of a race is handed a successor, as its old snapshot allows.
    StaleReadIssues,
    /// The loser of a race is taken for a replay, since its token is not current any more.
    StaleReadRevokes,
    /// A replaced token without proof is refused and nothing else.
    ReuseAsRace,
    /// The previous token is handed its successor without a proof.
    RetryUnproved,
    /// A proof counts for nothing.
    ProofIgnored,
    /// A 409 clears the cookie.
    ConflictClears,
    /// The tag of a token is not looked at.
    TagUnchecked,
    /// A MAC key that was stolen is not marked as compromised.
    CompromiseForgotten,
    /// Reuse ends one session where the policy says every session of the user.
    UserSpared,

    /// The client keeps one key for the whole sign-in.
    KeyKept,
    /// The client makes a new key for each try.
    KeyRenewed,
    /// The client forgets the key when a request fails.
    KeyForgottenOnFailure,
    /// The client's tabs do not wait for each other.
    LockMissing,
    /// The client does not try again after a 409.
    SecondTryMissing,
    /// The answer of an aborted request reaches the cookie jar all the same.
    AbortLeaks,

    /// Answers come in any order.
    OrderIgnored,
    /// Requests come however late.
    LatenessIgnored,
}

/// A rule taken away, where that shows, and the promise that fails.
#[derive(Debug, Clone, Copy)]
pub struct Demonstration {
    /// The rule.
    pub mutation: Mutation,
    /// The scenario that has the occasion.
    pub scenario: &'static str,
    /// What the rule is there for.
    pub breaks: Property,
}

/// What each rule is there for.
pub const DEMONSTRATIONS: &[Demonstration] = &[
    show(Mutation::SwapUnguarded, "network", Property::OneLine),
    show(Mutation::SwapOfRevoked, "network", Property::Monotone),
    show(Mutation::RevocationForgotten, "network", Property::Monotone),
    show(Mutation::AnswerBeforeCommit, "network", Property::Durable),
    show(Mutation::StaleReadIssues, "theft-in-a-race", Property::Durable),
    show(Mutation::StaleReadRevokes, "network", Property::NoHonestLogout),
    show(Mutation::ReuseAsRace, "theft", Property::TheftIsSeen),
    show(Mutation::RetryUnproved, "theft", Property::TheftIsSeen),
    show(Mutation::ProofIgnored, "network", Property::NoHonestLogout),
    show(Mutation::ConflictClears, "server-rendered", Property::LosersDoNoHarm),
    show(Mutation::TagUnchecked, "stranger", Property::NoOracle),
    show(Mutation::CompromiseForgotten, "stolen-mac-key", Property::NoOracle),
    show(Mutation::UserSpared, "whole-user", Property::TheftIsSeen),
    show(Mutation::KeyKept, "theft", Property::TheftIsSeen),
    show(Mutation::KeyRenewed, "network", Property::NoHonestLogout),
    show(Mutation::KeyForgottenOnFailure, "network", Property::NoHonestLogout),
    show(Mutation::LockMissing, "network", Property::NoHonestLogout),
    show(Mutation::SecondTryMissing, "theft", Property::TheftIsSeen),
    show(Mutation::AbortLeaks, "sign-in-anew", Property::LosersDoNoHarm),
    show(Mutation::OrderIgnored, "leaking-aborts", Property::NoHonestLogout),
    show(Mutation::LatenessIgnored, "nine-rotations", Property::NoHonestLogout),
    show(Mutation::LatenessIgnored, "timeouts", Property::NoHonestLogout),
];

const fn show(mutation: Mutation, scenario: &'static str, breaks: Property) -> Demonstration {
    Demonstration { mutation, scenario, breaks }
}
