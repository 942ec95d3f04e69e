//! The chain over the audit log. Whatever writes the file commits in the order of the ids, in
//! whichever process: what follows the last sealed id is not sealed.

use async_trait::async_trait;
use keyward_core::audit::IdRanges;
use keyward_core::audit::chain::{ChainHash, ChainPublicKey, Checkpoint, UserSalt};
use keyward_core::id::UserId;
use rusqlite::{Connection, OptionalExtension as _, named_params};

use super::sql::chain as sql;
use super::{SqliteStore, rows};
use crate::store::{ChainStore, StoreError, UnsealedPage};

#[async_trait]
impl ChainStore for SqliteStore {
    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.readers
            .read(|connection| {
                let mut statement = connection.prepare_cached(sql::LAST_CHECKPOINT)?;
                rows::first(statement.query([])?, checkpoint)
            })
            .await
    }

    async fn list_checkpoints(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.readers
            .read(move |connection| {
                let mut statement = connection.prepare_cached(sql::LIST_CHECKPOINTS)?;
                let parameters = named_params! { ":after": after, ":limit": limit };
                rows::all(statement.query(parameters)?, checkpoint)
            })
            .await
    }

    async fn list_unsealed(
        &self,
        last: Option<&Checkpoint>,
        before: Option<&UnsealedPage>,
        limit: u32,
    ) -> Result<UnsealedPage, StoreError> {
        let after = UnsealedPage::start_in_order(last, before);
        self.readers
            .read(move |connection| {
                let after = match after {
                    Some(after) => after,
                    None => find_last_sealed(connection)?,
                };
                let mut statement = connection.prepare_cached(sql::LIST_UNSEALED)?;
                let parameters = named_params! { ":after": after, ":limit": limit };
                let events = rows::all(statement.query(parameters)?, rows::event)?;
                Ok(UnsealedPage::in_order(events, limit))
            })
            .await
    }

    async fn append_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        _: &UnsealedPage,
    ) -> Result<bool, StoreError> {
        let checkpoint = checkpoint.clone();
        self.writer.write(move |connection| append(connection, &checkpoint)).await
    }

    async fn keep_salts(
        &self,
        salts: Vec<(UserId, UserSalt)>,
    ) -> Result<Vec<(UserId, UserSalt)>, StoreError> {
        self.writer
            .write(move |connection| {
                let mut insert = connection.prepare_cached(sql::INSERT_SALT)?;
                for (id, salt) in &salts {
                    insert.execute(named_params! {
                        ":id": id.as_bytes(),
                        ":salt": salt.as_bytes(),
                    })?;
                }
                find(connection, salts.into_iter().map(|(id, _)| id))
            })
            .await
    }

    async fn find_salts(&self, users: Vec<UserId>) -> Result<Vec<(UserId, UserSalt)>, StoreError> {
        self.readers.read(move |connection| find(connection, users.into_iter())).await
    }
}

/// The last id of the last checkpoint that covers any.
fn find_last_sealed(connection: &Connection) -> Result<i64, StoreError> {
    let mut statement = connection.prepare_cached(sql::LAST_COVERING)?;
    let events = rows::first(statement.query([])?, events)?;
    Ok(events.and_then(|events| events.last()).unwrap_or(0))
}

pub(super) fn append(connection: &Connection, checkpoint: &Checkpoint) -> Result<bool, StoreError> {
    let number = i64::try_from(checkpoint.number).unwrap_or(i64::MAX);
    let inserted = connection.prepare_cached(sql::INSERT_CHECKPOINT)?.execute(named_params! {
        ":number": number,
        ":at": checkpoint.at.millis(),
        ":month": checkpoint.month.millis(),
        ":reached": checkpoint.reached.millis(),
        ":events": checkpoint.events.to_string(),
        ":tags": checkpoint.tags,
        ":previous": checkpoint.previous.as_slice(),
        ":head": checkpoint.head.as_slice(),
        ":key": checkpoint.key.as_slice(),
        ":signature": checkpoint.signature,
    })?;
    Ok(inserted > 0)
}

fn find(
    connection: &Connection,
    users: impl Iterator<Item = UserId>,
) -> Result<Vec<(UserId, UserSalt)>, StoreError> {
    let mut statement = connection.prepare_cached(sql::FIND_SALT)?;
    let mut found = Vec::new();
    for id in users {
        let salt = statement
            .query_row(named_params! { ":id": id.as_bytes() }, |row| row.get(0))
            .optional()?;
        found.extend(salt.map(|salt| (id, UserSalt::from_bytes(salt))));
    }
    Ok(found)
}

fn checkpoint(columns: &mut rows::Columns<'_, '_>) -> Result<Checkpoint, StoreError> {
    const HEAD: &str = "audit_checkpoint.head";
    const KEY: &str = "audit_checkpoint.key";
    Ok(Checkpoint {
        number: columns.count("audit_checkpoint.number")?,
        at: columns.time("audit_checkpoint.at")?,
        month: columns.time("audit_checkpoint.month")?,
        reached: columns.time("audit_checkpoint.reached")?,
        events: events(columns)?,
        tags: columns.take("audit_checkpoint.tags")?,
        previous: ChainHash::from_slice(&columns.take::<Vec<u8>>(HEAD)?)
            .ok_or(StoreError::Inconsistent(HEAD))?,
        head: ChainHash::from_slice(&columns.take::<Vec<u8>>(HEAD)?)
            .ok_or(StoreError::Inconsistent(HEAD))?,
        key: ChainPublicKey::from_slice(&columns.take::<Vec<u8>>(KEY)?)
            .ok_or(StoreError::Inconsistent(KEY))?,
        signature: columns.take("audit_checkpoint.signature")?,
    })
}

fn events(columns: &mut rows::Columns<'_, '_>) -> Result<IdRanges, StoreError> {
    const EVENTS: &str = "audit_checkpoint.events";
    columns.take::<String>(EVENTS)?.parse().map_err(|_| StoreError::Inconsistent(EVENTS))
}
