//! The file as what is copied from: read in pieces, held still, and closed for good once the data
//! live elsewhere.

use std::path::Path;

use keyward_core::audit::AuditContext;
use keyward_core::session::RevocationReason;
use keyward_core::time::Timestamp;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, TransactionBehavior, params_from_iter};

use super::connection::{open_writer, unavailable};
use super::{Reopened, migrations, sessions};
use crate::store::copy::{Column, Kind, Row, Table, Value, names};
use crate::store::{Revoke, RevokeScope, StoreError};

/// A file that is copied from.
pub(in crate::store) struct Source {
    connection: Connection,
    moved_at: Option<Timestamp>,
}

impl Source {
    /// Opens the file, which must have every migration. Changes nothing.
    pub(in crate::store) fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(unavailable("there is no such file; check its path"));
        }
        let connection = open_writer(path)?;
        connection.busy_timeout(LOCK_PATIENCE)?;
        let mut source = Self { connection, moved_at: None };
        source.look()?;
        Ok(source)
    }

    /// Since when the data live elsewhere.
    pub(in crate::store) fn moved_at(&self) -> Option<Timestamp> {
        self.moved_at
    }

    /// Fails where the data were moved into another copy than the one with this mark: both would
    /// serve.
    pub(in crate::store) fn require_open_for(&self, copy: &[u8]) -> Result<(), StoreError> {
        match migrations::moved_to(&self.connection)? {
            Some(other) if other != copy => Err(unavailable(MOVED_ELSEWHERE)),
            _ => Ok(()),
        }
    }

    /// Tells this file from others, whatever happens to its rows.
    pub(in crate::store) fn fingerprint(&self) -> Result<Vec<u8>, StoreError> {
        migrations::fingerprint(&self.connection)
    }

    /// When the oldest audit event was recorded.
    pub(in crate::store) fn oldest_event(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = format!("SELECT min(at) FROM {}", self.named("audit_event"));
        let at: Option<i64> = self.connection.query_row(&sql, [], |row| row.get(0))?;
        Ok(at.map(Timestamp::from_millis))
    }

    /// How many rows a table has.
    pub(in crate::store) fn count(&self, table: &Table) -> Result<u64, StoreError> {
        let sql = format!("SELECT count(*) FROM {}", self.named(table.name));
        let count: i64 = self.connection.query_row(&sql, [], |row| row.get(0))?;
        u64::try_from(count).map_err(|_| StoreError::Inconsistent("count"))
    }

    /// Rows in the order of their keys, from after `after`.
    pub(in crate::store) fn read(
        &self,
        table: &Table,
        after: Option<&[Value]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let (key, name) = (names(table.key()), self.named(table.name));
        let marks = vec!["?"; table.key_columns].join(", ");
        let condition = after.map_or(String::new(), |_| format!("WHERE ({key}) > ({marks})"));
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {} FROM {name} {condition} ORDER BY {key} LIMIT {limit}",
            names(table.columns)
        ))?;
        let mut found = statement.query(params_from_iter(after.unwrap_or_default()))?;
        let mut rows = Vec::with_capacity(limit);
        while let Some(row) = found.next()? {
            let values = table.columns.iter().enumerate();
            let values = values.map(|(index, column)| value(row.get_ref(index)?, column));
            rows.push(values.collect::<Result<_, _>>()?);
        }
        Ok(rows)
    }

    /// Lets nobody write any more until this is dropped or [`Source::close`] is called. Whoever
    /// reads goes on.
    pub(in crate::store) fn lock(&mut self) -> Result<(), StoreError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        // What was found before the lock may have changed.
        self.look()
    }

    /// Closes the locked file for good: no program, whatever its version, and even if it has had
    /// the file open all along, finds a table in it any more, and none opens it.
    pub(in crate::store) fn close(&self, copy: &[u8], now: Timestamp) -> Result<(), StoreError> {
        if self.moved_at.is_none() {
            rename_tables(&self.connection, |name| {
                (name != MIGRATIONS).then(|| format!("{MOVED}{name}"))
            })?;
            migrations::mark_moved(&self.connection, copy, now)?;
        }
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    fn look(&mut self) -> Result<(), StoreError> {
        self.moved_at = migrations::moved_at(&self.connection)?;
        if migrations::is_complete(&self.connection)? {
            return Ok(());
        }
        Err(unavailable("the file lacks migrations of this version; run `keyward migrate` on it"))
    }

    /// What the table is called now.
    fn named(&self, table: &str) -> String {
        let moved = if self.moved_at.is_some() { MOVED } else { "" };
        format!("{moved}{table}")
    }
}

