//! Sealed keys.

use rusqlite::{Connection, named_params};

use super::{rows, sql};
use crate::store::{KeyRecord, StoreError};

/// Lists every key.
pub(super) fn list(connection: &Connection) -> Result<Vec<KeyRecord>, StoreError> {
    let mut statement = connection.prepare_cached(sql::LIST_KEYS)?;
    rows::all(statement.query([])?, rows::key)
}

/// Inserts a key unless one of its purpose and algorithm is there; lists every key.
pub(super) fn insert(
    connection: &Connection,
    key: &KeyRecord,
) -> Result<Vec<KeyRecord>, StoreError> {
    connection.prepare_cached(sql::INSERT_KEY)?.execute(named_params! {
        ":purpose": key.purpose.as_str(),
        ":id": key.id,
        ":algorithm": key.algorithm,
        ":sealed": key.sealed,
        ":created_at": key.created_at.millis(),
    })?;
    list(connection)
}
