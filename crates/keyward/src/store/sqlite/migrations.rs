//! The schema of the file, and how it came about.

use std::path::Path;

use keyward_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::connection::{open_read_only, unavailable};
use crate::store::StoreError;
use crate::store::migration::{self, Applied, CLOSED, History, Migration, checksum};

/// Applies what is missing, in one transaction. Of two processes that start at once one waits.
pub(super) fn apply(connection: &mut Connection, now: Timestamp) -> Result<(), StoreError> {
    let behavior = rusqlite::TransactionBehavior::Immediate;
    let transaction = connection.transaction_with_behavior(behavior)?;
    transaction.execute_batch(CREATE_TABLE)?;
    refuse_moved(&transaction)?;
    let applied = applied(&transaction)?;
    for (version, (name, text)) in (1_u32..).zip(MIGRATIONS).skip(applied.len()) {
        transaction.execute_batch(text)?;
        transaction.execute(INSERT, params![version, name, checksum(text), now.millis()])?;
    }
    Ok(transaction.commit()?)
}

/// Every migration, with when it was applied to this file. Changes nothing and makes no file.
pub(super) fn list(path: &Path) -> Result<Vec<Migration>, StoreError> {
    let mut rows = Vec::new();
    if path.exists() {
        let connection = open_read_only(path)?;
        let table: Option<i64> =
            connection.query_row(FIND_TABLE, [], |row| row.get(0)).optional()?;
        if table.is_some() {
            refuse_moved(&connection)?;
            rows = applied(&connection)?;
        }
    }
    Ok(migration::listed(MIGRATIONS, &rows))
}

/// Whether every migration of this version was applied. Fails as [`applied`] does.
#[cfg(feature = "postgres")]
pub(super) fn is_complete(connection: &Connection) -> Result<bool, StoreError> {
    Ok(applied(connection)?.len() == MIGRATIONS.len())
}

/// Tells this file from others, whatever happens to its rows: when it was made, to the millisecond.
#[cfg(feature = "postgres")]
pub(super) fn fingerprint(connection: &Connection) -> Result<Vec<u8>, StoreError> {
    let made_at: i64 = connection.query_row(FIND_FIRST, [], |row| row.get(0))?;
    Ok(checksum(&format!("sqlite made at {made_at}")))
}

/// Since when the data live elsewhere, if they do.
pub(super) fn moved_at(connection: &Connection) -> Result<Option<Timestamp>, StoreError> {
    let found = connection.query_row(FIND_MARK, [CLOSED], |row| row.get(0)).optional()?;
    Ok(found.map(Timestamp::from_millis))
}

/// The mark of the copy that the data live in, if they live elsewhere.
#[cfg(feature = "postgres")]
pub(super) fn moved_to(connection: &Connection) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(connection.query_row(FIND_COPY, [CLOSED], |row| row.get(0)).optional()?)
}

/// Has every program refuse the file from now on, and every copy but this one.
#[cfg(feature = "postgres")]
pub(super) fn mark_moved(
    connection: &Connection,
    copy: &[u8],
    now: Timestamp,
) -> Result<(), StoreError> {
    connection.execute(INSERT, params![CLOSED, "moved", copy, now.millis()])?;
    Ok(())
}

/// Takes the mark away.
#[cfg(feature = "postgres")]
pub(super) fn unmark_moved(connection: &Connection) -> Result<(), StoreError> {
    connection.execute(DELETE_MARK, [CLOSED])?;
    Ok(())
}

fn refuse_moved(connection: &Connection) -> Result<(), StoreError> {
    match moved_at(connection)? {
        None => Ok(()),
        Some(at) => Err(unavailable(&format!(
            "the data of this file were moved to PostgreSQL at {}; name that database in \
             store.url, or take the file back with `keyward store reopen`",
            at.to_rfc3339()
        ))),
    }
}

/// The migrations that were applied.
///
/// Fails where the file knows more than this program, or the same under another text: a file has
/// one program at a time, so that none has to run on the schema of the next.
fn applied(connection: &Connection) -> Result<Vec<Applied>, StoreError> {
    let mut statement = connection.prepare(LIST)?;
    let rows = statement.query_map([CLOSED], |row| {
        let (version, sha256) = (row.get(0)?, row.get(1)?);
        let at = Timestamp::from_millis(row.get(2)?);
        Ok(Applied { version, sha256, at, compatible_since: version })
    })?;
    let rows: Vec<Applied> = rows.collect::<Result<_, _>>()?;
    migration::check(MIGRATIONS, &rows)?;
    Ok(rows)
}

