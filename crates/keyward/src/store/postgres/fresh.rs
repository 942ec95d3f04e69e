//! Databases for tests: each test has one to itself, empty but for the schema.
//!
//! To make one takes a third of a second, to empty one hundredths. So they are numbered, stay, and
//! are taken by whoever finds them free.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use keyward_core::time::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::connection::{Connections, Failure, Lent, Statement};
use super::{PostgresSettings, PostgresStore, migrations, rows};
use crate::store::StoreError;

/// A database that this test has to itself, as long as it keeps this value.
pub struct FreshDatabase {
    url: String,
    name: String,
    connections: Connections,
    /// Holds the lock on the number, and lets go of it with the connection.
    _lock: Lent,
}

impl FreshDatabase {
    /// Takes a database that is free, or makes one.
    ///
    /// # Panics
    ///
    /// Without a server to make it on, or where that fails: the test cannot go on.
    pub async fn create() -> Self {
        let url = server_url();
        let connections = Connections::new(&settings(&url)).expect("a pool");
        let taken = connections.run(PATIENCE, take).await;
        let (name, lock) = taken.expect("a database");
        let connections = Connections::new(&settings(&with_database(&url, &name)));
        let connections = connections.expect("a pool");
        connections.run(PATIENCE, |connection| batch(connection, EMPTY)).await.expect("no rows");
        Self { url, name, connections, _lock: lock }
    }

    /// The database with everybody's rights.
    pub fn settings(&self) -> PostgresSettings {
        settings(&self.url())
    }

    /// The database with the rights of the running service, and no others.
    pub fn service_settings(&self) -> PostgresSettings {
        settings(&with_role(&self.url(), SERVICE_ROLE, SERVICE_PASSWORD))
    }

    /// The database through the pooler that `TEST_PGBOUNCER_URL` names, which lends connections by
    /// the transaction.
    ///
    /// # Panics
    ///
    /// Where the variable names none.
    pub fn pooled_settings(&self) -> PostgresSettings {
        settings(&with_database(&variable(POOLER), &self.name))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Another database of the server with everybody's rights.
    pub fn settings_of(&self, name: &str) -> PostgresSettings {
        settings(&with_database(&self.url, name))
    }

    /// The URL of the database with everybody's rights.
    pub fn url(&self) -> String {
        with_database(&self.url, &self.name)
    }

    /// The URL of the database with the rights of the running service.
    pub fn service_url(&self) -> String {
        with_role(&self.url(), SERVICE_ROLE, SERVICE_PASSWORD)
    }

    /// Runs statements with everybody's rights. No other test gets the database after this.
    ///
    /// # Panics
    ///
    /// Where one fails.
    pub async fn run(&self, sql: &str) {
        let spoil = format!("COMMENT ON DATABASE {} IS 'spoilt'", self.name);
        for sql in [spoil.as_str(), sql] {
            let ran = self.connections.run(PATIENCE, |connection| batch(connection, sql)).await;
            assert_eq!(ran, Ok(()), "{sql}");
        }
    }

    /// Runs statements with everybody's rights, in a transaction that stays open.
    ///
    /// # Panics
    ///
    /// Where one fails.
    pub async fn begin(&self, sql: &str) -> OpenTransaction {
        let sql = format!("BEGIN; {sql}");
        let begun = self.connections.run(PATIENCE, |connection| begin(connection, &sql)).await;
        OpenTransaction(begun.expect("a transaction"))
    }

    /// Returns once so many statements wait for others' locks.
    ///
    /// # Panics
    ///
    /// Where they never do.
    pub async fn until_waiting(&self, count: i64) {
        for _ in 0..10_000 {
            if self.number(COUNT_WAITING).await == count {
                return;
            }
        }
        panic!("there never were {count} statements that wait");
    }

    /// The one text that a statement answers.
    ///
    /// # Panics
    ///
    /// Where it answers anything else.
    pub async fn text(&self, sql: &str) -> String {
        let text = self.connections.run(PATIENCE, |connection| one(connection, sql)).await;
        text.expect(sql)
    }

    /// The one number that a statement answers.
    ///
    /// # Panics
    ///
    /// Where it answers anything else.
    pub async fn number(&self, sql: &str) -> i64 {
        let number = self.connections.run(PATIENCE, |connection| one(connection, sql)).await;
        number.expect(sql)
    }
}

/// A transaction that holds its locks.
pub struct OpenTransaction(Lent);

impl OpenTransaction {
    /// Commits it.
    ///
    /// # Panics
    ///
    /// Where that fails.
    pub async fn commit(self) {
        self.0.batch("COMMIT").await.expect("a commit");
    }
}

impl fmt::Debug for OpenTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenTransaction")
    }
}

