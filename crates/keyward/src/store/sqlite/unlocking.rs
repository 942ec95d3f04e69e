//! Accounts whose limits on trying begin anew.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;
use rusqlite::{Connection, named_params};

use super::sql::{second_factor, unlocking as sql};
use super::{SqliteStore, audit, rows};
use crate::store::{StoreError, UnlockStore, UnlockedAccount};

#[async_trait]
impl UnlockStore for SqliteStore {
    async fn unlock(&self, id: UserId, context: &AuditContext) -> Result<bool, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| unlock(connection, id, &context)).await
    }

    async fn list_unlocked(
        &self,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<UnlockedAccount>, StoreError> {
        self.readers
            .read(move |connection| {
                let parameters = named_params! { ":since": since.millis(), ":limit": limit };
                let mut statement = connection.prepare_cached(sql::LIST_UNLOCKED)?;
                rows::all(statement.query(parameters)?, rows::unlocked_account)
            })
            .await
    }
}

fn unlock(connection: &Connection, id: UserId, context: &AuditContext) -> Result<bool, StoreError> {
    let parameters = named_params! { ":id": id.as_bytes(), ":now": context.at.millis() };
    if connection.prepare_cached(sql::UNLOCK)?.execute(parameters)? == 0 {
        return Ok(false);
    }
    let parameters = named_params! { ":user_id": id.as_bytes(), ":whole_at": None::<i64> };
    connection.prepare_cached(second_factor::SET_TRIES)?.execute(parameters)?;
    audit::record(connection, &AuditEvent::of_user(AuditKind::UserUnlocked {}, id), context)?;
    Ok(true)
}
