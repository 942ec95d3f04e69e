//! The store in memory: for tests, and as the readable reference for the others.

mod administration;
mod chain;
mod imports;
mod keys;
mod load;
mod mail;
mod purge;
mod second_factor;
mod state;
mod statistics;
mod unlocking;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use keyward_core::audit::chain::Checkpoint;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind, RecordedEvent};
use keyward_core::id::{ServiceKeyId, SessionId, UserId};
use keyward_core::service_key::{ServiceKeyHash, ServiceKeyRecord};
use keyward_core::session::{RevocationReason, Session, Swap};
use keyward_core::time::Timestamp;

use self::state::{State, UserRow, listed_at, matches};
use super::deletion::context_of_deletion;
use super::keys::service_key_created;
use super::{
    Account, AuditFilter, AuditOrder, DeleteGuard, DeleteUserOutcome, InsertUserOutcome, KeyRecord,
    KeyRotation, NewSession, NewUser, OpenSessionOutcome, OwnGuard, PasswordHash, Purge, Purged,
    QueuedMail, Resealed, RevocationCursor, RevocationPage, Revoke, RevokeScope, RevokedSubject,
    RotateOutcome, SessionFilter, SessionOfUser, Standing, Store, StoreError, User,
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
        let registered = AuditKind::UserRegistered { by: user.by, roles: user.roles.clone() };
        state.record(AuditEvent::of_user(registered, user.id), context);
        if let Some(session) = session {
            state.start(session, context);
        }
        if let Some(verification) = user.verification {
            state.issue_token(verification, context);
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
            state.record(
                AuditEvent::of_user(AuditKind::UserUpdated { fields: Vec::new() }, id),
                context,
            );
        }
        Ok(state.user(id))
    }

    async fn delete_user(
        &self,
        id: UserId,
        guard: DeleteGuard,
        context: &AuditContext,
    ) -> Result<DeleteUserOutcome, StoreError> {
        let mut state = self.state();
        let Some(row) = state.users.get(&id) else { return Ok(DeleteUserOutcome::Unmatched) };
        let has_other = |kept| Ok(state.has_other(id, kept));
        if let Some(refused) = guard.refuses::<StoreError>(&row.account, has_other)? {
            return Ok(refused);
        }
        let is_live = |own: OwnGuard| state.is_live_session_of(own.session_id, id, context.at);
        if !guard.own.is_none_or(is_live) {
            return Ok(DeleteUserOutcome::SessionEnded);
        }
        state.users.remove(&id);
        state.forget_second_factor(id);
        state.forget_tokens(id);
        state.forget_mails(id);
        state.salts.remove(&id);
        state.note_revoked(RevokedSubject::User(id), context.at);
        state.record(AuditEvent::of_user(AuditKind::UserDeleted {}, id), context);
        state.end_scope(RevocationReason::UserDeleted, context, RevokeScope::User(id));
        state.forget_devices(id);
        Ok(DeleteUserOutcome::Deleted)
    }

    async fn open_session(
        &self,
        session: NewSession,
        credential_version: u64,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        let mut state = self.state();
        let user_id = session.session.user_id;
        let Some(UserRow { account, .. }) = state.users.get(&user_id) else {
            return Ok(OpenSessionOutcome::CredentialChanged);
        };
        if let Some(refused) = account.refuses(credential_version) {
            return Ok(refused);
        }
        let (user, ended_others) = state.sign_in(session, context)?;
        Ok(OpenSessionOutcome::Opened { user, ended_others })
    }

    async fn change_password(
        &self,
        session: NewSession,
        guard: OwnGuard,
        password_hash: PasswordHash,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        let mut state = self.state();
        let user_id = session.session.user_id;
        let Some(UserRow { account, .. }) = state.users.get(&user_id) else {
            return Ok(OpenSessionOutcome::CredentialChanged);
        };
        if let Some(refused) = account.refuses(guard.credential_version) {
            return Ok(refused);
        }
        if !state.is_live_session_of(guard.session_id, user_id, context.at) {
            return Ok(OpenSessionOutcome::SessionEnded);
        }
        let user = state.set_password_hash(user_id, password_hash);
        let user = user.ok_or(StoreError::Inconsistent("user.id"))?;
        let changed = AuditKind::PasswordChanged {};
        state.record(AuditEvent::of_user(changed, user_id), context);
        let new = session.session.id;
        state.record_created(new, user_id, context);
        let ended =
            state.end_scope(RevocationReason::PasswordChanged, context, RevokeScope::User(user_id));
        let superseded = state.supersede(session.supersedes, context);
        state.sessions.insert(new, session.session);
        state.carry_tokens(user_id);
        state.queue(notice);
        let ended_others = superseded || !ended.is_empty();
        Ok(OpenSessionOutcome::Opened { user, ended_others })
    }

    async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        let mut state = self.state();
        let Some(mut session) = state.sessions.get(&swap.session_id).cloned() else {
            return Ok(RotateOutcome::Refused(Standing::default()));
        };
        let user = state.user(session.user_id);
        if !session.accepts(&swap) {
            return Ok(RotateOutcome::Refused(Standing { session: Some(session), user }));
        }
        // Before anything is changed, so that a failure leaves all as it was.
        let user = user.ok_or(StoreError::Inconsistent("session.user_id"))?;
        session.rotate(&swap);
        state.sessions.insert(session.id, session.clone());
        let refreshed = AuditKind::SessionRefreshed { generation: swap.generation };
        state.record(AuditEvent::of_session(refreshed, session.user_id, session.id), context);
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
        let others = state.end_scope(revoke.reason, context, scope);
        Ok(noticed_id.into_iter().chain(others).collect())
    }

    async fn list_revocations(
        &self,
        after: Option<&RevocationCursor>,
        limit: u32,
    ) -> Result<RevocationPage, StoreError> {
        let state = self.state();
        let from = after.map_or(0, |cursor| cursor.place.position);
        let begin = state.revocations.partition_point(|revoked| revoked.position < from);
        let found = state.revocations[begin..].iter().take(limit as usize).copied().collect();
        Ok(RevocationPage::in_order(found, after, limit))
    }

    async fn record(&self, events: Vec<(AuditEvent, AuditContext)>) -> Result<(), StoreError> {
        let mut state = self.state();
        for (event, context) in events {
            let gone = state.deleted_user_of(&event);
            let context = gone.map_or(context.clone(), |id| context_of_deletion(&context, id));
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
        hand_over: Option<Checkpoint>,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        Ok(self.state().reseal_keys(keys, hand_over, context))
    }

    async fn insert_service_key(
        &self,
        key: ServiceKeyRecord,
        context: &AuditContext,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        state.record(AuditEvent::of_nobody(service_key_created(&key)), context);
        state.service_keys.insert(key.id, key);
        Ok(())
    }

    async fn find_service_key(
        &self,
        hash: ServiceKeyHash,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        Ok(self.state().service_keys.values().find(|key| key.hash == hash).cloned())
    }

    async fn list_service_keys(&self) -> Result<Vec<ServiceKeyRecord>, StoreError> {
        Ok(self.state().service_keys.values().cloned().collect())
    }

    async fn revoke_service_key(
        &self,
        id: ServiceKeyId,
        context: &AuditContext,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        let mut state = self.state();
        let Some(key) = state.service_keys.get_mut(&id) else { return Ok(None) };
        let was_revoked = key.revoked_at.is_some();
        key.revoked_at.get_or_insert(context.at);
        let key = key.clone();
        if !was_revoked {
            let revoked = AuditKind::ServiceKeyRevoked { service_key_id: id };
            state.record(AuditEvent::of_nobody(revoked), context);
        }
        Ok(Some(key))
    }

    async fn purge(
        &self,
        purge: Purge,
        limit: u32,
        context: &AuditContext,
    ) -> Result<Purged, StoreError> {
        Ok(self.state().purge(purge, limit, context))
    }

    async fn prepare_audit(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ping(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }
}