impl fmt::Debug for FreshDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FreshDatabase({})", self.name)
    }
}

/// The store of [`crate::store_contract!`], and its database.
///
/// # Panics
///
/// As [`FreshDatabase::create`].
pub async fn fresh_postgres() -> (PostgresStore, FreshDatabase) {
    let database = FreshDatabase::create().await;
    (open(&database.settings()).await, database)
}

/// As [`fresh_postgres`], with the rights of the running service.
///
/// # Panics
///
/// As [`FreshDatabase::create`].
pub async fn fresh_postgres_as_service() -> (PostgresStore, FreshDatabase) {
    let database = FreshDatabase::create().await;
    (open(&database.service_settings()).await, database)
}

/// As [`fresh_postgres`], through a pooler that knows nothing of prepared statements.
///
/// # Panics
///
/// As [`FreshDatabase::create`] and [`FreshDatabase::pooled_settings`].
pub async fn fresh_postgres_behind_pooler() -> (PostgresStore, FreshDatabase) {
    let database = FreshDatabase::create().await;
    let mut settings = database.pooled_settings();
    settings.prepares = false;
    (open(&settings).await, database)
}

async fn open(settings: &PostgresSettings) -> PostgresStore {
    PostgresStore::open(settings, Timestamp::from_secs(1)).await.expect("a store")
}

