//! Passwords: verification under limits, judgement of new ones, change.

use keyward_core::audit::LoginFailure;
use keyward_core::email::Email;
use keyward_core::password::Password;

use super::limits::{Counted, Try};
use super::notices::{OwnAct, OwnNotice};
use super::{Authenticated, ClientInfo, Failure, Keyward, Tokens};
use crate::store::{Account, HashReplacement, OpenSessionOutcome, PasswordHash, StoreError, User};

impl Keyward {
    /// Changes the password: every earlier session of the user ends, this device gets a new one,
    /// and a mail says so, unless too many to an address that is not verified have.
    ///
    /// # Errors
    ///
    /// [`Failure::ReauthenticationRequired`] where the session began without the second factor that
    /// there is: it would outlive those that have proven it. [`Failure::InvalidCredentials`] where
    /// the current password is wrong or has just changed; [`Failure::TokenRevoked`] where the
    /// session has just ended: the new one must not bring it back; [`Failure::PasswordRefused`],
    /// [`Failure::AccountDisabled`], [`Failure::RateLimited`], [`Failure::Overloaded`] and
    /// [`Failure::Store`].
    pub async fn change_password(
        &self,
        caller: &Authenticated,
        current: Password,
        new: Password,
        client: &ClientInfo,
    ) -> Result<Tokens, Failure> {
        caller.require_own_factors()?;
        let account = self.verify_own_password(caller, current, client).await?;
        let email = Email::parse(&account.user.email).ok_or(Failure::InvalidCredentials)?;
        let new = self.judge_password(new, &email, account.user.name.as_deref()).await?;
        let hash = self.hash_password(new).await?;

        let now = self.clock.now();
        let (mut session, token) = self.new_session(account.user.id, None, client, now);
        if caller.session.has_second_factor() {
            // What it had proven it has proven still, and no later than it did.
            session.session.amr.clone_from(&caller.session.amr);
            session.session.auth_time = caller.session.auth_time;
        }
        let opened = session.session.clone();
        let version = account.credential_version;
        let context = client.context(now);
        let OwnNotice { mail, counted } =
            self.own_notice(&account.user, OwnAct::ChangePassword, client, now).await;
        let guard = caller.guard(&account);
        let changed = self.store.change_password(session, guard, hash, mail, &context).await;
        let is_done = matches!(changed, Ok(OpenSessionOutcome::Opened { .. }));
        self.settle_own_notice(counted, is_done).await;
        match changed? {
            OpenSessionOutcome::Opened { user, ended_others } => {
                if ended_others {
                    self.announce_revocation();
                }
                let device_token = self.remember_device(&user, version + 1, now);
                Ok(Tokens { device_token, ..self.issue_tokens(user, opened, token, now) })
            }
            OpenSessionOutcome::CredentialChanged => Err(Failure::InvalidCredentials),
            OpenSessionOutcome::Disabled => Err(Failure::AccountDisabled),
            OpenSessionOutcome::SessionEnded => Err(Failure::TokenRevoked),
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
        let attempt = self.count_own_password(email.key(), client).await?;
        let found = self.store.find_user(caller.user.id).await;
        let goes_on = |user: &User| user.disabled_at.is_none();
        self.verify_password(found, password, attempt, goes_on, client).await
    }

    pub(super) async fn count_registration(&self, client: &ClientInfo) -> Result<(), Failure> {
        let tries = vec![Try::RegisterAddress(client.address.into())];
        let _kept = self.limits.count(tries, self.clock.now()).await?;
        Ok(())
    }

    /// Does the work of one hash whether an account was found or not, and gives the try back where
    /// it was no failure of the caller's. Whoever may not go on has failed, with the right password
    /// too.
    pub(super) async fn verify_password(
        &self,
        found: Result<Option<Account>, StoreError>,
        password: Password,
        attempt: Counted,
        goes_on: impl Fn(&User) -> bool,
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
        match (account, verified) {
            (Some(account), Some(password)) => {
                if goes_on(&account.user) {
                    self.limits.refund(&attempt).await;
                    self.renew_hash(&account, password, client).await;
                }
                Ok(account)
            }
            (account, _) => {
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

    /// Puts a hash of today's cost in the place of one that other systems, or an earlier policy,
    /// have left. What fails here keeps nobody from signing in: the next time will do.
    async fn renew_hash(&self, account: &Account, password: Password, client: &ClientInfo) {
        let from = account.password_hash.clone();
        let Some(scheme) = self.hashing.outdated(&from, &password) else { return };
        let Ok(to) = self.hash_password(password).await else { return };
        let (user_id, scheme) = (account.user.id, scheme.name());
        let replacement = HashReplacement { user_id, from, scheme, to };
        let context = client.context(self.clock.now());
        if let Err(error) = self.store.replace_hash(replacement, &context).await {
            tracing::warn!(%error, "an outdated password hash stays until the next sign-in");
        }
    }

    /// Gives the password back where it is accepted as a new one.
    pub(super) async fn judge_password(
        &self,
        password: Password,
        email: &Email,
        name: Option<&str>,
    ) -> Result<Password, Failure> {
        let own = &self.policy.web.public_url;
        let context = [Some(email.shown()), name, Some(own)];
        let context = context.into_iter().flatten().map(str::to_owned).collect();
        let judged = self.hashing.judge(password, self.policy.password.clone(), context).await;
        judged.map_err(Failure::Overloaded)?.map_err(Failure::PasswordRefused)
    }

    pub(super) async fn hash_password(&self, password: Password) -> Result<PasswordHash, Failure> {
        self.hashing.hash(password, self.random()).await.map_err(Failure::Overloaded)
    }
}
