//! Connections to the server: lent for one use case within its deadline, and what failures mean.
//!
//! Nothing here is left behind on a connection: settings and locks end with their transaction, so
//! that a pooler may lend the server's end to somebody else in between.

use std::error::Error as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{PoolError, QueueMode, TimeoutType};
use deadpool_postgres::ClientWrapper;
use futures_util::FutureExt as _;
use keyward_core::time::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::{ToSql, Type};

use super::pool::{Connector, LentLink, Links, NoLink, Returns, renounce};
use super::settings::PostgresSettings;
use super::{rows, sql};
use crate::store::{self, StoreError};

/// One statement and the types of its parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement<'a> {
    pub(super) sql: &'a str,
    pub(super) types: &'a [Type],
}

/// The values of a statement's parameters, in their order.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The bounded set of connections.
pub(super) struct Connections {
    links: Links,
    returns: Returns,
    prepares: bool,
}

impl Connections {
    /// Connects to nothing yet.
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self, StoreError> {
        let links = Links::builder(Connector::new(settings))
            .max_size(settings.connections_max)
            .runtime(Runtime::Tokio1)
            // What came back last: its end at the server has the most of its work in the caches.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(WAIT_MAX))
            .build()
            .map_err(|_| unavailable("the pool of connections cannot be made"))?;
        Ok(Self { links, returns: Returns::new(settings), prepares: settings.prepares })
    }

    /// Runs `work` in a transaction and answers once that is committed. What `work` has changed is
    /// undone where it fails.
    pub(super) async fn transact<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        patience: Duration,
        work: impl Fn(Lent) -> F,
    ) -> Result<T, StoreError> {
        let work = &work;
        self.run(patience, |connection| async move {
            connection.begin(patience).await?;
            let done = work(Arc::clone(&connection)).await?;
            connection.commit().await?;
            Ok(done)
        })
        .await
    }

    /// Runs `work`, whose statements are a transaction each. Of transactions that got into each
    /// other's way the server undoes one: that one runs again.
    pub(super) async fn run<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        patience: Duration,
        work: impl Fn(Lent) -> F,
    ) -> Result<T, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            let connection = self.lend().await?;
            match timeout(patience, work(Arc::clone(&connection))).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(Failure::Store(error))) => return Err(error),
                Ok(Err(Failure::Undone)) => {}
                Ok(Err(Failure::Locked)) => return Err(unavailable(LATE)),
                Err(_) => {
                    abandon(connection).await;
                    return Err(unavailable(LATE));
                }
            }
        }
        Err(unavailable("transactions of PostgreSQL keep getting into each other's way; try again"))
    }

    /// Lends a connection for several steps, which have no deadline of their own.
    pub(super) async fn lend(&self) -> Result<Lent, StoreError> {
        let link = Some(self.link().await?);
        let (returns, prepares) = (self.returns.clone(), self.prepares);
        let in_transaction = AtomicBool::new(false);
        Ok(Arc::new(Connection { link, returns, prepares, in_transaction }))
    }

    /// Where the server has no further connection for this node, those that it has are waited for.
    async fn link(&self) -> Result<LentLink, StoreError> {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let refusal = match self.links.get().await {
                Ok(link) => return Ok(link),
                Err(refusal) => refusal,
            };
            let is_full = matches!(&refusal, PoolError::Backend(NoLink { is_full: true, .. }));
            let has_some = self.links.status().size > 0;
            if !(is_full && has_some && timeout_at(deadline, self.returns.one()).await.is_ok()) {
                return Err(refused(refusal));
            }
        }
    }

    /// How many of them are there, and for whom.
    pub(super) fn load(&self) -> store::Connections {
        let status = self.links.status();
        store::Connections {
            max: status.max_size,
            in_use: status.size.saturating_sub(status.available),
            idle: status.available,
            waiting: status.waiting,
        }
    }

    /// Ends every connection that is not in use, and the others after their use.
    pub(super) fn close(&self) {
        self.links.close();
    }
}

/// A connection, lent to the steps of one use case.
pub(super) type Lent = Arc<Connection>;

/// One connection of the bounded set.
pub(super) struct Connection {
    /// There until it is given back.
    link: Option<LentLink>,
    returns: Returns,
    prepares: bool,
    in_transaction: AtomicBool,
}

impl Connection {
    /// Runs a statement and answers its rows: one round trip, once it is prepared.
    pub(super) async fn query(
        &self,
        statement: Statement<'_>,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Failure> {
        self.ask(async |client| {
            if self.prepares {
                let (sql, types) = (statement.sql, statement.types);
                let prepared = client.prepare_typed_cached(sql, types).await?;
                return client.query(&prepared, parameters).await;
            }
            let types = statement.types.iter().cloned();
            let typed: Vec<_> = parameters.iter().copied().zip(types).collect();
            client.query_typed(statement.sql, &typed).await
        })
        .await
    }

