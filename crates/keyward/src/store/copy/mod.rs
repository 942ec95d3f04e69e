//! Moves everything from the store in a file to the one on a server, so that at no time two stores
//! serve (ADR 11).
//!
//! A store serves while its tables have their names and no mark stands among its migrations. The
//! copy takes the tables of the server out of service, fills them while the file still serves,
//! locks the file, makes the rest equal, closes the file for good and only then opens the server.
//! It has no state of its own: it compares both sides piece by piece and writes what differs, so
//! that it can be run again after an end at any instant.
//!
//! - `table`: which tables and columns there are, and what a row is on either side.
//! - `Source` and `Target`, beside the stores: the file and the server.

mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use keyward_core::time::Timestamp;

use super::postgres::{CopiedFile, Target};
use super::sqlite::Source;
use super::{PostgresSettings, StoreError};
use table::Checksum;
pub(super) use table::{Column, Kind, Row, TABLES, Table, Value, names};

/// A copy that has begun.
pub struct StoreCopy {
    source: Source,
    target: Target,
    /// By the name of the table.
    written: BTreeMap<&'static str, u64>,
    /// How many rows the first walk has been through, by the name of the table.
    found: BTreeMap<&'static str, u64>,
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which of the two walks through all tables this is.
    pub walk: Walk,
    /// The table.
    pub table: &'static str,
    /// How many of its rows the walk has been through. They are equal on both sides, but for those
    /// that [`Walk::Ahead`] leaves out.
    pub done: u64,
    /// How many it has. Until the walk comes to its end that is a guess, by what it had before, and
    /// more than `done`.
    pub total: u64,
}

/// The two walks through all tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// While the file still serves. Leaves out what the server holds only beside a user who is not
    /// there yet.
    Ahead,
    /// While nobody can write to it.
    Locked,
}

/// A table that is equal on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedTable {
    /// Its name.
    pub name: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// How many of them this run has written.
    pub written: u64,
    /// The SHA-256 of all of them in the order of their keys, read from either side.
    pub sha256: [u8; 32],
}

/// Why a copy did not get to its end. Unless it is [`CopyError::Unsettled`] the file still serves,
/// or was closed by an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyError {
    /// The file cannot be copied.
    Source(StoreError),
    /// The server cannot be copied into.
    Target(StoreError),
    /// What was read back from this table of the server is not what was written.
    Unequal(&'static str),
    /// The file is closed, and whether the server has been opened is not known.
    Unsettled(StoreError),
}

impl StoreCopy {
    /// Opens the file, which changes nothing in it, and takes the tables of the server out of
    /// service.
    ///
    /// # Errors
    ///
    /// [`CopyError::Source`] where the file is not there or lacks migrations, [`CopyError::Target`]
    /// where the database holds anything but an unfinished copy of this file.
    pub async fn begin(
        source: &Path,
        target: &PostgresSettings,
        now: Timestamp,
    ) -> Result<Self, CopyError> {
        let source = Source::open(source).map_err(CopyError::Source)?;
        let origin = CopiedFile {
            fingerprint: source.fingerprint().map_err(CopyError::Source)?,
            oldest_event: source.oldest_event().map_err(CopyError::Source)?,
            is_open: source.moved_at().is_none(),
        };
        let target = Target::open(target, &origin, now).await.map_err(CopyError::Target)?;
        source.require_open_for(target.mark()).map_err(CopyError::Source)?;
        Ok(Self { source, target, written: BTreeMap::new(), found: BTreeMap::new() })
    }

    /// Copies everything while the file still serves, so that little is left for
    /// [`StoreCopy::finish`]. Holds no lock, and keeps the file's log from starting over for no
    /// longer than it takes to read a piece or to count a table.
    ///
    /// # Errors
    ///
    /// Whatever fails on either side.
    pub async fn copy_ahead(
        &mut self,
        mut progress: impl FnMut(Progress),
    ) -> Result<(), CopyError> {
        for table in TABLES {
            let total = self.source.count(table).map_err(CopyError::Source)?;
            let copied = self.make_equal(table, Walk::Ahead, total, &mut progress).await?;
            self.found.insert(table.name, copied.rows);
        }
        // Otherwise the server's first plans would be for empty tables.
        self.target.analyze().await.map_err(CopyError::Target)
    }

