//! Accounts that come from elsewhere.

use async_trait::async_trait;
use keyward_core::audit::AuditContext;
use keyward_core::id::UserId;
use rusqlite::{Connection, named_params};
use serde_json::Value;

use super::{SqliteStore, audit, sql, users};
use crate::store::{HashReplacement, ImportOutcome, ImportStore, ImportedUser, StoreError};

#[async_trait]
impl ImportStore for SqliteStore {
    async fn insert_users(
        &self,
        users: Vec<ImportedUser>,
        context: &AuditContext,
    ) -> Result<Vec<ImportOutcome>, StoreError> {
        let context = context.clone();
        self.writer
            .write(move |connection| {
                users.iter().map(|user| insert(connection, user, &context)).collect()
            })
            .await
    }

    async fn replace_hash(
        &self,
        replacement: HashReplacement,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| replace(connection, &replacement, &context)).await
    }
}

fn insert(
    connection: &Connection,
    imported: &ImportedUser,
    context: &AuditContext,
) -> Result<ImportOutcome, StoreError> {
    let ImportedUser { user, claims, created_at } = imported;
    let inserted = connection.prepare_cached(sql::IMPORT_USER)?.execute(named_params! {
        ":id": user.id.as_bytes(),
        ":email": user.email.shown(),
        ":email_key": user.email.key(),
        ":name": user.name,
        ":roles": Value::from(user.roles.as_slice()).to_string(),
        ":email_verified": user.email_verified,
        ":claims": Value::Object(claims.clone()).to_string(),
        ":password_hash": user.password_hash.as_phc(),
        ":created_at": created_at.millis(),
    })?;
    if inserted == 1 {
        audit::record(connection, &user.registered(), context)?;
        return Ok(ImportOutcome::Inserted);
    }
    let found = users::find_by_email(connection, user.email.key())?;
    let taken_by: Option<UserId> = found.map(|account| account.user.id);
    Ok(taken_by.map_or(ImportOutcome::IdTaken, ImportOutcome::EmailTaken))
}

fn replace(
    connection: &Connection,
    replacement: &HashReplacement,
    context: &AuditContext,
) -> Result<bool, StoreError> {
    let replaced = connection.prepare_cached(sql::REPLACE_HASH)?.execute(named_params! {
        ":id": replacement.user_id.as_bytes(),
        ":from": replacement.from.as_phc(),
        ":to": replacement.to.as_phc(),
    })?;
    if replaced == 1 {
        audit::record(connection, &replacement.rehashed(), context)?;
    }
    Ok(replaced == 1)
}
