//! Accounts that come from elsewhere.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent};
use keyward_core::id::UserId;
use serde_json::Value;

use super::connection::{Connection, Failure, Lent, PATIENCE};
use super::rows::uuid;
use super::{PostgresStore, audit, rows, sql};
use crate::store::{HashReplacement, ImportOutcome, ImportStore, ImportedUser, StoreError};

#[async_trait]
impl ImportStore for PostgresStore {
    async fn insert_users(
        &self,
        users: Vec<ImportedUser>,
        context: &AuditContext,
    ) -> Result<Vec<ImportOutcome>, StoreError> {
        self.connections.transact(PATIENCE, |connection| insert(connection, &users, context)).await
    }

    async fn replace_hash(
        &self,
        replacement: HashReplacement,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| replace(connection, &replacement, context))
            .await
    }
}

async fn insert(
    connection: Lent,
    imported: &[ImportedUser],
    context: &AuditContext,
) -> Result<Vec<ImportOutcome>, Failure> {
    let mut inserted = insert_rows(&connection, imported).await?;
    // Of two that are alike the first is there.
    let is_new: Vec<bool> = imported
        .iter()
        .map(|ImportedUser { user, .. }| inserted.remove(&(user.id, user.email.key().to_owned())))
        .collect();
    let new = imported.iter().zip(&is_new).filter(|(_, is_new)| **is_new);
    let events: Vec<AuditEvent> = new.map(|(imported, _)| imported.user.registered()).collect();
    audit::record(&connection, &events, context).await?;
    if events.len() == imported.len() {
        return Ok(vec![ImportOutcome::Inserted; events.len()]);
    }
    let taken = find_taken(&connection, imported).await?;
    let outcome = |(imported, is_new): (&ImportedUser, bool)| {
        if is_new {
            return ImportOutcome::Inserted;
        }
        let taken_by = taken.get(imported.user.email.key()).copied();
        taken_by.map_or(ImportOutcome::IdTaken, ImportOutcome::EmailTaken)
    };
    Ok(imported.iter().zip(is_new).map(outcome).collect())
}

/// Inserts those that can be, by one statement; answers their ids and addresses.
async fn insert_rows(
    connection: &Connection,
    imported: &[ImportedUser],
) -> Result<HashSet<(UserId, String)>, Failure> {
    let users = || imported.iter().map(|imported| &imported.user);
    // An array of arrays would need rows of one length; no role has a comma in it.
    let roles: Vec<String> = users().map(|user| user.roles.join(",")).collect();
    let claims = imported.iter().map(|imported| Value::Object(imported.claims.clone()).to_string());
    let found = connection
        .query(
            sql::IMPORT_USERS,
            &[
                &users().map(|user| uuid(user.id.as_bytes())).collect::<Vec<_>>(),
                &users().map(|user| user.email.shown()).collect::<Vec<_>>(),
                &keys(imported),
                &users().map(|user| user.name.as_deref()).collect::<Vec<_>>(),
                &roles,
                &users().map(|user| user.email_verified).collect::<Vec<_>>(),
                &claims.collect::<Vec<_>>(),
                &users().map(|user| user.password_hash.as_phc()).collect::<Vec<_>>(),
                &imported.iter().map(|user| user.created_at.millis()).collect::<Vec<_>>(),
            ],
        )
        .await?;
    Ok(rows::all(&found, rows::user_address)?.into_iter().collect())
}

/// Whose the addresses are by now.
async fn find_taken(
    connection: &Connection,
    imported: &[ImportedUser],
) -> Result<HashMap<String, UserId>, Failure> {
    let found = connection.query(sql::LIST_USER_ADDRESSES, &[&keys(imported)]).await?;
    let taken = rows::all(&found, rows::user_address)?;
    Ok(taken.into_iter().map(|(id, key)| (key, id)).collect())
}

fn keys(imported: &[ImportedUser]) -> Vec<&str> {
    imported.iter().map(|imported| imported.user.email.key()).collect()
}

async fn replace(
    connection: Lent,
    replacement: &HashReplacement,
    context: &AuditContext,
) -> Result<bool, Failure> {
    let id = uuid(replacement.user_id.as_bytes());
    let (from, to) = (replacement.from.as_phc(), replacement.to.as_phc());
    let replaced = connection.query(sql::REPLACE_HASH, &[&id, &from, &to]).await?;
    if !replaced.is_empty() {
        audit::record(&connection, &[replacement.rehashed()], context).await?;
    }
    Ok(!replaced.is_empty())
}
