//! How mails read: templates that come with Keyward, and an operator's own in place of them.
//!
//! A mail has two: `NAME.txt`, whose first line is its `Subject: `, and `NAME.html`, in which every
//! value is escaped. What a template may use is listed in `docs/mail.md`; whatever else it asks for
//! is an error when the templates are read, and not when a mail is due.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyward_core::id::MailId;
use keyward_core::text::misleads;
use keyward_core::time::Timestamp;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use super::{Letter, Mail, Message, Occasion};
use crate::policy::Policy;

/// The templates of every mail.
#[derive(Clone)]
pub struct Templates {
    environment: Arc<Environment<'static>>,
    /// Where an operator's own are.
    folder: Option<PathBuf>,
    service: String,
    public_url: String,
    verify_url: String,
    reset_url: String,
}

/// A template that cannot be used. The text says which file, on which line, and what to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError(String);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateError {}

/// What a template may use, by name.
type Values = BTreeMap<&'static str, String>;

impl Templates {
    /// The templates that come with Keyward.
    pub fn built_in(policy: &Policy) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, text, html) in BUILT_IN {
            add(&mut environment, name, "txt", text).expect("our own templates are well formed");
            add(&mut environment, name, "html", html).expect("our own templates are well formed");
        }
        let public_url = policy.web.public_url.clone();
        let authority = public_url.split_once("://").map_or(public_url.as_str(), |(_, rest)| rest);
        Self {
            environment: Arc::new(environment),
            folder: None,
            service: authority.to_owned(),
            verify_url: policy.mail.verify_url.clone(),
            reset_url: policy.mail.reset_url.clone(),
            public_url,
        }
    }

    /// Those of a folder in place of those that come with Keyward, file by file.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] where a file cannot be read, is no template, asks for what there is not,
    /// is named like no mail, or makes one without a subject or without the link that it is for.
    pub fn with_folder(mut self, folder: &Path) -> Result<Self, TemplateError> {
        let unreadable = |error: std::io::Error| {
            TemplateError(format!("{} cannot be read ({error}); mend that", folder.display()))
        };
        let environment = Arc::make_mut(&mut self.environment);
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let (stem, kind) = (path.file_stem(), path.extension());
            let stem = stem.and_then(|stem| stem.to_str()).unwrap_or_default();
            let Some(kind @ ("txt" | "html")) = kind.and_then(|kind| kind.to_str()) else {
                continue;
            };
            let complain =
                |why: &str| TemplateError(format!("{} {why}; mend that", path.display()));
            let Some(name) = Mail::NAMES.iter().find(|name| **name == stem) else {
                let known = Mail::NAMES.join(", ");
                return Err(complain(&format!("is the template of no mail ({known})")));
            };
            let text = std::fs::read_to_string(&path)
                .map_err(|error| complain(&format!("cannot be read ({error})")))?;
            add(environment, name, kind, &text).map_err(|why| complain(&why))?;
        }
        self.folder = Some(folder.to_owned());
        self.try_all()?;
        Ok(self)
    }

    /// The message of a letter that was written at `at`.
    ///
    /// # Errors
    ///
    /// [`TemplateError`], which templates that were tried do not give.
    pub fn render(
        &self,
        letter: &Letter,
        id: MailId,
        at: Timestamp,
    ) -> Result<Message, TemplateError> {
        let name = letter.mail.name();
        let values = self.values(letter);
        let subject = self.fill(&format!("{name}.subject"), &values)?;
        Ok(Message {
            id,
            at,
            to: letter.to.clone(),
            // A value could have brought what would end the header.
            subject: subject.chars().filter(|char| !misleads(*char)).collect(),
            text: self
                .fill(&format!("{name}.txt"), &values)?
                .trim_start_matches(['\r', '\n'])
                .to_owned(),
            html: self.fill(&format!("{name}.html"), &values)?,
        })
    }

    /// Renders every mail with each choice of what a mail may lack: a mistake may stand where one
    /// value is there and another is not.
    fn try_all(&self) -> Result<(), TemplateError> {
        for present in 0..8 {
            let value = |bit: u8| (present & bit != 0).then(|| "a value".to_owned());
            let occasion = Occasion { device: value(1), ..Occasion::new(EPOCH, value(2)) };
            for mail in tried_mails(&occasion) {
                let to = "user@example.org".to_owned();
                self.try_one(&Letter { to, name: value(4), mail })?;
            }
        }
        Ok(())
    }

    fn try_one(&self, letter: &Letter) -> Result<(), TemplateError> {
        let name = letter.mail.name();
        let complain = |kind: &str, why: &str| {
            let file = self.file_of(&format!("{name}.{kind}"));
            Err(TemplateError(format!("{} {why}; mend that", file.display())))
        };
        let message = self.render(letter, MailId::from_bytes([0; 16]), EPOCH)?;
        if message.subject.trim().is_empty() {
            return complain("txt", "has an empty subject for some or all readers");
        }
        let values = self.values(letter);
        let Some(link) = values.get("link") else { return Ok(()) };
        let lacks_it = "has no `{{ link }}` for some or all readers, who can do nothing without it";
        if !message.text.contains(link) {
            return complain("txt", lacks_it);
        }
        // What comes before is escaped there.
        if !message.html.contains(TRIED_TOKEN) {
            return complain("html", lacks_it);
        }
        Ok(())
    }

    /// What the templates of this mail may use. What there is none of is empty; what a mail of the
    /// kind never has is not there, so that a template which asks for it is refused.
    fn values(&self, letter: &Letter) -> Values {
        let Letter { to, name, mail } = letter;
        let mut values = BTreeMap::from([
            ("email", to.clone()),
            ("name", name.clone().unwrap_or_default()),
            ("service", self.service.clone()),
            ("public_url", self.public_url.clone()),
            ("reset_url", self.reset_url.clone()),
        ]);
        let link = |page: &str, token: &str| ("link", format!("{page}#token={token}"));
        let valid_for = |time: &str| ("valid_for", time.to_owned());
        let at = |on: &Occasion| ("at", minute(Timestamp::from_millis(on.at_millis)));
        let ip = |on: &Occasion| ("ip", on.ip.clone().unwrap_or_default());
        let device = |on: &Occasion| ("device", on.device.clone().unwrap_or_default());
        match mail {
            Mail::AddressChanged(on) => values.extend([at(on)]),
            Mail::AddressTaken => {}
            Mail::NewDevice(on) => values.extend([at(on), ip(on), device(on)]),
            Mail::PasswordChanged(on)
            | Mail::RecoveryCodesReplaced(on)
            | Mail::SecondFactorDisabled(on)
            | Mail::SecondFactorEnabled(on) => values.extend([at(on), ip(on)]),
            Mail::ResetPassword { token } => {
                values.extend([link(&self.reset_url, token), valid_for("30 minutes")]);
            }
            Mail::VerifyAddress { token } => {
                values.extend([link(&self.verify_url, token), valid_for("24 hours")]);
            }
        }
        values
    }

    fn fill(&self, template: &str, values: &Values) -> Result<String, TemplateError> {
        let rendered = self.environment.get_template(template).and_then(|it| {
            it.render(Value::from_pairs(values.iter().map(|(name, value)| (*name, value))))
        });
        rendered.map_err(|error| {
            // One that takes in another may fail there.
            let failed = error.name().unwrap_or(template);
            let unknown = match error.kind() {
                ErrorKind::UndefinedError => self.unknown(failed, values),
                _ => String::new(),
            };
            let file = self.file_of(failed);
            TemplateError(format!("{} {}; mend that", file.display(), flaw(&error, &unknown)))
        })
    }

    /// What a template asks for and there is not.
    fn unknown(&self, template: &str, values: &Values) -> String {
        let Ok(template) = self.environment.get_template(template) else { return String::new() };
        let is_known = |name: &str| {
            values.contains_key(name)
                || self.environment.globals().any(|(global, _)| global == name)
        };
        let asked = template.undeclared_variables(false);
        let unknown: BTreeSet<_> = asked.into_iter().filter(|name| !is_known(name)).collect();
        Vec::from_iter(unknown).join(", ")
    }

    /// The file that a template is of.
    fn file_of(&self, template: &str) -> PathBuf {
        let file = match template.strip_suffix(".subject") {
            Some(name) => format!("{name}.txt"),
            None => template.to_owned(),
        };
        self.folder.as_deref().unwrap_or(Path::new("")).join(file)
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").field("service", &self.service).finish_non_exhaustive()
    }
}

