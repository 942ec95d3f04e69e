//! The service that is rehearsed on, over HTTP: requests and answers.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, SET_COOKIE, USER_AGENT};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::time;

use crate::config::Origin;
use crate::failure::Failure;

/// A running service, and the paths of its API.
pub(super) struct Target {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    origin: Origin,
    base_path: String,
}

impl Target {
    /// The service at this URL. Nothing is sent yet. `ca_file` holds the certificates that vouch
    /// for it, instead of those that the system trusts.
    ///
    /// # Errors
    ///
    /// Where the URL is none, or no certificate can be read.
    pub(super) fn at(url: &str, base_path: &str, ca_file: Option<&Path>) -> Result<Self, Failure> {
        let origin = origin(url)?;
        let roots = match ca_file {
            Some(file) => roots_from(file)?,
            None if origin.is_https => roots_of_system()?,
            None => RootCertStore::empty(),
        };
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            // A token that is presented twice without being meant to would look like a theft.
            .retry_canceled_requests(false)
            .build(connector.build());
        Ok(Self { client, origin, base_path: base_path.to_owned() })
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> &str {
        self.origin.as_str()
    }

    /// Whether it is on this very machine.
    pub(super) fn is_loopback(&self) -> bool {
        self.origin.is_loopback()
    }

    /// Sends a request to a route below the base path.
    ///
    /// # Errors
    ///
    /// Where no answer came.
    pub(super) async fn send(&self, request: Request) -> Result<Answer, Failure> {
        self.send_to(&self.base_path, request).await
    }

    /// Sends a request to a route below this path.
    pub(super) async fn send_to(&self, path: &str, request: Request) -> Result<Answer, Failure> {
        let uri = format!("{}{path}{}", self.origin(), request.route);
        let mut builder = hyper::Request::builder().method(request.method).uri(uri);
        builder = builder.header(USER_AGENT, "keyward-drill");
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        if request.body.is_some() {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        let body = request.body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = builder.body(Full::new(body));
        let request = request.map_err(|error| self.unreachable(&error))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|e| self.unreachable(&e))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.unreachable(error.as_ref()))?.to_bytes();
            Ok(Answer::new(head.status.as_u16(), &head.headers, &body))
        };
        time::timeout(REQUEST_TIMEOUT, exchange).await.unwrap_or_else(|_| {
            let seconds = REQUEST_TIMEOUT.as_secs();
            Err(Failure::new(format!(
                "The service at {} did not answer within {seconds} seconds; see its log.",
                self.origin()
            )))
        })
    }

    fn unreachable(&self, error: &(dyn Error + 'static)) -> Failure {
        let mut cause = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Failure::new(format!(
            "The service at {} cannot be reached ({cause}); start it, or name its address with \
             --url and the certificate that vouches for it with --ca-file.",
            self.origin()
        ))
    }
}

/// One request.
#[derive(Clone)]
pub(super) struct Request {
    method: Method,
    route: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Request {
    /// A `GET`.
    pub(super) fn get(route: impl Into<String>) -> Self {
        Self::new(Method::GET, route.into())
    }

    /// A `POST` without a body.
    pub(super) fn post(route: impl Into<String>) -> Self {
        Self::new(Method::POST, route.into())
    }

    /// A `DELETE`.
    pub(super) fn delete(route: impl Into<String>) -> Self {
        Self::new(Method::DELETE, route.into())
    }

    /// With this body.
    pub(super) fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// With one more header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With this token or key.
    pub(super) fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), format!("Bearer {token}"))
    }

    /// Without the headers of this name.
    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(kept, _)| *kept != name);
        self
    }

    fn new(method: Method, route: String) -> Self {
        Self { method, route, headers: Vec::new(), body: None }
    }
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Names it in the service's log and audit events.
    pub(super) request_id: String,
    /// Names and values of the cookies that are set, without those that are cleared.
    pub(super) cookies: Vec<(String, String)>,
    /// `null` where it is no JSON.
    pub(super) body: Value,
}

impl Answer {
    fn new(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |name| {
            headers.get(name).and_then(|value: &hyper::header::HeaderValue| {
                value.to_str().ok().map(str::to_owned)
            })
        };
        let cookies = headers.get_all(SET_COOKIE).iter().filter_map(|value| {
            let pair = value.to_str().ok()?.split(';').next()?;
            let (name, value) = pair.split_once('=')?;
            (!value.is_empty()).then(|| (name.trim().to_owned(), value.trim().to_owned()))
        });
        Self {
            status,
            request_id: text("x-request-id").unwrap_or_default(),
            cookies: cookies.collect(),
            body: serde_json::from_slice(body).unwrap_or(Value::Null),
        }
    }

    /// The status, and the code of the error where there is one: `401 SESSION_REVOKED`.
    pub(super) fn outcome(&self) -> String {
        match self.body["code"].as_str() {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }

    /// A text of the answer.
    pub(super) fn text(&self, member: &str) -> Option<&str> {
        self.body[member].as_str()
    }

    /// The answer, where it has this status; otherwise the drill cannot go on.
    pub(super) fn require(self, status: u16, what: &str) -> Result<Self, Failure> {
        if self.status == status {
            return Ok(self);
        }
        Err(Failure::new(match (self.status, self.body["retryAfter"].as_u64()) {
            (_, Some(seconds)) => {
                format!("{what} was answered {}; try again in {seconds} seconds.", self.outcome())
            }
            _ => format!(
                "{what} was answered {}; the service's log tells why, at request {}.",
                self.outcome(),
                self.request_id
            ),
        }))
    }
}

/// The origin that a URL names. A key must not travel in the clear beyond this machine.
fn origin(url: &str) -> Result<Origin, Failure> {
    let origin = Origin::parse(url.strip_suffix('/').unwrap_or(url))
        .map_err(|why| Failure::new(format!("The address {url} {why}.")))?;
    if origin.is_https || origin.is_loopback() {
        return Ok(origin);
    }
    Err(Failure::new(format!(
        "{url} is plain http beyond this machine, so that anyone on the way could take the service \
         key; use https, or drill on the machine of the service."
    )))
}

fn roots_from(file: &Path) -> Result<RootCertStore, Failure> {
    let unfit = |why: &dyn std::fmt::Display| {
        Failure::new(format!(
            "No certificate can be taken from {} ({why}); name a file in PEM.",
            file.display()
        ))
    };
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| unfit(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(certificate.map_err(|error| unfit(&error))?);
        added.map_err(|error| unfit(&error))?;
    }
    if roots.is_empty() { Err(unfit(&"there is none")) } else { Ok(roots) }
}

fn roots_of_system() -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Failure::new(
            "This system names no certificates that it trusts; name the one that vouches for the \
             service with --ca-file.",
        ));
    }
    Ok(roots)
}

/// More than the service itself gives a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Well before the service closes a connection that is not used.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Far beyond a page of the audit log.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sent_over_https_or_on_this_machine() {
        for (url, expected) in [
            ("https://auth.example.org", "https://auth.example.org"),
            ("https://auth.example.org/", "https://auth.example.org"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://localhost", "http://localhost"),
        ] {
            assert_eq!(origin(url).expect("an origin").as_str(), expected);
        }
        for url in [
            "",
            "localhost:8080",
            "http://auth.example.org",
            "http://10.0.0.1:8080",
            "http://localhost.example.org",
            "https://auth.example.org/api",
            "https://ada@auth.example.org",
        ] {
            assert!(origin(url).is_err(), "{url}");
        }
    }
}
