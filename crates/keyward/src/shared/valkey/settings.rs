//! Where the server is, and how it is reached.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisResult, TlsCertificates,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// How a Valkey or Redis server is reached.
#[derive(Clone)]
pub struct ValkeySettings {
    client: Client,
    /// How long a request waits for its count: 100 ms, unless set otherwise. A server nearby
    /// answers in a hundredth of that.
    pub deadline: Duration,
}

impl ValkeySettings {
    /// Reads a URL: `rediss://user:password@host:6379/0?sslrootcert=ca.pem`, all of it but scheme
    /// and host at will. With `rediss` the server has to show a certificate for its name, of an
    /// authority that the system trusts or, with `sslrootcert`, of one in that PEM file, relative
    /// to `base`. `valkey` and `valkeys` mean the same as `redis` and `rediss`.
    ///
    /// # Errors
    ///
    /// What is wrong and how to mend it, for whoever wrote the URL. It shows nothing of the URL,
    /// which may hold a password.
    pub fn parse(url: &str, base: &Path) -> Result<Self, String> {
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let scheme = place.split("://").next().unwrap_or_default();
        let tls = matches!(scheme, "rediss" | "valkeys");
        if !tls && !matches!(scheme, "redis" | "valkey") {
            return Err(NO_URL.to_owned());
        }
        // The driver knows a fragment that turns verification off.
        if url.contains('#') {
            return Err(NO_URL.to_owned());
        }
        let roots = match query.split_once('=') {
            None if query.is_empty() => None,
            Some(("sslrootcert", file)) if tls && !file.contains('&') => {
                Some(read_roots(&base.join(file.replace("%2F", "/").replace("%2f", "/")))?)
            }
            None | Some(_) => return Err(NO_PARAMETER.to_owned()),
        };
        let info = place.into_connection_info().map_err(|_| NO_URL.to_owned())?;
        // A count is one small packet, and somebody waits for it.
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp);
        let client = if tls { with_tls(info, roots) } else { Client::open(info) };
        Ok(Self { client: client.map_err(|_| NO_CLIENT.to_owned())?, deadline: DEADLINE })
    }

    /// Signs in with this password, unless the URL has one.
    pub fn add_password(&mut self, password: &str) {
        let info = self.client.get_connection_info();
        if info.redis_settings().password().is_none() {
            let redis = info.redis_settings().clone().set_password(password);
            let client = Client::open(info.clone().set_redis_settings(redis));
            self.client = client.expect("only the password differs from what was accepted");
        }
    }

    /// Whether counts and hints cross a network that anyone may listen to and write into.
    pub fn is_plain_beyond_loopback(&self) -> bool {
        match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, _) => {
                let address = host.parse::<std::net::IpAddr>();
                host != "localhost" && !address.is_ok_and(|address| address.is_loopback())
            }
            _ => false,
        }
    }

    /// Whether the server is asked to let anybody in.
    pub fn lacks_password(&self) -> bool {
        self.client.get_connection_info().redis_settings().password().is_none()
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }
}

/// Scheme, host, port and database. Never the password.
impl fmt::Display for ValkeySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.client.get_connection_info();
        let scheme = match info.addr() {
            ConnectionAddr::TcpTls { .. } => "rediss",
            _ => "redis",
        };
        write!(f, "{scheme}://{}/{}", info.addr(), info.redis_settings().db())
    }
}

impl fmt::Debug for ValkeySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ValkeySettings({self})")
    }
}

fn with_tls(info: ConnectionInfo, roots: Option<Vec<u8>>) -> RedisResult<Client> {
    // The driver takes the process's implementation of TLS, and panics where it cannot tell which.
    if CryptoProvider::get_default().is_none() {
        let _already_there = aws_lc_rs::default_provider().install_default();
    }
    Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: roots })
}

/// The driver skips what is no certificate, and would then trust nobody.
fn read_roots(file: &Path) -> Result<Vec<u8>, String> {
    let unusable =
        |why: &str| format!("names the authorities {}, but {why}; mend that", file.display());
    let pem = std::fs::read(file).map_err(|_| unusable("the file cannot be read"))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates.map_err(|_| unusable("the file is no PEM"))?.as_slice() {
        [] => Err(unusable("the file holds none")),
        [..] => Ok(pem),
    }
}

const DEADLINE: Duration = Duration::from_millis(100);

const NO_URL: &str = "is no URL of a Valkey or Redis server; write it like \
     rediss://keyward@host:6379, or redis:// for a server on this machine";

const NO_PARAMETER: &str = "has another parameter than sslrootcert=FILE, which goes with rediss:// \
     and names a PEM file of the authority; remove it";

const NO_CLIENT: &str = "cannot be used: the file of sslrootcert holds no good certificate";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<ValkeySettings, String> {
        ValkeySettings::parse(url, Path::new("/nowhere"))
    }

    #[test]
    fn a_url_names_the_server() {
        for (url, shown) in [
            ("redis://localhost", "redis://localhost:6379/0"),
            ("valkey://127.0.0.1:6380/2", "redis://127.0.0.1:6380/2"),
            ("rediss://cache.example.org", "rediss://cache.example.org:6379/0"),
            ("valkeys://keyward:hush@cache.example.org", "rediss://cache.example.org:6379/0"),
        ] {
            let settings = parse(url).expect(url);
            assert_eq!(settings.to_string(), shown);
            assert_eq!(format!("{settings:?}"), format!("ValkeySettings({shown})"));
        }
    }

    #[test]
    fn what_is_weak_is_known() {
        for url in ["redis://localhost", "redis://127.0.0.1", "redis://[::1]:6379"] {
            assert!(!parse(url).expect(url).is_plain_beyond_loopback(), "{url}");
        }
        assert!(parse("redis://cache.example.org").expect("a URL").is_plain_beyond_loopback());
        assert!(!parse("rediss://cache.example.org").expect("a URL").is_plain_beyond_loopback());
        assert!(parse("redis://localhost").expect("a URL").lacks_password());
        assert!(!parse("redis://:hush@localhost").expect("a URL").lacks_password());
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_shown() {
        for (url, complaint) in [
            ("", NO_URL),
            ("localhost", NO_URL),
            ("unix:///run/valkey.sock", NO_URL),
            ("redis://:hush@", NO_URL),
            ("redis://:hush@localhost:port", NO_URL),
            ("redis://:hush@localhost/nonsense", NO_URL),
            ("rediss://:hush@cache.example.org#insecure", NO_URL),
            ("redis://:hush@localhost?sslrootcert=ca.pem", NO_PARAMETER),
            ("rediss://:hush@localhost?protocol=resp3", NO_PARAMETER),
            ("rediss://:hush@localhost?sslrootcert=ca.pem&protocol=resp3", NO_PARAMETER),
        ] {
            assert_eq!(parse(url).expect_err(url), complaint, "{url}");
        }
        let missing = parse("rediss://:hush@localhost?sslrootcert=ca.pem").expect_err("no file");
        assert!(missing.contains("/nowhere/ca.pem") && !missing.contains("hush"), "{missing}");
    }

    #[test]
    fn a_password_of_its_own_stands_in_for_none() {
        let mut settings = parse("redis://localhost").expect("a URL");
        settings.add_password("hush");
        assert!(!settings.lacks_password());
        let password = |settings: &ValkeySettings| {
            settings.client.get_connection_info().redis_settings().password().map(str::to_owned)
        };
        settings.add_password("another");
        assert_eq!(password(&settings).as_deref(), Some("hush"));
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
