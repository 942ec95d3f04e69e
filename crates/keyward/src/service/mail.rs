//! What users do by mail: showing that an address is theirs, and setting a forgotten password. And
//! the letters that tell them what was done.

use std::time::Duration;

use keyward_core::audit::{AuditContext, RecordedEvent, events_since};
use keyward_core::device_token::DeviceToken;
use keyward_core::email::Email;
use keyward_core::id::{MailId, UserId};
use keyward_core::keys::MasterKey;
use keyward_core::one_time_token::{
    OneTimeToken, OneTimeTokenHash, OneTimeTokenRecord, TokenPurpose,
};
use keyward_core::password::Password;
use keyward_core::time::Timestamp;
use tokio::sync::MutexGuard;

use super::limits::{Counted, MailKind, Try};
use super::mail_requests::MailRequest;
use super::{Authenticated, ClientInfo, Failure, Keyward};
use crate::entropy::{self, Entropy};
use crate::limits::Limited;
use crate::mail::{Letter, Mail, Occasion};
use crate::store::{
    Account, AuditFilter, MailedToken, PasswordReset, QueuedMail, ResetOutcome, StoreError, User,
};

impl Keyward {
    /// Mails a link with which the user can set a new password, if there is a user with this
    /// address. Nothing is looked up before the answer, so that neither it nor its time tells. The
    /// link is good for [`RESET_TTL`], once, and until a newer one is asked for; where the address
    /// is verified, until the password or the second factor changes besides.
    ///
    /// # Errors
    ///
    /// [`Failure::RateLimited`] by the account's address, known or not, and by the client's;
    /// [`Failure::MailOverloaded`] and [`Failure::Store`].
    pub async fn forgot_password(&self, email: Email, client: &ClientInfo) -> Result<(), Failure> {
        let account = self.limits.account(email.key());
        let asked = Try::MailAccount(account, MailKind::ResetPassword);
        let tries = vec![Try::MailAddress(client.address.into()), asked];
        let counted = self.limits.count(tries, self.clock.now()).await?;
        self.refund_failed(&counted, self.can_keep().await).await?;
        let context = client.context(self.clock.now());
        self.mail_requests.push(MailRequest::ResetPassword { email, context })
    }

    /// Sets a new password by a mailed token. Every session of the user ends, and none is opened:
    /// whoever reads the mail still has to know the password. The address is verified by it, and
    /// the browser known from then on: strangers' guesses do not keep it from signing in.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidOneTimeToken`], [`Failure::PasswordRefused`] (the token is good still),
    /// [`Failure::Overloaded`], [`Failure::LogOverloaded`] and [`Failure::Store`].
    pub async fn reset_password(
        &self,
        token: &OneTimeToken,
        new: Password,
        client: &ClientInfo,
    ) -> Result<Option<DeviceToken>, Failure> {
        // Before the work of a hash, which strangers could cause otherwise.
        let hash = token.hash();
        let user = self.user_of_link(hash).await?;
        let email = Email::parse(&user.email).ok_or(Failure::InvalidOneTimeToken)?;
        let new = self.judge_password(new, &email, user.name.as_deref()).await?;
        let password_hash = self.hash_password(new).await?;

        let context = client.context(self.clock.now());
        let changed = Mail::PasswordChanged(occasion(client, context.at));
        let disabled = Mail::SecondFactorDisabled(occasion(client, context.at));
        let reset = PasswordReset {
            hash,
            password_hash,
            notice: self.notice(&user, changed, context.at),
            takes_second_factor: None,
            second_factor_notice: self.notice(&user, disabled, context.at),
        };
        let outcome = match self.store.reset_password(reset.clone(), &context).await? {
            Some(outcome) => outcome,
            None => self.reset_judged(reset, &context).await?,
        };
        if outcome.ended_others {
            self.announce_revocation();
        }
        self.mail_queued.notify_one();
        // By two where a second factor went along.
        let id = outcome.user.id;
        let version = self.store.find_user(id).await.ok().flatten();
        let version = version.map(|account| account.credential_version);
        Ok(version.and_then(|version| self.remember_device(&outcome.user, version, context.at)))
    }

    /// Whose the link is.
    async fn user_of_link(&self, hash: OneTimeTokenHash) -> Result<User, Failure> {
        let purpose = TokenPurpose::ResetPassword;
        let found = self.store.find_token(hash, purpose, self.clock.now()).await?;
        Ok(found.ok_or(Failure::InvalidOneTimeToken)?.user)
    }

