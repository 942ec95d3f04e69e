//! Accounts: registration, sign-in, the user's own record.

use keyward_core::audit::{AuditEvent, AuditKind, LoginFailure, RegisteredBy};
use keyward_core::device_token::KnownDevice;
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::password::Password;

use super::devices::{Attempt, SignInEffects};
use super::mail_requests::MailRequest;
use super::metrics::{CHALLENGED, name_of_sign_in};
use super::{Authenticated, Carried, ClientInfo, Failure, Keyward, SignIn, Tokens};
use crate::policy::Registration;
use crate::store::{
    Account, DeleteGuard, DeleteUserOutcome, InsertUserOutcome, NewUser, OpenSessionOutcome,
    StoreError, User,
};

/// What a person gives to make an account.
#[derive(Debug)]
pub struct NewAccount {
    /// Where they are reached.
    pub email: Email,
    /// What they will sign in with.
    pub password: Password,
    /// What they want to be called.
    pub name: Option<String>,
}

/// What a user changes of their own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What the user wants to be called; `None` for nothing.
    pub name: Option<String>,
}

/// What became of a registration.
#[derive(Debug)]
pub enum Registered {
    /// The account is there, and its user signed in.
    SignedIn(Box<Tokens>),
    /// The address gets a mail, which alone tells what became of it.
    ByMail,
}

impl Keyward {
    /// Makes an account and opens its first session. Where the policy says so, the answer is
    /// [`Registered::ByMail`] whoever has the address, after the same work.
    ///
    /// # Errors
    ///
    /// [`Failure::RegistrationClosed`], [`Failure::RateLimited`], [`Failure::PasswordRefused`],
    /// [`Failure::EmailTaken`], [`Failure::Overloaded`], [`Failure::MailOverloaded`] and
    /// [`Failure::Store`].
    pub async fn register(
        &self,
        account: NewAccount,
        carried: &Carried,
        client: &ClientInfo,
    ) -> Result<Registered, Failure> {
        if self.policy.accounts.registration == Registration::Closed {
            return Err(Failure::RegistrationClosed);
        }
        self.count_registration(client).await?;
        let NewAccount { email, password, name } = account;
        let password = self.judge_password(password, &email, name.as_deref()).await?;
        let password_hash = self.hash_password(password).await?;

        let now = self.clock.now();
        let id = UserId::new(now, self.random());
        let user = NewUser {
            id,
            email,
            name,
            roles: Vec::new(),
            password_hash,
            email_verified: false,
            by: RegisteredBy::User,
            verification: None,
        };
        let context = client.context(now);
        if self.policy.accounts.registers_by_mail() {
            self.can_keep().await?;
            let user = Box::new(user);
            self.mail_requests.push(MailRequest::Register { user, context })?;
            return Ok(Registered::ByMail);
        }
        let (verification, counted) = self.verification(&user).await.unzip();
        let user = NewUser { verification, ..user };
        let (session, token) = self.new_session(id, carried.supersedes.as_ref(), client, now);
        let opened = session.session.clone();
        let inserted = self.store.insert_user(user, Some(session), &context).await;
        self.refund_unsent(counted, &inserted).await;
        match inserted? {
            InsertUserOutcome::Inserted(user) => {
                if carried.supersedes.is_some() {
                    self.announce_revocation();
                }
                self.mail_queued.notify_one();
                let device_token = self.remember_device(&user, 0, now);
                let tokens = self.issue_tokens(user, opened, token, now);
                Ok(Registered::SignedIn(Box::new(Tokens { device_token, ..tokens })))
            }
            InsertUserOutcome::EmailTaken => Err(Failure::EmailTaken),
        }
    }

    /// Signs a user in with a password, as far as that goes: who has a second factor is asked for a
    /// code. A user who signs in with a new device is told so by mail.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidCredentials`] for an unknown account and a wrong password alike, in the
    /// same time; [`Failure::AccountDisabled`] and [`Failure::EmailNotVerified`] only to whoever
    /// knows the password, and the latter to nobody where the policy says so (ADR 24);
    /// [`Failure::RateLimited`], [`Failure::Overloaded`] and [`Failure::Store`].
    pub async fn login(
        &self,
        email: &Email,
        password: Password,
        carried: &Carried,
        client: &ClientInfo,
    ) -> Result<SignIn, Failure> {
        let signed_in = self.try_login(email, password, carried, client).await;
        self.metrics.sign_ins.count(match &signed_in {
            Ok(SignIn::Challenged(_)) => CHALLENGED,
            outcome => name_of_sign_in(outcome),
        });
        signed_in
    }

    async fn try_login(
        &self,
        email: &Email,
        password: Password,
        carried: &Carried,
        client: &ClientInfo,
    ) -> Result<SignIn, Failure> {
        let attempt = self.count_sign_in(email.key(), carried, client).await?;
        let found = self.store.find_user_by_email(email.key()).await;
        let attempt = self.confirm_device(attempt, &found, email.key(), client).await?;
        let Attempt { counted, device } = attempt;
        let goes_on = |user: &User| user.disabled_at.is_none() && !self.hides_unverified(user);
        let account = self.verify_password(found, password, counted, goes_on, client).await?;
        if account.user.disabled_at.is_some() {
            self.record_failed_login(LoginFailure::AccountDisabled, Some(&account), client).await?;
            return Err(Failure::AccountDisabled);
        }
        if self.needs_verification(&account.user) {
            self.record_failed_login(LoginFailure::EmailNotVerified, Some(&account), client)
                .await?;
            return Err(self.refuse_unverified(&account.user, client));
        }
        if account.user.mfa_enabled_at.is_some() {
            return self.challenge(&account, client).await.map(SignIn::Challenged);
        }

        let opened = self.open_session(&account, device, carried, client).await?;
        Ok(SignIn::Opened(Box::new(opened)))
    }