/// Adds a template; the subject of a text becomes one of its own, so that no value in the text can
/// become part of a header. An empty line stays in its place, so that a mistake is told by its line
/// in the file.
fn add(
    environment: &mut Environment<'static>,
    name: &str,
    kind: &str,
    text: &str,
) -> Result<(), String> {
    let body = match (kind, text.split_once('\n')) {
        ("html", _) => text.to_owned(),
        (_, Some((first, rest))) if first.starts_with(SUBJECT) => {
            let subject = first[SUBJECT.len()..].trim().to_owned();
            let added = environment.add_template_owned(format!("{name}.subject"), subject);
            added.map_err(|error| flaw(&error, ""))?;
            format!("\n{rest}")
        }
        _ => return Err("does not begin with a line like `Subject: Your account`".to_owned()),
    };
    let added = environment.add_template_owned(format!("{name}.{kind}"), body);
    added.map_err(|error| flaw(&error, ""))
}

/// Every mail that there is, on this occasion.
fn tried_mails(occasion: &Occasion) -> [Mail; 9] {
    let token = TRIED_TOKEN.to_owned();
    [
        Mail::AddressChanged(occasion.clone()),
        Mail::AddressTaken,
        Mail::NewDevice(occasion.clone()),
        Mail::PasswordChanged(occasion.clone()),
        Mail::RecoveryCodesReplaced(occasion.clone()),
        Mail::ResetPassword { token: token.clone() },
        Mail::SecondFactorDisabled(occasion.clone()),
        Mail::SecondFactorEnabled(occasion.clone()),
        Mail::VerifyAddress { token },
    ]
}

/// Where a template is wrong, and what about it.
fn flaw(error: &minijinja::Error, unknown: &str) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(", {detail}")).unwrap_or_default();
    let unknown = if unknown.is_empty() { String::new() } else { format!(": {unknown}") };
    format!("cannot be used ({line}{}{unknown}{detail})", error.kind())
}

/// A time for people: `2026-11-21 11:20 UTC`.
fn minute(at: Timestamp) -> String {
    let text = at.to_rfc3339();
    let minute = text.get(..16).unwrap_or(&text).replace('T', " ");
    format!("{minute} UTC")
}

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        &[$((
            $name,
            include_str!(concat!("templates/", $name, ".txt")),
            include_str!(concat!("templates/", $name, ".html")),
        )),+]
    };
}

const BUILT_IN: &[(&str, &str, &str)] = built_in![
    "address_changed",
    "address_taken",
    "new_device",
    "password_changed",
    "recovery_codes_replaced",
    "reset_password",
    "second_factor_disabled",
    "second_factor_enabled",
    "verify_address",
];

const SUBJECT: &str = "Subject:";
const TRIED_TOKEN: &str = "a-token-to-try";
const EPOCH: Timestamp = Timestamp::from_secs(0);

#[cfg(test)]
mod tests;
