//! How mails read: templates that come with Keyward, and an operator's own in place of them.
//!
//! A mail has two: `NAME.txt`, whose first line is its `Subject: `, and `NAME.html`, in which every
//! value is escaped. What a template may use is listed in `docs/mail.md`; whatever else it asks for
//! is an error when the templates are read, and not when a mail is due.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keyward_core::id::MailId;
use keyward_core::text::misleads;
use keyward_core::time::Timestamp;
use minijinja::{Environment, UndefinedBehavior, context};

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
    /// or is named like no mail.
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
        let subject = self.fill(&format!("{name}.subject"), letter)?;
        Ok(Message {
            id,
            at,
            to: letter.to.clone(),
            // A value could have brought what would end the header.
            subject: subject.chars().filter(|char| !misleads(*char)).collect(),
            text: self
                .fill(&format!("{name}.txt"), letter)?
                .trim_start_matches(['\r', '\n'])
                .to_owned(),
            html: self.fill(&format!("{name}.html"), letter)?,
        })
    }

    /// Renders every mail once.
    fn try_all(&self) -> Result<(), TemplateError> {
        let occasion = Occasion { device: Some(String::new()), ..Occasion::new(EPOCH, None) };
        let token = String::new();
        for mail in [
            Mail::AddressChanged(occasion.clone()),
            Mail::AddressTaken,
            Mail::NewDevice(occasion.clone()),
            Mail::PasswordChanged(occasion.clone()),
            Mail::RecoveryCodesReplaced(occasion.clone()),
            Mail::ResetPassword { token: token.clone() },
            Mail::SecondFactorDisabled(occasion.clone()),
            Mail::SecondFactorEnabled(occasion),
            Mail::VerifyAddress { token },
        ] {
            let letter = Letter { to: String::new(), name: None, mail };
            self.render(&letter, MailId::from_bytes([0; 16]), EPOCH)?;
        }
        Ok(())
    }

    fn fill(&self, template: &str, letter: &Letter) -> Result<String, TemplateError> {
        let Letter { to, name, mail } = letter;
        let (link, valid_for) = match mail {
            Mail::VerifyAddress { token } => {
                (Some(format!("{}#token={token}", self.verify_url)), Some("24 hours"))
            }
            Mail::ResetPassword { token } => {
                (Some(format!("{}#token={token}", self.reset_url)), Some("30 minutes"))
            }
            _ => (None, None),
        };
        let occasion = match mail {
            Mail::AddressChanged(occasion)
            | Mail::NewDevice(occasion)
            | Mail::PasswordChanged(occasion)
            | Mail::RecoveryCodesReplaced(occasion)
            | Mail::SecondFactorDisabled(occasion)
            | Mail::SecondFactorEnabled(occasion) => Some(occasion),
            Mail::AddressTaken | Mail::ResetPassword { .. } | Mail::VerifyAddress { .. } => None,
        };
        let at = occasion.map(|occasion| minute(Timestamp::from_millis(occasion.at_millis)));
        let values = context! {
            email => to,
            name => name,
            service => &self.service,
            public_url => &self.public_url,
            reset_url => &self.reset_url,
            link => link,
            valid_for => valid_for,
            at => at,
            ip => occasion.and_then(|occasion| occasion.ip.as_deref()),
            device => occasion.and_then(|occasion| occasion.device.as_deref()),
        };
        let rendered = self.environment.get_template(template).and_then(|it| it.render(values));
        rendered.map_err(|error| {
            // One that takes in another may fail there.
            let file = self.file_of(error.name().unwrap_or(template));
            TemplateError(format!("{} {}; mend that", file.display(), flaw(&error)))
        })
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
            added.map_err(|error| flaw(&error))?;
            format!("\n{rest}")
        }
        _ => return Err("does not begin with a line like `Subject: Your account`".to_owned()),
    };
    let added = environment.add_template_owned(format!("{name}.{kind}"), body);
    added.map_err(|error| flaw(&error))
}

/// Where a template is wrong, and what about it.
fn flaw(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(", {detail}")).unwrap_or_default();
    format!("cannot be used ({line}{}{detail})", error.kind())
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
const EPOCH: Timestamp = Timestamp::from_secs(0);

#[cfg(test)]
mod tests;
