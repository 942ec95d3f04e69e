//! Where the issuing service is, and how it is trusted.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use keyward_core::service_key::ServiceKey;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// The issuing service.
pub struct Source {
    /// Host and port, as the `Host` header has them.
    pub(super) authority: String,
    pub(super) host: String,
    pub(super) port: u16,
    /// `None` on this machine alone.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    base_path: String,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) cool_down: Duration,
}

impl Source {
    /// The service at this origin, such as `https://auth.example.org`. Plain http is for the same
    /// machine only: whoever sits in between could hand out keys of their own.
    ///
    /// # Errors
    ///
    /// [`UnfitSource`] says what is wrong with the origin, or that this system trusts nobody.
    pub fn at(origin: &str) -> Result<Self, UnfitSource> {
        let (mut source, is_https) = Self::read(origin)?;
        if is_https {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(UnfitSource(
                    "this system names no certificates that it trusts; name the one that vouches \
                     for the service with Source::trusting",
                ));
            }
            source.trust(roots)?;
        }
        Ok(source)
    }

    /// The service at this origin, vouched for by these certificates (PEM) and no others.
    ///
    /// # Errors
    ///
    /// [`UnfitSource`] says what is wrong with the origin or the certificates.
    pub fn trusting(origin: &str, certificates: &[u8]) -> Result<Self, UnfitSource> {
        let (mut source, _) = Self::read(origin)?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(certificates) {
            let added = certificate.map(|certificate| roots.add(certificate));
            if !matches!(added, Ok(Ok(()))) {
                return Err(UnfitSource("a certificate cannot be read; give them as PEM"));
            }
        }
        if roots.is_empty() {
            return Err(UnfitSource("there is no certificate; give one or more as PEM"));
        }
        source.trust(roots)?;
        Ok(source)
    }

    /// Below which path the API of the service lies, where it is not `/api/auth`
    /// (`server.base_path`).
    #[must_use]
    pub fn base_path(mut self, path: &str) -> Self {
        path.trim_end_matches('/').clone_into(&mut self.base_path);
        self
    }

    /// With the key that opens the feed of revocations: one with the scope `revocations`, from
    /// `keyward service-key create`. Without it only the keys are fetched.
    #[must_use]
    pub fn service_key(mut self, key: &ServiceKey) -> Self {
        let value = HeaderValue::try_from(format!("Bearer {}", key.expose()));
        let mut value = value.expect("a service key is base64url");
        value.set_sensitive(true);
        self.authorization = Some(value);
        self
    }

    /// How far apart fetches are that tokens of unknown keys cause: 5 seconds, so that junk cannot
    /// hammer the service.
    #[must_use]
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.cool_down = cool_down;
        self
    }

    pub(super) fn has_service_key(&self) -> bool {
        self.authorization.is_some()
    }

    pub(super) fn keys_path(&self) -> String {
        "/.well-known/jwks.json".to_owned()
    }

    pub(super) fn feed_path(&self) -> String {
        format!("{}/revocations", self.base_path)
    }

    /// Reads the origin, and whether it needs TLS.
    fn read(origin: &str) -> Result<(Self, bool), UnfitSource> {
        const FORM: UnfitSource =
            UnfitSource("write the origin as https://host or https://host:port");
        let uri: Uri = origin.parse().map_err(|_| FORM)?;
        let authority = uri.authority().ok_or(FORM)?;
        let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !is_bare || authority.as_str().contains('@') {
            return Err(FORM);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback(host) => false,
            Some("http") => {
                return Err(UnfitSource(
                    "plain http beyond this machine would let anyone on the way hand out keys; \
                     use https",
                ));
            }
            _ => return Err(FORM),
        };
        let source = Self {
            authority: authority.as_str().to_owned(),
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            tls: None,
            base_path: "/api/auth".to_owned(),
            authorization: None,
            cool_down: Duration::from_secs(5),
        };
        Ok((source, is_https))
    }

    fn trust(&mut self, roots: RootCertStore) -> Result<(), UnfitSource> {
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|_| UnfitSource("the host is no name or address"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| UnfitSource("the TLS library has no version in common with itself"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        self.tls = Some((TlsConnector::from(Arc::new(config)), name));
        Ok(())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.authority)
    }
}

/// Why a source cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfitSource(&'static str);

impl fmt::Display for UnfitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for UnfitSource {}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for (origin, host, port) in [
            ("http://localhost:8080", "localhost", 8080),
            ("http://[::1]:8080/", "::1", 8080),
            ("http://127.0.0.1", "127.0.0.1", 80),
            ("https://auth.example.org", "auth.example.org", 443),
            ("https://auth.example.org:8443", "auth.example.org", 8443),
        ] {
            let (source, is_https) = Source::read(origin).expect("a good origin");
            assert_eq!((source.host.as_str(), source.port), (host, port), "{origin}");
            assert_eq!(is_https, origin.starts_with("https"));
        }
        for origin in [
            "",
            "auth.example.org",
            "/api",
            "http://auth.example.org",
            "http://10.0.0.1",
            "http://localhost.example.org",
            "http://localhost@example.org",
            "https://ada@auth.example.org",
            "https://auth.example.org/api",
            "https://auth.example.org?a=b",
            "file:///etc/passwd",
        ] {
            assert!(Source::read(origin).is_err(), "{origin}");
        }
    }

    #[test]
    fn a_source_never_shows_its_key() {
        let (source, _) = Source::read("http://localhost").expect("a good origin");
        let source = source.service_key(&ServiceKey::issue(&[7; 32]));
        assert_eq!(format!("{source:?}"), "Source(localhost)");
        let header = source.authorization.as_ref().expect("it was given");
        assert_eq!(format!("{header:?}"), "Sensitive");
    }

    #[test]
    fn certificates_must_be_some() {
        for bad in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            assert!(Source::trusting("https://localhost", bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
