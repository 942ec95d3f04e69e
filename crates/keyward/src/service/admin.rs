//! What administrators and other services do with accounts, sessions and the audit log of others.

mod accounts;
mod log;

use keyward_core::audit::{Actor, AuditContext, RegisteredBy};
use keyward_core::email::Email;
use keyward_core::id::{SessionId, UserId};
use keyward_core::keys::KeyPurpose;
use keyward_core::password::Password;
use keyward_core::service_key::{Scope, ServiceKey, ServiceKeyRecord};
use keyward_core::session::{AuthenticationMethod, RevocationReason, Session};

use super::limits::Try;
use super::{Authenticated, ClientInfo, Failure, KeyStanding, Keyward, Succession};
use crate::rejections::Rejection;
use crate::store::{
    DeleteGuard, DeleteUserOutcome, InsertUserOutcome, NewUser, PasswordHash, Revoke, RevokeScope,
    User,
};

pub use accounts::UserPage;
pub use log::AuditPage;

/// The caller of an admin route, past the checks: only [`Keyward::admin_by_key`] and
/// [`Keyward::admin_by_token`] make one.
#[derive(Debug, Clone)]
pub struct Admin {
    actor: Actor,
    client: ClientInfo,
}

impl Admin {
    /// Who it is.
    pub const fn actor(&self) -> Actor {
        self.actor
    }
}

/// An account that an administrator makes.
#[derive(Debug)]
pub struct GivenAccount {
    /// Where its user is reached.
    pub email: Email,
    /// What the user will sign in with.
    pub credential: GivenCredential,
    /// What the user wants to be called.
    pub name: Option<String>,
    /// Roles, sorted and distinct.
    pub roles: Vec<String>,
    /// Whether the address is known to be the user's.
    pub email_verified: bool,
}

/// What the user of a given account will sign in with.
#[derive(Debug)]
pub enum GivenCredential {
    /// The password whose hash this is, which comes from another system.
    Hash(PasswordHash),
    /// Nothing yet.
    None,
    /// This password.
    Password(Password),
}

/// A part of a user's live sessions.
#[derive(Debug)]
pub struct SessionPage {
    /// The sessions, most recently opened first.
    pub sessions: Vec<Session>,
    /// The session after which the rest begins; `None` where nothing is left.
    pub next: Option<SessionId>,
}

impl Keyward {
    /// Who presents this service key, where the key is live and has the scope. Keys that are
    /// refused are noted; those that there are not count against the address they come from, while
    /// a good one from the same address still goes through.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidToken`] where there is no such key, or it has expired or was revoked;
    /// [`Failure::RateLimited`] past the limit, [`Failure::MissingScope`] without the
    /// scope, and [`Failure::Store`].
    pub async fn admin_by_key(
        &self,
        text: &str,
        scope: Scope,
        client: &ClientInfo,
    ) -> Result<Admin, Failure> {
        let key = self.service_key(text, scope, client).await?;
        Ok(Admin { actor: Actor::ServiceKey(key.id), client: client.clone() })
    }