    /// Prepares a statement, once for this connection.
    #[cfg(test)]
    pub(super) async fn prepare(&self, statement: Statement<'_>) -> Result<(), Failure> {
        let (sql, types) = (statement.sql, statement.types);
        self.ask(async |client| client.prepare_typed_cached(sql, types).await.map(drop)).await
    }

    /// Runs statements of fixed text that take no parameters.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.ask(async |client| client.batch_execute(sql).await).await
    }

    /// Carries out a `COPY ... FROM STDIN (FORMAT binary)`.
    pub(super) async fn copy_in<V: ToSql + Sync>(
        &self,
        sql: &str,
        types: &[Type],
        rows: &[&Vec<V>],
    ) -> Result<(), Failure> {
        self.ask(async |client| {
            let sink = client.copy_in(sql).await?;
            let mut writer = pin!(BinaryCopyInWriter::new(sink, types));
            for row in rows {
                writer.as_mut().write_raw(row.iter()).await?;
            }
            writer.finish().await.map(drop)
        })
        .await
    }

    /// Asks the server, and notes as long as its answer is not there.
    async fn ask<T>(
        &self,
        question: impl AsyncFnOnce(&ClientWrapper) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Failure> {
        let link =
            self.link.as_ref().ok_or_else(|| unavailable("the connection was given back"))?;
        link.awaits_answer.store(true, Ordering::Relaxed);
        let answer = question(&link.client).await;
        link.awaits_answer.store(false, Ordering::Relaxed);
        if let Err(error) = &answer
            && error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
        {
            self.renounce();
        }
        Ok(answer?)
    }

    /// Has nobody be lent it again, nor any other of its age: the server is read-only.
    pub(super) fn renounce(&self) {
        if let Some(link) = &self.link {
            renounce(link);
        }
    }

    /// Begins a transaction, whose locks the server lets go of even where this process dies.
    ///
    /// The server's deadline for a statement does not hold for the wait of a commit for a standby,
    /// which would then pass for confirmed.
    pub(super) async fn begin(&self, patience: Duration) -> Result<(), Failure> {
        self.in_transaction.store(true, Ordering::Relaxed);
        let millis = patience.as_millis();
        self.batch(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {millis}; \
             SET LOCAL lock_timeout = {millis}; \
             SET LOCAL idle_in_transaction_session_timeout = {millis}"
        ))
        .await
    }

    /// Ends it.
    pub(super) async fn commit(&self) -> Result<(), Failure> {
        let committed = self.batch("COMMIT").await;
        self.in_transaction.store(false, Ordering::Relaxed);
        committed
    }
}

impl Connection {
    /// Gives it back. Whoever is lent it next must not find themselves in this transaction.
    fn give_back(&mut self) -> Option<JoinHandle<()>> {
        let link = self.link.take()?;
        if *self.in_transaction.get_mut() {
            // The first poll sends it, ahead of whatever comes next; nobody waits for the answer.
            let _sent = link.client.batch_execute("ROLLBACK").now_or_never();
        }
        self.returns.take(link)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The task that may come of it goes on by itself.
        let _settling = self.give_back();
    }
}

/// Gives back a connection whose work took too long, and waits until its statement has ended: a
/// program that says so may end right after.
async fn abandon(connection: Lent) {
    let settling = Arc::into_inner(connection).and_then(|mut connection| connection.give_back());
    if let Some(settling) = settling {
        let _settled = settling.await;
    }
}

/// See `Store::ping`.
pub(super) async fn ping(connection: Lent) -> Result<Option<Timestamp>, Failure> {
    let answer = connection.query(sql::PING, &[]).await?;
    let ponged =
        rows::first(&answer, |columns| Ok((columns.take("ping")?, columns.take("clock")?)))?;
    if let Some((true, millis)) = ponged {
        return Ok(Some(Timestamp::from_millis(millis)));
    }
    connection.renounce();
    Err(unavailable(READ_ONLY).into())
}

/// See `PostgresStore::weak_settings`.
pub(super) async fn weak_settings(connection: Lent) -> Result<Vec<String>, Failure> {
    let found = connection.query(sql::LIST_WEAK_SETTINGS, &[]).await?;
    Ok(rows::all(&found, |columns| columns.take("pg_settings.name"))?)
}

/// See `PostgresStore::may_do_anything`.
pub(super) async fn may_do_anything(connection: Lent) -> Result<bool, Failure> {
    let found = connection.query(sql::MAY_DO_ANYTHING, &[]).await?;
    Ok(rows::first(&found, |columns| columns.take("unbounded"))?.unwrap_or(false))
}

