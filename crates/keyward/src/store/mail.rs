//! Mails on their way, and the one-time tokens in them.
//!
//! A token is bound to the version of the credentials. Whatever raises it ends the tokens: whoever
//! has changed the password has answered the mail, and is its reader. That holds where the address
//! is verified. Where it is not, whoever has the account may have registered with the address of
//! another, and would end by one change after another each link before its reader has opened it.
//! There a token belongs to the mailbox: what is done in the account (another password, a second
//! factor, its removal) takes the token along to the version that it makes, in the same
//! transaction, and a token that is issued is bound to the version of that moment, whichever its
//! issuer has read. So at its use nothing is different from any other token, and of a reset and a
//! change in the same moment the reset happens, before the change or after it: it raises the
//! version, ends the sessions and leaves no token. Once the address is verified, the tokens that
//! are out end like any other user's.
//!
//! A reset, an operator who sets the password, another address, a disabling and the end of the
//! account end the tokens of everybody.

use std::fmt;

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditKind};
use keyward_core::email::Email;
use keyward_core::id::{MailId, UserId};
use keyward_core::one_time_token::{OneTimeTokenHash, OneTimeTokenRecord, TokenPurpose};
use keyward_core::time::Timestamp;

use super::{Account, PasswordHash, StoreError, User};

/// What the service needs kept of mails and of the tokens in them.
///
/// A user has one token of each purpose at most: a newer one takes the place of the one before.
/// Each is gone as soon as the user's address or credentials change, or the user is disabled or
/// deleted; with the user's mails, in the last case. Where the address is not verified, no change
/// of the credentials ends them that is made in the account, only one from outside of it: a reset,
/// or an operator's password.
#[async_trait]
pub trait MailStore {
    /// Issues a token and queues the mail that carries it, where the user is enabled and has this
    /// address and these credentials, and where it is to verify an address, an unverified one.
    /// Where the address is not verified, any credentials will do, and the token is good for those
    /// of this moment.
    /// One that yields to the token before is issued only where that is not live, or not for long:
    /// of any number of such tokens at once, one at the most.
    /// Records `password.reset_requested` for a token that resets. `false`: nothing happened.
    async fn issue_token(
        &self,
        issued: MailedToken,
        context: &AuditContext,
    ) -> Result<bool, StoreError>;

    /// The account that a token is for, where the token is live at `now`.
    async fn find_token(
        &self,
        hash: OneTimeTokenHash,
        purpose: TokenPurpose,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError>;

    /// Spends a token: sets the password, by which the credential version rises by one, and marks
    /// the address as verified, since the token came there. Ends every live session of the user
    /// (`password_reset`) and queues the notice. Where the address was not verified, whoever has
    /// the account may not be whose mailbox it is: the name goes, and with
    /// [`PasswordReset::takes_second_factor`] the second factor of a user without any role, by
    /// which the version rises once more and which has a notice of its own. Where nobody has
    /// said whether such a factor goes, nothing happens. Records
    /// `password.reset`, then `mfa.disabled` where one went and `email.verified` where the address
    /// was not, then one `session.revoked` per session ended.
    /// `None`: the token is not live, or that is to be said first; nothing happened.
    ///
    /// Of any number of concurrent uses of one token exactly one happens.
    async fn reset_password(
        &self,
        reset: PasswordReset,
        context: &AuditContext,
    ) -> Result<Option<ResetOutcome>, StoreError>;

    /// Spends a token: marks the address as verified. Records `email.verified`; nothing where it
    /// was verified already. `None`: the token is not live, nothing happened.
    ///
    /// Of any number of concurrent uses of one token exactly one happens.
    async fn verify_email(
        &self,
        hash: OneTimeTokenHash,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError>;

    /// Queues a mail that belongs to no change of state. `false`: there is no such user.
    async fn queue_mail(&self, mail: QueuedMail) -> Result<bool, StoreError>;

    /// Takes mails that are due, the longest due first, and puts off each of them, so that nobody
    /// else takes it before then. Several processes may do so at once; none waits for another.
    async fn claim_mail(&self, claim: MailClaim) -> Result<Vec<ClaimedMail>, StoreError>;

    /// Says what became of a mail. `false`: somebody else has taken it since, or it is gone;
    /// nothing happened.
    async fn settle_mail(
        &self,
        id: MailId,
        attempts: u32,
        fate: MailFate,
    ) -> Result<bool, StoreError>;
}

/// A token, and the mail that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailedToken {
    /// The token, as the store knows it.
    pub token: OneTimeTokenRecord,
    /// The mail to the token's user.
    pub mail: QueuedMail,
    /// Yields to the user's token of the same purpose that is live, and will be then. `None`: takes
    /// its place.
    pub yields_beyond: Option<Timestamp>,
}

impl MailedToken {
    /// What is recorded when it is issued.
    pub(super) fn event(&self) -> Option<AuditKind> {
        match self.token.purpose {
            TokenPurpose::ResetPassword => Some(AuditKind::PasswordResetRequested {}),
            TokenPurpose::VerifyEmail => None,
        }
    }
}

/// A mail that waits to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct QueuedMail {
    /// Names it, in the log too.
    pub id: MailId,
    /// To whom it goes.
    pub user_id: UserId,
    /// Address and contents, sealed.
    pub sealed: Vec<u8>,
    /// When it was queued; it is due at once.
    pub created_at: Timestamp,
    /// From when on it is not worth sending.
    pub expires_at: Timestamp,
}

