//! The chain over the audit log.
//!
//! Each event names the transaction that wrote it, and each checkpoint the snapshot up to which the
//! log was read: what was not visible in that one is what is not sealed. So nothing is missed and
//! nothing sealed twice, in whatever order transactions commit, and however long one of them takes.
//! A checkpoint is durable only with every transaction that its snapshot shows, so that a crash
//! cannot give out their numbers again.
//!
//! A restored dump names transactions of another server, to which this one's come in time: what
//! came with it is told by its ids, for good.

use async_trait::async_trait;
use keyward_core::audit::IdRanges;
use keyward_core::audit::chain::{ChainHash, ChainPublicKey, Checkpoint, UserSalt};
use keyward_core::id::UserId;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::PostgresStore;
use super::connection::{Connection, Failure, Lent, PATIENCE, PATIENCE_FOR_TABLES, unavailable};
use super::rows::{self, Columns, uuid};
use super::sql::chain as sql;
use crate::store::{ChainStore, StoreError, UnsealedPage};

/// What of the log some pages are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Window {
    /// What was visible in this snapshot is sealed; without one whatever comes by its id.
    since: Option<String>,
    /// What is not visible in this one is left for later.
    until: String,
    /// The last id that was read.
    after: i64,
    /// The last id whose transaction means nothing here, since the row was restored from a dump.
    floor: i64,
    /// Whether it was begun with an earlier checkpoint: there is more behind its end.
    is_old: bool,
    /// Whether nothing of it is left behind the page.
    is_read: bool,
}

#[async_trait]
impl ChainStore for PostgresStore {
    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError> {
        self.connections
            .run(PATIENCE, |connection| async move {
                let found = connection.query(sql::LAST_CHECKPOINT, &[]).await?;
                Ok(rows::first(&found, checkpoint)?)
            })
            .await
    }

    async fn list_checkpoints(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Checkpoint>, StoreError> {
        let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::from(limit));
        self.connections
            .run(PATIENCE, |connection| async move {
                let found = connection.query(sql::LIST_CHECKPOINTS, &[&after, &limit]).await?;
                Ok(rows::all(&found, checkpoint)?)
            })
            .await
    }

    async fn list_unsealed(
        &self,
        last: Option<&Checkpoint>,
        before: Option<&UnsealedPage>,
        limit: u32,
    ) -> Result<UnsealedPage, StoreError> {
        self.connections
            .run(PATIENCE_FOR_TABLES, |connection| list(connection, last, before, limit))
            .await
    }

    async fn append_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        page: &UnsealedPage,
    ) -> Result<bool, StoreError> {
        self.connections.run(PATIENCE, |connection| append(connection, checkpoint, page)).await
    }

    async fn keep_salts(
        &self,
        salts: Vec<(UserId, UserSalt)>,
    ) -> Result<Vec<(UserId, UserSalt)>, StoreError> {
        let ids: Vec<Uuid> = salts.iter().map(|(id, _)| uuid(id.as_bytes())).collect();
        let bytes: Vec<&[u8]> = salts.iter().map(|(_, salt)| salt.as_bytes().as_slice()).collect();
        let (ids, bytes) = (&ids, &bytes);
        self.connections
            .run(PATIENCE, |connection| async move {
                connection.query(sql::INSERT_SALTS, &[ids, bytes]).await?;
                find_salts(&connection, ids).await
            })
            .await
    }

    async fn find_salts(&self, users: Vec<UserId>) -> Result<Vec<(UserId, UserSalt)>, StoreError> {
        let ids: Vec<Uuid> = users.iter().map(|id| uuid(id.as_bytes())).collect();
        let ids = &ids;
        self.connections
            .run(PATIENCE, |connection| async move { find_salts(&connection, ids).await })
            .await
    }
}

async fn list(
    connection: Lent,
    last: Option<&Checkpoint>,
    before: Option<&UnsealedPage>,
    limit: u32,
) -> Result<UnsealedPage, Failure> {
    let window = match before.and_then(|page| Some((page, page.window.clone()?))) {
        Some((_, window)) if window.is_read => {
            begin_at(&connection, window.until, window.floor).await?
        }
        Some((page, window)) => {
            let after = page.events.last().map_or(window.after, |event| event.id);
            Some(Window { after, ..window })
        }
        None => begin(&connection, last).await?,
    };
    let Some(window) = window else { return Ok(NOTHING) };
    let page = read(&connection, window, limit).await?;
    match page.window {
        // An old window was read to its end, and more may be behind that.
        Some(Window { is_old: true, until, floor, .. }) if page.events.is_empty() => {
            let Some(window) = begin_at(&connection, until, floor).await? else {
                return Ok(NOTHING);
            };
            read(&connection, window, limit).await
        }
        _ => Ok(page),
    }
}

