//! What the memory store holds, and the changes that its use cases share.

use std::collections::{BTreeMap, BTreeSet};

use keyward_core::audit::chain::{Checkpoint, UserSalt, is_act_of_another};
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind, RecordedEvent};
use keyward_core::id::{MailId, ServiceKeyId, SessionId, UserId};
use keyward_core::one_time_token::OneTimeTokenRecord;
use keyward_core::second_factor::{MfaTokenHash, RecoveryCodeHash};
use keyward_core::service_key::ServiceKeyRecord;
use keyward_core::session::{Device, Revocation, RevocationReason, Session, SessionState};
use keyward_core::time::Timestamp;
use serde_json::Map;

use super::mail::MailRow;
use crate::store::{
    Account, AuditFilter, AuditOrder, EventCount, KeptRole, KeyRecord, MfaChallenge, NewSession,
    NewUser, PasswordHash, RevokeScope, Revoked, RevokedSubject, SessionFilter, StoreError, Totp,
    User, WhichSessions,
};

#[derive(Default)]
pub(super) struct State {
    pub(super) users: BTreeMap<UserId, UserRow>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) events: Vec<RecordedEvent>,
    /// In the order of their positions.
    pub(super) revocations: Vec<Revoked>,
    /// The last position given out.
    pub(super) position: u64,
    pub(super) keys: Vec<KeyRecord>,
    /// By the beginning of the hour.
    pub(super) counts: BTreeMap<Timestamp, Vec<EventCount>>,
    pub(super) service_keys: BTreeMap<ServiceKeyId, ServiceKeyRecord>,
    pub(super) totps: BTreeMap<UserId, Totp>,
    pub(super) recovery_codes: BTreeSet<(UserId, RecoveryCodeHash)>,
    pub(super) challenges: BTreeMap<MfaTokenHash, MfaChallenge>,
    pub(super) tokens: Vec<OneTimeTokenRecord>,
    pub(super) mails: BTreeMap<MailId, MailRow>,
    pub(super) checkpoints: Vec<Checkpoint>,
    pub(super) salts: BTreeMap<UserId, UserSalt>,
}

pub(super) struct UserRow {
    pub(super) account: Account,
    pub(super) email_key: String,
    pub(super) unlocked_at: Option<Timestamp>,
}

impl UserRow {
    pub(super) fn new(user: &NewUser, now: Timestamp) -> Self {
        let email_key = user.email.key().to_owned();
        let password_hash = user.password_hash.clone();
        let user = User {
            id: user.id,
            email: user.email.shown().to_owned(),
            name: user.name.clone(),
            roles: user.roles.clone(),
            email_verified: user.email_verified,
            claims: Map::new(),
            created_at: now,
            disabled_at: None,
            last_login_at: None,
            last_logout_at: None,
            mfa_enabled_at: None,
        };
        let account = Account { user, password_hash, credential_version: 0 };
        Self { account, email_key, unlocked_at: None }
    }
}

impl State {
    pub(super) fn user(&self, id: UserId) -> Option<User> {
        self.users.get(&id).map(|row| row.account.user.clone())
    }

    pub(super) fn user_mut(&mut self, id: UserId) -> Option<&mut User> {
        self.users.get_mut(&id).map(|row| &mut row.account.user)
    }

    /// Whether another user than this one can act by the role.
    pub(super) fn has_other(&self, id: UserId, kept: KeptRole) -> bool {
        let mut others = self.users.values().map(|row| &row.account.user);
        others.any(|user| user.id != id && kept.is_held_by(user))
    }

    /// Opens the session of a user who has proven who they are.
    pub(super) fn sign_in(
        &mut self,
        mut new: NewSession,
        context: &AuditContext,
    ) -> Result<(User, bool), StoreError> {
        let (id, user_id) = (new.session.id, new.session.user_id);
        let notice = new.notice.take();
        let user = self.user_mut(user_id).ok_or(StoreError::Inconsistent("user.id"))?;
        user.last_login_at = Some(context.at);
        let user = user.clone();
        self.record(AuditEvent::of_session(AuditKind::LoginSucceeded {}, user_id, id), context);
        self.queue(notice);
        Ok((user, self.start(new, context)))
    }

    /// Inserts a session, ends the one it supersedes and those beyond the user's maximum; answers
    /// whether any ended.
    pub(super) fn start(&mut self, new: NewSession, context: &AuditContext) -> bool {
        let (id, user_id) = (new.session.id, new.session.user_id);
        self.record_created(id, user_id, context);
        let superseded = self.supersede(new.supersedes, context);
        let mut others: Vec<(Timestamp, SessionId)> = self
            .sessions
            .values()
            .filter(|other| other.user_id == user_id && is_live(other, context.at))
            .map(|other| (other.last_used_at, other.id))
            .collect();
        others.sort_unstable();
        let kept = new.sessions_max.saturating_sub(1) as usize;
        others.truncate(others.len().saturating_sub(kept));
        let too_many = self.end(RevocationReason::TooMany, context, |session| {
            others.iter().any(|(_, id)| *id == session.id)
        });
        self.sessions.insert(id, new.session);
        superseded || !too_many.is_empty()
    }

