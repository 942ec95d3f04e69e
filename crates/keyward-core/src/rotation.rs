//! What happens to a presented refresh token: one pure function, ten rows.
//!
//! [`decide`] is the only place that knows the rules. Stores carry its outcome out, the service
//! acts on it, and neither decides again. [`Exchange`] is one presentation around it: the swap that
//! is tried first, and the successor that answers a retry. The rows are numbered; the first that
//! matches wins.
//!
//! | # | the presented token | decision |
//! | --- | --- | --- |
//! | 1 | does not parse, or its tag fails | [`Decision::Invalid`] |
//! | 2 | no such session | [`Decision::Invalid`] |
//! | 3 | session revoked | [`Decision::Revoked`] |
//! | 4 | session past its idle or absolute timeout | [`Decision::Expired`] |
//! | 5 | is the current token | [`Decision::Rotate`] |
//! | 6 | is the previous token, with the newest proof, in the retry window | [`Decision::Retry`] |
//! | 7 | has any stored proof, within the retry window | [`Decision::Late`] |
//! | 8 | is the previous token, within the race window | [`Decision::Race`] |
//! | 9 | generation at most the session's | [`Decision::Reuse`] |
//! | 10 | generation beyond the session's | [`Decision::Rollback`] |
//!
//! Which mistakes are dangerous: answering 5 or 6 too generously hands a thief a live token.
//! Answering 9 too eagerly signs honest users out. A tag that fails must never get past row 1, or a
//! stranger who knows a session id could end that session.

mod exchange;

use std::time::Duration;

pub use exchange::{Exchange, SwapEntropy};

use crate::refresh_token::{RefreshTokenHash, RetryProof, TagTrust};
use crate::session::{RevocationReason, Session, SessionState};
use crate::time::Timestamp;

/// The values that steer [`decide`] and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How long a session lives without a refresh. Default 7 days.
    pub idle_ttl: Duration,
    /// How long a session lives at most. Default 30 days, at most 400.
    pub absolute_ttl: Duration,
    /// How long after a rotation an unproved repeat of the previous token is refused without
    /// revoking. Zero, the default, turns row 8 off.
    pub race_window: Duration,
    /// How long a proof of a rotation counts. Default 24 hours.
    pub retry_window: Duration,
    /// What reuse ends. Default: the session.
    pub on_reuse: OnReuse,
}

impl RotationPolicy {
    /// The longest life of a session that is allowed: browsers keep no cookie for longer.
    pub const ABSOLUTE_TTL_MAX: Duration = Duration::from_secs(400 * 24 * 60 * 60);
}

impl Default for RotationPolicy {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            idle_ttl: 7 * DAY,
            absolute_ttl: 30 * DAY,
            race_window: Duration::ZERO,
            retry_window: DAY,
            on_reuse: OnReuse::Session,
        }
    }
}

/// What a detected reuse ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnReuse {
    /// The session whose token was replayed.
    Session,
    /// Every session of its user.
    User,
}

/// A refresh token that parsed and whose tag this server made, with the proof of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// SHA-256 of the whole token.
    pub hash: RefreshTokenHash,
    /// Its place in the family.
    pub generation: u64,
    /// Whether the tag's key is still beyond doubt.
    pub trust: TagTrust,
    /// From the `Idempotency-Key` of the request, where it had one.
    pub proof: Option<RetryProof>,
}

/// What is to be done about a presented refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Rows 1 and 2: junk, or a token of a session that is not there.
    Invalid,
    /// Row 3: the session was ended.
    Revoked(RevocationReason),
    /// Row 4: the session timed out.
    Expired {
        /// Whether the token had been replaced by then: a sign of a thief who came late.
        spent: bool,
    },
    /// Row 5: exchange it.
    Rotate,
    /// Row 6: hand out the same successor again.
    Retry,
    /// Row 7: the proof is honest, but later rotations have overtaken it. No token, no harm.
    Late,
    /// Row 8: an unproved repeat shortly after the rotation. No token, no harm.
    Race,
    /// Row 9: a replaced token, without proof: end the session.
    Reuse,
    /// Row 10: the store forgot rotations that happened: end the session.
    Rollback,
}

impl Decision {
    /// Whether the presented token can never be exchanged again. Only then may an answer take
    /// cookies away: after anything else they may already be those that another tab was given.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Invalid
            | Self::Revoked(_)
            | Self::Expired { .. }
            | Self::Reuse
            | Self::Rollback => true,
            Self::Rotate | Self::Retry | Self::Late | Self::Race => false,
        }
    }
}

/// Decides about a presented token. `presented` is `None` for junk (row 1), `session` is `None`
/// where the store knows no such session (row 2).
pub fn decide(
    session: Option<&Session>,
    presented: Option<&Presented>,
    policy: &RotationPolicy,
    now: Timestamp,
) -> Decision {
    let (Some(presented), Some(session)) = (presented, session) else {
        return Decision::Invalid;
    };
    let is_current = session.refresh_token_hash == presented.hash;
    let is_previous = session.previous_token_hash == Some(presented.hash);

    match session.state(now) {
        SessionState::Revoked(revocation) => return Decision::Revoked(revocation.reason),
        SessionState::Expired => return Decision::Expired { spent: !is_current },
        SessionState::Live => {}
    }
    if is_current {
        return Decision::Rotate;
    }
    match proven_rotation(session, presented, policy.retry_window, now) {
        // Row 6 needs the sealed successor too: where the last rotation had no key there is none.
        Some(0) if is_previous && session.sealed_successor.is_some() => return Decision::Retry,
        Some(_) => return Decision::Late,
        None => {}
    }
    if is_previous && now.distance(session.rotated_at) < policy.race_window {
        return Decision::Race;
    }
    // Whoever holds a compromised tag key can forge any generation; only the stored hashes tell a
    // real token then. Ending the session for another one would let the forger sign its user out.
    if presented.trust == TagTrust::Compromised && !is_previous {
        return Decision::Invalid;
    }
    if presented.generation <= session.generation { Decision::Reuse } else { Decision::Rollback }
}

/// Which stored rotation the proof belongs to, newest first, if it is not too old.
fn proven_rotation(
    session: &Session,
    presented: &Presented,
    retry_window: Duration,
    now: Timestamp,
) -> Option<usize> {
    let proof = presented.proof?;
    session
        .retry_proofs
        .iter()
        .position(|stored| stored.proof == proof && now.since(stored.at) <= retry_window)
}
