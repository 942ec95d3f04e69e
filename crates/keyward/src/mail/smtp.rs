//! Mails by way of a server (RFC 5321), under TLS wherever others could listen.
//!
//! `smtps://` speaks TLS from the first byte (RFC 8314). `smtp://` begins in the clear and goes on
//! only after STARTTLS; to this machine itself it stays in the clear, unless an authority is named
//! that its certificate must be of.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{self, response::Code};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use tokio::time::timeout;
use url::Url;
use zeroize::Zeroizing;

use super::compose::compose;
use super::{Mailer, Message, SendError, Sender};

/// Where the server is, and how it is reached.
#[derive(Clone)]
pub struct SmtpSettings {
    host: String,
    port: u16,
    security: Security,
    user: Option<String>,
    password: Option<Zeroizing<String>>,
    roots: Vec<Certificate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    /// In the clear, to this machine alone.
    Plain,
    /// STARTTLS, or nothing.
    Upgraded,
    /// TLS from the first byte.
    Wrapped,
}

impl SmtpSettings {
    /// Reads a URL: `smtps://user:password@host:465?sslrootcert=ca.pem` or `smtp://host:587`, all
    /// of it but scheme and host at will. The server has to show a certificate for its name, of an
    /// authority that the system trusts or, with `sslrootcert`, of one in that PEM file, relative
    /// to `base`.
    ///
    /// # Errors
    ///
    /// What is wrong and how to mend it, for whoever wrote the URL. It shows nothing of the URL,
    /// which may hold a password.
    pub fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| NO_URL.to_owned())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(NO_URL)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if url.fragment().is_some() || !matches!(url.path(), "" | "/") {
            return Err(NO_URL.to_owned());
        }
        let mut roots = Vec::new();
        for (name, value) in url.query_pairs() {
            if name != "sslrootcert" || !roots.is_empty() {
                return Err(NO_PARAMETER.to_owned());
            }
            roots = read_roots(&base.join(value.as_ref()))?;
        }
        let (security, port) = match url.scheme() {
            "smtps" => (Security::Wrapped, 465),
            "smtp" if is_loopback(&host) && roots.is_empty() => (Security::Plain, 25),
            "smtp" => (Security::Upgraded, 587),
            _ => return Err(NO_URL.to_owned()),
        };
        let user = decoded(url.username())?;
        let password = url.password().map(decoded).transpose()?;
        Ok(Self {
            host,
            port: url.port().unwrap_or(port),
            security,
            user: (!user.is_empty()).then(|| user.to_string()),
            password,
            roots,
        })
    }

    /// Signs in with this password, unless the URL has one.
    pub fn add_password(&mut self, password: &str) {
        self.password.get_or_insert_with(|| Zeroizing::new(password.to_owned()));
    }

    /// Whether there is a password, but nobody whose it is.
    pub fn lacks_user(&self) -> bool {
        self.user.is_none() && self.password.is_some()
    }
}

/// Host and port. Never the user or the password.
impl fmt::Debug for SmtpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpSettings({}:{} {:?})", self.host, self.port, self.security)
    }
}

/// Hands mails to a server, each over a connection of its own: a connection that was kept would
/// often be dead when it is needed.
#[derive(Clone)]
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    sender: Sender,
    deadline: Duration,
}

impl SmtpMailer {
    /// For the server of these settings.
    ///
    /// # Errors
    ///
    /// What is wrong with the authorities, or with the name of the server.
    pub fn new(settings: &SmtpSettings, sender: Sender) -> Result<Self, String> {
        let tls = match settings.security {
            Security::Plain => Tls::None,
            Security::Upgraded => Tls::Required(tls_parameters(settings)?),
            Security::Wrapped => Tls::Wrapper(tls_parameters(settings)?),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls)
            .hello_name(ClientId::Domain(sender.domain().to_owned()))
            .timeout(Some(DEADLINE));
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            transport = transport.credentials(Credentials::new(user.clone(), password.to_string()));
        }
        Ok(Self { transport: transport.build(), sender, deadline: DEADLINE })
    }

    /// With another deadline than 60 seconds for one mail.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    async fn within_deadline<T>(
        &self,
        work: impl Future<Output = Result<T, smtp::Error>>,
    ) -> Result<T, SendError> {
        match timeout(self.deadline, work).await {
            Ok(done) => done.map_err(|error| send_error(&error)),
            Err(_) => Err(SendError::Failed("the mail server did not answer in time".to_owned())),
        }
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, message: &Message) -> Result<(), SendError> {
        let mail = compose(&self.sender, message)?;
        self.within_deadline(self.transport.send(mail)).await.map(drop)
    }

    async fn probe(&self) -> Result<(), SendError> {
        if self.within_deadline(self.transport.test_connection()).await? {
            return Ok(());
        }
        Err(SendError::Failed("the mail server ended the connection at once".to_owned()))
    }
}