    /// Whether the right password is answered as a wrong one: in all that a stranger can observe.
    fn hides_unverified(&self, user: &User) -> bool {
        self.needs_verification(user) && !self.policy.accounts.tells_of_unverified()
    }

    /// Whether the user cannot sign in before the address is verified.
    pub(super) fn needs_verification(&self, user: &User) -> bool {
        self.policy.accounts.require_verified_email && !user.email_verified
    }

    /// Mails a link where none is out: the account may never have had one, or its link is dead, and
    /// what is not told to whoever asks is told in the mailbox. One that is good stays so. It is
    /// mailed after the answer, as often as strangers may cause it; where too many wait, it is lost
    /// until the next sign-in, since another answer would tell.
    fn refuse_unverified(&self, user: &User, client: &ClientInfo) -> Failure {
        let context = client.context(self.clock.now());
        let _lost =
            self.mail_requests.push(MailRequest::VerifyAddress { user_id: user.id, context });
        match self.hides_unverified(user) {
            true => Failure::InvalidCredentials,
            false => Failure::EmailNotVerified,
        }
    }

    async fn open_session(
        &self,
        account: &Account,
        device: Option<KnownDevice>,
        carried: &Carried,
        client: &ClientInfo,
    ) -> Result<Tokens, Failure> {
        let now = self.clock.now();
        let supersedes = carried.supersedes.as_ref();
        let (mut session, token) = self.new_session(account.user.id, supersedes, client, now);
        session.notice = self.new_device_notice(account, device, client, now).await?;
        let is_mailed = session.notice.is_some();
        let opened = session.session.clone();
        let version = account.credential_version;
        match self.store.open_session(session, version, &client.context(now)).await? {
            OpenSessionOutcome::Opened { user, ended_others } => {
                self.tell_of_sign_in(&user, &SignInEffects { ended_others, is_mailed }).await;
                let device_token = self.remember_device(&user, version, now);
                Ok(Tokens { device_token, ..self.issue_tokens(user, opened, token, now) })
            }
            // The password was changed while this sign-in was on its way.
            OpenSessionOutcome::CredentialChanged | OpenSessionOutcome::SessionEnded => {
                Err(Failure::InvalidCredentials)
            }
            OpenSessionOutcome::Disabled => Err(Failure::AccountDisabled),
        }
    }

    /// Changes the user's own record; records nothing where nothing changes.
    ///
    /// # Errors
    ///
    /// [`Failure::TokenRevoked`] where the user was deleted meanwhile, [`Failure::Store`].
    pub async fn update_profile(
        &self,
        caller: Authenticated,
        profile: Profile,
        client: &ClientInfo,
    ) -> Result<User, Failure> {
        if caller.user.name == profile.name {
            return Ok(caller.user);
        }
        let context = client.context(self.clock.now());
        let user = self.store.set_name(caller.user.id, profile.name, &context).await?;
        user.ok_or(Failure::TokenRevoked)
    }

    /// Deletes the user's own account, sessions and personal data.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidCredentials`] where the password is wrong or has just changed,
    /// [`Failure::TokenRevoked`] where the session has just ended, [`Failure::LastAdmin`],
    /// [`Failure::RateLimited`], [`Failure::Overloaded`], [`Failure::LogOverloaded`] and
    /// [`Failure::Store`].
    pub async fn delete_account(
        &self,
        caller: &Authenticated,
        password: Password,
        client: &ClientInfo,
    ) -> Result<(), Failure> {
        caller.require_own_factors()?;
        let account = self.verify_own_password(caller, password, client).await?;
        let _turn = self.log_turn().await?;
        // What waits to be recorded holds addresses too, and must be there to be forgotten.
        self.rejections.flush_noted().await;
        let context = client.context(self.clock.now());
        let guard = DeleteGuard {
            own: Some(caller.guard(&account)),
            last_of_role: Some(self.kept_role()),
            spared_role: None,
        };
        match self.store.delete_user(account.user.id, guard, &context).await? {
            DeleteUserOutcome::Deleted => {
                self.announce_revocation();
                Ok(())
            }
            DeleteUserOutcome::LastOfRole => Err(Failure::LastAdmin),
            DeleteUserOutcome::SessionEnded => Err(Failure::TokenRevoked),
            DeleteUserOutcome::Spared | DeleteUserOutcome::Unmatched => {
                Err(Failure::InvalidCredentials)
            }
        }
    }

    pub(super) async fn record_failed_login(
        &self,
        reason: LoginFailure,
        account: Option<&Account>,
        client: &ClientInfo,
    ) -> Result<(), StoreError> {
        let user_id = account.map(|account| account.user.id);
        self.record_failed_login_of(reason, user_id, client).await
    }

    pub(super) async fn record_failed_login_of(
        &self,
        reason: LoginFailure,
        user_id: Option<UserId>,
        client: &ClientInfo,
    ) -> Result<(), StoreError> {
        let event =
            AuditEvent { kind: AuditKind::LoginFailed { reason }, user_id, session_id: None };
        self.store.record(vec![(event, client.context(self.clock.now()))]).await
    }
}
