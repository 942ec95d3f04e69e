//! What administrators and other services do with the accounts of others.
//!
//! A service key never reaches an administrator: it changes no account with the role, gives it to
//! nobody, and opens no session for who has it. Otherwise whoever steals the key of a service that
//! keeps accounts would own everything that administrators do.

use keyward_core::audit::Actor;
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::refresh_token::RefreshToken;
use keyward_core::session::{AuthenticationMethod, Device};

use super::{ADMIN_ROLE, Admin};
use crate::service::{Failure, Keyward, Tokens};
use crate::store::{
    AdministrationGuard, ChangeUserOutcome, OpenSessionOutcome, ProfileChange, StoreError, User,
    UserChange, UserFilter, UserOrder,
};

/// A part of the accounts.
#[derive(Debug)]
pub struct UserPage {
    /// The accounts, in the order that was asked for.
    pub users: Vec<User>,
    /// Where the rest begins; `None` where nothing is left.
    pub next: Option<UserOrder>,
}

impl Keyward {
    /// Lists accounts, [`UserFilter::limit`] at most.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn list_users(&self, filter: UserFilter) -> Result<UserPage, Failure> {
        let limit = filter.limit as usize;
        let with_next = UserFilter { limit: filter.limit.saturating_add(1), ..filter.clone() };
        let mut users = self.store.list_users(with_next).await?;
        let is_last = users.len() <= limit;
        users.truncate(limit);
        let last = users.last().filter(|_| !is_last);
        let next = last.map(|user| match filter.order {
            UserOrder::ById { .. } => UserOrder::ById { after: Some(user.id) },
            UserOrder::ByEmail { prefix, .. } => {
                let after = Email::parse(&user.email).map(|email| email.key().to_owned());
                UserOrder::ByEmail { prefix, after }
            }
        });
        Ok(UserPage { users, next })
    }

    /// Changes the record of an account. Its sessions live on; their access tokens say what is new
    /// from their next refresh on.
    ///
    /// # Errors
    ///
    /// As [`Keyward::set_roles`], and [`Failure::EmailTaken`].
    pub async fn change_profile(
        &self,
        id: UserId,
        change: ProfileChange,
        by: &Admin,
    ) -> Result<User, Failure> {
        self.change_user(id, UserChange::Profile(change), by).await
    }

    /// Gives an account these roles, sorted and distinct, instead of those that it has.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`], [`Failure::LastAdmin`], [`Failure::AdminsOnly`] and
    /// [`Failure::Store`].
    pub async fn set_roles(
        &self,
        id: UserId,
        roles: Vec<String>,
        by: &Admin,
    ) -> Result<User, Failure> {
        self.change_user(id, UserChange::Roles(roles), by).await
    }

    /// Keeps a user from signing in, and ends all their sessions.
    ///
    /// # Errors
    ///
    /// As [`Keyward::set_roles`].
    pub async fn disable_user(&self, id: UserId, by: &Admin) -> Result<User, Failure> {
        let user = self.change_user(id, UserChange::Disable, by).await?;
        self.announce_revocation();
        Ok(user)
    }

    /// Lets a user sign in again.
    ///
    /// # Errors
    ///
    /// As [`Keyward::set_roles`].
    pub async fn enable_user(&self, id: UserId, by: &Admin) -> Result<User, Failure> {
        self.change_user(id, UserChange::Enable, by).await
    }

    /// Opens a session for the user of an app that signs its users in by itself, whose word for it
    /// is `by`'s. `device` is what the app says of the user; the audit log has the app's address.
    /// `supersedes` is the refresh token that the user's browser carried, if its tag was good: that
    /// session is ended.
    ///
    /// The session tells by its `amr` how it came about, and opens no admin route, even where its
    /// user becomes an administrator later.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`], [`Failure::AccountDisabled`], [`Failure::AdminsOnly`] where the user
    /// is an administrator, and [`Failure::Store`].
    pub async fn open_session_of(
        &self,
        id: UserId,
        device: &Device,
        supersedes: Option<&RefreshToken>,
        by: &Admin,
    ) -> Result<Tokens, Failure> {
        for _ in 0..READS_MAX {
            let account = self.store.find_user(id).await?.ok_or(Failure::NotFound)?;
            if account.user.has_role(ADMIN_ROLE) {
                return Err(Failure::AdminsOnly);
            }
            let context = self.admin_context(by);
            let (mut new, token) = self.new_session(id, supersedes, &by.client, context.at);
            new.session.device = device.clone();
            new.session.amr = vec![AuthenticationMethod::External];
            let opened = new.session.clone();
            let version = account.credential_version;
            match self.store.open_session(new, version, &context).await? {
                OpenSessionOutcome::Opened { user, ended_others } => {
                    if ended_others {
                        self.announce_revocation();
                    }
                    return Ok(self.issue_tokens(user, opened, token, context.at));
                }
                // The app's word does not hang on the password: once more, with the new one's.
                OpenSessionOutcome::CredentialChanged => {}
                OpenSessionOutcome::Disabled => return Err(Failure::AccountDisabled),
            }
        }
        Err(StoreError::Unavailable("an account changed with every read".to_owned()).into())
    }

    async fn change_user(
        &self,
        id: UserId,
        change: UserChange,
        by: &Admin,
    ) -> Result<User, Failure> {
        let guard =
            AdministrationGuard { last_of_role: Some(ADMIN_ROLE), spared_role: by.spared_role() };
        match self.store.change_user(id, change, guard, &self.admin_context(by)).await? {
            ChangeUserOutcome::Changed(user) => Ok(user),
            ChangeUserOutcome::EmailTaken => Err(Failure::EmailTaken),
            ChangeUserOutcome::LastOfRole => Err(Failure::LastAdmin),
            ChangeUserOutcome::Spared => Err(Failure::AdminsOnly),
            ChangeUserOutcome::Unmatched => Err(Failure::NotFound),
        }
    }
}

impl Admin {
    /// The role out of the caller's reach.
    pub(super) const fn spared_role(&self) -> Option<&'static str> {
        match self.actor {
            Actor::ServiceKey(_) => Some(ADMIN_ROLE),
            Actor::User(_) => None,
        }
    }
}

/// How often an account is read whose credentials change in between.
const READS_MAX: usize = 4;
