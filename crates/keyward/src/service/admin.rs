//! Who may administrate: administrators and other services, past the checks. Beneath it is what
//! they do with the accounts and sessions of others and with the log, one file each; keys and
//! statistics, which the service tends by itself too, are beside it.
//!
//! A service key never reaches an administrator: it changes no account with the role, gives it to
//! nobody, and neither opens nor ends a session of who has it. Otherwise whoever steals the key of
//! a service that keeps accounts would own everything that administrators do.

mod accounts;
mod log;
mod sessions;

use keyward_core::audit::{Actor, AuditContext};
use keyward_core::service_key::{Scope, ServiceKey, ServiceKeyRecord};
use keyward_core::session::AuthenticationMethod;

use super::limits::Try;
use super::{Authenticated, ClientInfo, Failure, Keyward};
use crate::rejections::Rejection;
use crate::store::KeptRole;

pub use accounts::{GivenAccount, GivenCredential, UserPage};
pub use log::AuditPage;
pub use sessions::SessionPage;

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

    /// The role out of the caller's reach.
    const fn spared_role(&self) -> Option<&'static str> {
        match self.actor {
            Actor::ServiceKey(_) => Some(ADMIN_ROLE),
            Actor::User(_) => None,
        }
    }
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
    /// noted, as is everybody else who is no administrator. One from before the second factor does
    /// not count either. What `changes` anything needs a recent sign-in, so that a stolen token is
    /// not enough for long.
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
        self.require_role(caller, ADMIN_ROLE, client)?;
        if changes {
            self.require_recent_sign_in(caller)?;
        }
        Ok(Admin { actor: Actor::User(caller.user.id), client: client.clone() })
    }

    /// Refuses whoever has not this role now; that is noted. The role of administrators counts only
    /// in a session whose user has signed in here, and with the second factor that there is, even
    /// to read: a password and a session from before would open all that others have otherwise.
    ///
    /// # Errors
    ///
    /// [`Failure::InsufficientPermissions`]; of the role of administrators also
    /// [`Failure::ReauthenticationRequired`].
    pub fn require_role(
        &self,
        caller: &Authenticated,
        role: &str,
        client: &ClientInfo,
    ) -> Result<(), Failure> {
        // Who administrates has shown it here, and not to an app that keeps accounts by a key.
        let vouched_for = caller.session.amr.contains(&AuthenticationMethod::External);
        if !caller.user.has_role(role) || (role == ADMIN_ROLE && vouched_for) {
            return Err(self.deny_permission(caller, client));
        }
        if role == ADMIN_ROLE { caller.require_own_factors() } else { Ok(()) }
    }

    /// The refusal of a user who may not do this, which is noted.
    pub(crate) fn deny_permission(&self, caller: &Authenticated, client: &ClientInfo) -> Failure {
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

    async fn find_service_key(&self, text: &str) -> Result<Option<ServiceKeyRecord>, Failure> {
        match ServiceKey::parse(text) {
            Some(key) => Ok(self.store.find_service_key(key.hash()).await?),
            None => Ok(None),
        }
    }

    /// The role that stays with an administrator who can sign in.
    pub(super) fn kept_role(&self) -> KeptRole {
        KeptRole { name: ADMIN_ROLE, verified_only: self.policy.accounts.require_verified_email }
    }

    /// What audit events say of an admin's act.
    pub(super) fn admin_context(&self, by: &Admin) -> AuditContext {
        AuditContext { actor: Some(by.actor), ..by.client.context(self.clock.now()) }
    }
}

/// The role of those who may call the admin API.
pub(super) const ADMIN_ROLE: &str = "admin";
