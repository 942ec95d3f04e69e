//! Mails on their way out. Any number of nodes share the work: who takes a mail puts it off for the
//! others, and says afterwards what became of it. A node that dies in between leaves the mail to be
//! taken again, so that it may arrive twice, under one `Message-ID`, and never not at all.
//!
//! Requests only queue mails. A server that is slow, or away, delays mails and nothing else.

use std::time::Duration;

use futures_util::future::join_all;
use keyward_core::one_time_token::{OneTimeToken, TokenPurpose};
use keyward_core::time::Timestamp;

use super::Keyward;
use super::mail::place;
use crate::mail::{Letter, Mail, Mailing, SendError};
use crate::said_once::SaidOnce;
use crate::store::{ClaimedMail, MailClaim, MailFate, QueuedMail, StoreError};

impl Keyward {
    /// Works off what is answered by mail, and sends the mails that are due: a round of
    /// [`Keyward::run_background`]. It may be dropped at any point.
    ///
    /// # Errors
    ///
    /// The store's; mails that were not taken, or not settled, are tried again.
    pub async fn deliver_mail(&self) -> Result<(), StoreError> {
        self.work_off_mail_requests(1).await;
        while self.deliver_some().await? == TAKEN_AT_ONCE as usize {}
        Ok(())
    }

    /// Sends mails until dropped.
    pub(super) async fn run_delivery(&self) {
        if self.mailing.is_none() {
            return;
        }
        let mut said = SaidOnce::new();
        loop {
            let outcome = self.deliver_some().await;
            let is_more = matches!(outcome, Ok(count) if count == TAKEN_AT_ONCE as usize);
            if let Some(error) = said.news(outcome.map(drop)) {
                tracing::error!("mails stay where they are for now: {error}");
            }
            if !is_more {
                let _either = tokio::time::timeout(POLL, self.mail_queued.notified()).await;
            }
        }
    }

    /// Takes mails that are due and sends them, all at once; answers how many.
    async fn deliver_some(&self) -> Result<usize, StoreError> {
        let Some(mailing) = &self.mailing else { return Ok(0) };
        let now = self.clock.now();
        let claim = MailClaim { now, until: now.plus(CLAIM), limit: TAKEN_AT_ONCE };
        let taken = self.store.claim_mail(claim).await?;
        let count = taken.len();
        let settled = join_all(taken.iter().map(|taken| self.deliver(mailing, taken))).await;
        settled.into_iter().collect::<Result<(), StoreError>>()?;
        Ok(count)
    }

    async fn deliver(&self, mailing: &Mailing, taken: &ClaimedMail) -> Result<(), StoreError> {
        let ClaimedMail { mail, attempts } = taken;
        let outcome = self.send(mailing, mail).await?;
        let (id, attempts) = (mail.id, *attempts);
        let now = self.clock.now();
        self.metrics.mails.count(outcome.name());
        let fate = match outcome {
            Outcome::Sent(about) => {
                tracing::info!(mail = %id, about, attempts, "sent");
                MailFate::Done
            }
            Outcome::Moot => MailFate::Done,
            Outcome::GivenUp(why) => {
                tracing::error!(mail = %id, attempts, "gave up a mail: {why}");
                MailFate::Done
            }
            Outcome::Failed(why) => {
                let due_at = now.plus(self.back_off(attempts));
                tracing::warn!(mail = %id, attempts, ?due_at, "could not send a mail yet: {why}");
                MailFate::DueAt(due_at)
            }
        };
        self.store.settle_mail(id, attempts, fate).await.map(drop)
    }

    async fn send(&self, mailing: &Mailing, mail: &QueuedMail) -> Result<Outcome, StoreError> {
        let now = self.clock.now();
        if now >= mail.expires_at {
            return Ok(Outcome::GivenUp("its time is over".to_owned()));
        }
        // After the master key was replaced, or a newer version has written it, another node may.
        let Some(letter) = self.keyring.open_sealed(&mail.sealed, &place(mail.id)) else {
            return Ok(Outcome::Failed("another master key seals it".to_owned()));
        };
        let Some(letter) = Letter::from_json(&letter) else {
            return Ok(Outcome::Failed("another version of the service wrote it".to_owned()));
        };
        if !self.is_wanted(&letter, now).await? {
            return Ok(Outcome::Moot);
        }
        let message = match mailing.templates.render(&letter, mail.id, mail.created_at) {
            Ok(message) => message,
            Err(error) => return Ok(Outcome::Failed(error.to_string())),
        };
        Ok(match mailing.mailer.send(&message).await {
            Ok(()) => Outcome::Sent(letter.mail.name()),
            Err(SendError::Failed(why)) => Outcome::Failed(why),
            Err(SendError::Refused(why)) => Outcome::GivenUp(why),
        })
    }

    /// A link that is spent, or that a newer one has taken the place of, is not mailed any more.
    async fn is_wanted(&self, letter: &Letter, now: Timestamp) -> Result<bool, StoreError> {
        let (token, purpose) = match &letter.mail {
            Mail::ResetPassword { token } => (token, TokenPurpose::ResetPassword),
            Mail::VerifyAddress { token } => (token, TokenPurpose::VerifyEmail),
            Mail::AddressChanged(_)
            | Mail::AddressTaken
            | Mail::NewDevice(_)
            | Mail::PasswordChanged(_)
            | Mail::RecoveryCodesReplaced(_)
            | Mail::SecondFactorDisabled(_)
            | Mail::SecondFactorEnabled(_) => return Ok(true),
        };
        let Some(token) = OneTimeToken::parse(token) else { return Ok(false) };
        Ok(self.store.find_token(token.hash(), purpose, now).await?.is_some())
    }

    /// Twice as long each time, and never the same for all that failed together.
    fn back_off(&self, attempts: u32) -> Duration {
        let longest = BACK_OFF_MIN * 2_u32.saturating_pow(attempts.saturating_sub(1).min(16));
        self.spread(longest.min(BACK_OFF_MAX))
    }
}

/// What became of an attempt.
enum Outcome {
    /// The server has it; what it was about.
    Sent(&'static str),
    /// Nobody waits for it any more.
    Moot,
    /// It never will be sent.
    GivenUp(String),
    /// Another attempt may do.
    Failed(String),
}

impl Outcome {
    const fn name(&self) -> &'static str {
        match self {
            Self::Sent(_) => "sent",
            Self::Moot => "moot",
            Self::GivenUp(_) => "given_up",
            Self::Failed(_) => "failed",
        }
    }
}

/// Every [`Outcome::name`].
pub(super) const OUTCOMES: [&str; 4] = ["sent", "moot", "given_up", "failed"];

/// How long others leave a mail to who has taken it. Longer than a sender's deadline for one mail,
/// since those that are taken together are sent together.
const CLAIM: Duration = Duration::from_secs(3 * 60);

/// How many connections to the mail server one node opens at most.
const TAKEN_AT_ONCE: u32 = 8;

/// How often a node looks for mails that others have queued, or that are due again.
const POLL: Duration = Duration::from_secs(5);

const BACK_OFF_MIN: Duration = Duration::from_secs(20);
const BACK_OFF_MAX: Duration = Duration::from_secs(30 * 60);