    /// Locks the file, makes every row equal, closes the file as of `now` and opens the server.
    ///
    /// # Errors
    ///
    /// Whatever fails on either side. The lock is let go of then, and the file serves on.
    pub async fn finish(
        mut self,
        now: impl FnOnce() -> Timestamp,
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<CopiedTable>, CopyError> {
        self.source.lock().map_err(CopyError::Source)?;
        // Another copy may have come first.
        self.source.require_open_for(self.target.mark()).map_err(CopyError::Source)?;
        self.target.lock().await.map_err(CopyError::Target)?;
        let mut tables = Vec::with_capacity(TABLES.len());
        for table in TABLES {
            // Counting would take long while nobody is served, and show nothing: this walk is
            // through only when it has compared every row of both sides.
            let total = self.found.get(table.name).copied().unwrap_or_default();
            tables.push(self.make_equal(table, Walk::Locked, total, &mut progress).await?);
        }
        self.target.open_tables().await.map_err(CopyError::Target)?;
        // In this order: a crash in between leaves no store that serves, and the next run ends the
        // copy. In the other one it would leave two.
        self.source.close(self.target.mark(), now()).map_err(CopyError::Source)?;
        self.target.commit().await.map_err(CopyError::Unsettled)?;
        Ok(tables)
    }

    /// Walks through a table on both sides and writes what differs. Under the lock it also reads
    /// back what it has written. There may be `total` rows.
    async fn make_equal(
        &mut self,
        table: &'static Table,
        walk: Walk,
        total: u64,
        progress: &mut impl FnMut(Progress),
    ) -> Result<CopiedTable, CopyError> {
        let (mut theirs, mut ours) = (Checksum::new(), Checksum::new());
        let mut after: Option<Vec<Value>> = None;
        loop {
            let mut piece = self.read(table, after.as_deref()).await?;
            let written = self.write_difference(table, &piece).await?;
            *self.written.entry(table.name).or_default() += written;
            if written > 0 && walk == Walk::Locked {
                piece.target = self.read_target(table, after.as_deref()).await?;
                piece.cut(table);
            }
            if walk == Walk::Locked && piece.source != piece.target {
                return Err(CopyError::Unequal(table.name));
            }
            piece.source.iter().for_each(|row| ours.add(row));
            piece.target.iter().for_each(|row| theirs.add(row));
            let done = ours.rows;
            let total = if piece.end.is_some() { total.max(done + 1) } else { done };
            progress(Progress { walk, table: table.name, done, total });
            if piece.end.is_none() {
                break;
            }
            after = piece.end;
        }
        let written = self.written.get(table.name).copied().unwrap_or_default();
        let ((rows, sha256), theirs) = (ours.finish(), theirs.finish());
        if walk == Walk::Locked && (rows, sha256) != theirs {
            return Err(CopyError::Unequal(table.name));
        }
        Ok(CopiedTable { name: table.name, rows, written, sha256 })
    }

    async fn read(&self, table: &Table, after: Option<&[Value]>) -> Result<Piece, CopyError> {
        let limit = table.piece_rows();
        let source = self.source.read(table, after, limit).map_err(CopyError::Source)?;
        let target = self.read_target(table, after).await?;
        let mut piece = Piece { source, target, end: None };
        let full = [&piece.source, &piece.target].into_iter().filter(|rows| rows.len() == limit);
        let ends = full.filter_map(|rows| rows.last()).map(|row| table.key_of(row));
        piece.end = ends.min().map(<[Value]>::to_vec);
        piece.cut(table);
        Ok(piece)
    }

    async fn read_target(
        &self,
        table: &Table,
        after: Option<&[Value]>,
    ) -> Result<Vec<Row>, CopyError> {
        self.target.read(table, after, table.piece_rows()).await.map_err(CopyError::Target)
    }

    /// How many rows it has written.
    async fn write_difference(&self, table: &Table, piece: &Piece) -> Result<u64, CopyError> {
        let mut surplus: BTreeMap<&[Value], &Row> =
            piece.target.iter().map(|row| (table.key_of(row), row)).collect();
        let (mut removed, mut inserted) = (Vec::new(), Vec::new());
        for row in &piece.source {
            let key = table.key_of(row);
            match surplus.remove(key) {
                Some(held) if held == row => {}
                Some(_) => {
                    removed.push(key);
                    inserted.push(row);
                }
                None => inserted.push(row),
            }
        }
        removed.extend(surplus.keys());
        if removed.is_empty() && inserted.is_empty() {
            return Ok(0);
        }
        let replaced = self.target.replace(table, &removed, &inserted).await;
        Ok(removed.len().max(replaced.map_err(CopyError::Target)?) as u64)
    }
}

impl fmt::Debug for StoreCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreCopy")
    }
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(StoreError::Unavailable(why)) => {
                write!(f, "the store cannot be copied: {why}")
            }
            Self::Source(StoreError::Inconsistent(place)) => {
                write!(f, "the store cannot be copied: it holds an inconsistent {place}")
            }
            Self::Target(StoreError::Unavailable(why)) => {
                write!(f, "the store cannot be copied there: {why}")
            }
            Self::Target(StoreError::Inconsistent(place)) => {
                write!(f, "the store cannot be copied there: it holds an inconsistent {place}")
            }
            Self::Unequal(table) => write!(
                f,
                "the table {table} does not read back from PostgreSQL as it was written; see that \
                 nothing else writes there, and run this again"
            ),
            Self::Unsettled(error) => write!(
                f,
                "the file is closed, but PostgreSQL did not confirm that it has taken over \
                 ({error}); run this again, which finishes or says that all is done"
            ),
        }
    }
}

impl std::error::Error for CopyError {}

/// The rows of both sides between the same two keys.
struct Piece {
    source: Vec<Row>,
    target: Vec<Row>,
    /// The last key that it reaches to; `None` where that is the end of the table.
    end: Option<Vec<Value>>,
}

impl Piece {
    /// Leaves out what lies beyond the end, where one side was read further than the other.
    fn cut(&mut self, table: &Table) {
        let Some(end) = &self.end else { return };
        for rows in [&mut self.source, &mut self.target] {
            let within = rows.partition_point(|row| table.key_of(row) <= end.as_slice());
            rows.truncate(within);
        }
    }
}

#[cfg(test)]
mod tests;