async fn read(
    connection: &Connection,
    window: Window,
    limit: u32,
) -> Result<UnsealedPage, Failure> {
    let (until, rows_max) = (&window.until, i64::from(limit));
    let found = match &window.since {
        Some(since) => {
            let parameters: &[&(dyn ToSql + Sync)] =
                &[since, until, &oldest_in_doubt(since)?, &window.after, &rows_max];
            connection.query(sql::LIST_UNSEALED, parameters).await?
        }
        None => {
            let parameters: &[&(dyn ToSql + Sync)] =
                &[until, &window.after, &rows_max, &window.floor];
            connection.query(sql::LIST_UNSEALED_BY_ID, parameters).await?
        }
    };
    let events = rows::all(&found, rows::event)?;
    let is_read = events.len() < limit as usize;
    let is_last = is_read && !window.is_old;
    Ok(UnsealedPage { events, is_last, window: Some(Window { is_read, ..window }) })
}

/// Where to go on behind the last checkpoint. `None`: nothing was committed since.
async fn begin(
    connection: &Connection,
    last: Option<&Checkpoint>,
) -> Result<Option<Window>, Failure> {
    let (position, after) = match last {
        Some(last) => find_position(connection, last).await?,
        None => (None, 0),
    };
    match position {
        None => {
            let until = find_snapshot(connection).await?;
            let floor = if after > 0 { find_floor(connection, after).await? } else { 0 };
            Ok(Some(Window::new(None, until, after, floor)))
        }
        Some(Position::Within(window)) => Ok(Some(window)),
        Some(Position::At(since, floor)) => begin_at(connection, since, floor).await,
    }
}

async fn begin_at(
    connection: &Connection,
    since: String,
    floor: i64,
) -> Result<Option<Window>, Failure> {
    let until = find_snapshot(connection).await?;
    let parameters: &[&(dyn ToSql + Sync)] = &[&since, &until, &oldest_in_doubt(&since)?, &floor];
    let found = connection.query(sql::FIND_FIRST_UNSEALED, parameters).await?;
    let first = rows::first(&found, |columns| columns.take::<Option<i64>>(POSITION))?;
    Ok(first.flatten().map(|first| Window::new(Some(since), until, first - 1, floor)))
}

/// The last id that came with the dump; what was sealed up to `after` did.
async fn find_floor(connection: &Connection, after: i64) -> Result<i64, Failure> {
    let found = connection.query(sql::FIND_LAST_RESTORED, &[&after]).await?;
    let last = rows::first(&found, |columns| columns.take::<Option<i64>>(POSITION))?;
    Ok(last.flatten().unwrap_or(after))
}

async fn find_snapshot(connection: &Connection) -> Result<String, Failure> {
    let found = connection.query(sql::FIND_SNAPSHOT_NOW, &[]).await?;
    let now = rows::first(&found, |columns| columns.take::<String>(POSITION))?;
    Ok(now.ok_or_else(|| unavailable(STANDBY))?)
}

impl Window {
    const fn new(since: Option<String>, until: String, after: i64, floor: i64) -> Self {
        Self { since, until, after, floor, is_old: false, is_read: false }
    }
}

/// How far the log had been read with a checkpoint.
enum Position {
    /// Up to a snapshot, and all up to an id.
    At(String, i64),
    /// Some pages of a window, with more to come.
    Within(Window),
}

impl Position {
    fn of(checkpoint: &Checkpoint, page: &UnsealedPage) -> Option<Self> {
        let window = page.window.clone()?;
        let sealed = checkpoint.events.last()?;
        if window.is_read && page.events.last().is_some_and(|event| event.id == sealed) {
            return Some(Self::At(window.until, window.floor));
        }
        Some(Self::Within(Window { after: sealed, ..window }))
    }

