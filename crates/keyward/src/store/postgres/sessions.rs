//! Sessions.

use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::{SessionId, UserId};
use keyward_core::session::{RevocationReason, Session, StoredProof, Swap};
use keyward_core::time::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connection::{Connection, Connections, Failure, Lent, PATIENCE};
use super::rotations::Rotation;
use super::rows::{Columns, uuid};
use super::{audit, rows, sql};
use crate::store::stored::retry_proof_bytes;
use crate::store::{
    NewSession, Revoke, RotateOutcome, SessionFilter, SessionOfUser, Standing, StoreError, User,
    WhichSessions,
};

/// See `Store::rotate`.
pub(super) async fn rotate(
    connection: Lent,
    swap: &Swap,
    context: &AuditContext,
) -> Result<RotateOutcome, Failure> {
    let refreshed = AuditKind::SessionRefreshed { generation: swap.generation };
    let found = connection
        .query(
            sql::ROTATE,
            &[
                &swap.at.millis(),
                &uuid(swap.session_id.as_bytes()),
                &swap.presented_hash.as_bytes().as_slice(),
                &swap.successor_hash.as_bytes().as_slice(),
                &generation(swap.generation)?,
                &sealed_successor(swap),
                &newest_proof(swap),
                &swap.idle_expires_at.millis(),
                &swap.device.ip,
                &swap.device.user_agent,
                &context.at.millis(),
                &refreshed.name(),
                &context.device.ip,
                &context.device.user_agent,
                &context.request_id,
                &context.detail(&refreshed),
            ],
        )
        .await?;
    let standing = |columns: &mut Columns<'_>| {
        let is_swapped = columns.take("session")?;
        let (session, user) = (rows::session(columns)?, rows::user_if_there(columns)?);
        if is_swapped {
            return swapped(session, user).map(RotateOutcome::Swapped);
        }
        Ok(RotateOutcome::Refused(Standing { session: Some(session), user }))
    };
    let absent = || RotateOutcome::Refused(Standing::default());
    Ok(rows::first(&found, standing)?.unwrap_or_else(absent))
}

/// Exchanges the tokens of several sessions, each of them once, by one statement. `None` for those
/// that were not exchanged, whose session another transaction may hold at the moment.
pub(super) async fn rotate_together(
    connection: Lent,
    rotations: &[&Rotation],
) -> Result<Vec<Option<Result<SessionOfUser, StoreError>>>, Failure> {
    let swaps = || rotations.iter().map(|rotation| &rotation.swap);
    let contexts = || rotations.iter().map(|rotation| &rotation.context);
    let refreshed = |swap: &Swap| AuditKind::SessionRefreshed { generation: swap.generation };
    let details: Vec<_> =
        swaps().zip(contexts()).map(|(swap, context)| context.detail(&refreshed(swap))).collect();
    let found = connection
        .query(
            sql::ROTATE_TOGETHER,
            &[
                &column(swaps(), |swap| swap.at.millis()),
                &column(swaps(), |swap| uuid(swap.session_id.as_bytes())),
                &column(swaps(), |swap| swap.presented_hash.as_bytes().as_slice()),
                &column(swaps(), |swap| swap.successor_hash.as_bytes().as_slice()),
                &swaps().map(|swap| generation(swap.generation)).collect::<Result<Vec<_>, _>>()?,
                &column(swaps(), sealed_successor),
                &column(swaps(), newest_proof),
                &column(swaps(), |swap| swap.idle_expires_at.millis()),
                &column(swaps(), |swap| swap.device.ip.as_deref()),
                &column(swaps(), |swap| swap.device.user_agent.as_deref()),
                &column(contexts(), |context| context.at.millis()),
                &column(swaps(), |swap| refreshed(swap).name()),
                &column(contexts(), |context| context.device.ip.as_deref()),
                &column(contexts(), |context| context.device.user_agent.as_deref()),
                &column(contexts(), |context| context.request_id.as_deref()),
                &details,
            ],
        )
        .await?;
    let mut exchanged: Vec<_> = rotations.iter().map(|_| None).collect();
    let placed = |columns: &mut Columns<'_>| {
        let place = columns.place()?;
        let rotation = rotations.get(place).ok_or(StoreError::Inconsistent("session"))?;
        let session = rows::swapped_session(columns, &rotation.swap);
        Ok((place, session.and_then(|session| swapped(session, rows::user_if_there(columns)?))))
    };
    for (place, found) in rows::all(&found, placed)? {
        exchanged[place] = Some(found);
    }
    Ok(exchanged)
}

