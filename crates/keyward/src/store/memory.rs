//! The store in memory: for tests, and as the readable reference for the others.

mod keys;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind, RecordedEvent};
use keyward_core::id::{SessionId, UserId};
use keyward_core::session::{Device, Revocation, RevocationReason, Session, SessionState, Swap};
use keyward_core::time::Timestamp;
use serde_json::Map;

use super::{
    Account, AuditFilter, AuditOrder, InsertUserOutcome, KeyRecord, KeyRotation, NewSession,
    NewUser, OpenSessionOutcome, PasswordHash, Resealed, Revoke, RevokeScope, RotateOutcome,
    SessionFilter, SessionOfUser, Standing, Store, StoreError, User, WhichSessions,
};

/// Keeps everything in maps behind one lock, and nothing beyond the life of the process.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Only a panic in this file could poison the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn insert_user(
        &self,
        user: NewUser,
        session: Option<NewSession>,
        context: &AuditContext,
    ) -> Result<InsertUserOutcome, StoreError> {
        let mut state = self.state();
        if state.users.values().any(|row| row.email_key == user.email.key()) {
            return Ok(InsertUserOutcome::EmailTaken);
        }
        let row = UserRow::new(&user, context.at);
        let inserted = row.account.user.clone();
        state.users.insert(user.id, row);
        let registered = AuditKind::UserRegistered { by: user.by };
        state.record(AuditEvent::of_user(registered, user.id), context);
        if let Some(session) = session {
            state.start(session, context);
        }
        Ok(InsertUserOutcome::Inserted(inserted))
    }

    async fn find_user_by_email(&self, email_key: &str) -> Result<Option<Account>, StoreError> {
        let state = self.state();
        let row = state.users.values().find(|row| row.email_key == email_key);
        Ok(row.map(|row| row.account.clone()))
    }

    async fn find_user(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        Ok(self.state().users.get(&id).map(|row| row.account.clone()))
    }

    async fn list_users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError> {
        let state = self.state();
        let rows = state.users.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
        Ok(rows.take(limit as usize).map(|(_, row)| row.account.user.clone()).collect())
    }

    async fn set_name(
        &self,
        id: UserId,
        name: Option<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        let mut state = self.state();
        let Some(user) = state.user_mut(id) else { return Ok(None) };
        if user.name != name {
            user.name = name;
            state.record(AuditEvent::of_user(AuditKind::UserUpdated {}, id), context);
        }
        Ok(state.user(id))
    }

    async fn set_roles(
        &self,
        id: UserId,
        roles: Vec<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        let mut state = self.state();
        let Some(user) = state.user_mut(id) else { return Ok(None) };
        if user.roles != roles {
            let before = std::mem::replace(&mut user.roles, roles.clone());
            let changed = AuditKind::UserRolesChanged { before, after: roles };
            state.record(AuditEvent::of_user(changed, id), context);
        }
        Ok(state.user(id))
    }

    async fn set_disabled(
        &self,
        id: UserId,
        disabled: bool,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        let mut state = self.state();
        let Some(user) = state.user_mut(id) else { return Ok(None) };
        if user.disabled_at.is_some() == disabled {
            return Ok(Some(user.clone()));
        }
        user.disabled_at = disabled.then_some(context.at);
        let kind = if disabled { AuditKind::UserDisabled {} } else { AuditKind::UserEnabled {} };
        state.record(AuditEvent::of_user(kind, id), context);
        if disabled {
            state.end(RevocationReason::UserDisabled, context, |session| session.user_id == id);
        }
        Ok(state.user(id))
    }

    async fn delete_user(
        &self,
        id: UserId,
        credential_version: Option<u64>,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        let mut state = self.state();
        let Some(row) = state.users.get(&id) else { return Ok(false) };
        if credential_version.is_some_and(|version| version != row.account.credential_version) {
            return Ok(false);
        }
        state.users.remove(&id);
        state.record(AuditEvent::of_user(AuditKind::UserDeleted {}, id), context);
        state.end(RevocationReason::UserDeleted, context, |session| session.user_id == id);
        state.forget_devices(id);
        Ok(true)
    }

    async fn open_session(
        &self,
        session: NewSession,
        credential_version: u64,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        let mut state = self.state();
        let user_id = session.session.user_id;
        let Some(UserRow { account, .. }) = state.users.get_mut(&user_id) else {
            return Ok(OpenSessionOutcome::CredentialChanged);
        };
        if let Some(refused) = account.refuses(credential_version) {
            return Ok(refused);
        }
        account.user.last_login_at = Some(context.at);
        let user = account.user.clone();
        let succeeded = AuditKind::LoginSucceeded {};
        state.record(AuditEvent::of_session(succeeded, user_id, session.session.id), context);
        state.start(session, context);
        Ok(OpenSessionOutcome::Opened(user))
    }

    async fn change_password(
        &self,
        session: NewSession,
        credential_version: u64,
        password_hash: PasswordHash,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        let mut state = self.state();
        let user_id = session.session.user_id;
        let Some(UserRow { account, .. }) = state.users.get_mut(&user_id) else {
            return Ok(OpenSessionOutcome::CredentialChanged);
        };
        if let Some(refused) = account.refuses(credential_version) {
            return Ok(refused);
        }
        account.password_hash = password_hash;
        account.credential_version += 1;
        let user = account.user.clone();
        let changed = AuditKind::PasswordChanged {};
        state.record(AuditEvent::of_user(changed, user_id), context);
        let new = session.session.id;
        state.record_created(new, user_id, context);
        state.end(RevocationReason::PasswordChanged, context, |old| old.user_id == user_id);
        state.supersede(session.supersedes, context);
        state.sessions.insert(new, session.session);
        Ok(OpenSessionOutcome::Opened(user))
    }

    async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        let mut state = self.state();
        let Some(session) = state.sessions.get_mut(&swap.session_id) else {
            return Ok(RotateOutcome::Refused(Standing::default()));
        };
        let swapped = session.accepts(&swap);
        if swapped {
            session.rotate(&swap);
        }
        let session = session.clone();
        let user = state.user(session.user_id);
        if !swapped {
            return Ok(RotateOutcome::Refused(Standing { session: Some(session), user }));
        }
        let refreshed = AuditKind::SessionRefreshed { generation: swap.generation };
        state.record(AuditEvent::of_session(refreshed, session.user_id, session.id), context);
        let user = user.ok_or(StoreError::Inconsistent("session.user_id"))?;
        Ok(RotateOutcome::Swapped(SessionOfUser { session, user }))
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionOfUser>, StoreError> {
        let state = self.state();
        Ok(state.sessions.get(&id).and_then(|session| {
            let user = state.user(session.user_id)?;
            Some(SessionOfUser { session: session.clone(), user })
        }))
    }

    async fn list_sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, StoreError> {
        let state = self.state();
        let mut found: Vec<(Timestamp, &Session)> = state
            .sessions
            .values()
            .filter(|session| filter.user_id.is_none_or(|id| id == session.user_id))
            .filter_map(|session| Some((listed_at(session, &filter)?, session)))
            .collect();
        found.sort_by_key(|(at, session)| std::cmp::Reverse((*at, session.id)));
        found.truncate(filter.limit as usize);
        Ok(found.into_iter().map(|(_, session)| session.clone()).collect())
    }

    async fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut state = self.state();
        let scope = revoke.scope;
        let mut noticed_id = None;
        if let Some((id, kind)) = revoke.noticed {
            let ends = |session: &Session| session.id == id && scope.covers(session);
            let Some(&(_, user_id)) = state.take_live(revoke.reason, context, ends).first() else {
                return Ok(Vec::new());
            };
            state.record(AuditEvent::of_session(kind, user_id, id), context);
            noticed_id = Some(id);
        }
        if let (RevokeScope::User(id), RevocationReason::LogoutAll) = (scope, revoke.reason)
            && let Some(user) = state.user_mut(id)
        {
            user.last_logout_at = Some(context.at);
        }
        let others = state.end(revoke.reason, context, |session| scope.covers(session));
        Ok(noticed_id.into_iter().chain(others).collect())
    }

    async fn record(&self, events: Vec<(AuditEvent, AuditContext)>) -> Result<(), StoreError> {
        let mut state = self.state();
        for (event, context) in events {
            state.record(event, &context);
        }
        Ok(())
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<RecordedEvent>, StoreError> {
        let state = self.state();
        let matching = state.events.iter().filter(|event| matches(event, &filter)).cloned();
        let limit = filter.limit as usize;
        Ok(match filter.order {
            AuditOrder::After(_) => matching.take(limit).collect(),
            AuditOrder::Newest | AuditOrder::Before(_) => matching.rev().take(limit).collect(),
        })
    }

    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        Ok(self.state().keys.clone())
    }

    async fn rotate_key(
        &self,
        rotation: KeyRotation,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        Ok(self.state().rotate_key(rotation, context))
    }

    async fn reseal_keys(
        &self,
        keys: Vec<Resealed>,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        Ok(self.state().reseal_keys(keys, context))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Default)]
