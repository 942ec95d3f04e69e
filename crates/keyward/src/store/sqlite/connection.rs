//! Connections to the database file, and what their failures mean.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::store::StoreError;

/// Makes the file, for its owner alone, where there is none.
pub(super) fn create_file(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            let kind = error.kind();
            Err(unavailable(&format!(
                "the database file cannot be made ({kind}); check its folder"
            )))
        }
        // SQLite gives its two companion files the mode of this one.
        _ => Ok(()),
    }
}

/// Opens the file for the writer thread.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    enter_wal(&connection)?;
    // FULL: every commit is on the disk before it is answered. NORMAL could bring a spent token or
    // an ended session back after a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The writer checkpoints by itself, after it has answered.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    // Hashes and personal data that were deleted are overwritten wherever that costs no extra page.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    Ok(connection)
}

/// Opens the file for a reader thread.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens the file in a way that changes nothing.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, StoreError> {
    open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    // A plan holds for every value: otherwise each binding could have the statement prepared anew.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Negative: in KiB. The resident size must not follow the size of the file.
    connection.pragma_update(None, "cache_size", -2048)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Write-ahead logging. The first process to switch a new file over locks it without waiting for
/// others that do the same, so a lost race is run again.
fn enter_wal(connection: &Connection) -> Result<(), StoreError> {
    let mut tries_left = 50;
    loop {
        let answer: rusqlite::Result<String> =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match answer {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => return Err(unavailable("the file system does not support SQLite's WAL")),
            Err(error) if tries_left > 0 && is_busy(&error) => {
                tries_left -= 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl From<rusqlite::Error> for StoreError {
    /// Tells the operator what to do. SQLite's own text stays out: it can quote values.
    fn from(error: rusqlite::Error) -> Self {
        if let rusqlite::Error::SqliteFailure(_, Some(why)) = &error
            && why.starts_with("no such table")
        {
            return unavailable(
                "a table is gone, as where the data were moved to PostgreSQL; `keyward check` \
                 says more",
            );
        }
        let Some(failure) = error.sqlite_error() else {
            return unavailable("a statement does not fit the database; restore a backup");
        };
        match failure.code {
            ErrorCode::ConstraintViolation => Self::Inconsistent("row"),
            ErrorCode::DiskFull => unavailable("the disk is full; make room for the database"),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => unavailable(
                "the database is read-only; let Keyward's user write the file and folder",
            ),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => unavailable(LOCKED),
            ErrorCode::CannotOpen => {
                unavailable("the database file cannot be opened; check its path and its folder")
            }
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => {
                unavailable("the file is not a sound SQLite database; restore a backup")
            }
            ErrorCode::SystemIoFailure => {
                let code = failure.extended_code;
                unavailable(&format!("the disk failed (SQLite code {code}); check its health"))
            }
            _ => unavailable(&format!("SQLite failed with code {}", failure.extended_code)),
        }
    }
}

/// The error for a store that cannot do its work, with a sentence for the operator.
pub(super) fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(why.to_owned())
}

/// What is said of a lock that another process has not let go of in time.
pub(super) const LOCKED: &str = "another process keeps the database locked; stop it or try again";

/// How long a connection waits for another process, such as the command line.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// More than there are statements; see `sql.rs`.
const STATEMENTS_CACHED: usize = 64;

/// What the write-ahead log is cut back to once it has been copied into the database.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
