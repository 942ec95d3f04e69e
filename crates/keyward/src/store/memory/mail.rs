//! Mails on their way, and the one-time tokens in them.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::{MailId, UserId};
use keyward_core::one_time_token::{OneTimeTokenHash, OneTimeTokenRecord, TokenPurpose};
use keyward_core::session::RevocationReason;
use keyward_core::time::Timestamp;

use super::MemoryStore;
use super::state::State;
use crate::store::{
    Account, ClaimedMail, MailClaim, MailFate, MailStore, MailedToken, PasswordReset, QueuedMail,
    ResetOutcome, RevokeScope, StoreError, User,
};

#[async_trait]
impl MailStore for MemoryStore {
    async fn issue_token(
        &self,
        issued: MailedToken,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        Ok(self.state().issue_token(issued, context))
    }

    async fn find_token(
        &self,
        hash: OneTimeTokenHash,
        purpose: TokenPurpose,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        Ok(self.state().account_of(hash, purpose, now))
    }

    async fn reset_password(
        &self,
        reset: PasswordReset,
        context: &AuditContext,
    ) -> Result<Option<ResetOutcome>, StoreError> {
        let mut state = self.state();
        let live = state.account_of(reset.hash, TokenPurpose::ResetPassword, context.at);
        let live = live.filter(|account| reset.may_befall(&account.user));
        let Some(Account { user, .. }) = live else { return Ok(None) };
        let id = user.id;
        state.set_password_hash(id, reset.password_hash.clone());
        state.forget_tokens(id);
        state.record(AuditEvent::of_user(AuditKind::PasswordReset {}, id), context);
        let user = state.forget_registrant(user, &reset, context);
        let user = state.verify(user, context);
        let reason = RevocationReason::PasswordReset;
        let ended = state.end_scope(reason, context, RevokeScope::User(id));
        state.queue(reset.notice);
        Ok(Some(ResetOutcome { user, ended_others: !ended.is_empty() }))
    }

    async fn verify_email(
        &self,
        hash: OneTimeTokenHash,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        let mut state = self.state();
        let spent = state.spend_token(hash, TokenPurpose::VerifyEmail, context.at);
        Ok(spent.map(|user| state.verify(user, context)))
    }

    async fn queue_mail(&self, mail: QueuedMail) -> Result<bool, StoreError> {
        let mut state = self.state();
        let is_known = state.users.contains_key(&mail.user_id);
        state.queue(Some(mail).filter(|_| is_known));
        Ok(is_known)
    }

    async fn claim_mail(&self, claim: MailClaim) -> Result<Vec<ClaimedMail>, StoreError> {
        let mut state = self.state();
        let rows = state.mails.values_mut().filter(|row| row.due_at <= claim.now);
        let mut due: Vec<_> = rows.collect();
        due.sort_by_key(|row| (row.due_at, row.mail.id));
        let taken = due.into_iter().take(claim.limit as usize).map(|row| {
            row.due_at = claim.until;
            row.attempts += 1;
            ClaimedMail { mail: row.mail.clone(), attempts: row.attempts }
        });
        Ok(taken.collect())
    }

    async fn settle_mail(
        &self,
        id: MailId,
        attempts: u32,
        fate: MailFate,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        let row = state.mails.get_mut(&id).filter(|row| row.attempts == attempts);
        let Some(row) = row else { return Ok(false) };
        match fate {
            MailFate::DueAt(at) => row.due_at = at,
            MailFate::Done => drop(state.mails.remove(&id)),
        }
        Ok(true)
    }
}

/// A mail, and how it stands with it.
pub(super) struct MailRow {
    pub(super) mail: QueuedMail,
    attempts: u32,
    due_at: Timestamp,
}

