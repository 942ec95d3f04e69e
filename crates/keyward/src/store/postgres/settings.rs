//! Where the server is, and how it is reached.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How a PostgreSQL server is reached.
#[derive(Clone)]
pub struct PostgresSettings {
    config: Config,
    /// The same once for each host, in the order of the URL.
    hosts: Vec<Config>,
    tls: Arc<ClientConfig>,
    /// How many connections there are at most.
    pub connections_max: usize,
    /// Whether statements are prepared once per connection. A pooler that lends the server's
    /// connections by the transaction must know of that, as PgBouncer does from 1.21 on.
    pub prepares: bool,
    /// Whether exchanges of refresh tokens that wait for the server share a commit.
    pub shares_commits: bool,
}

impl PostgresSettings {
    /// Reads a URL: `postgres://role@host:5432/database?sslmode=verify-full&sslrootcert=ca.pem`.
    ///
    /// `sslmode` is `verify-full`, where TLS is required and the certificate must be the host's, or
    /// `disable`. Without it a server on this machine is reached in the clear, and any other one as
    /// in `verify-full`. `sslrootcert` is a PEM file of trusted authorities, relative to `base`.
    ///
    /// # Errors
    ///
    /// What is wrong and how to mend it, for whoever wrote the URL. It shows nothing of the URL,
    /// which may hold a password.
    pub fn parse(url: &str, base: &Path) -> Result<Self, String> {
        let (url, tls) = TlsParameters::split(url)?;
        let mut config: Config = url.parse().map_err(|_| NO_URL.to_owned())?;
        if config.get_user().is_none_or(str::is_empty) {
            return Err("names no role; write it like postgres://keyward@host/keyward".to_owned());
        }
        if config.get_hosts().is_empty() {
            return Err("names no host; write it like postgres://keyward@host/keyward".to_owned());
        }
        let mode = match tls.mode.as_deref() {
            Some("verify-full") => SslMode::Require,
            Some("disable") => SslMode::Disable,
            None if is_local(&config) => SslMode::Disable,
            None => SslMode::Require,
            Some(_) => return Err(NO_MODE.to_owned()),
        };
        let roots = match (mode, &tls.root_certificates) {
            (SslMode::Require, Some(file)) => read_roots(&base.join(file))?,
            (SslMode::Require, None) => return Err(NO_ROOTS.to_owned()),
            (_, _) => RootCertStore::empty(),
        };
        let hosts = one_host_each(&url).into_iter().map(|url| url.parse());
        let mut hosts = hosts.collect::<Result<Vec<Config>, _>>().map_err(|_| NO_URL.to_owned())?;
        for config in hosts.iter_mut().chain([&mut config]) {
            config
                .ssl_mode(mode)
                .application_name("keyward")
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_user_timeout(TCP_TIMEOUT)
                .keepalives_idle(KEEPALIVE_AFTER)
                .keepalives_interval(TCP_TIMEOUT);
        }
        let tls = Arc::new(client_config(roots)?);
        Ok(Self {
            config,
            hosts,
            tls,
            connections_max: CONNECTIONS_MAX,
            prepares: true,
            shares_commits: true,
        })
    }

    /// Signs in with this password, unless the URL has one.
    pub fn add_password(&mut self, password: &str) {
        for config in self.hosts.iter_mut().chain([&mut self.config]) {
            if config.get_password().is_none() {
                config.password(password);
            }
        }
    }

    /// The role that signs in.
    pub fn role(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// Whether passwords, hashes and events cross a network that anyone may listen to.
    pub fn is_plain_beyond_loopback(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Disable && !self.is_local()
    }

    /// Whether every host is this machine.
    pub fn is_local(&self) -> bool {
        is_local(&self.config)
    }

    /// The database by its name.
    pub(super) fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or_else(|| self.role())
    }

    /// How each host is reached, in the order in which they are tried.
    pub(super) fn hosts(&self) -> &[Config] {
        &self.hosts
    }

    pub(super) fn tls(&self) -> MakeRustlsConnect {
        MakeRustlsConnect::new(ClientConfig::clone(&self.tls))
    }
}

/// Role, hosts and database. Never the password.
impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.role())?;
        for (index, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
            let ports = self.config.get_ports();
            if let Some(port) = ports.get(index).or(ports.first()).filter(|port| **port != 5432) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.database())
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresSettings({self})")
    }
}

impl PartialEq for PostgresSettings {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config
            && self.connections_max == other.connections_max
            && self.prepares == other.prepares
            && self.shares_commits == other.shares_commits
    }
}

/// The parameters of the URL that are about TLS: the driver knows other modes, none of which
/// verifies.
#[derive(Default)]
struct TlsParameters {
    mode: Option<String>,
    root_certificates: Option<String>,
}

impl TlsParameters {
    /// Takes them out of the URL.
    fn split(url: &str) -> Result<(String, Self), String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(NO_URL.to_owned());
        }
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut tls, mut rest) = (Self::default(), Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", mode)) => tls.mode = Some(mode.to_owned()),
                Some(("sslrootcert", file)) => {
                    tls.root_certificates = Some(file.replace("%2F", "/").replace("%2f", "/"));
                }
                _ => rest.push(parameter),
            }
        }
        let separator = if rest.is_empty() { "" } else { "?" };
        Ok((format!("{place}{separator}{}", rest.join("&")), tls))
    }
}

