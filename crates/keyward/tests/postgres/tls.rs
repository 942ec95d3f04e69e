//! TLS to the server: its certificate has to be its own.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::store::postgres::fresh::FreshDatabase;
use keyward::store::{PostgresSettings, PostgresStore, StoreError};
use keyward_core::time::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::line::{place, through};

#[tokio::test]
async fn a_server_with_its_own_certificate_is_trusted() {
    let world = World::new("127.0.0.1").await;
    assert_eq!(world.open(&world.authority).await, Ok(()));
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let world = World::new("db.example.org").await;
    world.assert_refused(&world.authority).await;
}

#[tokio::test]
async fn a_certificate_that_nobody_trusted_vouches_for_is_refused() {
    let (world, other) = (World::new("127.0.0.1").await, World::new("127.0.0.1").await);
    world.assert_refused(&other.authority).await;
}

/// Whoever is on the way must not talk anybody out of TLS.
#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let world = World::new("127.0.0.1").await;
    let plain = place(&world.database.url()).to_owned();
    let opened = world.open_at(&plain, &world.authority).await;
    let Err(StoreError::Unavailable(why)) = opened else { panic!("{opened:?}") };
    assert!(why.starts_with("PostgreSQL does not speak TLS"), "{why}");
    assert!(why.contains("sslmode=verify-full"), "{why}");
}

/// A server that speaks TLS, in front of the tests' own.
struct World {
    database: FreshDatabase,
    address: String,
    authority: PathBuf,
    _folder: TempDir,
    _carriers: JoinSet<()>,
}

impl World {
    /// Its certificate is for this name.
    async fn new(name: &str) -> Self {
        let database = FreshDatabase::create().await;
        let folder = tempfile::tempdir().expect("a folder");
        let authority = folder.path().join("authority.pem");
        let (pem, config) = certified(name);
        std::fs::write(&authority, pem).expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (acceptor, server) =
            (TlsAcceptor::from(Arc::new(config)), place(&database.url()).to_owned());
        let mut carriers = JoinSet::new();
        carriers.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                lines.spawn(carry(near, acceptor.clone(), server.clone()));
            }
        });
        Self { database, address, authority, _folder: folder, _carriers: carriers }
    }

    async fn open(&self, authority: &std::path::Path) -> Result<(), StoreError> {
        self.open_at(&self.address, authority).await
    }

    async fn open_at(&self, at: &str, authority: &std::path::Path) -> Result<(), StoreError> {
        let url = through(&self.database.service_url(), at);
        let url = format!("{url}?sslmode=verify-full&sslrootcert={}", authority.display());
        let settings = PostgresSettings::parse(&url, std::path::Path::new("."));
        let settings = settings.expect("a URL");
        PostgresStore::open(&settings, Timestamp::from_secs(1)).await.map(drop)
    }

    async fn assert_refused(&self, authority: &std::path::Path) {
        let opened = self.open(authority).await;
        let Err(StoreError::Unavailable(why)) = opened else { panic!("{opened:?}") };
        assert!(why.contains("certificate"), "{why}");
    }
}

/// An authority, and a server that it vouches for.
fn certified(name: &str) -> (String, ServerConfig) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
    let authority = authority.expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        );
    let pem = STANDARD.encode(authority.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
    (pem, config.expect("a certificate and its key"))
}

/// Speaks TLS with the client, once it has asked for it, and passes on what it says.
async fn carry(mut near: TcpStream, acceptor: TlsAcceptor, server: String) {
    // The request for TLS: eight bytes that are the same for everybody.
    let mut request = [0; 8];
    if near.read_exact(&mut request).await.is_err() || near.write_all(b"S").await.is_err() {
        return;
    }
    let (Ok(mut near), Ok(mut far)) =
        (acceptor.accept(near).await, TcpStream::connect(server).await)
    else {
        return;
    };
    let _ended = copy_bidirectional(&mut near, &mut far).await;
}
