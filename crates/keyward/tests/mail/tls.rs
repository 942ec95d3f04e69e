//! How the server is reached: under TLS, by STARTTLS or from the first byte, and as whom.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward::mail::{Mailer as _, SendError, SmtpMailer, SmtpSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use crate::post::sender;
use crate::server::{MailServer, Protection};

#[tokio::test]
async fn both_ways_of_tls_work_and_sign_in() {
    for wrapped in [true, false] {
        let world = World::new("localhost", wrapped, true).await;
        assert_eq!(world.probe("keyward:hush@", &world.authority).await, Ok(()), "{wrapped}");
    }
}

#[tokio::test]
async fn whoever_we_are_not_taken_for_may_be_mended() {
    for wrapped in [true, false] {
        let world = World::new("localhost", wrapped, true).await;
        let refused = world.probe("keyward:wrong@", &world.authority).await;
        let why = "the mail server answered 535".to_owned();
        assert_eq!(refused, Err(SendError::Failed(why)), "{wrapped}");
    }
}

#[tokio::test]
async fn a_certificate_has_to_fit() {
    for wrapped in [true, false] {
        let (world, other) = (
            World::new("localhost", wrapped, false).await,
            World::new("mail.example.org", wrapped, false).await,
        );
        for refused in
            [other.probe("", &other.authority).await, world.probe("", &other.authority).await]
        {
            let Err(SendError::Failed(why)) = refused else { panic!("{refused:?}") };
            assert!(why.contains("certificate"), "{why}");
        }
    }
}

/// Whoever is on the way must not talk anybody out of TLS.
#[tokio::test]
async fn a_server_without_tls_is_refused() {
    let world = World::new("localhost", false, false).await;
    let plain = MailServer::start().await;
    for scheme in ["smtp", "smtps"] {
        let url = world.url(scheme, "", plain.port, &world.authority);
        assert!(matches!(probe(&url).await, Err(SendError::Failed(_))), "{scheme}");
    }
}

/// A mail server with a certificate of an authority of its own.
struct World {
    server: MailServer,
    scheme: &'static str,
    authority: PathBuf,
    _folder: TempDir,
}

impl World {
    async fn new(name: &str, wrapped: bool, sign_in: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, pem(issuer.der())).expect("written");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &issuer).expect("signed");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a pair");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (scheme, protection) = if wrapped {
            ("smtps", Protection::Wrapped(acceptor))
        } else {
            ("smtp", Protection::StartTls(acceptor))
        };
        let server = MailServer::with(protection, sign_in).await;
        Self { server, scheme, authority, _folder: folder }
    }

    fn url(&self, scheme: &str, user: &str, port: u16, authority: &std::path::Path) -> String {
        format!("{scheme}://{user}localhost:{port}?sslrootcert={}", authority.display())
    }

    async fn probe(&self, user: &str, authority: &std::path::Path) -> Result<(), SendError> {
        probe(&self.url(self.scheme, user, self.server.port, authority)).await
    }
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}

async fn probe(url: &str) -> Result<(), SendError> {
    let settings = SmtpSettings::parse(url, std::path::Path::new(".")).expect("a URL");
    SmtpMailer::new(&settings, sender()).expect("a mailer").probe().await
}