/// Why a use case did not get to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server has undone the transaction because it got into another's way: run it again.
    Undone,
    /// Others have kept a lock for longer than the transaction waits for one.
    Locked,
    /// Whatever else.
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED) => {
                Self::Undone
            }
            Some(&SqlState::LOCK_NOT_AVAILABLE) => Self::Locked,
            _ => Self::Store(store_error(&error)),
        }
    }
}

/// Tells the operator what to do. The server's own text stays out: it can quote values.
pub(super) fn store_error(error: &tokio_postgres::Error) -> StoreError {
    if let Some(error) = error.as_db_error() {
        return refusal(error);
    }
    // What went wrong on the way: a name that does not resolve, a certificate, a port that is shut.
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    match cause.as_str() {
        // The driver tells these two by their text alone.
        "password missing" => {
            unavailable("PostgreSQL asks for a password; set store.password_file")
        }
        "server does not support TLS" => unavailable(NO_TLS),
        _ => unavailable(&format!(
            "PostgreSQL cannot be reached ({cause}); see that it runs, and store.url"
        )),
    }
}

fn refusal(error: &DbError) -> StoreError {
    let code = error.code();
    let why = match code.code() {
        "25006" => READ_ONLY,
        "26000" | "42P05" => {
            "a pooler mixes up prepared statements; set store.prepared_statements = false, or use \
             PgBouncer 1.21 or later; `keyward store copy` needs the server itself"
        }
        "28000" | "28P01" => {
            "PostgreSQL refuses the role or its password; check store.url and store.password"
        }
        "3F000" | "42P01" | "42703" | "42883" => {
            "the database lacks a part of Keyward's schema; run `keyward migrate`"
        }
        "42501" => MAY_NOT,
        "53100" => "the disk of PostgreSQL is full; make room for it",
        "53300" => {
            "PostgreSQL has no connection left; lower store.max_connections or raise the server's \
             max_connections"
        }
        "55P03" | "57014" => LATE,
        // Raised by functions of the schema that delete.
        "KW001" => {
            "what is to be deleted is too young for it by PostgreSQL's clock; set the clocks of \
             this machine and the server right"
        }
        "57P01" | "57P02" | "57P03" => "PostgreSQL is stopping or starting; wait for it",
        // What was sent is no value of its type, or no row of its table.
        code if code.starts_with("22") || code.starts_with("23") => {
            return StoreError::Inconsistent("row");
        }
        code => return unavailable(&format!("PostgreSQL failed with code {code}")),
    };
    unavailable(why)
}

fn refused(error: PoolError<NoLink>) -> StoreError {
    match error {
        PoolError::Backend(no_link) => no_link.why,
        PoolError::Timeout(TimeoutType::Wait) => {
            unavailable("every connection to PostgreSQL is in use; raise store.max_connections")
        }
        PoolError::Timeout(_) => unavailable(SILENT),
        PoolError::Closed => unavailable("the database is closed"),
        PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            unavailable("the pool of connections cannot be used")
        }
    }
}

/// Why the server lets nobody into this database.
pub(super) fn no_entry(error: &tokio_postgres::Error, database: &str) -> StoreError {
    if error.code() != Some(&SqlState::INVALID_CATALOG_NAME) {
        return store_error(error);
    }
    unavailable(&format!(
        "there is no database {database:?} on the server; correct the name in store.url, or make \
         it as docs/postgresql.md does (`CREATE DATABASE ... OWNER ... ENCODING 'UTF8' TEMPLATE \
         template0`)"
    ))
}

/// The error for a store that cannot do its work, with a sentence for the operator.
pub(super) fn unavailable(why: &str) -> StoreError {
    StoreError::Unavailable(why.to_owned())
}

pub(super) const SILENT: &str = "PostgreSQL does not answer; see that it runs, and store.url";

pub(super) const LATE: &str = "PostgreSQL did not answer in time; look at its load and its locks";

pub(super) const MAY_NOT: &str = "the role of store.url may not do this; run `keyward migrate \
     --grant-to ROLE` for it, as the owner of the schema";

const NO_TLS: &str = "PostgreSQL does not speak TLS, which sslmode=verify-full in store.url asks \
     for, and is the default beyond this machine; turn it on there, or write sslmode=disable where \
     nobody else is on the way";

const READ_ONLY: &str =
    "PostgreSQL is read-only; name the primary in store.url, or make the server writable";

/// How long a request waits for what it asks of the server, be it a lock.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long an operator waits for what goes through a whole table.
pub(super) const PATIENCE_FOR_TABLES: Duration = Duration::from_secs(10 * 60);

/// How long a request waits for one of the connections to come free.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(2);

/// How often a transaction runs that others get in the way of.
const ATTEMPTS_MAX: usize = 4;