fn column<'a, T: 'a, V>(rows: impl Iterator<Item = &'a T>, value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.map(value).collect()
}

fn sealed_successor(swap: &Swap) -> Option<&[u8]> {
    swap.retry.as_ref().map(|retry| retry.sealed_successor.as_bytes())
}

/// An entry of `retry_proofs`, or nothing.
fn newest_proof(swap: &Swap) -> Vec<u8> {
    let proof = swap.retry.as_ref().map(|retry| StoredProof { proof: retry.proof, at: swap.at });
    proof.as_ref().map(|proof| retry_proof_bytes(proof).to_vec()).unwrap_or_default()
}

/// The sessions of a deleted user are revoked, so that none of them swaps.
fn swapped(session: Session, user: Option<User>) -> Result<SessionOfUser, StoreError> {
    let user = user.ok_or(StoreError::Inconsistent("session.user_id"))?;
    Ok(SessionOfUser { session, user })
}

/// See `Store::find_session`.
pub(super) async fn find_of_user(
    connection: Lent,
    id: SessionId,
) -> Result<Option<SessionOfUser>, Failure> {
    let found = connection.query(sql::FIND_SESSION_OF_USER, &[&uuid(id.as_bytes())]).await?;
    Ok(rows::first(&found, rows::session_of_user)?)
}

/// See `Store::list_sessions`.
pub(super) async fn list(
    connection: Lent,
    filter: &SessionFilter,
) -> Result<Vec<Session>, Failure> {
    let (statement, time) = match (filter.which, filter.user_id) {
        (WhichSessions::Live, None) => (sql::LIST_LIVE, filter.now),
        (WhichSessions::Live, Some(_)) => (sql::LIST_LIVE_OF_USER, filter.now),
        (WhichSessions::EndedSince(since), None) => (sql::LIST_ENDED, since),
        (WhichSessions::EndedSince(since), Some(_)) => (sql::LIST_ENDED_OF_USER, since),
    };
    let (time, limit) = (time.millis(), i64::from(filter.limit));
    let user_id = filter.user_id.map(|id| uuid(id.as_bytes()));
    let parameters: &[&(dyn ToSql + Sync)] = &[&time, &limit, &user_id];
    let found = connection.query(statement, &parameters[..statement.types.len()]).await?;
    Ok(rows::all(&found, rows::session)?)
}

/// Whether a change that this session asks for in its user's account may happen: nobody ends the
/// session any more until the transaction does. The user is locked by then; and where the change
/// ends several sessions, all of them are, by [`lock`]: this one alone would be out of their order.
pub(super) async fn lock_live(
    connection: &Connection,
    id: SessionId,
    user_id: UserId,
    now: Timestamp,
) -> Result<bool, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] =
        &[&now.millis(), &uuid(id.as_bytes()), &uuid(user_id.as_bytes())];
    let found = connection.query(sql::LOCK_LIVE_SESSION, parameters).await?;
    Ok(!found.is_empty())
}