    /// Whether a change that this session asks for in its user's account may happen.
    pub(super) fn is_live_session_of(
        &self,
        id: SessionId,
        user_id: UserId,
        now: Timestamp,
    ) -> bool {
        let session = self.sessions.get(&id);
        session.is_some_and(|session| session.user_id == user_id && is_live(session, now))
    }

    /// Ends a set-up that was begun with the password before, too.
    pub(super) fn set_password_hash(&mut self, id: UserId, hash: PasswordHash) -> Option<User> {
        let account = &mut self.users.get_mut(&id)?.account;
        account.password_hash = hash;
        account.credential_version += 1;
        let user = account.user.clone();
        self.forget_setup(id);
        Some(user)
    }

    pub(super) fn supersede(&mut self, id: Option<SessionId>, context: &AuditContext) -> bool {
        let reason = RevocationReason::Superseded;
        !self.end(reason, context, |session| Some(session.id) == id).is_empty()
    }

    /// Ends the live ones of these sessions and records it.
    pub(super) fn end(
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

    pub(super) fn take_live(
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
        for (id, _) in &ended {
            self.note_revoked(RevokedSubject::Session(*id), context.at);
        }
        ended
    }

    pub(super) fn note_revoked(&mut self, subject: RevokedSubject, at: Timestamp) {
        self.position += 1;
        self.revocations.push(Revoked { subject, at, position: self.position });
    }

    /// Ends the live sessions of the scope and records it. Where that is more than one session,
    /// what has timed out ends without a word: no exchange that began before then, by whatever
    /// clock, brings one back. Answers the live ones.
    pub(super) fn end_scope(
        &mut self,
        reason: RevocationReason,
        context: &AuditContext,
        scope: RevokeScope,
    ) -> Vec<SessionId> {
        let live = self.end(reason, context, |session| scope.covers(session));
        if let RevokeScope::Session(_) | RevokeScope::SessionOf(..) = scope {
            return live;
        }
        let mut ended = Vec::new();
        for session in self.sessions.values_mut().filter(|session| scope.covers(session)) {
            if session.revoked.is_none() {
                session.revoked = Some(Revocation { at: context.at, reason });
                ended.push(session.id);
            }
        }
        for id in ended {
            self.note_revoked(RevokedSubject::Session(id), context.at);
        }
        live
    }

    pub(super) fn forget_devices(&mut self, id: UserId) {
        for session in self.sessions.values_mut().filter(|session| session.user_id == id) {
            session.device = Device::default();
        }
        let sessions = self.sessions.values().filter(|session| session.user_id == id);
        // Where a session has left, the log still says whose it was.
        let events = self.events.iter().filter(|event| event.user_id == Some(id));
        let own: BTreeSet<SessionId> = sessions
            .map(|session| session.id)
            .chain(events.filter_map(|event| event.session_id))
            .collect();
        for event in &mut self.events {
            let is_own = event.session_id.is_some_and(|session| own.contains(&session));
            let about = event.user_id == Some(id) || (event.user_id.is_none() && is_own);
            if about && !is_act_of_another(&event.detail, id) {
                event.device = Device::default();
            }
        }
    }

    pub(super) fn record_created(
        &mut self,
        id: SessionId,
        user_id: UserId,
        context: &AuditContext,
    ) {
        self.record(AuditEvent::of_session(AuditKind::SessionCreated {}, user_id, id), context);
    }

    /// Whom the event is about, where they are gone.
    pub(super) fn deleted_user_of(&self, event: &AuditEvent) -> Option<UserId> {
        let session = event.session_id.and_then(|id| self.sessions.get(&id));
        let about = event.user_id.or(session.map(|session| session.user_id));
        about.filter(|id| !self.users.contains_key(id))
    }

    pub(super) fn record(&mut self, event: AuditEvent, context: &AuditContext) {
        let id = self.events.last().map_or(1, |last| last.id + 1);
        self.events.push(RecordedEvent {
            id,
            at: context.at,
            name: event.kind.name().to_owned(),
            user_id: event.user_id,
            session_id: event.session_id,
            device: context.device.clone(),
            request_id: context.request_id.clone(),
            detail: context.detail(&event.kind),
        });
    }
}

impl RevokeScope {
    /// Whether the session is one of those to end.
    pub(super) fn covers(self, session: &Session) -> bool {
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
pub(super) fn listed_at(session: &Session, filter: &SessionFilter) -> Option<Timestamp> {
    match filter.which {
        WhichSessions::Live => is_live(session, filter.now).then_some(session.last_used_at),
        WhichSessions::EndedSince(since) => {
            session.revoked.map(|revocation| revocation.at).filter(|at| *at >= since)
        }
    }
}

pub(super) fn matches(event: &RecordedEvent, filter: &AuditFilter) -> bool {
    filter.name.as_ref().is_none_or(|name| *name == event.name)
        && filter.user_id.is_none_or(|id| event.user_id == Some(id))
        && filter.session_id.is_none_or(|id| event.session_id == Some(id))
        && filter.since.is_none_or(|since| event.at >= since)
        && filter.until.is_none_or(|until| event.at < until)
        && filter.from_id.is_none_or(|id| event.id >= id)
        && match filter.order {
            AuditOrder::Newest => true,
            AuditOrder::Before(id) => event.id < id,
            AuditOrder::After(id) => event.id > id,
        }
}
