//! Mails on their way, and the one-time tokens in them.
//!
//! The user is locked before a token, as before everything else of theirs.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::{MailId, UserId};
use keyward_core::one_time_token::{OneTimeTokenHash, OneTimeTokenRecord, TokenPurpose};
use keyward_core::session::RevocationReason;
use keyward_core::time::Timestamp;
use tokio_postgres::types::ToSql;

use super::connection::{Connection, Failure, Lent, PATIENCE};
use super::rows::uuid;
use super::{PostgresStore, audit, rows, second_factor, sessions, sql, users};
use crate::store::{
    Account, ClaimedMail, MailClaim, MailFate, MailStore, MailedToken, PasswordReset, QueuedMail,
    ResetOutcome, StoreError, User,
};

#[async_trait]
impl MailStore for PostgresStore {
    async fn issue_token(
        &self,
        issued: MailedToken,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| issue_locked(connection, &issued, context))
            .await
    }

    async fn find_token(
        &self,
        hash: OneTimeTokenHash,
        purpose: TokenPurpose,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        self.connections
            .run(PATIENCE, |connection| find_account(connection, hash, purpose, now))
            .await
    }

    async fn reset_password(
        &self,
        reset: PasswordReset,
        context: &AuditContext,
    ) -> Result<Option<ResetOutcome>, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| reset_password(connection, &reset, context))
            .await
    }

    async fn verify_email(
        &self,
        hash: OneTimeTokenHash,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.connections
            .transact(PATIENCE, |connection| verify_email(connection, hash, context))
            .await
    }

    async fn queue_mail(&self, mail: QueuedMail) -> Result<bool, StoreError> {
        self.connections.transact(PATIENCE, |connection| queue_if_known(connection, &mail)).await
    }

    async fn claim_mail(&self, claim: MailClaim) -> Result<Vec<ClaimedMail>, StoreError> {
        self.connections.run(PATIENCE, |connection| claim_mail(connection, claim)).await
    }

    async fn settle_mail(
        &self,
        id: MailId,
        attempts: u32,
        fate: MailFate,
    ) -> Result<bool, StoreError> {
        self.connections.run(PATIENCE, |connection| settle(connection, id, attempts, fate)).await
    }
}

/// See `MailStore::issue_token`.
async fn issue_locked(
    connection: Lent,
    issued: &MailedToken,
    context: &AuditContext,
) -> Result<bool, Failure> {
    let mut events = Vec::new();
    let is_issued = issue_token(&connection, issued, context, &mut events).await?;
    audit::record(&connection, &events, context).await?;
    Ok(is_issued)
}

/// See `MailStore::issue_token`. What happened is added to `events`.
pub(super) async fn issue_token(
    connection: &Connection,
    issued: &MailedToken,
    context: &AuditContext,
    events: &mut Vec<AuditEvent>,
) -> Result<bool, Failure> {
    let token = &issued.token;
    let account = users::lock(connection, token.user_id).await?;
    let token = account.and_then(|account| account.issues(token.clone(), context.at));
    let Some(token) = token else { return Ok(false) };
    if !set_token(connection, &token, issued.yields_beyond).await? {
        return Ok(false);
    }
    events.extend(issued.event().map(|kind| AuditEvent::of_user(kind, token.user_id)));
    queue(connection, Some(&issued.mail)).await?;
    Ok(true)
}

/// `false`: it has yielded to the one before.
async fn set_token(
    connection: &Connection,
    token: &OneTimeTokenRecord,
    yields_beyond: Option<Timestamp>,
) -> Result<bool, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &uuid(token.user_id.as_bytes()),
        &token.purpose.as_str(),
        &token.hash.as_bytes().as_slice(),
        &token.email_key,
        &i64::try_from(token.credential_version).unwrap_or(i64::MAX),
        &token.expires_at.millis(),
        &yields_beyond.map_or(i64::MAX, Timestamp::millis),
    ];
    let set = connection.query(sql::SET_TOKEN, parameters).await?;
    Ok(!set.is_empty())
}

