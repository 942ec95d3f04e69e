//! What becomes of sessions: how they are opened, exchanged and ended.

use keyward_core::audit::AuditKind;
use keyward_core::id::{SessionId, UserId};
use keyward_core::session::{RevocationReason, Session};

use super::{QueuedMail, User};

/// A session to be opened.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The session, generation 0.
    pub session: Session,
    /// The session of the refresh cookie that the sign-in carried: whoever signs in anew leaves the
    /// old line.
    pub supersedes: Option<SessionId>,
    /// How many live sessions the user may have, this one included.
    pub sessions_max: u32,
    /// The mail that tells the user of the sign-in, queued with it.
    pub notice: Option<QueuedMail>,
}

/// What became of a session to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenSessionOutcome {
    /// It is open.
    Opened {
        /// The user as of the same transaction.
        user: User,
        /// Whether other sessions ended by it.
        ended_others: bool,
    },
    /// The password that was verified is no longer the user's, or the user is gone.
    CredentialChanged,
    /// The user is disabled. Told only to whoever knows the present password.
    Disabled,
    /// The session on whose word it was to be opened is not live any more.
    SessionEnded,
}

/// What became of a swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotateOutcome {
    /// The token was exchanged; session and user as they are afterwards.
    Swapped(SessionOfUser),
    /// Nothing was changed or recorded.
    Refused(Standing),
}

/// How things stand with a session whose token was not exchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The session. `None`: no such session.
    pub session: Option<Session>,
    /// Its user. `None` where the session is gone or the user deleted.
    pub user: Option<User>,
}

/// A session and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOfUser {
    /// The session.
    pub session: Session,
    /// Its user.
    pub user: User,
}

/// Which sessions to end, and how that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoke {
    /// Which.
    pub scope: RevokeScope,
    /// Why. [`RevocationReason::LogoutAll`] of a user also sets the user's `last_logout_at`, even
    /// where no session was left.
    pub reason: RevocationReason,
    /// A session whose end is recorded as this instead of `session.revoked`, and first, and which
    /// must be live and within the scope, or nothing happens at all.
    pub noticed: Option<(SessionId, AuditKind)>,
}

/// Which sessions to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokeScope {
    /// Every session there is, those that have timed out included.
    All,
    /// This one.
    Session(SessionId),
    /// This one, if it is this user's.
    SessionOf(SessionId, UserId),
    /// All of this user's, those that have timed out included.
    User(UserId),
}
