//! What leaves the database when it has had its time, and what the audit log of the coming months
//! needs: functions of the schema, since the service's role neither deletes nor makes tables.
//!
//! A step waits for nobody. Rows that another transaction has locked stay for the next one. A month
//! is made or dropped at another time where that would wait for others longer than a moment: every
//! writer of the log waits behind.

use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::time::Timestamp;

use super::connection::{Connection, Failure, Lent, Statement};
use super::{audit, rows, second_factor, sql};
use crate::store::{Purge, Purged, StoreError};

/// See `Store::purge`.
pub(super) async fn step(
    connection: Lent,
    purge: Purge,
    limit: u32,
    context: &AuditContext,
) -> Result<Purged, Failure> {
    let (before, recorded) = match purge {
        Purge::Sessions { expired_before } => {
            return delete(&connection, sql::PURGE_SESSIONS, expired_before, limit).await;
        }
        Purge::MfaChallenges { expired_before } => {
            return second_factor::purge(&connection, expired_before, limit).await;
        }
        Purge::Revocations { before } => {
            return delete(&connection, sql::PURGE_REVOCATIONS, before, limit).await;
        }
        Purge::OneTimeTokens { expired_before } => {
            return delete(&connection, sql::PURGE_TOKENS, expired_before, limit).await;
        }
        Purge::Mail { expired_before } => {
            return delete(&connection, sql::PURGE_MAIL, expired_before, limit).await;
        }
        Purge::Checkpoints { before } => {
            return delete(&connection, sql::chain::PURGE_CHECKPOINTS, before, limit).await;
        }
        Purge::Events { before, recorded } => (before, recorded),
    };
    let purged = delete(&connection, sql::PURGE_AUDIT, before, limit).await?;
    if recorded && purged != Purged::Rows(0) {
        let event = AuditEvent::of_nobody(AuditKind::AuditPurged { until: before });
        audit::record(&connection, &[event], context).await?;
    }
    Ok(purged)
}

async fn delete(
    connection: &Connection,
    function: Statement<'_>,
    before: Timestamp,
    limit: u32,
) -> Result<Purged, Failure> {
    const DELETED: &str = "purge.deleted";
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    let answer = connection.query(function, &[&before.millis(), &limit]).await?;
    let deleted: i64 = rows::first(&answer, |columns| columns.take(DELETED))?
        .ok_or(StoreError::Inconsistent(DELETED))?;
    Ok(u64::try_from(deleted).map_or(Purged::Month, Purged::Rows))
}

/// See `Store::prepare_audit`.
pub(super) async fn add_audit_partitions(connection: Lent) -> Result<(), Failure> {
    connection.query(sql::ADD_AUDIT_PARTITIONS, &[]).await.map(drop)
}
