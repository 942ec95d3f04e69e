//! Which store there is and how it is reached.

use std::fmt;
use std::path::{Path, PathBuf};

#[cfg(feature = "postgres")]
use keyward::store::PostgresSettings;

use super::secret_file::Secret;
use super::source::Source;
use super::{Overrides, secret_file, value};

/// Where everything is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StoreSettings {
    /// In one file, at this path.
    Sqlite(PathBuf),
    /// On a server.
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresSettings>),
}

impl StoreSettings {
    /// The file, where it is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => None,
        }
    }

    /// Whether it is a server on this machine.
    pub(crate) fn is_local_server(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            #[cfg(feature = "postgres")]
            Self::Postgres(settings) => settings.is_local(),
        }
    }

    /// Where it is, for whoever may be in another folder than they think: the path from the root,
    /// or the URL without its password.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::Sqlite(path) => {
                let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                whole.display().to_string()
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(settings) => settings.to_string(),
        }
    }
}

/// For people: the path, or the URL without its password.
impl fmt::Display for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            #[cfg(feature = "postgres")]
            Self::Postgres(settings) => write!(f, "{settings}"),
        }
    }
}

/// The file that a URL names, if it is one of SQLite.
#[cfg(feature = "postgres")]
pub(crate) fn sqlite_file(url: &str, base: &Path) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:").filter(|path| !path.is_empty())?;
    Some(base.join(path))
}

/// Reads the store; `None` where there is none to go on with, and a problem says why.
pub(super) fn read(source: &mut Source, overrides: &Overrides) -> Option<StoreSettings> {
    let configured = source.parsed("store.url", value::text);
    let refused = source.is_set("store.url") && configured.is_none();
    let url = overrides.store.clone().or(configured);
    let server = ServerKeys::read(source);
    if refused && url.is_none() {
        return None;
    }
    let url = url.unwrap_or_else(|| super::DEFAULT_STORE.to_owned());
    let key = named_by(overrides);
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => {
            if overrides.store.is_some() {
                ServerKeys::pass_over(source, key);
            } else if !overrides.is_copied {
                server.refuse(source);
            }
            Some(StoreSettings::Sqlite(sqlite(source, key, &overrides.data_dir.join(path))))
        }
        Some(("postgres" | "postgresql", _)) => {
            postgres(source, key, &url, &overrides.data_dir, &server)
        }
        _ => {
            let scheme = url.split(':').next().unwrap_or_default();
            let complaint = format!(
                "names the store \"{scheme}\", which there is not; write it like \
                 sqlite:keyward.db or postgres://keyward@host/keyward"
            );
            source.problem(key, complaint);
            None
        }
    }
}

/// What faults of the URL are blamed on: the key, or the option that goes over it.
fn named_by(overrides: &Overrides) -> &'static str {
    match overrides.store {
        None => "store.url",
        Some(_) if overrides.is_target => "--to",
        Some(_) => "--store",
    }
}

fn sqlite(source: &mut Source, key: &str, path: &Path) -> PathBuf {
    if secret_file::is_readable_by_others(path) {
        // SQLite gives the files beside it the same mode.
        let complaint = format!(
            "is open to others, with every address and password hash in it; run `chmod 600 {}`",
            path.display()
        );
        source.warn(key, complaint);
    }
    path.to_owned()
}

/// What is said of a server besides its URL.
#[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "read, so that they are known"))]
struct ServerKeys {
    password: Option<zeroize::Zeroizing<String>>,
    connections_max: Option<u32>,
    prepares: Option<bool>,
    shares_commits: Option<bool>,
}

impl ServerKeys {
    fn read(source: &mut Source) -> Self {
        Self {
            password: source.secret(
                "store.password",
                "store.password_file",
                Secret::Given("password"),
            ),
            connections_max: source
                .parsed("store.max_connections", |value| value::number(value, 1, 1000)),
            prepares: source.parsed("store.prepared_statements", value::boolean),
            shares_commits: source.parsed("store.share_commits", value::boolean),
        }
    }

    /// Makes a problem of each, since a file has none of them.
    fn refuse(&self, source: &mut Source) {
        for key in SERVER_KEYS {
            if source.is_set(key) {
                source.problem(key, "is for PostgreSQL, and the store is SQLite; remove it");
            }
        }
    }

    /// Warns of each, since the file that a command names is not the store that they are about:
    /// whoever serves from it may have forgotten that there is another one.
    fn pass_over(source: &mut Source, option: &str) {
        for key in SERVER_KEYS {
            if source.is_set(key) {
                let complaint = format!("is for PostgreSQL, and {option} names a SQLite file");
                source.warn(key, complaint);
            }
        }
    }
}

#[cfg(feature = "postgres")]
fn postgres(
    source: &mut Source,
    key: &str,
    url: &str,
    base: &Path,
    keys: &ServerKeys,
) -> Option<StoreSettings> {
    let mut settings = match PostgresSettings::parse(url, base) {
        Ok(settings) => settings,
        Err(complaint) => {
            source.problem(key, complaint);
            return None;
        }
    };
    if let Some(password) = &keys.password {
        settings.add_password(password);
    }
    if let Some(connections_max) = keys.connections_max {
        settings.connections_max = connections_max as usize;
    }
    settings.prepares = keys.prepares.unwrap_or(true);
    settings.shares_commits = keys.shares_commits.unwrap_or(true);
    if settings.is_plain_beyond_loopback() {
        source.warn(
            key,
            "has sslmode=disable for another machine: whoever is on the way reads and changes \
             everything; write sslmode=verify-full and sslrootcert=FILE",
        );
    }
    Some(StoreSettings::Postgres(Box::new(settings)))
}

#[cfg(not(feature = "postgres"))]
fn postgres(
    source: &mut Source,
    key: &str,
    _: &str,
    _: &Path,
    _: &ServerKeys,
) -> Option<StoreSettings> {
    let complaint = "names PostgreSQL, which this build leaves out; build with the feature \
         `postgres`, or write it like sqlite:keyward.db";
    source.problem(key, complaint);
    None
}

const SERVER_KEYS: &[&str] = &[
    "store.password",
    "store.password_file",
    "store.max_connections",
    "store.prepared_statements",
    "store.share_commits",
];
