//! From a message to what travels (RFC 5322, MIME).

use std::fmt;
use std::time::{Duration, SystemTime};

use keyward_core::email::Email;
use keyward_core::time::Timestamp;
use lettre::Address;
use lettre::address::Envelope;
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
    let to = recipient(&message.to)?;
    let envelope = Envelope::new(Some(sender.0.email.clone()), vec![to.clone()]);
    let mail = lettre::Message::builder()
        // From the headers it would be read by the rules that `recipient` goes around.
        .envelope(envelope.map_err(|error| uncomposed(&error))?)
        .from(sender.0.clone())
        .to(Mailbox::new(None, to))
        .subject(&message.subject)
        .date(system_time(message.at))
        .message_id(Some(format!("<{}@{}>", message.id, sender.domain())))
        // Whoever answers mail while away shall not answer this (RFC 3834).
        .raw_header(HeaderValue::new(AUTO_SUBMITTED, "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(message.text.clone(), message.html.clone()));
    mail.map_err(|error| uncomposed(&error))
}

/// The address by our own rules: the library's have no room for the marks that many scripts are
/// written with (RFC 6531, section 3.3). A local part with dots that part nothing is quoted, as it
/// has to be (RFC 5321, section 4.1.2); [`Email`] lets nothing through that would end the quotes.
fn recipient(text: &str) -> Result<Address, SendError> {
    let email = Email::parse(text);
    let parts = email.as_ref().and_then(|email| email.shown().rsplit_once('@'));
    let (local, domain) = parts.ok_or_else(|| refused("the address is none that mail goes to"))?;
    if local.split('.').any(str::is_empty) {
        return Ok(Address::new_dangerous(format!("\"{local}\""), domain));
    }
    Ok(Address::new_dangerous(local, domain))
}

fn uncomposed(error: &lettre::error::Error) -> SendError {
    refused(&format!("the message cannot be composed ({error})"))
}

fn refused(why: &str) -> SendError {
    SendError::Refused(why.to_owned())
}

fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(at.millis()).unwrap_or(0))
}

const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");

#[cfg(test)]
mod tests {
    use keyward_core::id::MailId;

    use super::*;

    fn composed_to(to: &str) -> Result<lettre::Message, SendError> {
        let sender = Sender::parse("Keyward <no-reply@example.org>").expect("an address");
        let message = Message {
            id: MailId::from_bytes([7; 16]),
            at: Timestamp::from_secs(1),
            to: to.to_owned(),
            subject: "a subject".to_owned(),
            text: "a text".to_owned(),
            html: "<p>a text</p>".to_owned(),
        };
        compose(&sender, &message)
    }

    #[test]
    fn goes_to_all_addresses_that_are_taken_in_their_one_form() {
        for (given, reached) in [
            ("Ada@Example.org", "Ada@Example.org"),
            ("zoe\u{308}@exa\u{308}mple.org", "zoë@exämple.org"),
            ("हिन्दी@हिन्दी.भारत", "हिन्दी@हिन्दी.भारत"),
            ("q\u{308}€'{}|*/=?!#$%&^_`~+-.x@b.c", "q\u{308}€'{}|*/=?!#$%&^_`~+-.x@b.c"),
            ("ada..lovelace@b.c", "\"ada..lovelace\"@b.c"),
            (".@b.c", "\".\"@b.c"),
        ] {
            let mail = composed_to(given).expect("a mail");
            let recipients: Vec<&str> = mail.envelope().to().iter().map(AsRef::as_ref).collect();
            assert_eq!(recipients, [reached]);
            let sender = mail.envelope().from().map(ToString::to_string);
            assert_eq!(sender.as_deref(), Some("no-reply@example.org"));
            let text = String::from_utf8(mail.formatted()).expect("UTF-8");
            assert!(text.contains(&format!("\r\nTo: {reached}\r\n")), "{text}");
        }
    }

    #[test]
    fn no_address_says_more_to_a_server_than_itself() {
        for to in [
            "a@b.c>\r\nDATA",
            "a@b.c\r\nRCPT TO:<d@e.f>",
            "a\n@b.c",
            "a@b.c, d@e.f",
            "a@b.c> SIZE=1",
            "<a@b.c>",
            "a\"b@b.c",
            "\"a\"@b.c",
            "a\\@b.c",
            "@relay:a@b.c",
            "a@b@c.d",
            "a\u{85}@b.c",
            "a\u{2028}@b.c",
            "a\0@b.c",
            "\u{338}a@b.c",
            "",
        ] {
            assert!(matches!(composed_to(to), Err(SendError::Refused(_))), "{to:?}");
        }
    }
}
