//! Accounts.

use keyward_core::audit::{AuditContext, AuditEvent, AuditKind, events_since};
use keyward_core::id::UserId;
use keyward_core::session::RevocationReason;
use keyward_core::time::Timestamp;
use rusqlite::{Connection, named_params};

use super::audit::Trace;
use super::{audit, mail, rows, second_factor, sessions, sql};
use crate::store::deletion::context_of_deletion;
use crate::store::{
    Account, DeleteGuard, DeleteUserOutcome, InsertUserOutcome, KeptRole, NewSession, NewUser,
    OpenSessionOutcome, OwnGuard, PasswordHash, StoreError, User,
};

/// See `Store::insert_user`.
pub(super) fn insert(
    connection: &Connection,
    user: &NewUser,
    session: Option<&NewSession>,
    context: &AuditContext,
) -> Result<InsertUserOutcome, StoreError> {
    let mut statement = connection.prepare_cached(sql::INSERT_USER)?;
    let row = statement.query(named_params! {
        ":id": user.id.as_bytes(),
        ":email": user.email.shown(),
        ":email_key": user.email.key(),
        ":name": user.name,
        ":roles": json(&user.roles),
        ":email_verified": user.email_verified,
        ":password_hash": user.password_hash.as_phc(),
        ":now": context.at.millis(),
    })?;
    let Some(inserted) = rows::first(row, rows::user)? else {
        return Ok(InsertUserOutcome::EmailTaken);
    };
    let registered = AuditKind::UserRegistered { by: user.by, roles: user.roles.clone() };
    audit::record(connection, &AuditEvent::of_user(registered, user.id), context)?;
    if let Some(session) = session {
        sessions::start(connection, session, context)?;
    }
    if let Some(verification) = &user.verification {
        mail::issue_token(connection, verification, context)?;
    }
    Ok(InsertUserOutcome::Inserted(inserted))
}

/// See `Store::find_user_by_email`.
pub(super) fn find_by_email(
    connection: &Connection,
    email_key: &str,
) -> Result<Option<Account>, StoreError> {
    let mut statement = connection.prepare_cached(sql::FIND_ACCOUNT_BY_EMAIL)?;
    rows::first(statement.query(named_params! { ":email_key": email_key })?, rows::account)
}

/// See `Store::find_user`.
pub(super) fn find_account(
    connection: &Connection,
    id: UserId,
) -> Result<Option<Account>, StoreError> {
    let mut statement = connection.prepare_cached(sql::FIND_ACCOUNT)?;
    rows::first(statement.query(named_params! { ":id": id.as_bytes() })?, rows::account)
}

/// The user without credentials.
pub(super) fn find(connection: &Connection, id: UserId) -> Result<Option<User>, StoreError> {
    let mut statement = connection.prepare_cached(sql::FIND_USER)?;
    rows::first(statement.query(named_params! { ":id": id.as_bytes() })?, rows::user)
}

/// See `Store::set_name`.
pub(super) fn set_name(
    connection: &Connection,
    id: UserId,
    name: Option<String>,
    context: &AuditContext,
) -> Result<Option<User>, StoreError> {
    let Some(user) = find(connection, id)? else { return Ok(None) };
    if user.name == name {
        return Ok(Some(user));
    }
    let parameters = named_params! { ":id": id.as_bytes(), ":name": name };
    connection.prepare_cached(sql::SET_NAME)?.execute(parameters)?;
    audit::record(
        connection,
        &AuditEvent::of_user(AuditKind::UserUpdated { fields: Vec::new() }, id),
        context,
    )?;
    Ok(Some(User { name, ..user }))
}

/// See `Store::delete_user`. `trace` was found just before.
pub(super) fn delete(
    connection: &Connection,
    id: UserId,
    guard: DeleteGuard,
    trace: &Trace,
    context: &AuditContext,
) -> Result<DeleteUserOutcome, StoreError> {
    let Some(account) = find_account(connection, id)? else {
        return Ok(DeleteUserOutcome::Unmatched);
    };
    if let Some(refused) = guard.refuses(&account, |kept| has_other(connection, id, kept))? {
        return Ok(refused);
    }
    if let Some(own) = guard.own
        && !sessions::is_live(connection, own.session_id, id, context.at)?
    {
        return Ok(DeleteUserOutcome::SessionEnded);
    }
    let nameless = context_of_deletion(context, id);
    audit::record(connection, &AuditEvent::of_user(AuditKind::UserDeleted {}, id), &nameless)?;
    sessions::end_every(connection, id, RevocationReason::UserDeleted, &nameless)?;
    // The outbox tells of it as of a disabling.
    set_disabled_at(connection, id, Some(context.at))?;
    audit::forget_devices(connection, id, trace)?;
    second_factor::forget(connection, id)?;
    let parameters = named_params! { ":id": id.as_bytes() };
    connection.prepare_cached(sql::FORGET_SESSIONS)?.execute(parameters)?;
    connection.prepare_cached(sql::DELETE_USER)?.execute(parameters)?;
    Ok(DeleteUserOutcome::Deleted)
}

