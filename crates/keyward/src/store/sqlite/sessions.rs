//! Sessions.

use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::{SessionId, UserId};
use keyward_core::session::{RevocationReason, Session, SessionState, StoredProof, Swap};
use keyward_core::time::Timestamp;
use rusqlite::{Connection, Rows, ToSql, named_params};
use serde_json::Value;

use super::{audit, rows, sql, users};
use crate::store::stored::retry_proof_bytes;
use crate::store::{
    NewSession, Revoke, RevokeScope, RotateOutcome, SessionFilter, SessionOfUser, Standing,
    StoreError, WhichSessions,
};

/// See `Store::rotate`.
pub(super) fn rotate(
    connection: &Connection,
    swap: &Swap,
    context: &AuditContext,
) -> Result<RotateOutcome, StoreError> {
    let Some(session) = exchange(connection, swap)? else {
        return standing(connection, swap.session_id).map(RotateOutcome::Refused);
    };
    let refreshed = AuditKind::SessionRefreshed { generation: swap.generation };
    let event = AuditEvent::of_session(refreshed, session.user_id, session.id);
    audit::record(connection, &event, context)?;
    // The sessions of a deleted user are revoked, so that none of them swaps.
    let user = users::find(connection, session.user_id)?;
    let user = user.ok_or(StoreError::Inconsistent("session.user_id"))?;
    Ok(RotateOutcome::Swapped(SessionOfUser { session, user }))
}

fn standing(connection: &Connection, id: SessionId) -> Result<Standing, StoreError> {
    let session = find(connection, id)?;
    let user = match &session {
        Some(session) => users::find(connection, session.user_id)?,
        None => None,
    };
    Ok(Standing { session, user })
}

/// The guarded write. Answers the session if the token was exchanged.
fn exchange(connection: &Connection, swap: &Swap) -> Result<Option<Session>, StoreError> {
    let proof = swap
        .retry
        .as_ref()
        .map(|retry| retry_proof_bytes(&StoredProof { proof: retry.proof, at: swap.at }));
    let mut statement = connection.prepare_cached(sql::ROTATE)?;
    let rows = statement.query(named_params! {
        ":id": swap.session_id.as_bytes(),
        ":presented_hash": swap.presented_hash.as_bytes(),
        ":successor_hash": swap.successor_hash.as_bytes(),
        ":generation": generation(swap.generation)?,
        ":sealed_successor": swap.retry.as_ref().map(|retry| retry.sealed_successor.as_bytes()),
        ":proof": proof.as_ref().map_or(&[][..], |proof| proof),
        ":now": swap.at.millis(),
        ":idle_expires_at": swap.idle_expires_at.millis(),
        ":ip": swap.device.ip,
        ":user_agent": swap.device.user_agent,
    })?;
    rows::first(rows, rows::session)
}

fn find(connection: &Connection, id: SessionId) -> Result<Option<Session>, StoreError> {
    let mut statement = connection.prepare_cached(sql::FIND_SESSION)?;
    rows::first(statement.query(named_params! { ":id": id.as_bytes() })?, rows::session)
}

/// Whether a change that this session asks for in its user's account may happen.
pub(super) fn is_live(
    connection: &Connection,
    id: SessionId,
    user_id: UserId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let session = find(connection, id)?.filter(|session| session.user_id == user_id);
    Ok(session.is_some_and(|session| session.state(now) == SessionState::Live))
}

/// See `Store::find_session`.
pub(super) fn find_of_user(
    connection: &Connection,
    id: SessionId,
) -> Result<Option<SessionOfUser>, StoreError> {
    let mut statement = connection.prepare_cached(sql::FIND_SESSION_OF_USER)?;
    rows::first(statement.query(named_params! { ":id": id.as_bytes() })?, rows::session_of_user)
}

/// See `Store::list_sessions`.
pub(super) fn list(
    connection: &Connection,
    filter: &SessionFilter,
) -> Result<Vec<Session>, StoreError> {
    let (text, time_name, time) = match (filter.which, filter.user_id) {
        (WhichSessions::Live, None) => (sql::LIST_LIVE, ":now", filter.now),
        (WhichSessions::Live, Some(_)) => (sql::LIST_LIVE_OF_USER, ":now", filter.now),
        (WhichSessions::EndedSince(since), None) => (sql::LIST_ENDED, ":since", since),
        (WhichSessions::EndedSince(since), Some(_)) => (sql::LIST_ENDED_OF_USER, ":since", since),
    };
    let mut statement = connection.prepare_cached(text)?;
    let (time, user_id) = (time.millis(), filter.user_id.map(|id| *id.as_bytes()));
    let parameters: &[(&str, &dyn ToSql)] =
        &[(time_name, &time), (":limit", &filter.limit), (":user_id", &user_id)];
    let used = if user_id.is_some() { 3 } else { 2 };
    rows::all(statement.query(&parameters[..used])?, rows::session)
}

