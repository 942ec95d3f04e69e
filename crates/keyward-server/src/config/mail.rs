//! `[mail]`: how mails leave, and where the links in them lead.

use std::path::{Path, PathBuf};

use keyward::mail::{Sender, SmtpSettings};
use keyward::policy::Policy;
use url::{Host, Url};

use super::secret_file::Secret;
use super::source::{Source, Value};
use super::{Overrides, value};

/// How mails leave.
#[derive(Debug, Clone)]
pub(crate) struct MailSettings {
    /// The way that they take.
    pub(crate) way: MailWay,
    /// Whom they are from.
    pub(crate) sender: Sender,
    /// The folder of an operator's own templates.
    pub(crate) templates: Option<PathBuf>,
}

/// The way that mails take.
#[derive(Debug, Clone)]
pub(crate) enum MailWay {
    /// To files in a folder.
    Folder(PathBuf),
    /// To a server.
    Smtp(SmtpSettings),
}

/// Reads it; `None` where no mail is sent, or a problem says why it cannot be.
pub(super) fn read(
    source: &mut Source,
    overrides: &Overrides,
    policy: &mut Policy,
) -> Option<MailSettings> {
    read_pages(source, policy);
    let base = &overrides.data_dir;
    let password = source.secret("mail.password", "mail.password_file", Secret::Given("password"));
    let way = source.parsed("mail.url", |url| way(url, base));
    let default = overrides.dev && !source.is_set("mail.url");
    let way = way.or_else(|| default.then(|| MailWay::Folder(base.join(DEV_FOLDER))));
    let templates = source.parsed("mail.templates", value::text).map(|path| base.join(path));
    let sender = source.parsed("mail.from", sender);
    let Some(mut way) = way else {
        complain_of_no_mail(source, policy);
        return None;
    };
    match (&mut way, password) {
        (MailWay::Smtp(settings), Some(password)) => {
            settings.add_password(&password);
        }
        (MailWay::Folder(_), Some(_)) => {
            source.problem("mail.password", "is for a server, and mail.url names a folder");
        }
        (MailWay::Folder(_) | MailWay::Smtp(_), None) => {}
    }
    if matches!(way, MailWay::Folder(_)) && !overrides.dev {
        warn_of_a_folder(source, policy);
    }
    if matches!(&way, MailWay::Smtp(settings) if settings.lacks_user()) {
        source.problem("mail.url", "names nobody who has the password; write smtps://USER@HOST");
    }
    let sender = sender.or_else(|| default_sender(source, policy))?;
    Some(MailSettings { way, sender, templates })
}

/// Where the links in mails lead.
fn read_pages(source: &mut Source, policy: &mut Policy) {
    let mail = &mut policy.mail;
    for (key, url) in
        [("mail.verify_url", &mut mail.verify_url), ("mail.reset_url", &mut mail.reset_url)]
    {
        let Some(page) = source.parsed(key, page) else { continue };
        if page.scheme() == "http" && !is_loopback(&page) {
            let complaint = "is http, so that anyone on the way can change the page and take over \
                 the accounts of those who open it; use https";
            source.warn(key, complaint);
        }
        *url = page.into();
    }
}

fn complain_of_no_mail(source: &mut Source, policy: &Policy) {
    if source.is_set("mail.url") {
        return;
    }
    if policy.accounts.registers_by_mail() {
        let complaint = "is not set, and accounts.registration answers by mail; set it, such as \
             \"smtps://user@mail.example.org\"";
        source.problem("mail.url", complaint);
    }
    for key in ["mail.password", "mail.password_file", "mail.from", "mail.templates"] {
        if source.is_set(key) {
            source.problem(key, "is set without mail.url, where it would be used");
        }
    }
}

/// A service for others than whoever tries it at their own desk has to reach them.
fn warn_of_a_folder(source: &mut Source, policy: &Policy) {
    if Url::parse(&policy.web.public_url).is_ok_and(|url| !is_loopback(&url)) {
        let complaint = "names a folder, so that no user gets a mail; name a server, such as \
             \"smtps://user@mail.example.org\"";
        source.warn("mail.url", complaint);
    }
}

/// `no-reply` at the host of the service, where that has a name.
fn default_sender(source: &mut Source, policy: &Policy) -> Option<Sender> {
    if source.is_set("mail.from") {
        return None;
    }
    let url = Url::parse(&policy.web.public_url).ok()?;
    let sender = url.domain().and_then(|name| Sender::parse(&format!("no-reply@{name}")));
    if sender.is_none() {
        let complaint = "is not set, and server.public_url names no host to send mails from; \
             set it, such as \"Example <no-reply@example.org>\"";
        source.problem("mail.from", complaint);
    }
    sender
}

fn way(value: &Value, base: &Path) -> Result<MailWay, String> {
    let url = value::text(value)?;
    match url.strip_prefix("file:") {
        Some("") => Err("names no folder; write it like file:outbox".to_owned()),
        Some(folder) => Ok(MailWay::Folder(base.join(folder))),
        None => SmtpSettings::parse(&url, base).map(MailWay::Smtp),
    }
}

fn sender(value: &Value) -> Result<Sender, String> {
    let text = value::text(value)?;
    Sender::parse(&text)
        .ok_or_else(|| "is no address; write it like \"Example <no-reply@example.org>\"".to_owned())
}

fn page(value: &Value) -> Result<Url, String> {
    let text = value::text(value)?;
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.fragment().is_none() && url.password().is_none());
    url.ok_or_else(|| {
        "is no page's address; write it like https://app.example.org/reset-password, without a #"
            .to_owned()
    })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Where development's mails are, below the data directory.
const DEV_FOLDER: &str = "outbox";

#[cfg(test)]
mod tests {
    use super::super::source::Value;
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned().into())
    }

    #[test]
    fn mails_go_to_a_server_or_a_folder() {
        let base = Path::new("/data");
        for url in
            ["smtp://localhost:2525", "smtps://user@mail.example.org", "smtp://a:b@c.example"]
        {
            assert!(matches!(way(&text(url), base), Ok(MailWay::Smtp(_))), "{url}");
        }
        let folder = way(&text("file:outbox"), base);
        assert!(matches!(folder, Ok(MailWay::Folder(path)) if path == Path::new("/data/outbox")));
        for url in ["file:", "outbox", "http://mail.example.org", "smtps://", "smtp://h?tls=off"] {
            assert!(way(&text(url), base).is_err(), "{url}");
        }
    }

    #[test]
    fn links_lead_to_pages() {
        for url in ["https://app.example.org/reset", "http://localhost:3000/reset?lang=de"] {
            assert!(page(&text(url)).is_ok(), "{url}");
        }
        for url in ["/reset", "javascript:alert(1)", "https://app.example.org/#/reset"] {
            assert!(page(&text(url)).is_err(), "{url}");
        }
    }
}
