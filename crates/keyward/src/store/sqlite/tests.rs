//! What SQLite alone must do: a sound file, failures that lose nothing, rows that are not trusted.

use rusqlite::Connection;

use super::*;

/// A connection to a fresh database with every migration.
pub(super) fn migrated() -> (Connection, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("test.db");
    connection::create_file(&path).expect("a file");
    let mut connection = connection::open_writer(&path).expect("a database");
    migrations::apply(&mut connection, Timestamp::from_secs(1)).expect("a schema");
    (connection, dir)
}
