//! What leaves the file when it has had its time.
//!
//! A step is one job among those of the writing thread, so that nobody waits for more than its few
//! rows. The file does not shrink: its free pages take what comes next.

use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::time::Timestamp;
use rusqlite::{Connection, named_params};

use super::sql::{chain, second_factor};
use super::{audit, sql};
use crate::store::{Purge, Purged, StoreError};

/// See `Store::purge`.
pub(super) fn step(
    connection: &Connection,
    purge: Purge,
    limit: u32,
    context: &AuditContext,
) -> Result<Purged, StoreError> {
    let (sql, before) = match purge {
        Purge::Sessions { expired_before } => (sql::PURGE_SESSIONS, expired_before),
        Purge::MfaChallenges { expired_before } => {
            (second_factor::PURGE_CHALLENGES, expired_before)
        }
        Purge::Revocations { before } => (sql::PURGE_REVOCATIONS, before),
        Purge::OneTimeTokens { expired_before } => (sql::PURGE_TOKENS, expired_before),
        Purge::Mail { expired_before } => (sql::PURGE_MAIL, expired_before),
        Purge::Checkpoints { before } => (chain::PURGE_CHECKPOINTS, before),
        Purge::Events { before, recorded } => {
            // Before anything is deleted: were the log empty, its ids would begin anew.
            if recorded && is_any_due(connection, before)? {
                let purged = AuditEvent::of_nobody(AuditKind::AuditPurged { until: before });
                audit::record(connection, &purged, context)?;
            }
            (sql::PURGE_EVENTS, before)
        }
    };
    let parameters = named_params! { ":before": before.millis(), ":limit": limit };
    let rows = connection.prepare_cached(sql)?.execute(parameters)?;
    Ok(Purged::Rows(rows as u64))
}

fn is_any_due(connection: &Connection, before: Timestamp) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(sql::HAS_EVENT_BEFORE)?;
    Ok(statement.query_row(named_params! { ":before": before.millis() }, |row| row.get(0))?)
}