struct State {
    users: BTreeMap<UserId, UserRow>,
    sessions: BTreeMap<SessionId, Session>,
    events: Vec<RecordedEvent>,
    keys: Vec<KeyRecord>,
}

struct UserRow {
    account: Account,
    email_key: String,
}

impl UserRow {
    fn new(user: &NewUser, now: Timestamp) -> Self {
        let email_key = user.email.key().to_owned();
        let password_hash = user.password_hash.clone();
        let user = User {
            id: user.id,
            email: user.email.shown().to_owned(),
            name: user.name.clone(),
            roles: user.roles.clone(),
            email_verified: false,
            claims: Map::new(),
            created_at: now,
            disabled_at: None,
            last_login_at: None,
            last_logout_at: None,
        };
        Self { account: Account { user, password_hash, credential_version: 0 }, email_key }
    }
}

impl State {
    fn user(&self, id: UserId) -> Option<User> {
        self.users.get(&id).map(|row| row.account.user.clone())
    }

    fn user_mut(&mut self, id: UserId) -> Option<&mut User> {
        self.users.get_mut(&id).map(|row| &mut row.account.user)
    }

    /// Inserts a session, ends the one it supersedes and those beyond the user's maximum.
    fn start(&mut self, new: NewSession, context: &AuditContext) {
        let (id, user_id) = (new.session.id, new.session.user_id);
        self.record_created(id, user_id, context);
        self.supersede(new.supersedes, context);
        let mut others: Vec<(Timestamp, SessionId)> = self
            .sessions
            .values()
            .filter(|other| other.user_id == user_id && is_live(other, context.at))
            .map(|other| (other.last_used_at, other.id))
            .collect();
        others.sort_unstable();
        let kept = new.sessions_max.saturating_sub(1) as usize;
        others.truncate(others.len().saturating_sub(kept));
        self.end(RevocationReason::TooMany, context, |session| {
            others.iter().any(|(_, id)| *id == session.id)
        });
        self.sessions.insert(id, new.session);
    }