/// The tokens of a user who is locked that outlive a change which is done in the account and raises
/// the credential version by one, as they are after it. A trigger deletes all of the user's, so
/// they are to be put back.
pub(super) async fn carried_tokens(
    connection: &Connection,
    user_id: UserId,
) -> Result<Vec<OneTimeTokenRecord>, Failure> {
    let carried = connection.query(sql::LIST_CARRIED_TOKENS, &[&uuid(user_id.as_bytes())]).await?;
    Ok(rows::all(&carried, rows::one_time_token)?)
}

/// Puts them back.
pub(super) async fn put_back(
    connection: &Connection,
    carried: &[OneTimeTokenRecord],
) -> Result<(), Failure> {
    for token in carried {
        set_token(connection, token, None).await?;
    }
    Ok(())
}

/// Queues a mail, if there is one.
pub(super) async fn queue(
    connection: &Connection,
    mail: Option<&QueuedMail>,
) -> Result<(), Failure> {
    let Some(mail) = mail else { return Ok(()) };
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &uuid(mail.id.as_bytes()),
        &uuid(mail.user_id.as_bytes()),
        &mail.sealed,
        &mail.created_at.millis(),
        &mail.expires_at.millis(),
    ];
    connection.query(sql::INSERT_MAIL, parameters).await.map(drop)
}

/// See `MailStore::queue_mail`.
async fn queue_if_known(connection: Lent, mail: &QueuedMail) -> Result<bool, Failure> {
    let is_known = users::lock(&connection, mail.user_id).await?.is_some();
    queue(&connection, Some(mail).filter(|_| is_known)).await?;
    Ok(is_known)
}

async fn find(
    connection: &Connection,
    hash: OneTimeTokenHash,
    purpose: TokenPurpose,
) -> Result<Option<(OneTimeTokenRecord, Account)>, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&hash.as_bytes().as_slice(), &purpose.as_str()];
    let found = connection.query(sql::FIND_TOKEN, parameters).await?;
    Ok(rows::first(&found, rows::token_of_account)?)
}

/// See `MailStore::find_token`.
async fn find_account(
    connection: Lent,
    hash: OneTimeTokenHash,
    purpose: TokenPurpose,
    now: Timestamp,
) -> Result<Option<Account>, Failure> {
    let found = find(&connection, hash, purpose).await?;
    Ok(found.and_then(|(token, account)| account.accepts(&token, now).then_some(account)))
}

/// Takes the token away where it is live, and the reset may happen that it is for. Of those that
/// wait for the user's row the first one deletes the token, and the others find none. It is looked
/// at once more under the lock: what held the row may have taken it along to another version.
async fn spend(
    connection: &Connection,
    hash: OneTimeTokenHash,
    purpose: TokenPurpose,
    now: Timestamp,
    reset: Option<&PasswordReset>,
) -> Result<Option<User>, Failure> {
    let Some((token, _)) = find(connection, hash, purpose).await? else { return Ok(None) };
    users::lock(connection, token.user_id).await?;
    let found = find(connection, hash, purpose).await?;
    let live = found.filter(|(token, account)| account.accepts(token, now));
    let Some((_, account)) = live else { return Ok(None) };
    if reset.is_some_and(|reset| !reset.may_befall(&account.user)) {
        return Ok(None);
    }
    let deleted = connection.query(sql::DELETE_TOKEN, &[&hash.as_bytes().as_slice()]).await?;
    Ok((!deleted.is_empty()).then_some(account.user))
}