/// Name and text of each migration; the position is the version.
const MIGRATIONS: History = &[
    ("initial", include_str!("../../../migrations/sqlite/0001_initial.sql")),
    ("service_keys", include_str!("../../../migrations/sqlite/0002_service_keys.sql")),
    ("roles", include_str!("../../../migrations/sqlite/0003_roles.sql")),
    ("key_life", include_str!("../../../migrations/sqlite/0004_key_life.sql")),
    ("revocations", include_str!("../../../migrations/sqlite/0005_revocations.sql")),
    ("purge", include_str!("../../../migrations/sqlite/0006_purge.sql")),
    ("statistics", include_str!("../../../migrations/sqlite/0007_statistics.sql")),
    ("second_factor", include_str!("../../../migrations/sqlite/0008_second_factor.sql")),
    ("mail", include_str!("../../../migrations/sqlite/0009_mail.sql")),
    ("unlocking", include_str!("../../../migrations/sqlite/0010_unlocking.sql")),
    ("audit_chain", include_str!("../../../migrations/sqlite/0011_audit_chain.sql")),
];

const CREATE_TABLE: &str = "
    CREATE TABLE IF NOT EXISTS migration (
        version INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        sha256 BLOB NOT NULL,
        applied_at INTEGER NOT NULL
    ) STRICT";
const FIND_TABLE: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration'";
const LIST: &str = "SELECT version, sha256, applied_at FROM migration \
                    WHERE version <> ?1 ORDER BY version";
#[cfg(feature = "postgres")]
const FIND_FIRST: &str = "SELECT applied_at FROM migration ORDER BY version LIMIT 1";
const FIND_MARK: &str = "SELECT applied_at FROM migration WHERE version = ?1";
#[cfg(feature = "postgres")]
const FIND_COPY: &str = "SELECT sha256 FROM migration WHERE version = ?1";
#[cfg(feature = "postgres")]
const DELETE_MARK: &str = "DELETE FROM migration WHERE version = ?1";
const INSERT: &str =
    "INSERT INTO migration (version, name, sha256, applied_at) VALUES (?1, ?2, ?3, ?4)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::connection::{create_file, open_writer};
    use crate::store::sqlite::tests::migrated;

    #[test]
    fn a_second_start_applies_nothing_again() {
        let (mut connection, dir) = migrated();
        assert_eq!(apply(&mut connection, Timestamp::from_secs(2)), Ok(()));
        let listed = list(&dir.path().join("test.db")).expect("a list");
        assert_eq!(listed.len(), MIGRATIONS.len());
        assert!(listed.iter().all(|one| one.applied_at == Some(Timestamp::from_secs(1))));
    }

    #[test]
    fn processes_that_start_at_once_all_find_the_schema() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("test.db");
        std::thread::scope(|scope| {
            let start = || -> Result<(), StoreError> {
                create_file(&path)?;
                apply(&mut open_writer(&path)?, Timestamp::from_secs(1))
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            for thread in threads {
                assert_eq!(thread.join().expect("no panic"), Ok(()));
            }
        });
        assert!(list(&path).expect("a list").iter().all(|one| one.applied_at.is_some()));
    }

    #[test]
    fn listing_makes_no_file_and_applies_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("test.db");
        let pending = |listed: Vec<Migration>| listed.iter().all(|one| one.applied_at.is_none());
        assert!(pending(list(&path).expect("a list")));
        assert!(!path.exists());
        create_file(&path).expect("a file");
        assert!(pending(list(&path).expect("a list")));
    }

    #[test]
    fn a_file_of_another_version_is_refused() {
        for (change, sentence) in [
            (
                "INSERT INTO migration VALUES (99, 'later', x'00', 0)",
                "the database is of a newer version of Keyward (migration 99); start that version",
            ),
            (
                "UPDATE migration SET sha256 = x'00'",
                "the database has another migration 1 than this version of Keyward",
            ),
        ] {
            let (mut connection, dir) = migrated();
            connection.execute(change, []).expect("a change");
            let refused = Err(unavailable(sentence));
            assert_eq!(apply(&mut connection, Timestamp::from_secs(2)), refused);
            assert_eq!(list(&dir.path().join("test.db")).map(|_| ()), refused);
        }
    }

    #[test]
    fn an_applied_migration_never_changes() {
        migration::assert_unchanged("sqlite", MIGRATIONS);
    }
}