pub(super) fn set_disabled_at(
    connection: &Connection,
    id: UserId,
    at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let parameters = named_params! { ":id": id.as_bytes(), ":at": at.map(|at| at.millis()) };
    connection.prepare_cached(sql::SET_DISABLED_AT)?.execute(parameters)?;
    Ok(())
}

/// Whether another user than this one can act by the role.
pub(super) fn has_other(
    connection: &Connection,
    id: UserId,
    kept: KeptRole,
) -> Result<bool, StoreError> {
    let parameters = named_params! {
        ":id": id.as_bytes(), ":role": kept.name, ":verified_only": kept.verified_only,
    };
    let mut statement = connection.prepare_cached(sql::HAS_OTHER_OF_ROLE)?;
    Ok(statement.query_row(parameters, |row| row.get(0))?)
}

/// What the audit log holds of the user by now.
pub(super) fn trace(connection: &Connection, id: UserId) -> Result<Option<Trace>, StoreError> {
    let Some(user) = find(connection, id)? else { return Ok(None) };
    let since = events_since(user.created_at);
    audit::trace(connection, id, since).map(Some)
}

/// See `Store::open_session`.
pub(super) fn open_session(
    connection: &Connection,
    new: &NewSession,
    credential_version: u64,
    context: &AuditContext,
) -> Result<OpenSessionOutcome, StoreError> {
    let user_id = new.session.user_id;
    // The write transaction is the lock: nothing else changes the row until it ends.
    let Some(account) = find_account(connection, user_id)? else {
        return Ok(OpenSessionOutcome::CredentialChanged);
    };
    if let Some(refused) = account.refuses(credential_version) {
        return Ok(refused);
    }
    let (user, ended_others) = sign_in(connection, account.user, new, context)?;
    Ok(OpenSessionOutcome::Opened { user, ended_others })
}

/// Opens the session of a user who has proven who they are; answers the user as of then, and
/// whether other sessions ended.
pub(super) fn sign_in(
    connection: &Connection,
    user: User,
    new: &NewSession,
    context: &AuditContext,
) -> Result<(User, bool), StoreError> {
    let parameters = named_params! { ":id": user.id.as_bytes(), ":now": context.at.millis() };
    connection.prepare_cached(sql::SET_LAST_LOGIN)?.execute(parameters)?;
    let event = AuditEvent::of_session(AuditKind::LoginSucceeded {}, user.id, new.session.id);
    audit::record(connection, &event, context)?;
    let ended_others = sessions::start(connection, new, context)?;
    mail::queue(connection, new.notice.as_ref())?;
    Ok((User { last_login_at: Some(context.at), ..user }, ended_others))
}

/// See `Store::change_password`.
pub(super) fn change_password(
    connection: &Connection,
    new: &NewSession,
    guard: OwnGuard,
    password_hash: &PasswordHash,
    context: &AuditContext,
) -> Result<OpenSessionOutcome, StoreError> {
    let user_id = new.session.user_id;
    // The write transaction is the lock: nothing else changes the row until it ends.
    let Some(account) = find_account(connection, user_id)? else {
        return Ok(OpenSessionOutcome::CredentialChanged);
    };
    if let Some(refused) = account.refuses(guard.credential_version) {
        return Ok(refused);
    }
    if !sessions::is_live(connection, guard.session_id, user_id, context.at)? {
        return Ok(OpenSessionOutcome::SessionEnded);
    }
    mail::carry_tokens(connection, user_id, || set_password(connection, user_id, password_hash))?;
    let changed = AuditKind::PasswordChanged {};
    audit::record(connection, &AuditEvent::of_user(changed, user_id), context)?;
    let ended_others = sessions::restart(connection, new, context)?;
    Ok(OpenSessionOutcome::Opened { user: account.user, ended_others })
}

/// Ends a set-up of a second factor that was begun with the password before, too.
pub(super) fn set_password(
    connection: &Connection,
    id: UserId,
    hash: &PasswordHash,
) -> rusqlite::Result<usize> {
    let parameters = named_params! { ":user_id": id.as_bytes() };
    connection.prepare_cached(sql::second_factor::DELETE_SETUP)?.execute(parameters)?;
    let parameters = named_params! { ":id": id.as_bytes(), ":password_hash": hash.as_phc() };
    connection.prepare_cached(sql::SET_PASSWORD)?.execute(parameters)
}

pub(super) fn json(texts: &[String]) -> String {
    serde_json::Value::from(texts).to_string()
}