/// Inserts a session, ends the one it supersedes and those beyond the user's maximum; answers
/// whether any ended. What happened is added to `events`.
pub(super) async fn start(
    connection: &Connection,
    new: &NewSession,
    context: &AuditContext,
    events: &mut Vec<AuditEvent>,
) -> Result<bool, Failure> {
    const REASON: RevocationReason = RevocationReason::TooMany;
    let user_id = new.session.user_id;
    if new.supersedes.is_some() {
        lock(connection, user_id, new.supersedes).await?;
    }
    insert(connection, &new.session, events).await?;
    let superseded = supersede(connection, new.supersedes, context, events).await?;
    let ended = connection
        .query(
            sql::ending::END_BEYOND_MAX,
            &[
                &context.at.millis(),
                &REASON.as_str(),
                &uuid(user_id.as_bytes()),
                &uuid(new.session.id.as_bytes()),
                &i64::from(new.sessions_max.saturating_sub(1)),
            ],
        )
        .await?;
    note_ended(&ids(&ended)?, REASON, events);
    Ok(superseded || !ended.is_empty())
}

/// Ends every session of the user and the one that the new one supersedes, all of which are locked
/// by [`lock`], and inserts the new one; answers whether any ended. What happened is added to
/// `events`.
pub(super) async fn restart(
    connection: &Connection,
    new: &NewSession,
    context: &AuditContext,
    events: &mut Vec<AuditEvent>,
) -> Result<bool, Failure> {
    const REASON: RevocationReason = RevocationReason::PasswordChanged;
    let ended = take_every(connection, new.session.user_id, REASON, context).await?;
    // The new session is inserted after the others have ended and recorded before they are.
    insert(connection, &new.session, events).await?;
    note_ended(&ended, REASON, events);
    let superseded = supersede(connection, new.supersedes, context, events).await?;
    Ok(superseded || !ended.is_empty())
}

/// Ends the live sessions of a user, and what has timed out without a word: no exchange that began
/// before then, by whatever clock, brings one back. Answers the live ones. What happened is added
/// to `events`.
pub(super) async fn end_every(
    connection: &Connection,
    user_id: UserId,
    reason: RevocationReason,
    context: &AuditContext,
    events: &mut Vec<AuditEvent>,
) -> Result<Vec<SessionId>, Failure> {
    let ended = take_every(connection, user_id, reason, context).await?;
    note_ended(&ended, reason, events);
    Ok(ended.into_iter().map(|(id, _)| id).collect())
}

/// See `Store::revoke`, for every session there is: step by step in the order of their ids, each
/// step a transaction with its events. However many sessions there are, a refresh waits for one
/// step at most, and no message to the server grows with them.
pub(super) async fn revoke_all(
    connections: &Connections,
    revoke: &Revoke,
    step_max: u32,
    context: &AuditContext,
) -> Result<Vec<SessionId>, StoreError> {
    let mut ended = Vec::new();
    if let Some((id, _)) = revoke.noticed {
        let one = |connection| revoke_one(connection, id, None, revoke, context);
        ended = connections.transact(PATIENCE, one).await?;
        if ended.is_empty() {
            return Ok(ended);
        }
    }
    let mut next = Some(FIRST_ID);
    while let Some(behind) = next {
        let step = |connection| end_step(connection, behind, step_max, revoke.reason, context);
        let (of_step, last) = connections.transact(PATIENCE, step).await?;
        ended.extend(of_step);
        next = last;
    }
    Ok(ended)
}

/// See `Store::revoke`, for one session, if it is this user's.
pub(super) async fn revoke_one(
    connection: Lent,
    id: SessionId,
    user_id: Option<UserId>,
    revoke: &Revoke,
    context: &AuditContext,
) -> Result<Vec<SessionId>, Failure> {
    let reason = revoke.reason;
    let kind = match &revoke.noticed {
        Some((noticed, _)) if *noticed != id => return Ok(Vec::new()),
        Some((_, kind)) => kind.clone(),
        None => AuditKind::SessionRevoked { reason },
    };
    let ended = take_one(&connection, id, user_id, reason, context).await?;
    let Some(user_id) = ended else { return Ok(Vec::new()) };
    audit::record(&connection, &[AuditEvent::of_session(kind, user_id, id)], context).await?;
    Ok(vec![id])
}

