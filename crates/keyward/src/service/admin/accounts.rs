//! The accounts of others.

use keyward_core::audit::RegisteredBy;
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::password::Password;

use super::Admin;
use crate::mail::{Mail, Occasion};
use crate::service::{Failure, Keyward};
use crate::store::{
    AdministrationGuard, ChangeUserOutcome, DeleteGuard, DeleteUserOutcome, InsertUserOutcome,
    NewUser, PasswordHash, ProfileChange, QueuedMail, StoreError, User, UserChange, UserFilter,
    UserOrder,
};

/// A part of the accounts.
#[derive(Debug)]
pub struct UserPage {
    /// The accounts, in the order that was asked for.
    pub users: Vec<User>,
    /// Where the rest begins; `None` where nothing is left.
    pub next: Option<UserOrder>,
}

/// An account that an administrator makes.
#[derive(Debug)]
pub struct GivenAccount {
    /// Where its user is reached.
    pub email: Email,
    /// What the user will sign in with, by [`Keyward::hash_given`].
    pub password_hash: PasswordHash,
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

    /// The user with this id.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`] and [`Failure::Store`].
    pub async fn user(&self, id: UserId) -> Result<User, Failure> {
        let account = self.store.find_user(id).await?;
        account.map(|account| account.user).ok_or(Failure::NotFound)
    }

    /// The hash of what the user of an account to be made will sign in with. It waits for its turn:
    /// whoever makes the account has to be asked afterwards who they are.
    ///
    /// # Errors
    ///
    /// [`Failure::PasswordRefused`] and [`Failure::Overloaded`].
    pub async fn hash_given(
        &self,
        credential: GivenCredential,
        email: &Email,
        name: Option<&str>,
    ) -> Result<PasswordHash, Failure> {
        match credential {
            GivenCredential::Hash(hash) => Ok(hash),
            GivenCredential::None => Ok(self.hashing.no_password()),
            GivenCredential::Password(password) => {
                let password = self.judge_password(password, email, name).await?;
                self.hash_password(password).await
            }
        }
    }

    /// Makes an account, also where registration is closed. Opens no session.
    ///
    /// # Errors
    ///
    /// [`Failure::AdminsOnly`], [`Failure::EmailTaken`] and [`Failure::Store`].
    pub async fn create_user(&self, account: GivenAccount, by: &Admin) -> Result<User, Failure> {
        let GivenAccount { email, password_hash, name, roles, email_verified } = account;
        if by.spared_role().is_some_and(|spared| roles.iter().any(|role| role == spared)) {
            return Err(Failure::AdminsOnly);
        }
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

    /// Changes the record of an account. Its sessions live on; their access tokens say what is new
    /// from their next refresh on. Another address is told to whoever reads the one before.
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
        let notice = match &change.email {
            Some(_) => self.notice_of_another_address(id).await?,
            None => None,
        };
        let change = UserChange::Profile(ProfileChange { notice, ..change });
        let user = self.change_user(id, change, by).await?;
        self.mail_queued.notify_one();
        Ok(user)
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

    /// Deletes an account with its sessions and what is personal.
    ///
    /// # Errors
    ///
    /// [`Failure::NotFound`], [`Failure::LastAdmin`], [`Failure::AdminsOnly`],
    /// [`Failure::LogOverloaded`] and [`Failure::Store`].
    pub async fn delete_user(&self, id: UserId, by: &Admin) -> Result<(), Failure> {
        let _turn = self.log_turn().await?;
        // What waits to be recorded holds addresses too, and must be there to be forgotten.
        self.rejections.flush_noted().await;
        let guard = DeleteGuard {
            own: None,
            last_of_role: Some(self.kept_role()),
            spared_role: by.spared_role(),
        };
        match self.store.delete_user(id, guard, &self.admin_context(by)).await? {
            DeleteUserOutcome::Deleted => {
                self.announce_revocation();
                Ok(())
            }
            DeleteUserOutcome::LastOfRole => Err(Failure::LastAdmin),
            DeleteUserOutcome::Spared => Err(Failure::AdminsOnly),
            DeleteUserOutcome::SessionEnded | DeleteUserOutcome::Unmatched => {
                Err(Failure::NotFound)
            }
        }
    }

    /// To the address that the account has now. It says nothing of who changes it: users need not
    /// know where administrators sit.
    async fn notice_of_another_address(
        &self,
        id: UserId,
    ) -> Result<Option<QueuedMail>, StoreError> {
        let Some(account) = self.store.find_user(id).await? else { return Ok(None) };
        let now = self.clock.now();
        let told = Mail::AddressChanged(Occasion::new(now, None));
        Ok(self.notice(&account.user, told, now))
    }

    async fn change_user(
        &self,
        id: UserId,
        change: UserChange,
        by: &Admin,
    ) -> Result<User, Failure> {
        let last_of_role = Some(self.kept_role());
        let guard = AdministrationGuard { last_of_role, spared_role: by.spared_role() };
        match self.store.change_user(id, change, guard, &self.admin_context(by)).await? {
            ChangeUserOutcome::Changed(user) => Ok(user),
            ChangeUserOutcome::EmailTaken => Err(Failure::EmailTaken),
            ChangeUserOutcome::LastOfRole => Err(Failure::LastAdmin),
            ChangeUserOutcome::Spared => Err(Failure::AdminsOnly),
            ChangeUserOutcome::Unmatched => Err(Failure::NotFound),
        }
    }
}
