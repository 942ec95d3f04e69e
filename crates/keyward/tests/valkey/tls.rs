//! How the server is reached: TLS with a certificate of its own, and a user with few rights.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::shared::{Valkey, ValkeySettings};
use keyward_core::keys::MasterKey;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::server::{Server, settings};

/// Whether everything that requests need works over this URL.
async fn probe(settings: &ValkeySettings) -> Result<(), String> {
    let valkey = Valkey::new(settings, &MasterKey::new(&[7; 32]));
    valkey.probe().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_server_with_its_own_certificate_is_trusted() {
    let world = World::new("127.0.0.1").await;
    assert_eq!(world.probe(&world.authority).await, Ok(()));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let world = World::new("cache.example.org").await;
    let why = world.probe(&world.authority).await.expect_err("another's");
    assert!(why.contains("certificate"), "{why}");
}

#[tokio::test]
async fn a_certificate_that_nobody_trusted_vouches_for_is_refused() {
    let (world, other) = (World::new("127.0.0.1").await, World::new("127.0.0.1").await);
    let why = world.probe(&other.authority).await.expect_err("nobody vouches");
    assert!(why.contains("certificate"), "{why}");
}

/// Whoever is on the way must not talk anybody out of TLS.
#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let world = World::new("127.0.0.1").await;
    let url = world.url(world.server.port, &world.authority);
    probe(&settings(&url)).await.expect_err("it speaks no TLS there");
}

/// The rights that docs/valkey.md names are enough, and all that is needed.
#[tokio::test]
async fn a_user_with_few_rights_is_enough() {
    let rights = include_str!("../../../../docs/valkey.md");
    let rights = rights.lines().find(|line| line.starts_with("user keyward on"));
    let rights = rights.expect("a line that makes the user").replace("PASSWORD", "hush");
    let server = Server::with(&rights).await;
    let url = format!("redis://keyward:hush@127.0.0.1:{}", server.port);
    assert_eq!(probe(&settings(&url)).await, Ok(()));
    let client = redis::Client::open(url).expect("a URL");
    let mut subscription = client.get_async_pubsub().await.expect("a connection");
    subscription.subscribe("keyward:wake:any").await.expect("permitted");
    let () = subscription.ping().await.expect("permitted");
    subscription.subscribe("another").await.expect_err("not permitted");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut publish = redis::cmd("PUBLISH");
    publish.arg("keyward:wake:any").arg("");
    publish.exec_async(&mut connection).await.expect("permitted");
    for forbidden in ["FLUSHALL", "KEYS *", "GET another", "CONFIG GET *"] {
        let mut command = redis::Cmd::new();
        for word in forbidden.split(' ') {
            command.arg(word);
        }
        command.exec_async(&mut connection).await.expect_err(forbidden);
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = Server::start().await;
    let url = format!("redis://:hush@127.0.0.1:{}", server.port);
    let why = probe(&settings(&url)).await.expect_err("another password");
    assert!(why.contains("assword") && !why.contains("hush"), "{why}");
}

/// A server that speaks TLS on one port, and none on another.
struct World {
    server: Server,
    tls_port: u16,
    authority: PathBuf,
    _folder: TempDir,
}

impl World {
    /// Its certificate is for this name.
    async fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let authority_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, authority_key).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        for (file, kind, der) in [
            ("authority.pem", "CERTIFICATE", issuer.der().to_vec()),
            ("server.pem", "CERTIFICATE", certificate.der().to_vec()),
            ("server.key", "PRIVATE KEY", key.serialize_der()),
        ] {
            let text = STANDARD.encode(der);
            let pem = format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n");
            std::fs::write(at(file), pem).expect("written");
        }

        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let tls_port = listener.local_addr().expect("an address").port();
        drop(listener);
        let mut lines = format!("tls-port {tls_port}\ntls-auth-clients no\n");
        for (setting, file) in [
            ("tls-ca-cert-file", "authority.pem"),
            ("tls-cert-file", "server.pem"),
            ("tls-key-file", "server.key"),
        ] {
            writeln!(lines, "{setting} {}", at(file).display()).expect("written");
        }
        let authority = at("authority.pem");
        Self { server: Server::with(&lines).await, tls_port, authority, _folder: folder }
    }

    async fn probe(&self, authority: &Path) -> Result<(), String> {
        let url = self.url(self.tls_port, authority);
        probe(&settings(&url)).await
    }

    fn url(&self, port: u16, authority: &Path) -> String {
        let password = super::server::PASSWORD;
        format!("rediss://:{password}@127.0.0.1:{port}?sslrootcert={}", authority.display())
    }
}