/// See `Store::revoke`, for the sessions of a user.
pub(super) async fn revoke_of_user(
    connection: Lent,
    user_id: UserId,
    revoke: &Revoke,
    context: &AuditContext,
) -> Result<Vec<SessionId>, Failure> {
    let Revoke { reason, noticed, .. } = revoke;
    let (mut events, mut ended) = (Vec::new(), Vec::new());
    // A sign-in that is in flight either has committed by then and is seen, or waits.
    connection.query(sql::LOCK_ACCOUNT, &[&uuid(user_id.as_bytes())]).await?;
    lock(&connection, user_id, noticed.as_ref().map(|(id, _)| *id)).await?;
    if let Some((id, kind)) = noticed {
        let found = take_one(&connection, *id, Some(user_id), *reason, context).await?;
        let Some(user_id) = found else { return Ok(Vec::new()) };
        events.push(AuditEvent::of_session(kind.clone(), user_id, *id));
        ended.push(*id);
    }
    if *reason == RevocationReason::LogoutAll {
        let parameters: &[&(dyn ToSql + Sync)] = &[&uuid(user_id.as_bytes()), &context.at.millis()];
        connection.query(sql::SET_LAST_LOGOUT, parameters).await?;
    }
    let others = take_every(&connection, user_id, *reason, context).await?;
    note_ended(&others, *reason, &mut events);
    audit::record(&connection, &events, context).await?;
    ended.extend(others.into_iter().map(|(id, _)| id));
    Ok(ended)
}

/// Locks the sessions of the user that nobody has ended, and another one, before they are ended in
/// several steps.
pub(super) async fn lock(
    connection: &Connection,
    user_id: UserId,
    other: Option<SessionId>,
) -> Result<(), Failure> {
    let other = other.map(|id| uuid(id.as_bytes()));
    connection
        .query(sql::ending::LOCK_SESSIONS, &[&uuid(user_id.as_bytes()), &other])
        .await
        .map(drop)
}

async fn supersede(
    connection: &Connection,
    id: Option<SessionId>,
    context: &AuditContext,
    events: &mut Vec<AuditEvent>,
) -> Result<bool, Failure> {
    let Some(id) = id else { return Ok(false) };
    let reason = RevocationReason::Superseded;
    let ended = take_one(connection, id, None, reason, context).await?.map(|user_id| (id, user_id));
    note_ended(ended.as_slice(), reason, events);
    Ok(ended.is_some())
}

/// Ends the sessions of one step, and answers the live ones; and the last one that the step has
/// looked at, where more may follow.
async fn end_step(
    connection: Lent,
    behind: SessionId,
    step_max: u32,
    reason: RevocationReason,
    context: &AuditContext,
) -> Result<(Vec<SessionId>, Option<SessionId>), Failure> {
    let (behind, others_max) = (uuid(behind.as_bytes()), i64::from(step_max.saturating_sub(1)));
    let found = connection.query(sql::ending::FIND_LAST_OF_STEP, &[&behind, &others_max]).await?;
    let last = rows::first(&found, rows::session_id)?;
    let until = uuid(last.unwrap_or(LAST_ID).as_bytes());
    let parameters: &[&(dyn ToSql + Sync)] =
        &[&context.at.millis(), &reason.as_str(), &behind, &until];
    let ended = ids(&connection.query(sql::ending::END_STEP, parameters).await?)?;
    let mut events = Vec::new();
    note_ended(&ended, reason, &mut events);
    audit::record(&connection, &events, context).await?;
    Ok((ended.into_iter().map(|(id, _)| id).collect(), last))
}