    /// A reset that the store leaves until somebody has looked whose the second factor is; it may
    /// have been set up in this very moment, and be gone or another one in the next: the link
    /// outlives that. One after the other, for however long the log is: a link is used once, but
    /// by many at once, each of whom would have it read.
    async fn reset_judged(
        &self,
        reset: PasswordReset,
        context: &AuditContext,
    ) -> Result<ResetOutcome, Failure> {
        let _turn = self.log_turn().await?;
        // Whoever had the turn before may have used the link.
        let user = self.user_of_link(reset.hash).await?;
        let takes_second_factor = Some(self.may_be_a_strangers(&user).await?);
        let reset = PasswordReset { takes_second_factor, ..reset };
        let outcome = self.store.reset_password(reset, context).await?;
        outcome.ok_or(Failure::InvalidOneTimeToken)
    }

    /// A request's turn to have the whole log read, which has no index by user. They share the
    /// connections of this node with everybody else, so that there is one of them at a time.
    pub(super) async fn log_turn(&self) -> Result<MutexGuard<'_, ()>, Failure> {
        let turn = tokio::time::timeout(LOG_TURN_WAIT, self.log_turn.lock()).await;
        turn.map_err(|_| Failure::LogOverloaded)
    }

    /// Whether a second factor, should there be one by the time of the reset, is that of somebody
    /// who registered with an address which nobody has shown to be theirs, so that whoever reads
    /// its mailbox is kept out by it.
    ///
    /// Everybody else's stays, or the mailbox alone would open the account: it is what a second
    /// factor is there for. So nothing is concluded from what the account is now, which whoever may
    /// change accounts could have made of it. Nor is anything from a log that cannot be read just
    /// now: the reset verifies the address, and no later one would take the factor.
    async fn may_be_a_strangers(&self, user: &User) -> Result<bool, StoreError> {
        let may_be = !user.email_verified && user.roles.is_empty();
        Ok(may_be && self.is_as_registered(user).await?)
    }

    /// Whether the audit log begins with the user's own registration, and nobody has vouched for
    /// the account since. Where it cannot tell, the operator decides.
    async fn is_as_registered(&self, user: &User) -> Result<bool, StoreError> {
        let since = events_since(user.created_at);
        let filter = AuditFilter {
            user_id: Some(user.id),
            since: Some(since),
            limit: EVENTS_AT_ONCE,
            ..AuditFilter::default()
        };
        let (begin, mut end) = self.ids_since(since).await?;
        let mut first = None;
        loop {
            let mut page = self.page_back(filter.clone(), begin, end).await?;
            if page.events.iter().any(vouches_for_user) {
                return Ok(false);
            }
            first = page.events.pop().or(first);
            let Some(next) = page.next else { break };
            end = next;
        }
        Ok(first.is_some_and(|first| is_own_registration(&first)))
    }

    /// Mails the user a link that verifies the address, in place of the one before; nothing where
    /// the address is verified.
    ///
    /// # Errors
    ///
    /// [`Failure::RateLimited`] and [`Failure::Store`].
    pub async fn send_verification(
        &self,
        caller: &Authenticated,
        client: &ClientInfo,
    ) -> Result<(), Failure> {
        let email = Email::parse(&caller.user.email).ok_or(Failure::TokenRevoked)?;
        let found = self.store.find_user(caller.user.id).await?;
        let account = found.ok_or(Failure::TokenRevoked)?;
        let counted = self.count_mail(MailKind::VerifyAddress, &email).await?;
        let context = client.context(self.clock.now());
        if self.mailing.is_some() {
            let reader = Reader::of(&account, &email);
            let issued = self.mailed_token(&reader, TokenPurpose::VerifyEmail, self.clock.now());
            let issued = self.store.issue_token(issued, &context).await;
            self.refund_failed(&counted, issued.map(drop)).await?;
            self.mail_queued.notify_one();
        }
        Ok(())
    }

    /// Marks an address as verified by a mailed token.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidOneTimeToken`] and [`Failure::Store`].
    pub async fn verify_email(
        &self,
        token: &OneTimeToken,
        client: &ClientInfo,
    ) -> Result<User, Failure> {
        let context = client.context(self.clock.now());
        let verified = self.store.verify_email(token.hash(), &context).await?;
        verified.ok_or(Failure::InvalidOneTimeToken)
    }

    /// Counts a mail that strangers can cause, against whoever it would go to.
    pub(super) async fn count_mail(
        &self,
        kind: MailKind,
        email: &Email,
    ) -> Result<Counted, Limited> {
        let asked = Try::MailAccount(self.limits.account(email.key()), kind);
        self.limits.count(vec![asked], self.clock.now()).await
    }

    /// Tells the user something that has happened without a change of state. What goes with a
    /// change is a notice, in the change's transaction.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn notify(&self, user: &User, mail: Mail) -> Result<(), StoreError> {
        if let Some(notice) = self.notice(user, mail, self.clock.now()) {
            self.store.queue_mail(notice).await?;
            self.mail_queued.notify_one();
        }
        Ok(())
    }

    /// A letter to the user that is to be queued with the change that it tells of. `None` where the
    /// service sends no mail.
    pub(super) fn notice(&self, user: &User, mail: Mail, now: Timestamp) -> Option<QueuedMail> {
        self.mailing.as_ref()?;
        Some(self.sealed(user.id, &letter_to(user, mail), now, now.plus(NOTICE_TTL)))
    }

    /// A fresh token, and the mail that carries it.
    pub(super) fn mailed_token(
        &self,
        reader: &Reader<'_>,
        purpose: TokenPurpose,
        now: Timestamp,
    ) -> MailedToken {
        let token = OneTimeToken::issue(&self.random());
        let text = token.expose().to_owned();
        let (ttl, mail) = match purpose {
            TokenPurpose::ResetPassword => (RESET_TTL, Mail::ResetPassword { token: text }),
            TokenPurpose::VerifyEmail => (VERIFY_TTL, Mail::VerifyAddress { token: text }),
        };
        let expires_at = now.plus(ttl);
        let (to, name) = (reader.email.shown().to_owned(), reader.name.map(str::to_owned));
        let letter = Letter { to, name, mail };
        let record = OneTimeTokenRecord {
            hash: token.hash(),
            user_id: reader.user_id,
            purpose,
            email_key: reader.email.key().to_owned(),
            credential_version: reader.credential_version,
            expires_at,
        };
        let mail = self.sealed(reader.user_id, &letter, now, expires_at);
        MailedToken { token: record, mail, yields_beyond: None }
    }

    fn sealed(
        &self,
        user_id: UserId,
        letter: &Letter,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> QueuedMail {
        let id = MailId::new(now, self.random());
        let sealed = self.keyring.seal(&letter.to_json(), &place(id));
        QueuedMail { id, user_id, sealed, created_at: now, expires_at }
    }
}