/// The URL once for each host that it names before the database.
fn one_host_each(url: &str) -> Vec<String> {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + "://".len()));
    let (role, rest) = rest.split_at(rest.find('@').map_or(0, |at| at + 1));
    let (places, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if rest.contains("hostaddr=") {
        // It lists the addresses of all hosts, which the driver tells apart.
        return vec![url.to_owned()];
    }
    places.split(',').map(|place| format!("{scheme}{role}{place}{rest}")).collect()
}

/// Whether every host is this machine.
fn is_local(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    }) && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

fn read_roots(file: &Path) -> Result<RootCertStore, String> {
    let unusable =
        |why: &str| format!("names the authorities {}, but {why}; mend that", file.display());
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(file).map_err(|_| unusable("the file cannot be read"))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|_| unusable("the file is no PEM"))?;
        roots.add(certificate).map_err(|_| unusable("one of them is no certificate"))?;
    }
    if roots.is_empty() {
        return Err(unusable("the file holds none"));
    }
    Ok(roots)
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| "cannot be reached: this build has no TLS".to_owned())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

const NO_URL: &str = "is no URL of a PostgreSQL database; write it like \
     postgres://keyward@host:5432/keyward?sslmode=verify-full&sslrootcert=ca.pem";

const NO_MODE: &str = "has another sslmode than verify-full and disable; the others let anyone on \
     the way pass for the server: write sslmode=verify-full";

const NO_ROOTS: &str = "does not say who vouches for the server; add sslrootcert=FILE, a PEM file \
     of the authority, or of the system's (such as /etc/ssl/certs/ca-certificates.crt)";

/// As many as the server's own default allows ten nodes.
const CONNECTIONS_MAX: usize = 10;

/// How long each address of a host is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// After so long without an acknowledgement the other end is gone.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);

/// After so long without a word the other end is asked whether it is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<PostgresSettings, String> {
        PostgresSettings::parse(url, Path::new("/nowhere"))
    }

    #[test]
    fn a_server_on_this_machine_is_reached_in_the_clear() {
        for url in [
            "postgres://keyward@localhost/keyward",
            "postgresql://keyward@127.0.0.1:6432/keyward",
            "postgres://keyward@[::1]/keyward",
            "postgres://keyward@%2Frun%2Fpostgresql/keyward",
        ] {
            let settings = parse(url).expect(url);
            assert_eq!(settings.config.get_ssl_mode(), SslMode::Disable, "{url}");
            assert!(settings.is_local() && !settings.is_plain_beyond_loopback(), "{url}");
        }
    }

    #[test]
    fn each_host_is_tried_by_itself() {
        let url = "postgres://keyward:a,b@one:1,[::1]:2,three/db?target_session_attrs=read-write";
        assert_eq!(
            one_host_each(url),
            ["one:1", "[::1]:2", "three"].map(|place| {
                format!("postgres://keyward:a,b@{place}/db?target_session_attrs=read-write")
            })
        );
        for whole in ["postgres://keyward@one", "postgres://a@one,two/db?hostaddr=::1,::1"] {
            assert_eq!(one_host_each(whole), [whole]);
        }
    }

    #[test]
    fn another_machine_needs_an_authority_or_a_word() {
        for url in [
            "postgres://keyward@db.example.org/keyward",
            "postgres://keyward@localhost,db.example.org/keyward",
            "postgres://keyward@localhost/keyward?hostaddr=192.0.2.1",
        ] {
            assert_eq!(parse(url), Err(NO_ROOTS.to_owned()), "{url}");
        }
        let plain = parse("postgres://keyward@db.example.org/keyward?sslmode=disable");
        let plain = plain.expect("asked for");
        assert!(plain.is_plain_beyond_loopback() && !plain.is_local());
        for mode in ["require", "prefer", "allow", "verify-ca", ""] {
            let url = format!("postgres://keyward@db.example.org/keyward?sslmode={mode}");
            assert_eq!(parse(&url), Err(NO_MODE.to_owned()), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_shown() {
        for url in [
            "host=localhost password=hush",
            "postgres://keyward:hush@localhost:port/keyward",
            "postgres://keyward:hush@localhost/keyward?nonsense=1",
            "postgres://:hush@localhost/keyward",
            "postgres://keyward:hush@db/keyward?sslmode=verify-full&sslrootcert=missing.pem",
        ] {
            let complaint = parse(url).expect_err(url);
            assert!(!complaint.contains("hush"), "{complaint}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        let mut settings = parse("postgres://keyward:hush@localhost:6432/accounts").expect("a URL");
        settings.add_password("secret");
        assert_eq!(settings.config.get_password(), Some(&b"hush"[..]));
        assert_eq!(settings.to_string(), "postgres://keyward@localhost:6432/accounts");
        assert_eq!(
            format!("{settings:?}"),
            "PostgresSettings(postgres://keyward@localhost:6432/accounts)"
        );
    }
}