/// Ends a session where it is live, and this user's if one is named; answers whose it was.
async fn take_one(
    connection: &Connection,
    id: SessionId,
    user_id: Option<UserId>,
    reason: RevocationReason,
    context: &AuditContext,
) -> Result<Option<UserId>, Failure> {
    let (now, reason, id) = (context.at.millis(), reason.as_str(), uuid(id.as_bytes()));
    let ended = match user_id {
        None => connection.query(sql::ending::END_ONE, &[&now, &reason, &id]).await?,
        Some(user_id) => {
            let user_id = uuid(user_id.as_bytes());
            connection.query(sql::ending::END_ONE_OF_USER, &[&now, &reason, &id, &user_id]).await?
        }
    };
    Ok(rows::first(&ended, rows::session_ids)?.map(|(_, user_id)| user_id))
}

/// Ends every session of a user; answers which were live, in the order of their ids.
async fn take_every(
    connection: &Connection,
    user_id: UserId,
    reason: RevocationReason,
    context: &AuditContext,
) -> Result<Vec<(SessionId, UserId)>, Failure> {
    let parameters: &[&(dyn ToSql + Sync)] =
        &[&context.at.millis(), &reason.as_str(), &uuid(user_id.as_bytes())];
    ids(&connection.query(sql::ending::END_EVERY_OF_USER, parameters).await?)
}

fn ids(ended: &[Row]) -> Result<Vec<(SessionId, UserId)>, Failure> {
    let mut ended = rows::all(ended, rows::session_ids)?;
    ended.sort_unstable();
    Ok(ended)
}

fn note_ended(
    ended: &[(SessionId, UserId)],
    reason: RevocationReason,
    events: &mut Vec<AuditEvent>,
) {
    let revoked = |(id, user_id): &(SessionId, UserId)| {
        AuditEvent::of_session(AuditKind::SessionRevoked { reason }, *user_id, *id)
    };
    events.extend(ended.iter().map(revoked));
}

/// Inserts a session. That it was created is added to `events`.
async fn insert(
    connection: &Connection,
    session: &Session,
    events: &mut Vec<AuditEvent>,
) -> Result<(), Failure> {
    let amr: Vec<&str> = session.amr.iter().map(|method| method.as_str()).collect();
    let proofs: Vec<u8> = session.retry_proofs.iter().flat_map(retry_proof_bytes).collect();
    let previous = session.previous_token_hash.as_ref().map(|hash| hash.as_bytes().as_slice());
    connection
        .query(
            sql::INSERT_SESSION,
            &[
                &uuid(session.id.as_bytes()),
                &uuid(session.user_id.as_bytes()),
                &generation(session.generation)?,
                &session.refresh_token_hash.as_bytes().as_slice(),
                &previous,
                &session.sealed_successor.as_ref().map(|sealed| sealed.as_bytes()),
                &proofs,
                &session.rotated_at.millis(),
                &session.created_at.millis(),
                &session.last_used_at.millis(),
                &session.idle_expires_at.millis(),
                &session.expires_at.millis(),
                &session.revoked.map(|revocation| revocation.at.millis()),
                &session.revoked.map(|revocation| revocation.reason.as_str()),
                &session.device.ip,
                &session.device.user_agent,
                &session.auth_time.millis(),
                &amr,
            ],
        )
        .await?;
    let created = AuditKind::SessionCreated {};
    events.push(AuditEvent::of_session(created, session.user_id, session.id));
    Ok(())
}

/// The generation as PostgreSQL can hold it; beyond that lie millions of years of refreshing.
fn generation(generation: u64) -> Result<i64, StoreError> {
    i64::try_from(generation).map_err(|_| StoreError::Inconsistent("session.generation"))
}

/// How many sessions are ended by one transaction where all of them are.
pub(super) const STEP_MAX: u32 = 2000;

/// Before that of every session: the nil UUID is nobody's.
const FIRST_ID: SessionId = SessionId::from_bytes([0; 16]);

/// Behind that of every other session.
const LAST_ID: SessionId = SessionId::from_bytes([0xff; 16]);

#[cfg(test)]
mod tests;
