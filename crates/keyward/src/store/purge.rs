//! What leaves the store when it has had its time.

use keyward_core::time::Timestamp;

/// What is deleted, a step at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// Sessions, with all that they hold. Records nothing: nobody decided it, and what happened to
    /// the session stands in the audit log.
    Sessions {
        /// Those whose absolute timeout came before this time. It never moves, and no session lives
        /// past it, so that neither a refresh nor a sign-out can get in the way.
        expired_before: Timestamp,
    },
    /// Sign-ins that waited for a code. Records nothing.
    MfaChallenges {
        /// Those that expired before this time.
        expired_before: Timestamp,
    },
    /// What verifiers were told of revocations. Records nothing.
    Revocations {
        /// Those before this time.
        before: Timestamp,
    },
    /// One-time tokens. Records nothing.
    OneTimeTokens {
        /// Those that expired before this time.
        expired_before: Timestamp,
    },
    /// Mails that nobody has sent. Records nothing.
    Mail {
        /// Those that expired before this time.
        expired_before: Timestamp,
    },
    /// Checkpoints of the chain over the audit log. Records nothing: that events have left does.
    Checkpoints {
        /// Those of months that were over by this time. The last of them stays, and shows that none
        /// behind it is missing.
        before: Timestamp,
    },
    /// Audit events, from the oldest on, so that what remains is always the later part of the log.
    Events {
        /// Those that happened before this time.
        before: Timestamp,
        /// Whether `audit.purged` is recorded, which the first step of several does; nothing where
        /// nothing is deleted.
        recorded: bool,
    },
}

/// What one step has deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// So many rows; zero where nothing is left, or another process is busy with it.
    Rows(u64),
    /// A whole month of the audit log, where a store keeps it by month, whatever its rows.
    Month,
}
