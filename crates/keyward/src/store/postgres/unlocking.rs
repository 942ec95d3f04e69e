//! Accounts whose limits on trying begin anew.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;
use tokio_postgres::types::ToSql;

use super::connection::{Failure, Lent, PATIENCE};
use super::rows::uuid;
use super::sql::{second_factor, unlocking as sql};
use super::{PostgresStore, audit, rows};
use crate::store::{StoreError, UnlockStore, UnlockedAccount};

#[async_trait]
impl UnlockStore for PostgresStore {
    async fn unlock(&self, id: UserId, context: &AuditContext) -> Result<bool, StoreError> {
        self.connections.transact(PATIENCE, |connection| unlock(connection, id, context)).await
    }

    async fn list_unlocked(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<UnlockedAccount>, StoreError> {
        self.connections.run(PATIENCE, |connection| list(connection, since, limit)).await
    }
}

async fn unlock(connection: Lent, id: UserId, context: &AuditContext) -> Result<bool, Failure> {
    let user = uuid(id.as_bytes());
    if connection.query(sql::UNLOCK, &[&user, &context.at.millis()]).await?.is_empty() {
        return Ok(false);
    }
    connection.query(second_factor::SET_TRIES, &[&user, &None::<i64>]).await?;
    let unlocked = [AuditEvent::of_user(AuditKind::UserUnlocked {}, id)];
    audit::record(&connection, &unlocked, context).await?;
    Ok(true)
}

async fn list(
    connection: Lent,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<UnlockedAccount>, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&since.millis(), &i64::from(limit)];
    let found = connection.query(sql::LIST_UNLOCKED, parameters).await?;
    Ok(rows::all(&found, rows::unlocked_account)?)
}
