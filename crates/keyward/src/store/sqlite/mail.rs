//! Mails on their way, and the one-time tokens in them.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::{MailId, UserId};
use keyward_core::one_time_token::{OneTimeTokenHash, OneTimeTokenRecord, TokenPurpose};
use keyward_core::session::RevocationReason;
use keyward_core::time::Timestamp;
use rusqlite::{Connection, named_params};

use super::{SqliteStore, audit, rows, second_factor, sessions, sql, users};
use crate::store::{
    Account, ClaimedMail, MailClaim, MailFate, MailStore, MailedToken, PasswordReset, QueuedMail,
    ResetOutcome, StoreError, User,
};

#[async_trait]
impl MailStore for SqliteStore {
    async fn issue_token(
        &self,
        issued: MailedToken,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| issue_token(connection, &issued, &context)).await
    }

    async fn find_token(
        &self,
        hash: OneTimeTokenHash,
        purpose: TokenPurpose,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        self.readers.read(move |connection| find_account(connection, hash, purpose, now)).await
    }

    async fn reset_password(
        &self,
        reset: PasswordReset,
        context: &AuditContext,
    ) -> Result<Option<ResetOutcome>, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| reset_password(connection, &reset, &context)).await
    }

    async fn verify_email(
        &self,
        hash: OneTimeTokenHash,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        let context = context.clone();
        self.writer.write(move |connection| verify_email(connection, hash, &context)).await
    }

    async fn queue_mail(&self, mail: QueuedMail) -> Result<bool, StoreError> {
        self.writer
            .write(move |connection| {
                let is_known = users::find(connection, mail.user_id)?.is_some();
                queue(connection, Some(&mail).filter(|_| is_known))?;
                Ok(is_known)
            })
            .await
    }

    async fn claim_mail(&self, claim: MailClaim) -> Result<Vec<ClaimedMail>, StoreError> {
        // Looked for by a reading thread first, so that an empty queue costs no commit.
        let is_due = self.readers.read(move |connection| is_any_due(connection, claim.now)).await?;
        if !is_due {
            return Ok(Vec::new());
        }
        self.writer.write(move |connection| claim_mail(connection, claim)).await
    }

    async fn settle_mail(
        &self,
        id: MailId,
        attempts: u32,
        fate: MailFate,
    ) -> Result<bool, StoreError> {
        self.writer.write(move |connection| settle(connection, id, attempts, fate)).await
    }
}

/// See `MailStore::issue_token`.
pub(super) fn issue_token(
    connection: &Connection,
    issued: &MailedToken,
    context: &AuditContext,
) -> Result<bool, StoreError> {
    let token = &issued.token;
    // The write transaction is the lock: nothing else changes the row until it ends.
    let account = users::find_account(connection, token.user_id)?;
    let token = account.and_then(|account| account.issues(token.clone(), context.at));
    let Some(token) = token else { return Ok(false) };
    if !set_token(connection, &token, issued.yields_beyond)? {
        return Ok(false);
    }
    if let Some(kind) = issued.event() {
        audit::record(connection, &AuditEvent::of_user(kind, token.user_id), context)?;
    }
    queue(connection, Some(&issued.mail))?;
    Ok(true)
}

/// `false`: it has yielded to the one before.
fn set_token(
    connection: &Connection,
    token: &OneTimeTokenRecord,
    yields_beyond: Option<Timestamp>,
) -> Result<bool, StoreError> {
    let set = connection.prepare_cached(sql::SET_TOKEN)?.execute(named_params! {
        ":user_id": token.user_id.as_bytes(),
        ":purpose": token.purpose.as_str(),
        ":hash": token.hash.as_bytes(),
        ":email_key": token.email_key,
        ":credential_version": i64::try_from(token.credential_version).unwrap_or(i64::MAX),
        ":expires_at": token.expires_at.millis(),
        ":yields_beyond": yields_beyond.map_or(i64::MAX, Timestamp::millis),
    })?;
    Ok(set > 0)
}

/// Makes a change that is done in the account and raises the credential version by one, and takes
/// the tokens along that outlive it. A trigger deletes all of the user's, so they are put back.
pub(super) fn carry_tokens(
    connection: &Connection,
    user_id: UserId,
    change: impl FnOnce() -> rusqlite::Result<usize>,
) -> Result<(), StoreError> {
    let parameters = named_params! { ":user_id": user_id.as_bytes() };
    let mut statement = connection.prepare_cached(sql::LIST_CARRIED_TOKENS)?;
    let carried = rows::all(statement.query(parameters)?, rows::one_time_token)?;
    change()?;
    carried.iter().try_for_each(|token| set_token(connection, token, None).map(drop))
}

/// Queues a mail, if there is one.
pub(super) fn queue(connection: &Connection, mail: Option<&QueuedMail>) -> Result<(), StoreError> {
    let Some(mail) = mail else { return Ok(()) };
    connection.prepare_cached(sql::INSERT_MAIL)?.execute(named_params! {
        ":id": mail.id.as_bytes(),
        ":user_id": mail.user_id.as_bytes(),
        ":sealed": mail.sealed,
        ":created_at": mail.created_at.millis(),
        ":expires_at": mail.expires_at.millis(),
    })?;
    Ok(())
}

/// See `MailStore::find_token`.
fn find_account(
    connection: &Connection,
    hash: OneTimeTokenHash,
    purpose: TokenPurpose,
    now: Timestamp,
) -> Result<Option<Account>, StoreError> {
    let parameters = named_params! { ":hash": hash.as_bytes(), ":purpose": purpose.as_str() };
    let mut statement = connection.prepare_cached(sql::FIND_TOKEN)?;
    let found = rows::first(statement.query(parameters)?, rows::token_of_account)?;
    Ok(found.and_then(|(token, account)| account.accepts(&token, now).then_some(account)))
}