/// A letter to a user about what is done to the account without a running service, such as by the
/// command line: to be queued with the change. The services on the store send it.
pub fn notice(
    user: &User,
    mail: Mail,
    master_key: &MasterKey,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> QueuedMail {
    let id = MailId::new(now, entropy::array(entropy));
    let letter = letter_to(user, mail).to_json();
    let sealed = master_key.seal(&letter, &place(id), &entropy::array(entropy));
    QueuedMail { id, user_id: user.id, sealed, created_at: now, expires_at: now.plus(NOTICE_TTL) }
}

fn letter_to(user: &User, mail: Mail) -> Letter {
    let name = user.name.clone().filter(|_| user.email_verified);
    Letter { to: user.email.clone(), name, mail }
}

fn is_own_registration(event: &RecordedEvent) -> bool {
    event.name == "user.registered" && event.detail.contains(r#""by":"user""#)
}

/// Whether the event says that somebody has shown whose account it is, or knew: the reader of the
/// mailbox, whoever has changed the account or given it a role, an app that has signed its user in,
/// and the operator, who helps the owner alone with a second factor or a password.
fn vouches_for_user(event: &RecordedEvent) -> bool {
    match &*event.name {
        "email.verified" | "password.set" | "user.roles_changed" => true,
        "user.updated" => event.detail.contains(r#""fields":"#),
        "session.created" => event.detail.contains(r#""actor":"#),
        "mfa.disabled" => event.request_id.is_none(),
        _ => false,
    }
}

/// Who gets a token by mail.
pub(super) struct Reader<'a> {
    pub(super) user_id: UserId,
    pub(super) email: &'a Email,
    /// What they are called, if the address is verified.
    pub(super) name: Option<&'a str>,
    pub(super) credential_version: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn of(account: &'a Account, email: &'a Email) -> Self {
        let user = &account.user;
        Self {
            user_id: user.id,
            email,
            name: user.name.as_deref().filter(|_| user.email_verified),
            credential_version: account.credential_version,
        }
    }
}

/// When and where from the client did something.
pub(super) fn occasion(client: &ClientInfo, now: Timestamp) -> Occasion {
    Occasion::new(now, client.device().ip)
}

/// Where a sealed mail stands; it opens nowhere else.
pub(super) fn place(id: MailId) -> String {
    format!("mail/{id}")
}

/// How long a link is good that sets a new password. The built-in templates say so.
pub const RESET_TTL: Duration = Duration::from_secs(30 * 60);

/// How long a link is good that verifies an address. The built-in templates say so.
pub const VERIFY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How many events of an account are read at once.
const EVENTS_AT_ONCE: u32 = 1000;

/// For how long a request waits for those before it to have had the log read.
const LOG_TURN_WAIT: Duration = Duration::from_secs(2);

/// For how long it is tried to tell somebody something.
const NOTICE_TTL: Duration = Duration::from_secs(24 * 60 * 60);
