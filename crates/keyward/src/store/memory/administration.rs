//! What administrators do with accounts.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::session::RevocationReason;

use super::MemoryStore;
use super::state::{State, UserRow};
use crate::store::administration::ended_by_admin;
use crate::store::{
    AdministrationGuard, AdministrationStore, ChangeUserOutcome, EndSessionsOutcome, GivenPassword,
    ProfileChange, Revoke, RevokeScope, RevokedSubject, StoreError, User, UserChange, UserFilter,
    UserOrder,
};

#[async_trait]
impl AdministrationStore for MemoryStore {
    async fn list_users(&self, filter: UserFilter) -> Result<Vec<User>, StoreError> {
        let state = self.state();
        let mut rows: Vec<&UserRow> =
            state.users.values().filter(|row| matches(row, &filter)).collect();
        if let UserOrder::ByEmail { .. } = filter.order {
            rows.sort_unstable_by_key(|row| &row.email_key);
        }
        let rows = rows.into_iter().take(filter.limit as usize);
        Ok(rows.map(|row| row.account.user.clone()).collect())
    }

    async fn change_user(
        &self,
        id: UserId,
        change: UserChange,
        guard: AdministrationGuard,
        context: &AuditContext,
    ) -> Result<ChangeUserOutcome, StoreError> {
        let mut state = self.state();
        let Some(user) = state.user(id) else { return Ok(ChangeUserOutcome::Unmatched) };
        let has_other = |kept| Ok(state.has_other(id, kept));
        if let Some(refused) = guard.refuses::<StoreError>(&user, &change, has_other)? {
            return Ok(refused);
        }
        let changed = match change {
            UserChange::Disable => state.set_disabled(id, true, context),
            UserChange::Enable => state.set_disabled(id, false, context),
            UserChange::Password(given) => state.set_password(id, given, context),
            UserChange::Profile(change) => return Ok(state.change_profile(user, &change, context)),
            UserChange::Roles(roles) => state.set_roles(id, roles, context),
        };
        Ok(changed.map_or(ChangeUserOutcome::Unmatched, ChangeUserOutcome::Changed))
    }

    async fn end_sessions(
        &self,
        subject: RevokedSubject,
        spared_role: Option<&'static str>,
        context: &AuditContext,
    ) -> Result<EndSessionsOutcome, StoreError> {
        let mut state = self.state();
        let user_id = match subject {
            RevokedSubject::Session(id) => state.sessions.get(&id).map(|session| session.user_id),
            RevokedSubject::User(id) => Some(id),
        };
        let Some(user) = user_id.and_then(|id| state.user(id)) else {
            return Ok(EndSessionsOutcome::Unmatched);
        };
        if spared_role.is_some_and(|role| user.has_role(role)) {
            return Ok(EndSessionsOutcome::Spared);
        }
        let Revoke { scope, reason, .. } = ended_by_admin(subject);
        let ended = state.end_scope(reason, context, scope);
        Ok(EndSessionsOutcome::Ended(ended))
    }
}

fn matches(row: &UserRow, filter: &UserFilter) -> bool {
    let user = &row.account.user;
    let in_order = match &filter.order {
        UserOrder::ByEmail { prefix, after } => {
            row.email_key.starts_with(prefix)
                && after.as_ref().is_none_or(|after| row.email_key > *after)
        }
        UserOrder::ById { after } => after.is_none_or(|after| user.id > after),
    };
    in_order
        && filter.role.as_ref().is_none_or(|role| user.has_role(role))
        && filter.disabled.is_none_or(|disabled| user.disabled_at.is_some() == disabled)
}

impl State {
    fn set_roles(
        &mut self,
        id: UserId,
        roles: Vec<String>,
        context: &AuditContext,
    ) -> Option<User> {
        let user = self.user_mut(id)?;
        if user.roles != roles {
            let before = std::mem::replace(&mut user.roles, roles.clone());
            let changed = AuditKind::UserRolesChanged { before, after: roles };
            self.record(AuditEvent::of_user(changed, id), context);
        }
        self.user(id)
    }

    fn set_disabled(&mut self, id: UserId, disabled: bool, context: &AuditContext) -> Option<User> {
        let user = self.user_mut(id)?;
        if user.disabled_at.is_some() == disabled {
            return Some(user.clone());
        }
        user.disabled_at = disabled.then_some(context.at);
        let kind = if disabled { AuditKind::UserDisabled {} } else { AuditKind::UserEnabled {} };
        self.record(AuditEvent::of_user(kind, id), context);
        if disabled {
            self.forget_tokens(id);
            self.note_revoked(RevokedSubject::User(id), context.at);
            self.end_scope(RevocationReason::UserDisabled, context, RevokeScope::User(id));
        } else {
            self.forget_challenges(id);
        }
        self.user(id)
    }

    fn set_password(
        &mut self,
        id: UserId,
        given: GivenPassword,
        context: &AuditContext,
    ) -> Option<User> {
        self.set_password_hash(id, given.hash)?;
        self.forget_tokens(id);
        self.record(AuditEvent::of_user(AuditKind::PasswordSet {}, id), context);
        self.end_scope(RevocationReason::PasswordReset, context, RevokeScope::User(id));
        self.queue(given.notice);
        self.user(id)
    }

    fn change_profile(
        &mut self,
        user: User,
        change: &ProfileChange,
        context: &AuditContext,
    ) -> ChangeUserOutcome {
        let email_key = change.email.as_ref().map(Email::key);
        let is_taken =
            |(id, row): (&UserId, &UserRow)| *id != user.id && Some(&*row.email_key) == email_key;
        if self.users.iter().any(is_taken) {
            return ChangeUserOutcome::EmailTaken;
        }
        let Some((after, updated)) = change.applied_to(&user) else {
            return ChangeUserOutcome::Changed(user);
        };
        if let Some(row) = self.users.get_mut(&user.id) {
            row.account.user = after.clone();
            let before = row.email_key.clone();
            row.email_key = email_key.map_or_else(|| before.clone(), str::to_owned);
            if row.email_key != before {
                self.forget_tokens(user.id);
                self.forget_challenges(user.id);
            }
        }
        self.record(AuditEvent::of_user(updated, user.id), context);
        self.queue(change.notice_of(&user, &after).cloned());
        ChangeUserOutcome::Changed(after)
    }
}
