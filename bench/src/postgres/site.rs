//! A database full of sessions, the services that share it, and who refreshes the sessions.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use keyward_core::service_key::ServiceKey;
use tempfile::TempDir;

use super::database::{Database, Postgres};
use super::planted::Planted;
use crate::client::{Answer, Client};
use crate::pace::{self, Window};
use crate::report::Report;
use crate::server::Server;
use crate::{Plan, load, sqlite};

/// A database with sessions in it, and the master key of those who serve it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) database: Database,
    binary: PathBuf,
    folder: TempDir,
    planted: Arc<Planted>,
}

impl Site {
    /// Makes a database and plants sessions in it.
    pub(crate) async fn plant(
        plan: &Plan,
        postgres: &Postgres,
        name: &str,
        sessions: u64,
        report: &Report,
    ) -> io::Result<Self> {
        report.progress(&format!("planting {sessions} sessions"));
        let database = postgres.create(name)?;
        let folder = tempfile::tempdir()?;
        // The first start makes the schema and the keys.
        drop(node(&plan.keyward, &folder, &database, &[])?);
        let now = sqlite::now();
        let planted = Planted::fill(&database, folder.path(), sessions, now, report).await?;
        Ok(Self { database, binary: plan.keyward.clone(), folder, planted: Arc::new(planted) })
    }

    /// Starts a service on the database, with these variables of its configuration.
    pub(crate) fn node(&self, configuration: &[(&str, &str)]) -> io::Result<Server> {
        node(&self.binary, &self.folder, &self.database, configuration)
    }

    /// Makes a key by which a service follows the revocations.
    pub(crate) fn service_key(&self) -> io::Result<ServiceKey> {
        let made = Command::new(&self.binary)
            .args(["service-key", "create", "--name", "bench", "--scope", "revocations"])
            .arg("--data-dir")
            .arg(self.folder.path())
            .env("KEYWARD_STORE__URL", self.database.url())
            .output()?;
        let text = String::from_utf8_lossy(&made.stdout);
        ServiceKey::parse(text.trim()).ok_or_else(|| {
            let said = String::from_utf8_lossy(&made.stderr);
            io::Error::other(format!("no service key was made: {said}"))
        })
    }

    /// Clients with one connection each, who share all sessions among them. With `with_key` their
    /// refreshes carry an Idempotency-Key, as the browser client's do.
    pub(crate) fn callers(&self, count: u64, with_key: bool) -> Vec<Caller> {
        let caller = |place| Caller {
            client: None,
            planted: Arc::clone(&self.planted),
            place,
            callers: count,
            turn: 0,
            held: HashMap::new(),
            with_key,
        };
        (0..count).map(caller).collect()
    }
}

fn node(
    binary: &Path,
    folder: &TempDir,
    database: &Database,
    configuration: &[(&str, &str)],
) -> io::Result<Server> {
    let configuration = [&[("KEYWARD_STORE__URL", database.url())], configuration].concat();
    Server::keyward(binary, folder.path(), &configuration)
}

/// One connection that refreshes the sessions of its share, one after the other.
#[derive(Debug)]
pub(crate) struct Caller {
    client: Option<Client>,
    planted: Arc<Planted>,
    place: u64,
    callers: u64,
    turn: u64,
    /// The current token of each session that was refreshed.
    held: HashMap<u64, String>,
    with_key: bool,
}

impl Caller {
    /// Opens a fresh connection, perhaps to another node of the site.
    pub(crate) async fn connect(&mut self, node: SocketAddr) -> io::Result<()> {
        self.client = Some(Client::connect(node).await?);
        Ok(())
    }

    /// Refreshes the next session of its share. Each has its turn before one has a second, and
    /// those that follow each other lie far apart in the table.
    pub(crate) async fn refresh(&mut self) -> io::Result<()> {
        self.exchange().await.map(drop)
    }

    /// Refreshes the next session for its access token.
    pub(crate) async fn access_token(&mut self) -> io::Result<String> {
        self.exchange().await?.text("accessToken")
    }

    /// Ends the session of an access token.
    pub(crate) async fn log_out(&mut self, access_token: &str) -> io::Result<()> {
        let client = self.client.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        load::log_out(client, access_token).await
    }

    async fn exchange(&mut self) -> io::Result<Answer> {
        let client = self.client.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let share = self.planted.count / self.callers;
        let number = self.place + self.callers * (self.turn * STRIDE % share);
        self.turn += 1;
        let token = match self.held.remove(&number) {
            Some(token) => token,
            None => self.planted.refresh_token(number).expose().to_owned(),
        };
        let (csrf, key) = (self.planted.csrf_token(number), self.with_key.then_some(self.turn));
        let answer = load::refresh(client, &token, &csrf, key).await?;
        self.held.insert(number, load::refresh_cookie(&answer)?);
        Ok(answer)
    }
}

/// Refreshes of one window, and what they cost.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) window: Window,
    /// Of the service and the database together.
    pub(crate) cpu_secs: f64,
}

impl Sample {
    pub(crate) fn per_cpu_second(&self) -> f64 {
        self.window.requests() / self.cpu_secs
    }
}

/// Each caller refreshes over and over at one node.
pub(crate) async fn refresh(
    postgres: &Postgres,
    node: &Server,
    callers: &mut [Caller],
    window: Duration,
) -> io::Result<Sample> {
    connect(node, callers).await?;
    let cpu = node.cpu()? + postgres.cpu()?;
    let window = pace::repeat(callers, window, Caller::refresh).await?;
    Ok(Sample { window, cpu_secs: (node.cpu()? + postgres.cpu()? - cpu).as_secs_f64() })
}

/// Refreshes at a steady, low rate.
pub(crate) async fn refresh_at_ease(
    node: &Server,
    callers: &mut [Caller],
    window: Duration,
) -> io::Result<Window> {
    connect(node, callers).await?;
    pace::paced(callers, window, Caller::refresh).await
}

async fn connect(node: &Server, callers: &mut [Caller]) -> io::Result<()> {
    let connect = callers.iter_mut().map(|caller| caller.connect(node.address));
    future::try_join_all(connect).await.map(drop)
}

/// A prime that no share is a multiple of.
const STRIDE: u64 = 2_147_483_647;