    fn supersede(&mut self, id: Option<SessionId>, context: &AuditContext) {
        self.end(RevocationReason::Superseded, context, |session| Some(session.id) == id);
    }

    /// Ends the live ones of these sessions and records it.
    fn end(
        &mut self,
        reason: RevocationReason,
        context: &AuditContext,
        ends: impl Fn(&Session) -> bool,
    ) -> Vec<SessionId> {
        let ended = self.take_live(reason, context, ends);
        for (id, user_id) in &ended {
            let revoked = AuditKind::SessionRevoked { reason };
            self.record(AuditEvent::of_session(revoked, *user_id, *id), context);
        }
        ended.into_iter().map(|(id, _)| id).collect()
    }

    fn take_live(
        &mut self,
        reason: RevocationReason,
        context: &AuditContext,
        ends: impl Fn(&Session) -> bool,
    ) -> Vec<(SessionId, UserId)> {
        let mut ended = Vec::new();
        for session in self.sessions.values_mut() {
            if is_live(session, context.at) && ends(session) {
                session.revoked = Some(Revocation { at: context.at, reason });
                ended.push((session.id, session.user_id));
            }
        }
        ended
    }

    fn forget_devices(&mut self, id: UserId) {
        for session in self.sessions.values_mut().filter(|session| session.user_id == id) {
            session.device = Device::default();
        }
        let sessions = &self.sessions;
        let is_own = |id_of_session| {
            sessions.get(&id_of_session).is_some_and(|session| session.user_id == id)
        };
        for event in &mut self.events {
            if event.user_id == Some(id) || event.session_id.is_some_and(is_own) {
                event.device = Device::default();
            }
        }
    }

    fn record_created(&mut self, id: SessionId, user_id: UserId, context: &AuditContext) {
        self.record(AuditEvent::of_session(AuditKind::SessionCreated {}, user_id, id), context);
    }

    fn record(&mut self, event: AuditEvent, context: &AuditContext) {
        let id = self.events.last().map_or(1, |last| last.id + 1);
        self.events.push(RecordedEvent {
            id,
            at: context.at,
            name: event.kind.name().to_owned(),
            user_id: event.user_id,
            session_id: event.session_id,
            device: context.device.clone(),
            request_id: context.request_id.clone(),
            detail: event.kind.detail(),
        });
    }
}

impl RevokeScope {
    /// Whether the session is one of those to end.
    fn covers(self, session: &Session) -> bool {
        match self {
            Self::All => true,
            Self::Session(id) => session.id == id,
            Self::SessionOf(id, user_id) => session.id == id && session.user_id == user_id,
            Self::User(user_id) => session.user_id == user_id,
        }
    }
}

fn is_live(session: &Session, now: Timestamp) -> bool {
    session.state(now) == SessionState::Live
}

/// The time that the session is listed under; `None` where the filter leaves it out.
fn listed_at(session: &Session, filter: &SessionFilter) -> Option<Timestamp> {
    match filter.which {
        WhichSessions::Live => is_live(session, filter.now).then_some(session.last_used_at),
        WhichSessions::EndedSince(since) => {
            session.revoked.map(|revocation| revocation.at).filter(|at| *at >= since)
        }
    }
}

fn matches(event: &RecordedEvent, filter: &AuditFilter) -> bool {
    filter.name.as_ref().is_none_or(|name| *name == event.name)
        && filter.user_id.is_none_or(|id| event.user_id == Some(id))
        && filter.session_id.is_none_or(|id| event.session_id == Some(id))
        && filter.since.is_none_or(|since| event.at >= since)
        && filter.until.is_none_or(|until| event.at < until)
        && match filter.order {
            AuditOrder::Newest => true,
            AuditOrder::Before(id) => event.id < id,
            AuditOrder::After(id) => event.id > id,
        }
}