/// Takes a file back that was closed. See `SqliteStore::reopen`.
pub(super) fn reopen(
    path: &Path,
    ends_sessions: bool,
    context: &AuditContext,
) -> Result<Reopened, StoreError> {
    if !path.exists() {
        return Err(unavailable("there is no such file; check its path"));
    }
    let mut connection = open_writer(path)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let moved_at = migrations::moved_at(&transaction)?
        .ok_or_else(|| unavailable("its data were not moved; there is nothing to take back"))?;
    rename_tables(&transaction, |name| name.strip_prefix(MOVED).map(str::to_owned))?;
    migrations::unmark_moved(&transaction)?;
    let mut ended = Vec::new();
    if ends_sessions {
        let reason = RevocationReason::StoreRollback;
        let revoke = Revoke { scope: RevokeScope::All, reason, noticed: None };
        ended = sessions::revoke(&transaction, revoke, context)?;
    }
    transaction.commit()?;
    Ok(Reopened { moved_at, sessions_ended: ended.len() })
}

/// Gives each table the name that `renamed` answers, if any.
fn rename_tables(
    connection: &Connection,
    renamed: impl Fn(&str) -> Option<String>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare(LIST_TABLES)?;
    let found = statement.query_map([], |row| row.get(0))?;
    let found: Vec<String> = found.collect::<Result<_, _>>()?;
    for name in found {
        if let Some(new) = renamed(&name) {
            connection.execute_batch(&format!("ALTER TABLE \"{name}\" RENAME TO \"{new}\""))?;
        }
    }
    Ok(())
}

/// What PostgreSQL could not hold is as wrong as what no code of ours writes.
fn value(held: ValueRef<'_>, column: &Column) -> Result<Value, StoreError> {
    let value = match (column.kind, held) {
        (_, ValueRef::Null) => Some(Value::Absent),
        (Kind::Id | Kind::User | Kind::Bytes, ValueRef::Blob(bytes)) => {
            Some(Value::Bytes(bytes.to_vec()))
        }
        (Kind::Integer, ValueRef::Integer(number)) => Some(Value::Integer(number)),
        (Kind::Flag, ValueRef::Integer(flag @ (0 | 1))) => Some(Value::Flag(flag == 1)),
        (Kind::Text | Kind::Json, ValueRef::Text(bytes)) => {
            String::from_utf8(bytes.to_vec()).ok().filter(|text| fits(text)).map(Value::Text)
        }
        (Kind::Texts, ValueRef::Text(json)) => serde_json::from_slice(json)
            .ok()
            .filter(|texts: &Vec<String>| texts.iter().all(|text| fits(text)))
            .map(Value::Texts),
        _ => None,
    };
    value.ok_or(StoreError::Inconsistent(column.place))
}

/// PostgreSQL ends a text there.
fn fits(text: &str) -> bool {
    !text.contains('\0')
}

impl ToSql for Value {
    /// Of keys alone, which are none of the others.
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Absent | Self::Flag(_) | Self::Texts(_) => ValueRef::Null,
        }))
    }
}

const MOVED_ELSEWHERE: &str = "its data were moved to another database before; drop this copy of \
     them (`DROP SCHEMA keyward CASCADE`), and use that one";

/// How the names of the tables of a closed file begin.
const MOVED: &str = "moved_";

/// The one table that keeps its name: a file without it would be taken for a new one.
const MIGRATIONS: &str = "migration";

const LIST_TABLES: &str = "SELECT name FROM sqlite_schema \
     WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'";

/// A service that is busy lets go of the lock often, but for moments only.
const LOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