impl fmt::Debug for QueuedMail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedMail").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A new password, by token.
#[derive(Debug, Clone)]
pub struct PasswordReset {
    /// The token.
    pub hash: OneTimeTokenHash,
    /// The new password.
    pub password_hash: PasswordHash,
    /// The mail that tells the user.
    pub notice: Option<QueuedMail>,
    /// Whether a second factor goes too, where the address is not verified and the user has no
    /// role at that moment: nobody has set it up who read the mailbox. `None`: nobody has looked
    /// whose it would be, so that the password is reset only where there is none.
    pub takes_second_factor: Option<bool>,
    /// The mail that tells the user of that; queued where one goes.
    pub second_factor_notice: Option<QueuedMail>,
}

impl PasswordReset {
    /// Whether it may be done to the user: it does not matter whose their second factor is, or
    /// somebody has looked.
    pub(super) fn may_befall(&self, user: &User) -> bool {
        let may_be_a_strangers = !user.email_verified && user.roles.is_empty();
        let is_open = user.mfa_enabled_at.is_some() && may_be_a_strangers;
        !is_open || self.takes_second_factor.is_some()
    }

    /// Whether the user's second factor outlives the reset.
    pub(super) fn keeps_second_factor_of(&self, user: &User) -> bool {
        let takes = self.takes_second_factor == Some(true) && user.roles.is_empty();
        user.email_verified || (user.mfa_enabled_at.is_some() && !takes)
    }
}

/// A password that was set by token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetOutcome {
    /// The user.
    pub user: User,
    /// Whether sessions have ended.
    pub ended_others: bool,
}

/// Which mails a sender takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailClaim {
    /// Those due by then.
    pub now: Timestamp,
    /// When they are due again, unless the sender settles them before.
    pub until: Timestamp,
    /// How many at most.
    pub limit: u32,
}

/// A mail that a sender has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedMail {
    /// The mail.
    pub mail: QueuedMail,
    /// How often it was taken, this time included.
    pub attempts: u32,
}

/// What becomes of a mail that a sender has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailFate {
    /// It was sent, or never will be: it is deleted with its contents.
    Done,
    /// It is tried again then.
    DueAt(Timestamp),
}

impl Account {
    /// Whether the token may be used for the account.
    pub(super) fn accepts(&self, token: &OneTimeTokenRecord, now: Timestamp) -> bool {
        let email = Email::parse(&self.user.email);
        self.user.id == token.user_id
            && self.user.disabled_at.is_none()
            && email.is_some_and(|email| token.is_live(email.key(), self.credential_version, now))
    }

    /// The token as it is issued, if it may be and would be of any use.
    pub(super) fn issues(
        &self,
        token: OneTimeTokenRecord,
        now: Timestamp,
    ) -> Option<OneTimeTokenRecord> {
        let User { email_verified, .. } = self.user;
        let is_moot = token.purpose == TokenPurpose::VerifyEmail && email_verified;
        let asked_for = token.credential_version;
        let credential_version = if email_verified { asked_for } else { self.credential_version };
        let token = OneTimeTokenRecord { credential_version, ..token };
        (!is_moot && self.accepts(&token, now)).then_some(token)
    }
}
