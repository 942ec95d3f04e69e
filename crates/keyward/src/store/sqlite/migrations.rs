//! The schema's history: numbered SQL files, each applied once and never changed.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use keyward_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::connection::{open_read_only, unavailable};
use crate::store::StoreError;

/// One step of the schema's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1.
    pub version: u32,
    /// What it does, as in its file's name.
    pub name: &'static str,
    /// When it was applied; `None` where it is still to come.
    pub applied_at: Option<Timestamp>,
}

/// Applies what is missing, in one transaction. Of two processes that start at once one waits.
pub(super) fn apply(connection: &mut Connection, now: Timestamp) -> Result<(), StoreError> {
    let behavior = rusqlite::TransactionBehavior::Immediate;
    let transaction = connection.transaction_with_behavior(behavior)?;
    transaction.execute_batch(CREATE_TABLE)?;
    let applied = applied(&transaction)?;
    for (version, (name, text)) in (1_u32..).zip(MIGRATIONS).skip(applied.len()) {
        transaction.execute_batch(text)?;
        let checksum = digest(&SHA256, text.as_bytes());
        transaction.execute(INSERT, params![version, name, checksum.as_ref(), now.millis()])?;
    }
    Ok(transaction.commit()?)
}

/// Every migration, with when it was applied to this file. Changes nothing and makes no file.
pub(super) fn list(path: &Path) -> Result<Vec<Migration>, StoreError> {
    let mut times = Vec::new();
    if path.exists() {
        let connection = open_read_only(path)?;
        let table: Option<i64> =
            connection.query_row(FIND_TABLE, [], |row| row.get(0)).optional()?;
        if table.is_some() {
            times = applied(&connection)?;
        }
    }
    let times = times.into_iter().map(Some).chain(std::iter::repeat(None));
    let rows = (1..).zip(MIGRATIONS).zip(times);
    Ok(rows
        .map(|((version, (name, _)), applied_at)| Migration { version, name, applied_at })
        .collect())
}

/// When the first so many migrations were applied.
///
/// Fails where the file knows more than this program, or the same under another text.
fn applied(connection: &Connection) -> Result<Vec<Timestamp>, StoreError> {
    let mut statement = connection.prepare(LIST)?;
    let mut rows = statement.query([])?;
    let mut times = Vec::new();
    let mut known = (1_u32..).zip(MIGRATIONS);
    while let Some(row) = rows.next()? {
        let (version, checksum): (u32, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let Some((expected, (_, text))) = known.next() else {
            return Err(unavailable(&format!(
                "the database is of a newer version of Keyward (migration {version}); \
                 start that version"
            )));
        };
        if version != expected || checksum != digest(&SHA256, text.as_bytes()).as_ref() {
            return Err(unavailable(&format!(
                "the database has another migration {version} than this version of Keyward"
            )));
        }
        times.push(Timestamp::from_millis(row.get(2)?));
    }
    Ok(times)
}

/// Name and text of each migration; the position is the version.
const MIGRATIONS: &[(&str, &str)] = &[
    ("initial", include_str!("../../../migrations/sqlite/0001_initial.sql")),
    ("service_keys", include_str!("../../../migrations/sqlite/0002_service_keys.sql")),
    ("roles", include_str!("../../../migrations/sqlite/0003_roles.sql")),
    ("key_life", include_str!("../../../migrations/sqlite/0004_key_life.sql")),
];

const CREATE_TABLE: &str = "
    CREATE TABLE IF NOT EXISTS migration (
        version INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        sha256 BLOB NOT NULL,
        applied_at INTEGER NOT NULL
    ) STRICT";
const FIND_TABLE: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration'";
const LIST: &str = "SELECT version, sha256, applied_at FROM migration ORDER BY version";
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
        let mut listed = include_str!("../../../migrations/CHECKSUMS").lines();
        for (version, (name, text)) in (1..).zip(MIGRATIONS) {
            let hex: String = digest(&SHA256, text.as_bytes())
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let line = format!("{hex}  sqlite/{version:04}_{name}.sql");
            assert_eq!(listed.next(), Some(line.as_str()));
        }
        assert_eq!(listed.next(), None);
    }
}