/// See `MailStore::reset_password`.
async fn reset_password(
    connection: Lent,
    reset: &PasswordReset,
    context: &AuditContext,
) -> Result<Option<ResetOutcome>, Failure> {
    let (purpose, now) = (TokenPurpose::ResetPassword, context.at);
    let spent = spend(&connection, reset.hash, purpose, now, Some(reset)).await?;
    let Some(user) = spent else { return Ok(None) };
    let id = user.id;
    let parameters: &[&(dyn ToSql + Sync)] = &[&uuid(id.as_bytes()), &reset.password_hash.as_phc()];
    connection.query(sql::SET_PASSWORD, parameters).await?;
    let mut events = vec![AuditEvent::of_user(AuditKind::PasswordReset {}, id)];
    let user = forget_registrant(&connection, user, reset, &mut events).await?;
    let user = verify(&connection, user, &mut events).await?;
    let reason = RevocationReason::PasswordReset;
    let ended = sessions::end_every(&connection, id, reason, context, &mut events).await?;
    audit::record(&connection, &events, context).await?;
    queue(&connection, reset.notice.as_ref()).await?;
    Ok(Some(ResetOutcome { user, ended_others: !ended.is_empty() }))
}

/// Whoever registered may be another than who reads the mailbox: nothing that they set up is kept.
async fn forget_registrant(
    connection: &Connection,
    user: User,
    reset: &PasswordReset,
    events: &mut Vec<AuditEvent>,
) -> Result<User, Failure> {
    if user.email_verified {
        return Ok(user);
    }
    connection.query(sql::SET_NAME, &[&uuid(user.id.as_bytes()), &None::<&str>]).await?;
    if reset.keeps_second_factor_of(&user) {
        return Ok(User { name: None, ..user });
    }
    second_factor::forget(connection, user.id).await?;
    if user.mfa_enabled_at.is_some() {
        second_factor::set_enabled_at(connection, user.id, None).await?;
        events.push(AuditEvent::of_user(AuditKind::MfaDisabled {}, user.id));
        queue(connection, reset.second_factor_notice.as_ref()).await?;
    }
    Ok(User { name: None, mfa_enabled_at: None, ..user })
}

/// See `MailStore::verify_email`.
async fn verify_email(
    connection: Lent,
    hash: OneTimeTokenHash,
    context: &AuditContext,
) -> Result<Option<User>, Failure> {
    let spent = spend(&connection, hash, TokenPurpose::VerifyEmail, context.at, None).await?;
    let Some(user) = spent else { return Ok(None) };
    let mut events = Vec::new();
    let user = verify(&connection, user, &mut events).await?;
    audit::record(&connection, &events, context).await?;
    Ok(Some(user))
}

async fn verify(
    connection: &Connection,
    user: User,
    events: &mut Vec<AuditEvent>,
) -> Result<User, Failure> {
    if user.email_verified {
        return Ok(user);
    }
    connection.query(sql::SET_EMAIL_VERIFIED, &[&uuid(user.id.as_bytes())]).await?;
    events.push(AuditEvent::of_user(AuditKind::EmailVerified {}, user.id));
    Ok(User { email_verified: true, ..user })
}

/// See `MailStore::claim_mail`.
async fn claim_mail(connection: Lent, claim: MailClaim) -> Result<Vec<ClaimedMail>, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] =
        &[&claim.now.millis(), &claim.until.millis(), &i64::from(claim.limit)];
    let taken = connection.query(sql::CLAIM_MAIL, parameters).await?;
    Ok(rows::all(&taken, rows::claimed_mail)?)
}

/// See `MailStore::settle_mail`.
async fn settle(
    connection: Lent,
    id: MailId,
    attempts: u32,
    fate: MailFate,
) -> Result<bool, Failure> {
    let (id, attempts) = (uuid(id.as_bytes()), i64::from(attempts));
    let touched = match fate {
        MailFate::Done => connection.query(sql::DELETE_MAIL, &[&id, &attempts]).await?,
        MailFate::DueAt(at) => {
            connection.query(sql::PUT_OFF_MAIL, &[&id, &attempts, &at.millis()]).await?
        }
    };
    Ok(!touched.is_empty())
}
