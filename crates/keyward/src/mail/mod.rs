//! Mails: what they are about, how they read, and how they leave.
//!
//! - [`Mail`]: everything that a user is written about. To add one: a variant here, and its two
//!   files in `templates/`.
//! - [`Letter`]: a mail to somebody, as it waits sealed in the store.
//! - [`Templates`]: from a letter to a [`Message`], which holds only text that is safe where it
//!   stands.
//! - [`Mailer`]: what sends messages. [`SmtpMailer`] hands them to a server, [`FolderMailer`]
//!   writes them to files.

mod compose;
mod folder;
mod letter;
mod smtp;
mod templates;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use keyward_core::id::MailId;
use keyward_core::time::Timestamp;

pub use compose::Sender;
pub use folder::FolderMailer;
pub use letter::{Letter, Mail, Occasion};
pub use smtp::{SmtpMailer, SmtpSettings};
pub use templates::{TemplateError, Templates};

/// How a service sends mail.
#[derive(Debug, Clone)]
pub struct Mailing {
    /// What sends it.
    pub mailer: Arc<dyn Mailer>,
    /// How it reads.
    pub templates: Templates,
}

/// Sends messages.
#[async_trait]
pub trait Mailer: Send + Sync + fmt::Debug {
    /// Hands a message over. It may have arrived even where an error is answered.
    ///
    /// # Errors
    ///
    /// [`SendError`]; what it says names no address, and nothing that a server said.
    async fn send(&self, message: &Message) -> Result<(), SendError>;

    /// Tries the way that messages take, without sending one.
    ///
    /// # Errors
    ///
    /// As [`Mailer::send`].
    async fn probe(&self) -> Result<(), SendError>;
}

/// A message that can be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Names it: a second copy is known to be one by its `Message-ID`.
    pub id: MailId,
    /// When it was written.
    pub at: Timestamp,
    /// The address that it goes to.
    pub to: String,
    /// Its subject: one line.
    pub subject: String,
    /// Its plain text.
    pub text: String,
    /// The same in HTML.
    pub html: String,
}

/// It may hold a token.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({})", self.id)
    }
}

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// It may be another time: the server is away, busy, or does not take us for who we are.
    Failed(String),
    /// It never will be: there can be no such address, or the server says so.
    Refused(String),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) | Self::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SendError {}
