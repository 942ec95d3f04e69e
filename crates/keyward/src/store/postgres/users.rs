//! Accounts.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::audit::{AuditContext, AuditEvent, AuditKind, events_since};
use keyward_core::id::UserId;
use keyward_core::session::RevocationReason;
use keyward_core::time::Timestamp;
use tokio_postgres::types::ToSql;

use super::connection::{Connection, Failure, Lent};
use super::rows::uuid;
use super::{audit, mail, rows, second_factor, sessions, sql};
use crate::store::deletion::context_of_deletion;
use crate::store::{
    Account, DeleteGuard, DeleteUserOutcome, InsertUserOutcome, KeptRole, NewSession, NewUser,
    OpenSessionOutcome, OwnGuard, PasswordHash, QueuedMail, User,
};

/// See `Store::insert_user`.
pub(super) async fn insert(
    connection: Lent,
    user: &NewUser,
    session: Option<&NewSession>,
    context: &AuditContext,
) -> Result<InsertUserOutcome, Failure> {
    let inserted = connection
        .query(
            sql::INSERT_USER,
            &[
                &uuid(user.id.as_bytes()),
                &user.email.shown(),
                &user.email.key(),
                &user.name,
                &user.roles,
                &user.email_verified,
                &user.password_hash.as_phc(),
                &context.at.millis(),
            ],
        )
        .await?;
    let Some(inserted) = rows::first(&inserted, rows::user)? else {
        return Ok(InsertUserOutcome::EmailTaken);
    };
    let registered = AuditKind::UserRegistered { by: user.by, roles: user.roles.clone() };
    let mut events = vec![AuditEvent::of_user(registered, user.id)];
    if let Some(session) = session {
        sessions::start(&connection, session, context, &mut events).await?;
    }
    if let Some(verification) = &user.verification {
        mail::issue_token(&connection, verification, context, &mut events).await?;
    }
    audit::record(&connection, &events, context).await?;
    Ok(InsertUserOutcome::Inserted(inserted))
}

/// See `Store::find_user_by_email`.
pub(super) async fn find_by_email(
    connection: Lent,
    email_key: &str,
) -> Result<Option<Account>, Failure> {
    let found = connection.query(sql::FIND_ACCOUNT_BY_EMAIL, &[&email_key]).await?;
    Ok(rows::first(&found, rows::account)?)
}

/// See `Store::find_user`.
pub(super) async fn find_account(connection: Lent, id: UserId) -> Result<Option<Account>, Failure> {
    let found = connection.query(sql::FIND_ACCOUNT, &[&uuid(id.as_bytes())]).await?;
    Ok(rows::first(&found, rows::account)?)
}

/// See `Store::set_name`.
pub(super) async fn set_name(
    connection: Lent,
    id: UserId,
    name: &Option<String>,
    context: &AuditContext,
) -> Result<Option<User>, Failure> {
    let Some(Account { user, .. }) = lock(&connection, id).await? else { return Ok(None) };
    if user.name == *name {
        return Ok(Some(user));
    }
    connection.query(sql::SET_NAME, &[&uuid(id.as_bytes()), name]).await?;
    let updated = [AuditEvent::of_user(AuditKind::UserUpdated { fields: Vec::new() }, id)];
    audit::record(&connection, &updated, context).await?;
    Ok(Some(User { name: name.clone(), ..user }))
}

pub(super) async fn set_disabled_at(
    connection: &Connection,
    id: UserId,
    at: Option<Timestamp>,
) -> Result<(), Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&uuid(id.as_bytes()), &at.map(|at| at.millis())];
    connection.query(sql::SET_DISABLED_AT, parameters).await.map(drop)
}

/// What the audit log holds of the user by now. `None`: no such user.
pub(super) async fn trace(connection: Lent, id: UserId) -> Result<Option<Vec<i64>>, Failure> {
    let Some(account) = find_account(Arc::clone(&connection), id).await? else { return Ok(None) };
    let since = events_since(account.user.created_at);
    audit::trace(&connection, id, since).await.map(Some)
}

/// See `Store::delete_user`. `traced` was found just before.
pub(super) async fn delete(
    connection: Lent,
    id: UserId,
    guard: DeleteGuard,
    traced: &[i64],
    context: &AuditContext,
) -> Result<DeleteUserOutcome, Failure> {
    let has_other = match guard.last_of_role {
        Some(kept) => lock_others(&connection, id, kept).await?,
        None => false,
    };
    let Some(account) = lock_to_delete(&connection, id).await? else {
        return Ok(DeleteUserOutcome::Unmatched);
    };
    if let Some(refused) = guard.refuses(&account, |_| Ok::<_, Failure>(has_other))? {
        return Ok(refused);
    }
    if let Some(own) = guard.own {
        sessions::lock(&connection, id, None).await?;
        if !sessions::lock_live(&connection, own.session_id, id, context.at).await? {
            return Ok(DeleteUserOutcome::SessionEnded);
        }
    }
    let nameless = context_of_deletion(context, id);
    let mut events = vec![AuditEvent::of_user(AuditKind::UserDeleted {}, id)];
    let reason = RevocationReason::UserDeleted;
    sessions::end_every(&connection, id, reason, &nameless, &mut events).await?;
    audit::record(&connection, &events, &nameless).await?;
    // The outbox tells of it as of a disabling.
    set_disabled_at(&connection, id, Some(context.at)).await?;
    audit::forget_devices(&connection, id, traced, context.at.minus(TRACE_OVERLAP)).await?;
    second_factor::forget(&connection, id).await?;
    let id = uuid(id.as_bytes());
    connection.query(sql::FORGET_SESSIONS, &[&id]).await?;
    connection.query(sql::DELETE_USER, &[&id]).await?;
    Ok(DeleteUserOutcome::Deleted)
}

