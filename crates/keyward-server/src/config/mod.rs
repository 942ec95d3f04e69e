//! The configuration: a TOML file and the environment, turned into policies once.
//!
//! Every problem is found in one reading, each told in one sentence that names its key and its fix.
//! Nothing else in the workspace reads a file of settings or the environment.

mod accounts;
mod audit;
mod cookies;
mod keys;
mod mail;
mod master_key;
mod ops;
mod origin;
pub(crate) mod secret_file;
mod shared;
mod source;
mod store;
mod tokens;
pub(crate) mod value;
mod web;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use keyward::policy::{AllowedOrigins, Policy, WebPolicy};
use zeroize::Zeroizing;

pub(crate) use mail::{MailSettings, MailWay};
pub(crate) use master_key::{MASTER_KEY_FILE, MasterKeySource};
pub(crate) use ops::OpsSettings;
pub(crate) use origin::Origin;
pub(crate) use shared::SharedSettings;
pub use source::Finding;
use source::Source;
pub(crate) use store::StoreSettings;
#[cfg(feature = "postgres")]
pub(crate) use store::sqlite_file;

/// Everything that was configured.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// What steers the service.
    pub(crate) policy: Policy,
    /// What steers the listener.
    pub(crate) server: ServerSettings,
    /// Where everything is kept.
    pub(crate) store: StoreSettings,
    /// What nodes share besides the store, where they share anything.
    pub(crate) shared: Option<SharedSettings>,
    /// How mails leave, where any do.
    pub(crate) mail: Option<MailSettings>,
    /// Where the master key comes from.
    pub(crate) master_key: MasterKeySource,
    /// What operators watch the service by.
    pub(crate) ops: OpsSettings,
}

/// What steers the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerSettings {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// The certificate and its key, where it speaks TLS itself.
    pub(crate) tls: Option<TlsFiles>,
    /// How long requests may take to end once it is told to stop.
    pub(crate) shutdown_timeout: Duration,
    /// How many connections it serves at once.
    pub(crate) connections_max: usize,
    /// How many threads answer requests; `None` for as many as there are cores for them.
    pub(crate) threads: Option<usize>,
}

/// PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub(crate) certificates: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    /// The file; `None` for `keyward.toml` where there is one.
    pub(crate) file: Option<PathBuf>,
    /// What relative paths are relative to.
    pub(crate) data_dir: PathBuf,
    /// Instead of `store.url`.
    pub(crate) store: Option<String>,
    /// Whether that is where a copy goes, which `--to` names.
    pub(crate) is_target: bool,
    /// Whether the keys for a server are about another store, to which this one is copied.
    pub(crate) is_copied: bool,
    /// Instead of `server.listen`.
    pub(crate) listen: Option<SocketAddr>,
    /// Whether development's defaults hold.
    pub(crate) dev: bool,
}

/// What a reading found.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The configuration; `None` where there are problems.
    pub(crate) configuration: Option<Configuration>,
    /// What stops the start.
    pub(crate) problems: Vec<Finding>,
    /// What is weak, but may be meant.
    pub(crate) warnings: Vec<Finding>,
}

/// Reads the configuration: the command line over the environment over the file over the defaults.
pub(crate) fn read(
    overrides: &Overrides,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Reading {
    let file = overrides.file.clone().or_else(|| default_file(overrides));
    let mut source = Source::read(file.as_deref(), environment, &overrides.data_dir);
    let configuration = read_sections(&mut source, overrides);
    source.refuse_unknown();
    let Source { problems, warnings, .. } = source;
    let configuration = configuration.filter(|_| problems.is_empty());
    Reading { configuration, problems, warnings }
}

/// The environment of the process.
pub(crate) fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// The level of the log.
pub(crate) fn log_level() -> Option<String> {
    let level = std::env::var_os("KEYWARD_LOG")?;
    Some(level.to_string_lossy().into_owned())
}

/// The service key of commands that call a service, where it does not come from a file.
pub(crate) fn service_key() -> Option<Zeroizing<String>> {
    let key = std::env::var_os("KEYWARD_SERVICE_KEY").filter(|key| !key.is_empty())?;
    Some(Zeroizing::new(key.to_string_lossy().into_owned()))
}

/// `None` where a value is missing that nothing can stand in for; a problem says which.
fn read_sections(source: &mut Source, overrides: &Overrides) -> Option<Configuration> {
    let listener = web::read_listener(source, overrides);
    let public = web::read_public_url(source, &listener, overrides.dev);
    let mut policy = Policy::new(public.as_str());
    web::read_policy(source, &listener, overrides.dev, &mut policy);
    cookies::read(source, &listener, &public, overrides.dev, &mut policy);
    tokens::read(source, &mut policy);
    accounts::read(source, &mut policy);
    keys::read(source, &mut policy);
    audit::read(source, &mut policy);
    let mail = mail::read(source, overrides, &mut policy);
    let store = store::read(source, overrides);
    let shared = shared::read(source, &overrides.data_dir);
    let master_key = master_key::read(source, &overrides.data_dir);
    let ops = ops::read(source, &listener);
    Some(Configuration {
        policy,
        server: listener,
        store: store?,
        shared,
        mail,
        master_key: master_key?,
        ops,
    })
}

/// Development does not take up a file that happens to lie around: it may be production's.
fn default_file(overrides: &Overrides) -> Option<PathBuf> {
    let path = PathBuf::from(DEFAULT_FILE);
    (!overrides.dev && path.exists()).then_some(path)
}

/// The configuration file that is read without being named.
pub(crate) const DEFAULT_FILE: &str = "keyward.toml";

/// The store where none is named.
pub(crate) const DEFAULT_STORE: &str = "sqlite:keyward.db";

/// Adds the origins under which development is reached, and lists loopback where nothing else is.
fn open_to_loopback(web: &mut WebPolicy, port: u16, origins_are_set: bool) {
    web.own_origins = ["localhost", "127.0.0.1", "[::1]"]
        .into_iter()
        .map(|host| web::http_origin(host, port))
        .collect();
    if !origins_are_set {
        web.allowed_origins = AllowedOrigins::AnyLoopback;
    }
}

#[cfg(test)]
mod tests;
