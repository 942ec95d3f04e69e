//! Databases for tests: each test has one of its own, copied from a template that has the schema.

use std::path::Path;
use std::time::Duration;

use keyward_core::time::Timestamp;
use tokio_postgres::types::Type;

use super::connection::{Connections, Failure, Lent, Statement};
use super::{PostgresSettings, PostgresStore, migrations, rows};
use crate::store::StoreError;

/// A database of a test's own, dropped with this value.
#[derive(Debug)]
pub struct FreshDatabase {
    server: PostgresSettings,
    url: String,
    name: String,
}

impl FreshDatabase {
    /// Copies the template, which is made where the server has none yet.
    ///
    /// # Panics
    ///
    /// Without a server to make it on, or where that fails: the test cannot go on.
    pub async fn create() -> Self {
        let url = server_url();
        let server = settings(&url);
        let connections = Connections::new(&server).expect("a pool");
        let name = connections.run(PATIENCE, create).await.expect("a database");
        Self { server, url, name }
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

    /// The URL of the database with everybody's rights.
    pub fn url(&self) -> String {
        with_database(&self.url, &self.name)
    }

    /// The URL of the database with the rights of the running service.
    pub fn service_url(&self) -> String {
        with_role(&self.url(), SERVICE_ROLE, SERVICE_PASSWORD)
    }

    /// Runs statements with everybody's rights.
    ///
    /// # Panics
    ///
    /// Where one fails.
    pub async fn run(&self, sql: &str) {
        let connections = Connections::new(&self.settings()).expect("a pool");
        let ran = connections.run(PATIENCE, |connection| batch(connection, sql)).await;
        assert_eq!(ran, Ok(()), "{sql}");
    }

    /// The one number that a statement answers.
    ///
    /// # Panics
    ///
    /// Where it answers anything else.
    pub async fn number(&self, sql: &str) -> i64 {
        let connections = Connections::new(&self.settings()).expect("a pool");
        let number = connections.run(PATIENCE, |connection| number(connection, sql)).await;
        number.expect(sql)
    }
}

impl Drop for FreshDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // The test's own runtime may be at its end, or busy with this very drop.
        let dropping = std::thread::spawn(move || -> Result<(), StoreError> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            runtime.expect("a runtime").block_on(async {
                Connections::new(&server)?.run(PATIENCE, |connection| batch(connection, &sql)).await
            })
        });
        let dropped = dropping.join();
        assert!(std::thread::panicking() || matches!(dropped, Ok(Ok(()))), "{dropped:?}");
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

/// Makes a database; answers its name.
async fn create(connection: Lent) -> Result<String, Failure> {
    let template = format!("keyward_template_{}", migrations::fingerprint());
    connection.query(LOCK, &[]).await?;
    let made = connection.query(FIND_DATABASE, &[&template]).await?;
    if made.is_empty() {
        make_template(&connection, &template).await?;
    }
    connection.query(UNLOCK, &[]).await?;
    let found = connection.query(RANDOM, &[]).await?;
    let random: Option<String> = rows::first(&found, |columns| columns.take("random"))?;
    let name = format!("keyward_test_{}", random.unwrap_or_default());
    connection.batch(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await?;
    Ok(name)
}

/// Makes the template under another name first, so that none is found half-made.
async fn make_template(connection: &Lent, template: &str) -> Result<(), Failure> {
    connection.batch("DROP DATABASE IF EXISTS keyward_template WITH (FORCE)").await?;
    connection.batch("CREATE DATABASE keyward_template").await?;
    if connection.query(FIND_ROLE, &[&SERVICE_ROLE]).await?.is_empty() {
        let role = format!("CREATE ROLE {SERVICE_ROLE} LOGIN PASSWORD '{SERVICE_PASSWORD}'");
        connection.batch(&role).await?;
    }
    let settings = settings(&with_database(&server_url(), "keyward_template"));
    let store = PostgresStore::open(&settings, Timestamp::from_secs(1)).await?;
    store.grant(SERVICE_ROLE).await?;
    store.close();
    connection.batch(&format!("ALTER DATABASE keyward_template RENAME TO {template}")).await
}

async fn batch(connection: Lent, sql: &str) -> Result<(), Failure> {
    connection.batch(sql).await
}

async fn number(connection: Lent, sql: &str) -> Result<i64, Failure> {
    let found = connection.query(Statement { sql, types: &[] }, &[]).await?;
    let number = rows::first(&found, |columns| columns.take("number"))?;
    Ok(number.ok_or(StoreError::Inconsistent("number"))?)
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
    format!("{server}/{name}?{query}")
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

const SERVICE_ROLE: &str = "keyward_test_service";
const SERVICE_PASSWORD: &str = "service";

/// Longer than the copies that other tests have made meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

const LOCK: Statement<'_> =
    Statement { sql: "SELECT pg_advisory_lock(7091177325117400177)::text", types: &[] };
const UNLOCK: Statement<'_> =
    Statement { sql: "SELECT pg_advisory_unlock(7091177325117400177)", types: &[] };
const RANDOM: Statement<'_> =
    Statement { sql: "SELECT replace(gen_random_uuid()::text, '-', '')", types: &[] };
const FIND_DATABASE: Statement<'_> =
    Statement { sql: "SELECT FROM pg_database WHERE datname = $1", types: &[Type::TEXT] };
const FIND_ROLE: Statement<'_> =
    Statement { sql: "SELECT FROM pg_roles WHERE rolname = $1", types: &[Type::TEXT] };