/// See `Store::open_session`.
pub(super) async fn open_session(
    connection: Lent,
    new: &NewSession,
    credential_version: u64,
    context: &AuditContext,
) -> Result<OpenSessionOutcome, Failure> {
    let user_id = new.session.user_id;
    let Some(account) = lock(&connection, user_id).await? else {
        return Ok(OpenSessionOutcome::CredentialChanged);
    };
    if let Some(refused) = account.refuses(credential_version) {
        return Ok(refused);
    }
    let (user, ended_others) = sign_in(&connection, account.user, new, context, Vec::new()).await?;
    Ok(OpenSessionOutcome::Opened { user, ended_others })
}

/// Opens the session of a user who has proven who they are, and records it after these events;
/// answers the user as of then, and whether other sessions ended.
pub(super) async fn sign_in(
    connection: &Connection,
    user: User,
    new: &NewSession,
    context: &AuditContext,
    mut events: Vec<AuditEvent>,
) -> Result<(User, bool), Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&uuid(user.id.as_bytes()), &context.at.millis()];
    connection.query(sql::SET_LAST_LOGIN, parameters).await?;
    let kind = AuditKind::LoginSucceeded {};
    events.push(AuditEvent::of_session(kind, user.id, new.session.id));
    let ended_others = sessions::start(connection, new, context, &mut events).await?;
    audit::record(connection, &events, context).await?;
    mail::queue(connection, new.notice.as_ref()).await?;
    Ok((User { last_login_at: Some(context.at), ..user }, ended_others))
}

/// See `Store::change_password`.
pub(super) async fn change_password(
    connection: Lent,
    new: &NewSession,
    guard: OwnGuard,
    password_hash: &PasswordHash,
    notice: Option<&QueuedMail>,
    context: &AuditContext,
) -> Result<OpenSessionOutcome, Failure> {
    let user_id = new.session.user_id;
    let Some(account) = lock(&connection, user_id).await? else {
        return Ok(OpenSessionOutcome::CredentialChanged);
    };
    if let Some(refused) = account.refuses(guard.credential_version) {
        return Ok(refused);
    }
    sessions::lock(&connection, user_id, new.supersedes).await?;
    if !sessions::lock_live(&connection, guard.session_id, user_id, context.at).await? {
        return Ok(OpenSessionOutcome::SessionEnded);
    }
    let parameters: &[&(dyn ToSql + Sync)] = &[&uuid(user_id.as_bytes()), &password_hash.as_phc()];
    let carried = mail::carried_tokens(&connection, user_id).await?;
    connection.query(sql::SET_PASSWORD, parameters).await?;
    mail::put_back(&connection, &carried).await?;
    let mut events = vec![AuditEvent::of_user(AuditKind::PasswordChanged {}, user_id)];
    let ended_others = sessions::restart(&connection, new, context, &mut events).await?;
    audit::record(&connection, &events, context).await?;
    mail::queue(&connection, notice).await?;
    Ok(OpenSessionOutcome::Opened { user: account.user, ended_others })
}

/// The account, which nobody else changes until the transaction ends. Comes before the locks of
/// sessions, always: who took them the other way round would wait for one another.
pub(super) async fn lock(connection: &Connection, id: UserId) -> Result<Option<Account>, Failure> {
    let found = connection.query(sql::LOCK_ACCOUNT, &[&uuid(id.as_bytes())]).await?;
    Ok(rows::first(&found, rows::account)?)
}

/// As [`lock`], and nobody records anything of the user until then. Comes after the locks of other
/// users, always: who records waits for it with a hold on some of them.
async fn lock_to_delete(connection: &Connection, id: UserId) -> Result<Option<Account>, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] = &[&uuid(id.as_bytes())];
    let found = connection.query(sql::LOCK_ACCOUNT_TO_DELETE, parameters).await?;
    Ok(rows::first(&found, rows::account)?)
}

/// Locks everybody who has the role, this user included: of two who delete each other at once one
/// must see the other gone. Answers whether another one can act by it.
pub(super) async fn lock_others(
    connection: &Connection,
    id: UserId,
    kept: KeptRole,
) -> Result<bool, Failure> {
    connection.query(sql::LOCK_ROLE, &[&kept.name]).await?;
    let parameters: &[&(dyn ToSql + Sync)] =
        &[&uuid(id.as_bytes()), &kept.name, &kept.verified_only];
    let found = connection.query(sql::FIND_OTHER_OF_ROLE, parameters).await?;
    Ok(!found.is_empty())
}

/// Longer than any transaction that was running while the log was traced, and than clocks differ.
const TRACE_OVERLAP: Duration = Duration::from_secs(10 * 60);