    fn text(&self) -> String {
        match self {
            Self::At(snapshot, floor) => format!("{snapshot}|{floor}"),
            Self::Within(Window { since, until, after, floor, .. }) => {
                format!("{}|{until}|{after}|{floor}", since.as_deref().unwrap_or_default())
            }
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('|').collect();
        match parts[..] {
            [snapshot, floor] => Some(Self::At(snapshot.to_owned(), floor.parse().ok()?)),
            [since, until, after, floor] => {
                let since = (!since.is_empty()).then(|| since.to_owned());
                let (after, floor) = (after.parse().ok()?, floor.parse().ok()?);
                let window = Window::new(since, until.to_owned(), after, floor);
                Some(Self::Within(Window { is_old: true, ..window }))
            }
            _ => None,
        }
    }
}

/// The position, where it means anything to this server, and the last id that is sealed.
async fn find_position(
    connection: &Connection,
    last: &Checkpoint,
) -> Result<(Option<Position>, i64), Failure> {
    let found = connection.query(sql::FIND_POSITION, &[&number(last)]).await?;
    let covering = rows::first(&found, |columns| {
        let events = events(columns)?;
        let position = columns.take::<Option<String>>(POSITION)?;
        let position = position.map(|it| Position::parse(&it).ok_or(INCONSISTENT)).transpose()?;
        Ok((position, events.last().unwrap_or(0)))
    })?;
    Ok(covering.unwrap_or((None, 0)))
}

/// The first number in the text of a snapshot: every transaction before it had ended.
fn oldest_in_doubt(snapshot: &str) -> Result<i64, StoreError> {
    let first = snapshot.split(':').next().and_then(|first| first.parse().ok());
    first.ok_or(StoreError::Inconsistent(POSITION))
}

async fn append(
    connection: Lent,
    checkpoint: &Checkpoint,
    page: &UnsealedPage,
) -> Result<bool, Failure> {
    let position = Position::of(checkpoint, page).map(|position| position.text());
    append_at(&connection, checkpoint, position).await
}

/// Appends it where the log was read up to this position; a hand-over has none.
pub(super) async fn append_at(
    connection: &Connection,
    checkpoint: &Checkpoint,
    position: Option<String>,
) -> Result<bool, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &number(checkpoint),
        &checkpoint.at.millis(),
        &checkpoint.month.millis(),
        &checkpoint.reached.millis(),
        &checkpoint.events.to_string(),
        &checkpoint.tags,
        &checkpoint.previous.as_slice(),
        &checkpoint.head.as_slice(),
        &checkpoint.key.as_slice(),
        &checkpoint.signature,
        &position,
    ];
    Ok(!connection.query(sql::INSERT_CHECKPOINT, parameters).await?.is_empty())
}

async fn find_salts(
    connection: &Connection,
    ids: &Vec<Uuid>,
) -> Result<Vec<(UserId, UserSalt)>, Failure> {
    const SALT: &str = "audit_salt.salt";
    let found = connection.query(sql::FIND_SALTS, &[ids]).await?;
    Ok(rows::all(&found, |columns| {
        let id = UserId::from_bytes(columns.take::<Uuid>("audit_salt.user_id")?.into_bytes());
        let salt = <[u8; 32]>::try_from(columns.take::<&[u8]>(SALT)?);
        Ok((id, UserSalt::from_bytes(salt.map_err(|_| StoreError::Inconsistent(SALT))?)))
    })?)
}

fn checkpoint(columns: &mut Columns<'_>) -> Result<Checkpoint, StoreError> {
    const HEAD: &str = "audit_checkpoint.head";
    const KEY: &str = "audit_checkpoint.key";
    Ok(Checkpoint {
        number: columns.count("audit_checkpoint.number")?,
        at: columns.time("audit_checkpoint.at")?,
        month: columns.time("audit_checkpoint.month")?,
        reached: columns.time("audit_checkpoint.reached")?,
        events: events(columns)?,
        tags: columns.take("audit_checkpoint.tags")?,
        previous: ChainHash::from_slice(columns.take(HEAD)?)
            .ok_or(StoreError::Inconsistent(HEAD))?,
        head: ChainHash::from_slice(columns.take(HEAD)?).ok_or(StoreError::Inconsistent(HEAD))?,
        key: ChainPublicKey::from_slice(columns.take(KEY)?).ok_or(StoreError::Inconsistent(KEY))?,
        signature: columns.take("audit_checkpoint.signature")?,
    })
}

fn events(columns: &mut Columns<'_>) -> Result<IdRanges, StoreError> {
    const EVENTS: &str = "audit_checkpoint.events";
    columns.take::<&str>(EVENTS)?.parse().map_err(|_| StoreError::Inconsistent(EVENTS))
}

fn number(checkpoint: &Checkpoint) -> i64 {
    i64::try_from(checkpoint.number).unwrap_or(i64::MAX)
}

const NOTHING: UnsealedPage = UnsealedPage { events: Vec::new(), is_last: true, window: None };
const POSITION: &str = "audit_checkpoint.position";
const INCONSISTENT: StoreError = StoreError::Inconsistent(POSITION);
const STANDBY: &str = "PostgreSQL is a standby, which cannot tell what is not sealed yet; name the \
     primary in store.url, or add target_session_attrs=read-write";

#[cfg(test)]
mod tests;
