//! What to list.

use keyward_core::id::{SessionId, UserId};
use keyward_core::time::Timestamp;

/// Which sessions to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only this user's.
    pub user_id: Option<UserId>,
    /// Live ones as of [`SessionFilter::now`], or those ended by decision.
    pub which: WhichSessions,
    /// The present.
    pub now: Timestamp,
    /// At most so many.
    pub limit: u32,
}

/// Live sessions or ended ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichSessions {
    /// Neither revoked nor timed out.
    Live,
    /// Revoked at this time or later.
    EndedSince(Timestamp),
}

/// Which audit events to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only events of this name.
    pub name: Option<String>,
    /// Only this user's.
    pub user_id: Option<UserId>,
    /// Only this session's.
    pub session_id: Option<SessionId>,
    /// Only events at this time or later.
    pub since: Option<Timestamp>,
    /// Only events before this time.
    pub until: Option<Timestamp>,
    /// Only events with this id or a higher one: how far back a search looks at most.
    pub from_id: Option<i64>,
    /// Where to go on.
    pub order: AuditOrder,
    /// At most so many.
    pub limit: u32,
}

impl AuditFilter {
    /// How many ids one piece of a search goes through: some hundredths of a second.
    pub const LOOKED_AT_MAX: i64 = 100_000;

    /// The newest piece of this search among the events from `begin` on that are before `end`: the
    /// log has no index by user, session or type, and a store that looks for long keeps others
    /// waiting. The next piece ends where this one begins, at [`AuditFilter::from_id`].
    #[must_use]
    pub fn piece(self, begin: i64, end: i64) -> Self {
        let floor = begin.max(end.saturating_sub(Self::LOOKED_AT_MAX));
        Self { order: AuditOrder::Before(end), from_id: Some(floor), ..self }
    }
}

/// In which order to list, and from where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuditOrder {
    /// Newest first.
    #[default]
    Newest,
    /// Newest first, from before this event.
    Before(i64),
    /// Oldest first, from after this event.
    After(i64),
}
