//! Passwords: verification under limits, judgement of new ones, change.

use keyward_core::audit::LoginFailure;
use keyward_core::email::Email;
use keyward_core::password::Password;

use super::limits::{Counted, Try};
use super::mail::occasion;
use super::{Authenticated, ClientInfo, Failure, Keyward, Tokens};
use crate::limits::AddressKey;
use crate::mail::Mail;
use crate::rejections::Rejection;
use crate::store::{Account, OpenSessionOutcome, PasswordHash, StoreError};

impl Keyward {
    /// Changes the password: every earlier session of the user ends, this device gets a new one,
    /// and a mail says so.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidCredentials`] where the current password is wrong or has just changed;
    /// [`Failure::PasswordRefused`], [`Failure::AccountDisabled`], [`Failure::RateLimited`],
    /// [`Failure::Overloaded`] and [`Failure::Store`].
    pub async fn change_password(
        &self,
        caller: &Authenticated,
        current: Password,
        new: Password,
        client: &ClientInfo,
    ) -> Result<Tokens, Failure> {
        let account = self.verify_own_password(caller, current, client).await?;
        let email = Email::parse(&account.user.email).ok_or(Failure::InvalidCredentials)?;
        let new = self.judge_password(new, &email, account.user.name.as_deref()).await?;
        let hash = self.hash_password(new).await?;

        let now = self.clock.now();
        let (session, token) = self.new_session(account.user.id, None, client, now);
        let opened = session.session.clone();
        let version = account.credential_version;
        let context = client.context(now);
        let notice = self.notice(&account.user, Mail::PasswordChanged(occasion(client, now)), now);
        match self.store.change_password(session, version, hash, notice, &context).await? {
            OpenSessionOutcome::Opened { user, ended_others } => {
                self.mail_queued.notify_one();
                if ended_others {
                    self.announce_revocation();
                }
                Ok(self.issue_tokens(user, opened, token, now))
            }
            OpenSessionOutcome::CredentialChanged => Err(Failure::InvalidCredentials),
            OpenSessionOutcome::Disabled => Err(Failure::AccountDisabled),
        }
    }

    /// Verifies the password of a user who is signed in. A wrong one counts as a failed sign-in, so
    /// that a stolen access token is no way around the limits.
    pub(super) async fn verify_own_password(
        &self,
        caller: &Authenticated,
        password: Password,
        client: &ClientInfo,
    ) -> Result<Account, Failure> {
        let email = Email::parse(&caller.user.email).ok_or(Failure::InvalidCredentials)?;
        let attempt = self.count_attempt(email.key(), client).await?;
        let found = self.store.find_user(caller.user.id).await;
        self.verify_password(found, password, attempt, client).await
    }

    /// Counts a try at a password before any work is done for it, so that a burst of parallel tries
    /// is limited like any other.
    pub(super) async fn count_attempt(
        &self,
        email_key: &str,
        client: &ClientInfo,
    ) -> Result<Counted, Failure> {
        let address = AddressKey::from(client.address);
        let account = Try::LoginAccount(email_key.to_owned(), address);
        let tries = vec![Try::LoginAddress(address), account];
        let counted = self.limits.count(tries, self.clock.now()).await;
        counted.map_err(|limited| {
            self.note_rejection(Rejection::LoginRateLimited, None, client);
            limited.into()
        })
    }

    pub(super) async fn count_registration(&self, client: &ClientInfo) -> Result<(), Failure> {
        let tries = vec![Try::RegisterAddress(client.address.into())];
        let _kept = self.limits.count(tries, self.clock.now()).await?;
        Ok(())
    }

    /// Does the work of one hash whether an account was found or not, and gives the try back where
    /// it was no failure of the caller's.
    pub(super) async fn verify_password(
        &self,
        found: Result<Option<Account>, StoreError>,
        password: Password,
        attempt: Counted,
        client: &ClientInfo,
    ) -> Result<Account, Failure> {
        let account = match found {
            Ok(account) => account,
            Err(error) => {
                self.limits.refund(&attempt).await;
                return Err(error.into());
            }
        };
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        let verified = match self.hashing.verify(password, hash).await {
            Ok(verified) => verified,
            Err(overloaded) => {
                self.limits.refund(&attempt).await;
                return Err(Failure::Overloaded(overloaded));
            }
        };
        match account {
            Some(account) if verified => {
                // Whoever may not sign in has failed to, with the right password too.
                if account.user.disabled_at.is_none() {
                    self.limits.refund(&attempt).await;
                }
                Ok(account)
            }
            account => {
                let reason = if account.is_some() {
                    LoginFailure::WrongPassword
                } else {
                    LoginFailure::UnknownAccount
                };
                self.record_failed_login(reason, account.as_ref(), client).await?;
                Err(Failure::InvalidCredentials)
            }
        }
    }

    /// Gives the password back where it is accepted as a new one.
    pub(super) async fn judge_password(
        &self,
        password: Password,
        email: &Email,
        name: Option<&str>,
    ) -> Result<Password, Failure> {
        let context =
            [Some(email.shown()), name].into_iter().flatten().map(str::to_owned).collect();
        let judged = self.hashing.judge(password, self.policy.password.clone(), context).await;
        judged.map_err(Failure::Overloaded)?.map_err(Failure::PasswordRefused)
    }

    pub(super) async fn hash_password(&self, password: Password) -> Result<PasswordHash, Failure> {
        self.hashing.hash(password, self.random()).await.map_err(Failure::Overloaded)
    }
}
