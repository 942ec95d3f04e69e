//! The outbox of revocations. Triggers of the schema write it.
//!
//! Each row names the transaction that wrote it, and a reader remembers the snapshot that it read
//! in: what was not visible in that one is what it has not read. So nothing is missed and nothing
//! read twice, in whatever order transactions commit, and however long one of them takes.

use super::connection::{Connection, Failure, Lent, unavailable};
use super::rows::{self, Columns};
use super::sql;
use crate::store::Revoked;
use crate::store::revocations::{Place, RevocationCursor, RevocationPage};

/// What a reader has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Reading {
    /// Everything that was visible in this snapshot.
    read: String,
    /// A reading that has more pages: up to where, and how far it has come.
    unfinished: Option<(Snapshot, RowPlace)>,
}

/// What a server shows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Snapshot {
    text: String,
    place: Place,
}

/// The transaction that wrote a row, and the row's id.
type RowPlace = (i64, i64);

/// See `Store::list_revocations`.
pub(super) async fn list(
    connection: Lent,
    after: Option<&RevocationCursor>,
    limit: u32,
) -> Result<RevocationPage, Failure> {
    let now = find_snapshot(&connection).await?;
    // A server that was started anew, be it from a backup or in the place of another one, or that
    // has recovered from a crash, may have lost transactions, and given their numbers to others.
    let known = after.filter(|cursor| cursor.place.history == now.place.history);
    let known = known.and_then(|cursor| Some((cursor.place, cursor.reading.clone()?)));
    let (place, reading) = known.unwrap_or_else(|| (now.beginning(), Reading::nothing()));
    let (until, behind) = reading.unfinished.unwrap_or_else(|| (now, before(place)));
    if until.text == reading.read {
        return Ok(page(Vec::new(), until, reading.read, None));
    }
    let found = list_rows(&connection, &reading.read, &until, behind, limit).await?;
    let last = found.last().map(|(row, _)| *row).filter(|_| found.len() >= limit as usize);
    let revocations = found.into_iter().map(|(_, revoked)| revoked).collect();
    Ok(match last {
        Some(last) => page(revocations, until, reading.read, Some((place, last))),
        None => {
            let read = until.text.clone();
            page(revocations, until, read, None)
        }
    })
}

impl Reading {
    /// No transaction is visible in this snapshot.
    fn nothing() -> Self {
        Self { read: sql::NOTHING_VISIBLE.to_owned(), unfinished: None }
    }
}

impl Snapshot {
    fn beginning(&self) -> Place {
        Place { position: 0, ..self.place }
    }
}

/// Just before the first row at a place.
fn before(place: Place) -> RowPlace {
    (i64::try_from(place.position).unwrap_or(i64::MAX).saturating_sub(1).max(0), i64::MAX)
}

/// A page, and where to go on: behind `until`, or, where more is to come, from `more`.
fn page(
    revocations: Vec<Revoked>,
    until: Snapshot,
    read: String,
    more: Option<(Place, RowPlace)>,
) -> RevocationPage {
    let (place, unfinished) = match more {
        Some((place, last)) => (place, Some((until, last))),
        None => (until.place, None),
    };
    let is_last = unfinished.is_none();
    let reading = Some(Reading { read, unfinished });
    RevocationPage { revocations, cursor: RevocationCursor { place, reading }, is_last }
}

async fn find_snapshot(connection: &Connection) -> Result<Snapshot, Failure> {
    let found = connection.query(sql::FIND_SNAPSHOT, &[]).await?;
    let read = |columns: &mut Columns<'_>| {
        let place = Place { history: columns.count(SERVER)?, position: columns.count(SNAPSHOT)? };
        Ok(Snapshot { place, text: columns.take(SNAPSHOT)? })
    };
    let Some(snapshot) = rows::first(&found, read)? else {
        connection.renounce();
        return Err(unavailable(STANDBY).into());
    };
    Ok(snapshot)
}

async fn list_rows(
    connection: &Connection,
    read: &str,
    until: &Snapshot,
    behind: RowPlace,
    limit: u32,
) -> Result<Vec<(RowPlace, Revoked)>, Failure> {
    let (transaction, id) = behind;
    let limit = i64::from(limit);
    let found = connection
        .query(sql::LIST_REVOCATIONS, &[&read, &until.text, &transaction, &id, &limit])
        .await?;
    Ok(rows::all(&found, rows::revoked)?)
}

const STANDBY: &str = "PostgreSQL is a standby or read-only, and does not know what was revoked \
     just now; name the primary in store.url, or add target_session_attrs=read-write";
const SERVER: &str = "greatest";
const SNAPSHOT: &str = "pg_current_snapshot";

#[cfg(test)]
mod tests;