/// Takes the first number that is free; answers the database's name and what holds the lock.
async fn take(connection: Lent) -> Result<(String, Lent), Failure> {
    let fingerprint = migrations::fingerprint();
    let template = format!("keyward_template_{fingerprint}");
    connection.query(LOCK_TEMPLATE, &[]).await?;
    if connection.query(FIND_DATABASE, &[&template]).await?.is_empty() {
        make_template(&connection, &template).await?;
    }
    connection.query(UNLOCK_TEMPLATE, &[]).await?;

    let mut number = 0_i32;
    while !flag(&connection.query(LOCK_NUMBER, &[&number]).await?)?.unwrap_or_default() {
        number += 1;
    }
    let name = format!("keyward_test_{fingerprint}_{number}");
    let mut is_spoilt = flag(&connection.query(FIND_DATABASE, &[&name]).await?)?;
    if is_spoilt == Some(true) {
        connection.batch(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        is_spoilt = None;
    }
    if is_spoilt.is_none() {
        connection.batch(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await?;
    }
    connection.query(END_CONNECTIONS, &[&name]).await?;
    Ok((name, connection))
}

fn flag(found: &[Row]) -> Result<Option<bool>, StoreError> {
    rows::first(found, |columns| columns.take("flag"))
}

/// Makes the template under another name first, so that none is found half-made.
async fn make_template(connection: &Lent, template: &str) -> Result<(), Failure> {
    connection.batch("DROP DATABASE IF EXISTS keyward_template WITH (FORCE)").await?;
    connection.batch("CREATE DATABASE keyward_template").await?;
    let is_new = connection.query(FIND_ROLE, &[&SERVICE_ROLE]).await?.is_empty();
    let verb = if is_new { "CREATE" } else { "ALTER" };
    let role = format!("{verb} ROLE {SERVICE_ROLE} LOGIN PASSWORD '{SERVICE_PASSWORD}'");
    connection.batch(&role).await?;
    let settings = settings(&with_database(&server_url(), "keyward_template"));
    let store = PostgresStore::open(&settings, Timestamp::from_secs(1)).await?;
    store.grant(SERVICE_ROLE).await?;
    store.close();
    connection.batch(&format!("ALTER DATABASE keyward_template RENAME TO {template}")).await
}

async fn batch(connection: Lent, sql: &str) -> Result<(), Failure> {
    connection.batch(sql).await
}

async fn begin(connection: Lent, sql: &str) -> Result<Lent, Failure> {
    connection.batch(sql).await?;
    Ok(connection)
}

async fn one<T: for<'a> FromSql<'a>>(connection: Lent, sql: &str) -> Result<T, Failure> {
    let found = connection.query(Statement { sql, types: &[] }, &[]).await?;
    let value = rows::first(&found, |columns| columns.take("value"))?;
    Ok(value.ok_or(StoreError::Inconsistent("value"))?)
}

fn settings(url: &str) -> PostgresSettings {
    PostgresSettings::parse(url, Path::new(".")).expect("a URL")
}

fn server_url() -> String {
    variable(SERVER)
}

fn variable(name: &str) -> String {
    let url = std::env::var_os(name).and_then(|url| url.into_string().ok());
    url.unwrap_or_else(|| panic!("This test needs {name}: run `cargo xtask test`, or set it."))
}

/// The same server, another database.
fn with_database(url: &str, name: &str) -> String {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let server = place.rsplit_once('/').map_or(place, |(server, _)| server);
    let separator = if query.is_empty() { "" } else { "?" };
    format!("{server}/{name}{separator}{query}")
}

/// The same database, another role.
fn with_role(url: &str, role: &str, password: &str) -> String {
    let place = url.rsplit_once('@').map_or(url, |(_, place)| place);
    format!("postgres://{role}:{password}@{place}")
}

/// A server whose role may make databases and roles.
const SERVER: &str = "TEST_POSTGRES_URL";

/// A pooler in front of it.
const POOLER: &str = "TEST_PGBOUNCER_URL";

/// The role of the running service in every database for tests.
pub const SERVICE_ROLE: &str = "keyward_test_service";
/// Its password.
pub const SERVICE_PASSWORD: &str = "sesame-for-tests";

/// Longer than the copies that other tests have made meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

const LOCK_TEMPLATE: Statement<'_> =
    Statement { sql: "SELECT pg_advisory_lock(7091177325117400177)::text", types: &[] };
const UNLOCK_TEMPLATE: Statement<'_> =
    Statement { sql: "SELECT pg_advisory_unlock(7091177325117400177)", types: &[] };
const LOCK_NUMBER: Statement<'_> =
    Statement { sql: "SELECT pg_try_advisory_lock(1651077733, $1)", types: &[Type::INT4] };
/// Whether it is spoilt.
const FIND_DATABASE: Statement<'_> = Statement {
    sql: "SELECT shobj_description(oid, 'pg_database') IS NOT NULL FROM pg_database \
          WHERE datname = $1",
    types: &[Type::TEXT],
};
/// What the last test has left behind.
const END_CONNECTIONS: Statement<'_> = Statement {
    sql: "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1",
    types: &[Type::TEXT],
};
const COUNT_WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND wait_event_type = 'Lock'";
const EMPTY: &str = "DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT c.relname FROM pg_class AS c
        WHERE c.relnamespace = 'keyward'::regnamespace AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition AND c.relname <> 'migration'
    LOOP EXECUTE format('DELETE FROM keyward.%I', name); END LOOP;
END $$";
const FIND_ROLE: Statement<'_> =
    Statement { sql: "SELECT FROM pg_roles WHERE rolname = $1", types: &[Type::TEXT] };
