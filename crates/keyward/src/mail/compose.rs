//! From a message to what travels (RFC 5322, MIME).

use std::fmt;
use std::time::{Duration, SystemTime};

use keyward_core::time::Timestamp;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};

use super::{Message, SendError};

/// Whom mails are from.
#[derive(Clone, PartialEq, Eq)]
pub struct Sender(Mailbox);

impl Sender {
    /// Reads `no-reply@example.org` or `Example <no-reply@example.org>`. `None` where it is no
    /// address.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    /// The domain of the address.
    pub(super) fn domain(&self) -> &str {
        self.0.email.domain()
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({})", self.0)
    }
}

/// The message as it travels.
pub(super) fn compose(sender: &Sender, message: &Message) -> Result<lettre::Message, SendError> {
    let to = message.to.parse().map_err(|_| refused("the address is none that mail goes to"))?;
    let mail = lettre::Message::builder()
        .from(sender.0.clone())
        .to(Mailbox::new(None, to))
        .subject(&message.subject)
        .date(system_time(message.at))
        .message_id(Some(format!("<{}@{}>", message.id, sender.domain())))
        // Whoever answers mail while away shall not answer this (RFC 3834).
        .raw_header(HeaderValue::new(AUTO_SUBMITTED, "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(message.text.clone(), message.html.clone()));
    mail.map_err(|error| refused(&format!("the message cannot be composed ({error})")))
}

fn refused(why: &str) -> SendError {
    SendError::Refused(why.to_owned())
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.millis()).unwrap_or(0))
}

const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");