impl State {
    /// See `MailStore::issue_token`.
    pub(super) fn issue_token(&mut self, issued: MailedToken, context: &AuditContext) -> bool {
        let kind = issued.event();
        let MailedToken { token, mail, yields_beyond } = issued;
        let Some(row) = self.users.get(&token.user_id) else { return false };
        let Some(token) = row.account.issues(token, context.at) else { return false };
        let of_purpose = |old: &&OneTimeTokenRecord| old.purpose == token.purpose;
        let mut before = self.tokens.iter().filter(of_purpose);
        if yields_beyond.is_some_and(|beyond| before.any(|old| row.account.accepts(old, beyond))) {
            return false;
        }
        if let Some(kind) = kind {
            self.record(AuditEvent::of_user(kind, token.user_id), context);
        }
        self.tokens.retain(|old| (old.user_id, old.purpose) != (token.user_id, token.purpose));
        self.tokens.push(token);
        self.queue(Some(mail));
        true
    }

    pub(super) fn queue(&mut self, mail: Option<QueuedMail>) {
        if let Some(mail) = mail {
            let due_at = mail.created_at;
            self.mails.insert(mail.id, MailRow { mail, attempts: 0, due_at });
        }
    }

    pub(super) fn forget_tokens(&mut self, id: UserId) {
        self.tokens.retain(|token| token.user_id != id);
    }

    /// After a change that is done in the account has raised the credential version by one: takes
    /// the tokens along that outlive it, and forgets the others.
    pub(super) fn carry_tokens(&mut self, id: UserId) {
        let Some(row) = self.users.get(&id) else { return };
        let (carries, version) = (!row.account.user.email_verified, row.account.credential_version);
        self.tokens.retain(|token| token.user_id != id || carries);
        for token in self.tokens.iter_mut().filter(|token| token.user_id == id) {
            token.credential_version = version;
        }
    }

    pub(super) fn forget_mails(&mut self, id: UserId) {
        self.mails.retain(|_, row| row.mail.user_id != id);
    }

    fn token(&self, hash: OneTimeTokenHash, purpose: TokenPurpose) -> Option<&OneTimeTokenRecord> {
        self.tokens.iter().find(|token| token.hash == hash && token.purpose == purpose)
    }

    fn account_of(
        &self,
        hash: OneTimeTokenHash,
        purpose: TokenPurpose,
        now: Timestamp,
    ) -> Option<Account> {
        let token = self.token(hash, purpose)?;
        let account = &self.users.get(&token.user_id)?.account;
        account.accepts(token, now).then(|| account.clone())
    }

    /// Takes the token away where it is live.
    fn spend_token(
        &mut self,
        hash: OneTimeTokenHash,
        purpose: TokenPurpose,
        now: Timestamp,
    ) -> Option<User> {
        let account = self.account_of(hash, purpose, now)?;
        self.tokens.retain(|token| token.hash != hash);
        Some(account.user)
    }

    /// Whoever registered may be another than who reads the mailbox: nothing that they set up is
    /// kept.
    fn forget_registrant(
        &mut self,
        user: User,
        reset: &PasswordReset,
        context: &AuditContext,
    ) -> User {
        if user.email_verified {
            return user;
        }
        if let Some(user) = self.user_mut(user.id) {
            user.name = None;
        }
        if reset.keeps_second_factor_of(&user) {
            return User { name: None, ..user };
        }
        self.forget_second_factor(user.id);
        if user.mfa_enabled_at.is_some() {
            self.set_mfa_enabled_at(user.id, None);
            self.record(AuditEvent::of_user(AuditKind::MfaDisabled {}, user.id), context);
            self.queue(reset.second_factor_notice.clone());
        }
        User { name: None, mfa_enabled_at: None, ..user }
    }

    fn verify(&mut self, user: User, context: &AuditContext) -> User {
        if user.email_verified {
            return user;
        }
        if let Some(user) = self.user_mut(user.id) {
            user.email_verified = true;
        }
        self.record(AuditEvent::of_user(AuditKind::EmailVerified {}, user.id), context);
        User { email_verified: true, ..user }
    }
}
