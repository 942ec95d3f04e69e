//! Sealed keys.

use super::connection::{Failure, Lent};
use super::{rows, sql};
use crate::store::KeyRecord;

/// Lists every key.
pub(super) async fn list(connection: Lent) -> Result<Vec<KeyRecord>, Failure> {
    Ok(rows::all(&connection.query(sql::LIST_KEYS, &[]).await?, rows::key)?)
}

/// Inserts a key unless one of its purpose and algorithm is there; lists every key.
pub(super) async fn insert(connection: Lent, key: &KeyRecord) -> Result<Vec<KeyRecord>, Failure> {
    connection.query(sql::LOCK_KEYS, &[]).await?;
    let (purpose, created_at) = (key.purpose.as_str(), key.created_at.millis());
    connection
        .query(sql::INSERT_KEY, &[&purpose, &key.id, &key.algorithm, &key.sealed, &created_at])
        .await?;
    list(connection).await
}
