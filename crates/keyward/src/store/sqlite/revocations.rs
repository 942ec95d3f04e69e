//! The outbox of revocations. Triggers of the schema write it.

use rusqlite::{Connection, named_params};

use super::{rows, sql};
use crate::store::{RevocationCursor, RevocationPage, StoreError};

/// See `Store::list_revocations`. Read from the file: the command line revokes too, in a process of
/// its own.
pub(super) fn list(
    connection: &Connection,
    after: Option<&RevocationCursor>,
    limit: u32,
) -> Result<RevocationPage, StoreError> {
    let from = after.map_or(0, |cursor| cursor.place.position);
    // Beyond what the file can hold there is nothing.
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql::LIST_REVOCATIONS)?;
    let found = statement.query(named_params! { ":from": from, ":limit": limit })?;
    Ok(RevocationPage::in_order(rows::all(found, rows::revoked)?, after, limit))
}

#[cfg(test)]
mod tests;
