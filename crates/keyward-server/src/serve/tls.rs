//! TLS, from PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// Reads certificate and key. The error is a clause that names the file.
pub(crate) fn tls_from(files: &TlsFiles) -> Result<TlsAcceptor, String> {
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(&files.certificates)
            .and_then(Iterator::collect)
            .map_err(|error| unfit(&files.certificates, "certificates", &error))?;
    if certificates.is_empty() {
        return Err(unfit(&files.certificates, "certificates", &pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unfit(&files.key, "a private key", &error))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| format!("certificate and key do not fit ({error}); mend the files"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Says what is wrong with a file without saying what is in it.
fn unfit(path: &Path, wanted: &str, error: &pem::Error) -> String {
    let why = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "there is none".to_owned(),
        _ => "it is damaged".to_owned(),
    };
    format!("{wanted} in PEM cannot be read from {} ({why}); mend the file", path.display())
}