/// Inserts a session, ends the one it supersedes and those beyond the user's maximum; answers
/// whether any ended.
pub(super) fn start(
    connection: &Connection,
    new: &NewSession,
    context: &AuditContext,
) -> Result<bool, StoreError> {
    insert(connection, &new.session, context)?;
    let superseded = supersede(connection, new.supersedes, context)?;
    let too_many = end_beyond_max(connection, new, context)?;
    Ok(superseded || too_many)
}

/// Ends every session of the user and the one that the new one supersedes, and inserts the new one;
/// answers whether any ended.
pub(super) fn restart(
    connection: &Connection,
    new: &NewSession,
    context: &AuditContext,
) -> Result<bool, StoreError> {
    let reason = RevocationReason::PasswordChanged;
    let scope = RevokeScope::User(new.session.user_id);
    let ended = take_live(connection, scope, reason, context)?;
    // The new session is inserted after the others have ended and recorded before they are.
    insert(connection, &new.session, context)?;
    record_ended(connection, &ended, reason, context)?;
    let superseded = supersede(connection, new.supersedes, context)?;
    Ok(superseded || !ended.is_empty())
}

/// Ends live sessions and records it; answers which.
pub(super) fn end(
    connection: &Connection,
    scope: RevokeScope,
    reason: RevocationReason,
    context: &AuditContext,
) -> Result<Vec<SessionId>, StoreError> {
    let ended = take_live(connection, scope, reason, context)?;
    record_ended(connection, &ended, reason, context)?;
    Ok(ended.into_iter().map(|(id, _)| id).collect())
}

/// Ends the live sessions of a user and records it, and what has timed out without a word: no
/// exchange that began before then, by whatever clock, brings one back. Answers the live ones.
pub(super) fn end_every(
    connection: &Connection,
    user_id: UserId,
    reason: RevocationReason,
    context: &AuditContext,
) -> Result<Vec<SessionId>, StoreError> {
    end(connection, RevokeScope::User(user_id), reason, context)
}

/// See `Store::revoke`.
pub(super) fn revoke(
    connection: &Connection,
    revoke: Revoke,
    context: &AuditContext,
) -> Result<Vec<SessionId>, StoreError> {
    let mut noticed_id = None;
    if let Some((id, kind)) = revoke.noticed {
        let Some(scope) = narrowed(revoke.scope, id) else { return Ok(Vec::new()) };
        let ended = take_live(connection, scope, revoke.reason, context)?;
        let Some(&(_, user_id)) = ended.first() else { return Ok(Vec::new()) };
        audit::record(connection, &AuditEvent::of_session(kind, user_id, id), context)?;
        noticed_id = Some(id);
    }
    if let (RevokeScope::User(id), RevocationReason::LogoutAll) = (revoke.scope, revoke.reason) {
        let parameters = named_params! { ":id": id.as_bytes(), ":now": context.at.millis() };
        connection.prepare_cached(sql::SET_LAST_LOGOUT)?.execute(parameters)?;
    }
    let others = end(connection, revoke.scope, revoke.reason, context)?;
    Ok(noticed_id.into_iter().chain(others).collect())
}

/// The part of the scope that is this one session.
fn narrowed(scope: RevokeScope, id: SessionId) -> Option<RevokeScope> {
    match scope {
        RevokeScope::All => Some(RevokeScope::Session(id)),
        RevokeScope::User(user_id) => Some(RevokeScope::SessionOf(id, user_id)),
        RevokeScope::Session(other) | RevokeScope::SessionOf(other, _) => {
            (other == id).then_some(scope)
        }
    }
}

fn supersede(
    connection: &Connection,
    id: Option<SessionId>,
    context: &AuditContext,
) -> Result<bool, StoreError> {
    let Some(id) = id else { return Ok(false) };
    let ended = end(connection, RevokeScope::Session(id), RevocationReason::Superseded, context)?;
    Ok(!ended.is_empty())
}

fn end_beyond_max(
    connection: &Connection,
    new: &NewSession,
    context: &AuditContext,
) -> Result<bool, StoreError> {
    const REASON: RevocationReason = RevocationReason::TooMany;
    let mut statement = connection.prepare_cached(sql::END_BEYOND_MAX)?;
    let ended = take(statement.query(named_params! {
        ":user_id": new.session.user_id.as_bytes(),
        ":new": new.session.id.as_bytes(),
        ":others_max": new.sessions_max.saturating_sub(1),
        ":now": context.at.millis(),
        ":reason": REASON.as_str(),
    })?)?;
    record_ended(connection, &ended, REASON, context)?;
    Ok(!ended.is_empty())
}