impl fmt::Debug for SmtpMailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpMailer").field("sender", &self.sender).finish_non_exhaustive()
    }
}

/// What a server says may repeat the address, so that only its code is told. A code of the group
/// 55x is about the mailbox or the message and will be the same tomorrow, unless it says that it is
/// about the sender; all others are about the server, or about who we are, which an operator can
/// mend.
fn send_error(error: &smtp::Error) -> SendError {
    if let Some(code) = error.status() {
        let why = format!("the mail server answered {code}");
        return if is_about_the_sender(error) {
            SendError::Failed(format!("{why}: it does not send for us, or not for mail.from"))
        } else if is_about_the_mail(code) {
            SendError::Refused(why)
        } else {
            SendError::Failed(why)
        };
    }
    let mut source = std::error::Error::source(error);
    let mut why = "the mail server cannot be used".to_owned();
    while let Some(cause) = source {
        why = format!("the mail server cannot be used ({cause})");
        source = cause.source();
    }
    SendError::Failed(why)
}

fn is_about_the_mail(code: Code) -> bool {
    let code = u16::from(code);
    (550..=559).contains(&code)
}

/// By the enhanced status, whatever command is answered with it: many servers refuse a sender only
/// when they are told the recipient.
fn is_about_the_sender(error: &smtp::Error) -> bool {
    let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    SENDER_STATUSES.iter().any(|status| said.starts_with(status))
}

fn tls_parameters(settings: &SmtpSettings) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(settings.host.clone());
    if !settings.roots.is_empty() {
        builder = builder.certificate_store(CertificateStore::None);
    }
    for root in &settings.roots {
        builder = builder.add_root_certificate(root.clone());
    }
    builder.build_rustls().map_err(|_| NO_ROOTS.to_owned())
}

fn read_roots(file: &Path) -> Result<Vec<Certificate>, String> {
    let unusable =
        |why: &str| format!("names the authorities {}, but {why}; mend that", file.display());
    let pem = std::fs::read(file).map_err(|_| unusable("the file cannot be read"))?;
    let mut roots = Vec::new();
    for part in String::from_utf8_lossy(&pem).split_inclusive(PEM_END) {
        if part.contains(PEM_END) {
            let root = Certificate::from_pem(part.as_bytes());
            roots.push(root.map_err(|_| unusable("holds what is no certificate"))?);
        }
    }
    if roots.is_empty() { Err(unusable("holds no certificate in PEM")) } else { Ok(roots) }
}

fn decoded(text: &str) -> Result<Zeroizing<String>, String> {
    // A plus is a plus here, and not a space.
    let text = Zeroizing::new(format!("x={}", text.replace('+', "%2B")));
    let pair = form_urlencoded::parse(text.as_bytes()).next();
    pair.map(|(_, value)| Zeroizing::new(value.into_owned())).ok_or_else(|| NO_URL.to_owned())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Longer than any server that will take the mail needs, shorter than a sender's claim.
const DEADLINE: Duration = Duration::from_secs(60);

/// A sender's address that is none, or at a host that is none; and what is not authorised (RFC
/// 3463, sections 3.2 and 3.8).
const SENDER_STATUSES: [&str; 3] = ["5.1.7 ", "5.1.8 ", "5.7."];

const NO_URL: &str = "is no URL like smtps://user@mail.example.org, smtp://localhost or \
     file:outbox; write one, with the password in mail.password_file";
const NO_PARAMETER: &str = "has a parameter that is not known; the only one is sslrootcert=FILE";
const NO_ROOTS: &str = "names a server whose certificate cannot be verified: the authorities are \
     unusable; mend mail.url, or the system's";
const PEM_END: &str = "-----END CERTIFICATE-----";