/// Takes the token away where it is live, and the reset may happen that it is for. The write
/// transaction is the lock.
fn spend(
    connection: &Connection,
    hash: OneTimeTokenHash,
    purpose: TokenPurpose,
    now: Timestamp,
    reset: Option<&PasswordReset>,
) -> Result<Option<User>, StoreError> {
    let live = find_account(connection, hash, purpose, now)?;
    let live = live.filter(|account| reset.is_none_or(|reset| reset.may_befall(&account.user)));
    let Some(account) = live else { return Ok(None) };
    let parameters = named_params! { ":hash": hash.as_bytes() };
    connection.prepare_cached(sql::DELETE_TOKEN)?.execute(parameters)?;
    Ok(Some(account.user))
}

/// See `MailStore::reset_password`.
fn reset_password(
    connection: &Connection,
    reset: &PasswordReset,
    context: &AuditContext,
) -> Result<Option<ResetOutcome>, StoreError> {
    let spent =
        spend(connection, reset.hash, TokenPurpose::ResetPassword, context.at, Some(reset))?;
    let Some(user) = spent else { return Ok(None) };
    let id = user.id;
    users::set_password(connection, id, &reset.password_hash)?;
    audit::record(connection, &AuditEvent::of_user(AuditKind::PasswordReset {}, id), context)?;
    let user = forget_registrant(connection, user, reset, context)?;
    let user = verify(connection, user, context)?;
    let ended = sessions::end_every(connection, id, RevocationReason::PasswordReset, context)?;
    queue(connection, reset.notice.as_ref())?;
    Ok(Some(ResetOutcome { user, ended_others: !ended.is_empty() }))
}

/// Whoever registered may be another than who reads the mailbox: nothing that they set up is kept.
fn forget_registrant(
    connection: &Connection,
    user: User,
    reset: &PasswordReset,
    context: &AuditContext,
) -> Result<User, StoreError> {
    if user.email_verified {
        return Ok(user);
    }
    let parameters = named_params! { ":id": user.id.as_bytes(), ":name": None::<&str> };
    connection.prepare_cached(sql::SET_NAME)?.execute(parameters)?;
    if reset.keeps_second_factor_of(&user) {
        return Ok(User { name: None, ..user });
    }
    second_factor::forget(connection, user.id)?;
    if user.mfa_enabled_at.is_some() {
        second_factor::set_enabled_at(connection, user.id, None)?;
        let disabled = AuditEvent::of_user(AuditKind::MfaDisabled {}, user.id);
        audit::record(connection, &disabled, context)?;
        queue(connection, reset.second_factor_notice.as_ref())?;
    }
    Ok(User { name: None, mfa_enabled_at: None, ..user })
}

/// See `MailStore::verify_email`.
fn verify_email(
    connection: &Connection,
    hash: OneTimeTokenHash,
    context: &AuditContext,
) -> Result<Option<User>, StoreError> {
    let spent = spend(connection, hash, TokenPurpose::VerifyEmail, context.at, None)?;
    spent.map(|user| verify(connection, user, context)).transpose()
}

fn verify(connection: &Connection, user: User, context: &AuditContext) -> Result<User, StoreError> {
    if user.email_verified {
        return Ok(user);
    }
    let parameters = named_params! { ":id": user.id.as_bytes() };
    connection.prepare_cached(sql::SET_EMAIL_VERIFIED)?.execute(parameters)?;
    let verified = AuditEvent::of_user(AuditKind::EmailVerified {}, user.id);
    audit::record(connection, &verified, context)?;
    Ok(User { email_verified: true, ..user })
}

fn is_any_due(connection: &Connection, now: Timestamp) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(sql::HAS_MAIL_DUE)?;
    Ok(statement.query_row(named_params! { ":now": now.millis() }, |row| row.get(0))?)
}

/// See `MailStore::claim_mail`.
fn claim_mail(connection: &Connection, claim: MailClaim) -> Result<Vec<ClaimedMail>, StoreError> {
    let parameters = named_params! { ":now": claim.now.millis(), ":limit": claim.limit };
    let mut statement = connection.prepare_cached(sql::LIST_MAIL_DUE)?;
    let due = rows::all(statement.query(parameters)?, rows::claimed_mail)?;
    for claimed in &due {
        connection.prepare_cached(sql::CLAIM_MAIL)?.execute(named_params! {
            ":id": claimed.mail.id.as_bytes(),
            ":until": claim.until.millis(),
        })?;
    }
    let taken =
        due.into_iter().map(|due| ClaimedMail { attempts: due.attempts.saturating_add(1), ..due });
    Ok(taken.collect())
}

/// See `MailStore::settle_mail`.
fn settle(
    connection: &Connection,
    id: MailId,
    attempts: u32,
    fate: MailFate,
) -> Result<bool, StoreError> {
    let touched = match fate {
        MailFate::Done => {
            let parameters = named_params! { ":id": id.as_bytes(), ":attempts": attempts };
            connection.prepare_cached(sql::DELETE_MAIL)?.execute(parameters)?
        }
        MailFate::DueAt(at) => {
            let (id, at) = (id.as_bytes(), at.millis());
            let parameters = named_params! { ":id": id, ":attempts": attempts, ":at": at };
            connection.prepare_cached(sql::PUT_OFF_MAIL)?.execute(parameters)?
        }
    };
    Ok(touched == 1)
}