    /// The service key with this text, under the conditions of [`Keyward::admin_by_key`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn service_key(
        &self,
        text: &str,
        scope: Scope,
        client: &ClientInfo,
    ) -> Result<ServiceKeyRecord, Failure> {
        let Some(key) = self.find_service_key(text).await? else {
            self.note_rejection(Rejection::AccessToken, None, client);
            let tries = vec![Try::ServiceKeyAddress(client.address.into())];
            let _kept = self.limits.count(tries, self.clock.now()).await?;
            return Err(Failure::InvalidToken);
        };
        if !key.is_live(self.clock.now()) {
            self.note_rejection(Rejection::AccessToken, None, client);
            return Err(Failure::InvalidToken);
        }
        if !key.scopes.contains(&scope) {
            let context = AuditContext {
                actor: Some(Actor::ServiceKey(key.id)),
                ..client.context(self.clock.now())
            };
            self.rejections.note(Rejection::Permission, None, context);
            return Err(Failure::MissingScope(scope));
        }
        Ok(key)
    }

    /// Whether a service key is still what it was: live, and with this scope.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn is_good(&self, key: &ServiceKeyRecord, scope: Scope) -> Result<bool, Failure> {
        let now = self.clock.now();
        let found = self.store.find_service_key(key.hash).await?;
        Ok(found.is_some_and(|key| key.is_live(now) && key.scopes.contains(&scope)))
    }

    /// The caller as an administrator. Roles are those of the account now, not of the token. A
    /// session that an app opened for its user does not count, nor does who it lets in; that is
    /// noted, as is everybody else who is no administrator. What
    /// `changes` anything needs a recent sign-in, so that a stolen token is not enough for long.
    ///
    /// # Errors
    ///
    /// [`Failure::InsufficientPermissions`] and [`Failure::ReauthenticationRequired`].
    pub fn admin_by_token(
        &self,
        caller: &Authenticated,
        changes: bool,
        client: &ClientInfo,
    ) -> Result<Admin, Failure> {
        // Who administrates has shown it here, and not to an app that keeps accounts by a key.
        let vouched_for = caller.session.amr.contains(&AuthenticationMethod::External);
        if vouched_for {
            return Err(self.deny_permission(caller, client));
        }
        self.require_role(caller, ADMIN_ROLE, client)?;
        if changes {
            self.require_recent_sign_in(caller)?;
        }
        Ok(Admin { actor: Actor::User(caller.user.id), client: client.clone() })
    }

    /// Refuses whoever has not this role now; that is noted.
    ///
    /// # Errors
    ///
    /// [`Failure::InsufficientPermissions`].
    pub fn require_role(
        &self,
        caller: &Authenticated,
        role: &str,
        client: &ClientInfo,
    ) -> Result<(), Failure> {
        if caller.user.has_role(role) { Ok(()) } else { Err(self.deny_permission(caller, client)) }
    }

    fn deny_permission(&self, caller: &Authenticated, client: &ClientInfo) -> Failure {
        let actor = Some(Actor::User(caller.user.id));
        let context = AuditContext { actor, ..client.context(self.clock.now()) };
        self.rejections.note(Rejection::Permission, Some(caller.session.id), context);
        Failure::InsufficientPermissions
    }

    /// Refuses what is most sensitive to whoever has signed in long ago, or without the second
    /// factor that there is.
    ///
    /// # Errors
    ///
    /// [`Failure::ReauthenticationRequired`].
    pub fn require_recent_sign_in(&self, caller: &Authenticated) -> Result<(), Failure> {
        caller.require_own_factors()?;
        let age = self.clock.now().since(caller.session.auth_time);
        if age > self.policy.accounts.reauthentication_window {
            return Err(Failure::ReauthenticationRequired);
        }
        Ok(())
    }

    /// Makes a new key of this purpose, which signs at once.
    ///
    /// # Errors
    ///
    /// [`Failure::KeyConfigured`], [`Failure::KeyNumbersTaken`] and [`Failure::Store`].
    pub async fn rotate_key_now(
        &self,
        purpose: KeyPurpose,
        by: &Admin,
    ) -> Result<KeyStanding, Failure> {
        let context = self.admin_context(by);
        Ok(self.rotate_key(purpose, Succession::AtOnce, &context).await?)
    }

    /// Makes an account, also where registration is closed. Opens no session.
    ///
    /// # Errors
    ///
    /// [`Failure::AdminsOnly`], [`Failure::PasswordRefused`], [`Failure::EmailTaken`],
    /// [`Failure::Overloaded`] and [`Failure::Store`].
    pub async fn create_user(&self, account: GivenAccount, by: &Admin) -> Result<User, Failure> {
        let GivenAccount { email, credential, name, roles, email_verified } = account;
        if by.spared_role().is_some_and(|spared| roles.iter().any(|role| role == spared)) {
            return Err(Failure::AdminsOnly);
        }
        let password_hash = match credential {
            GivenCredential::Hash(hash) => hash,
            GivenCredential::None => self.hashing.no_password(),
            GivenCredential::Password(password) => {
                let password = self.judge_password(password, &email, name.as_deref()).await?;
                self.hash_password(password).await?
            }
        };
        let context = self.admin_context(by);
        let user = NewUser {
            id: UserId::new(context.at, self.random()),
            email,
            name,
            roles,
            password_hash,
            email_verified,
            by: RegisteredBy::Admin,
            verification: None,
        };
        match self.store.insert_user(user, None, &context).await? {
            InsertUserOutcome::Inserted(user) => Ok(user),
            InsertUserOutcome::EmailTaken => Err(Failure::EmailTaken),
        }
    }

    /// The user with this id.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`] and [`Failure::Store`].
    pub async fn user(&self, id: UserId) -> Result<User, Failure> {
        let account = self.store.find_user(id).await?;
        account.map(|account| account.user).ok_or(Failure::NotFound)
    }

    /// Deletes an account with its sessions and what is personal.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`], [`Failure::LastAdmin`], [`Failure::AdminsOnly`] and
    /// [`Failure::Store`].
    pub async fn delete_user(&self, id: UserId, by: &Admin) -> Result<(), Failure> {
        // What waits to be recorded holds addresses too, and must be there to be forgotten.
        self.rejections.flush().await;
        let guard = DeleteGuard {
            credential_version: None,
            last_of_role: Some(ADMIN_ROLE),
            spared_role: by.spared_role(),
        };
        match self.store.delete_user(id, guard, &self.admin_context(by)).await? {
            DeleteUserOutcome::Deleted => {
                self.announce_revocation();
                Ok(())
            }
            DeleteUserOutcome::LastOfRole => Err(Failure::LastAdmin),
            DeleteUserOutcome::Spared => Err(Failure::AdminsOnly),
            DeleteUserOutcome::Unmatched => Err(Failure::NotFound),
        }
    }

    /// Lists a user's live sessions, `limit` at most, from those opened before `after`.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`] where there is no such user, and [`Failure::Store`].
    pub async fn sessions_of(
        &self,
        id: UserId,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<SessionPage, Failure> {
        self.user(id).await?;
        let mut sessions = self.sessions(id).await?.live;
        // Ids made later sort later, and unlike the last use they stay: no page skips a session.
        sessions.sort_unstable_by_key(|session| std::cmp::Reverse(session.id));
        sessions.retain(|session| after.is_none_or(|after| session.id < after));
        let is_last = sessions.len() <= limit as usize;
        sessions.truncate(limit as usize);
        let next = sessions.last().filter(|_| !is_last).map(|session| session.id);
        Ok(SessionPage { sessions, next })
    }

    /// Ends every session of a user and answers how many were live.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`] where there is no such user, and [`Failure::Store`].
    pub async fn revoke_user(&self, id: UserId, by: &Admin) -> Result<usize, Failure> {
        self.user(id).await?;
        self.revoke_as_admin(RevokeScope::User(id), by).await
    }

    /// Ends one session, whoever's it is.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`] where it is not live, and [`Failure::Store`].
    pub async fn revoke_session(&self, id: SessionId, by: &Admin) -> Result<(), Failure> {
        match self.revoke_as_admin(RevokeScope::Session(id), by).await? {
            0 => Err(Failure::NotFound),
            _ => Ok(()),
        }
    }

    async fn revoke_as_admin(&self, scope: RevokeScope, by: &Admin) -> Result<usize, Failure> {
        let revoke = Revoke { scope, reason: RevocationReason::Admin, noticed: None };
        Ok(self.revoke(revoke, &self.admin_context(by)).await?.len())
    }

    async fn find_service_key(&self, text: &str) -> Result<Option<ServiceKeyRecord>, Failure> {
        match ServiceKey::parse(text) {
            Some(key) => Ok(self.store.find_service_key(key.hash()).await?),
            None => Ok(None),
        }
    }

    /// What audit events say of an admin's act.
    fn admin_context(&self, by: &Admin) -> AuditContext {
        AuditContext { actor: Some(by.actor), ..by.client.context(self.clock.now()) }
    }
}

/// The role of those who may call the admin API.
pub(super) const ADMIN_ROLE: &str = "admin";