/// Ends live sessions without recording it; and where all there are end, or all of a user's, what
/// has timed out too, of which it says nothing.
fn take_live(
    connection: &Connection,
    scope: RevokeScope,
    reason: RevocationReason,
    context: &AuditContext,
) -> Result<Vec<(SessionId, UserId)>, StoreError> {
    let (now, reason) = (context.at.millis(), reason.as_str());
    let (text, id, user_id) = match scope {
        RevokeScope::All => (sql::END_ALL, None, None),
        RevokeScope::Session(id) => (sql::END_ONE, Some(id), None),
        RevokeScope::SessionOf(id, user_id) => (sql::END_ONE_OF_USER, Some(id), Some(user_id)),
        RevokeScope::User(user_id) => (sql::END_OF_USER, None, Some(user_id)),
    };
    let mut parameters: Vec<(&str, &dyn ToSql)> = vec![(":now", &now), (":reason", &reason)];
    let (id, user_id) = (id.map(|id| *id.as_bytes()), user_id.map(|id| *id.as_bytes()));
    parameters.extend(id.as_ref().map(|id| (":id", id as &dyn ToSql)));
    parameters.extend(user_id.as_ref().map(|id| (":user_id", id as &dyn ToSql)));
    let live = take(connection.prepare_cached(text)?.query(parameters.as_slice())?)?;
    let expired = match scope {
        RevokeScope::All => sql::END_EXPIRED,
        RevokeScope::User(_) => sql::END_EXPIRED_OF_USER,
        RevokeScope::Session(_) | RevokeScope::SessionOf(..) => return Ok(live),
    };
    connection.prepare_cached(expired)?.execute(parameters.as_slice())?;
    Ok(live)
}

/// The sessions that an `UPDATE` has ended, in the order of their ids.
fn take(rows: Rows<'_>) -> Result<Vec<(SessionId, UserId)>, StoreError> {
    let mut ended = rows::all(rows, rows::session_ids)?;
    ended.sort_unstable();
    Ok(ended)
}

fn record_ended(
    connection: &Connection,
    ended: &[(SessionId, UserId)],
    reason: RevocationReason,
    context: &AuditContext,
) -> Result<(), StoreError> {
    for (id, user_id) in ended {
        let event = AuditEvent::of_session(AuditKind::SessionRevoked { reason }, *user_id, *id);
        audit::record(connection, &event, context)?;
    }
    Ok(())
}

/// Inserts a session and records it.
fn insert(
    connection: &Connection,
    session: &Session,
    context: &AuditContext,
) -> Result<(), StoreError> {
    let amr: Vec<&str> = session.amr.iter().map(|method| method.as_str()).collect();
    let proofs: Vec<u8> = session.retry_proofs.iter().flat_map(retry_proof_bytes).collect();
    let revoked = session.revoked;
    connection.prepare_cached(sql::INSERT_SESSION)?.execute(named_params! {
        ":id": session.id.as_bytes(),
        ":user_id": session.user_id.as_bytes(),
        ":generation": generation(session.generation)?,
        ":refresh_token_hash": session.refresh_token_hash.as_bytes(),
        ":previous_token_hash": session.previous_token_hash.as_ref().map(|hash| hash.as_bytes()),
        ":sealed_successor": session.sealed_successor.as_ref().map(|sealed| sealed.as_bytes()),
        ":retry_proofs": proofs,
        ":rotated_at": session.rotated_at.millis(),
        ":created_at": session.created_at.millis(),
        ":last_used_at": session.last_used_at.millis(),
        ":idle_expires_at": session.idle_expires_at.millis(),
        ":expires_at": session.expires_at.millis(),
        ":revoked_at": revoked.map(|revocation| revocation.at.millis()),
        ":revoked_reason": revoked.map(|revocation| revocation.reason.as_str()),
        ":ip": session.device.ip,
        ":user_agent": session.device.user_agent,
        ":auth_time": session.auth_time.millis(),
        ":amr": Value::from(amr).to_string(),
    })?;
    let created = AuditKind::SessionCreated {};
    audit::record(
        connection,
        &AuditEvent::of_session(created, session.user_id, session.id),
        context,
    )
}

/// The generation as SQLite can hold it; beyond that lie millions of years of refreshing.
fn generation(generation: u64) -> Result<i64, StoreError> {
    i64::try_from(generation).map_err(|_| StoreError::Inconsistent("session.generation"))
}
