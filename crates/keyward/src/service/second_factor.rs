//! The second factor of a user who is signed in: setting it up, new recovery codes, removal
//! (ADR 18).
//!
//! | state | what it has | ends by |
//! | --- | --- | --- |
//! | none | nothing | `begin_totp` |
//! | begun | a sealed secret, asked for nowhere | `confirm_totp`, [`SETUP_TTL`], a new password |
//! | enabled | secret, last step, recovery codes | `remove_totp`, the operator |
//!
//! Every step needs a recent sign-in, and with a second factor enabled one that has proven it: a
//! stolen session and a known password are not enough to put another app in its place. And every
//! step needs its session live when it commits, whatever came in between.

use std::time::Duration;

use keyward_core::audit::{AuditEvent, AuditKind, MfaMethod};
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::password::Password;
use keyward_core::second_factor::{
    RECOVERY_CODES, RecoveryCode, RecoveryCodeHash, TotpCode, TotpSecret,
};
use keyward_core::session::AuthenticationMethod;
use zeroize::Zeroizing;

use super::limits::{Counted, Try};
use super::notices::{OwnAct, OwnNotice};
use super::{Authenticated, ClientInfo, Failure, Keyward};
use crate::limits::Limited;
use crate::rejections::Rejection;
use crate::store::{
    BeginTotpOutcome, DisableTotpOutcome, EnableTotp, EnableTotpOutcome, MfaProof, MfaTry,
    MfaTryOutcome, ReplaceCodesOutcome, StoreError, Totp, TotpRemoval, TotpSetup,
};

/// A secret for an authenticator app, which nobody is asked for until its first code has come.
pub struct TotpOffer {
    /// For whoever types it, in base32.
    pub secret: Zeroizing<String>,
    /// For whoever scans it: an `otpauth` URI.
    pub uri: Zeroizing<String>,
}

impl std::fmt::Debug for TotpOffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpOffer")
    }
}

impl Keyward {
    /// Begins to set up an authenticator app, or begins it anew.
    ///
    /// # Errors
    ///
    /// [`Failure::ReauthenticationRequired`], [`Failure::MfaEnabled`],
    /// [`Failure::InvalidCredentials`] where the password is wrong or has just changed,
    /// [`Failure::TokenRevoked`] where the session has just ended, [`Failure::RateLimited`],
    /// [`Failure::Overloaded`] and [`Failure::Store`].
    pub async fn begin_totp(
        &self,
        caller: &Authenticated,
        password: Password,
        client: &ClientInfo,
    ) -> Result<TotpOffer, Failure> {
        self.require_recent_sign_in(caller)?;
        if caller.user.mfa_enabled_at.is_some() {
            return Err(Failure::MfaEnabled);
        }
        let account = self.verify_own_password(caller, password, client).await?;
        let guard = caller.guard(&account);
        let user = account.user;
        let secret = TotpSecret::new(self.random());
        let sealed = self.seal_totp(&secret, user.id)?;
        let setup = TotpSetup { user_id: user.id, guard, sealed };
        let context = client.context(self.clock.now());
        match self.store.begin_totp(setup, &context).await? {
            BeginTotpOutcome::Begun => {
                let uri = secret.uri(self.policy.web.host(), &user.email);
                Ok(TotpOffer { secret: secret.to_base32(), uri })
            }
            BeginTotpOutcome::Enabled => Err(Failure::MfaEnabled),
            BeginTotpOutcome::CredentialChanged => Err(Failure::InvalidCredentials),
            BeginTotpOutcome::SessionEnded => Err(Failure::TokenRevoked),
        }
    }

    /// Enables the authenticator app of a set-up by its first code, and hands out recovery codes.
    /// The session has proven both factors by then, and its tokens say so from the next refresh on.
    ///
    /// # Errors
    ///
    /// [`Failure::ReauthenticationRequired`], [`Failure::MfaEnabled`], [`Failure::MfaNotEnabled`]
    /// where no set-up was begun within 30 minutes and with the present password,
    /// [`Failure::TokenRevoked`], [`Failure::InvalidMfaCode`], [`Failure::RateLimited`] and
    /// [`Failure::Store`].
    pub async fn confirm_totp(
        &self,
        caller: &Authenticated,
        code: &str,
        client: &ClientInfo,
    ) -> Result<Vec<RecoveryCode>, Failure> {
        self.require_recent_sign_in(caller)?;
        let (id, now) = (caller.user.id, self.clock.now());
        let Some(read) = self.store.find_totp(id).await? else {
            return Err(Failure::MfaNotEnabled);
        };
        if read.confirmed_at.is_some() {
            return Err(Failure::MfaEnabled);
        }
        if now.since(read.begun_at) > SETUP_TTL {
            return Err(Failure::MfaNotEnabled);
        }
        let code = TotpCode::parse(code).ok_or(Failure::InvalidMfaCode)?;
        let counted = self.count_set_up_try(caller, client).await?;
        let Some(step) = self.open_totp(&read, id)?.step_of(&code, None, now) else {
            return self.refuse_code(&GivenCode::Totp(code), id, client).await;
        };
        self.limits.refund(&counted).await;
        let (codes, recovery_codes) = self.issue_recovery_codes(id);
        let mut amr = caller.session.amr.clone();
        amr.push(AuthenticationMethod::OneTimePassword);
        let session_id = caller.session.id;
        let OwnNotice { mail: notice, counted } =
            self.own_notice(&caller.user, OwnAct::EnableSecondFactor, client, now).await;
        let enabling =
            EnableTotp { user_id: id, read, step, recovery_codes, session_id, amr, notice };
        let enabled = self.store.enable_totp(enabling, &client.context(now)).await;
        let is_done = matches!(enabled, Ok(EnableTotpOutcome::Enabled(_)));
        self.settle_own_notice(counted, is_done).await;
        match enabled? {
            EnableTotpOutcome::Enabled(_) => Ok(codes),
            EnableTotpOutcome::SessionEnded => Err(Failure::TokenRevoked),
            EnableTotpOutcome::SetupGone => Err(Failure::MfaNotEnabled),
        }
    }

    /// Hands out new recovery codes; the old ones are good for nothing from then on.
    ///
    /// # Errors
    ///
    /// As [`Keyward::remove_totp`], but for the code.
    pub async fn replace_recovery_codes(
        &self,
        caller: &Authenticated,
        password: Password,
        client: &ClientInfo,
    ) -> Result<Vec<RecoveryCode>, Failure> {
        self.require_second_factor(caller)?;
        let account = self.verify_own_password(caller, password, client).await?;
        let id = account.user.id;
        let (codes, hashes) = self.issue_recovery_codes(id);
        let (guard, context) = (caller.guard(&account), client.context(self.clock.now()));
        let OwnNotice { mail, counted } =
            self.own_notice(&account.user, OwnAct::ReplaceRecoveryCodes, client, context.at).await;
        let replaced = self.store.replace_recovery_codes(id, guard, hashes, mail, &context).await;
        self.settle_own_notice(counted, replaced == Ok(ReplaceCodesOutcome::Replaced)).await;
        match replaced? {
            ReplaceCodesOutcome::Replaced => Ok(codes),
            ReplaceCodesOutcome::SessionEnded => Err(Failure::TokenRevoked),
            ReplaceCodesOutcome::Unmatched => Err(Failure::InvalidCredentials),
        }
    }

    /// Removes the second factor. The code may be one of the app's or a recovery code.
    ///
    /// # Errors
    ///
    /// [`Failure::MfaNotEnabled`], [`Failure::ReauthenticationRequired`] also where the session
    /// began without the second factor, [`Failure::InvalidCredentials`], [`Failure::TokenRevoked`],
    /// [`Failure::InvalidMfaCode`], [`Failure::RateLimited`], [`Failure::Overloaded`] and
    /// [`Failure::Store`].
    pub async fn remove_totp(
        &self,
        caller: &Authenticated,
        password: Password,
        code: &str,
        client: &ClientInfo,
    ) -> Result<(), Failure> {
        self.require_second_factor(caller)?;
        let given = GivenCode::parse(code).ok_or(Failure::InvalidMfaCode)?;
        let id = self.verify_own_password(caller, password, client).await?.user.id;
        let counted = self.count_mfa_try(MfaTry::User(id), client).await?;
        let (_, totp) = counted.ok_or(Failure::MfaNotEnabled)?;
        let Some(proof) = self.proof_of(&given, &totp, id)? else {
            return self.refuse_code(&given, id, client).await;
        };
        let context = client.context(self.clock.now());
        let OwnNotice { mail, counted } =
            self.own_notice(&caller.user, OwnAct::DisableSecondFactor, client, context.at).await;
        let removal = TotpRemoval { session_id: caller.session.id, proof };
        let disabled = self.store.disable_totp(id, Some(removal), mail, &context).await;
        self.settle_own_notice(counted, disabled == Ok(DisableTotpOutcome::Disabled)).await;
        match disabled? {
            DisableTotpOutcome::Disabled => Ok(()),
            DisableTotpOutcome::NotEnabled => Err(Failure::MfaNotEnabled),
            DisableTotpOutcome::ProofSpent => self.refuse_code(&given, id, client).await,
            DisableTotpOutcome::SessionEnded => Err(Failure::TokenRevoked),
        }
    }

    /// Counts a try at a code, on every node. `None` where there is nothing to try.
    pub(super) async fn count_mfa_try(
        &self,
        whose: MfaTry,
        client: &ClientInfo,
    ) -> Result<Option<(UserId, Totp)>, Failure> {
        let quota = self.policy.limits.mfa_account;
        match self.store.count_mfa_try(whose, quota, self.clock.now()).await? {
            MfaTryOutcome::Counted { user_id, totp } => Ok(Some((user_id, totp))),
            MfaTryOutcome::Refused => Ok(None),
            MfaTryOutcome::Limited(limited) => {
                let quota = quota.ok_or(StoreError::Inconsistent("totp.tries_whole_at"))?;
                let retry_after = limited.retry_after;
                self.note_rejection(Rejection::MfaRateLimited, None, client);
                Err(Limited { name: "mfa_account", quota, retry_after }.into())
            }
        }
    }

    /// Counts a try at the first code of a set-up: whoever has stolen an access token must not
    /// guess it while the owner looks at the app.
    async fn count_set_up_try(
        &self,
        caller: &Authenticated,
        client: &ClientInfo,
    ) -> Result<Counted, Failure> {
        let email = Email::parse(&caller.user.email).ok_or(Failure::InvalidMfaCode)?;
        let tries = vec![Try::SetUpAccount(self.limits.account(email.key()))];
        let counted = self.limits.count(tries, self.clock.now()).await;
        Ok(counted.inspect_err(|_| self.note_rejection(Rejection::MfaRateLimited, None, client))?)
    }

    /// What a code proves, as far as that is known without spending it. `None`: it is wrong.
    pub(super) fn proof_of(
        &self,
        given: &GivenCode,
        totp: &Totp,
        user_id: UserId,
    ) -> Result<Option<MfaProof>, Failure> {
        match given {
            GivenCode::Totp(code) => {
                let secret = self.open_totp(totp, user_id)?;
                let step = secret.step_of(code, totp.last_step, self.clock.now());
                Ok(step.map(MfaProof::Step))
            }
            GivenCode::Recovery(code) => Ok(Some(MfaProof::RecoveryCode(code.hash(user_id)))),
        }
    }

    /// Records that a code was wrong. Nothing else is bounded here: the try was counted.
    pub(super) async fn refuse_code<T>(
        &self,
        given: &GivenCode,
        user_id: UserId,
        client: &ClientInfo,
    ) -> Result<T, Failure> {
        let failed = AuditKind::MfaFailed { method: given.method() };
        let event = AuditEvent::of_user(failed, user_id);
        self.store.record(vec![(event, client.context(self.clock.now()))]).await?;
        Err(Failure::InvalidMfaCode)
    }

    fn require_second_factor(&self, caller: &Authenticated) -> Result<(), Failure> {
        if caller.user.mfa_enabled_at.is_none() {
            return Err(Failure::MfaNotEnabled);
        }
        self.require_recent_sign_in(caller)
    }

    fn issue_recovery_codes(&self, id: UserId) -> (Vec<RecoveryCode>, Vec<RecoveryCodeHash>) {
        let codes = (0..RECOVERY_CODES).map(|_| {
            let code = RecoveryCode::issue(&self.random());
            let hash = code.hash(id);
            (code, hash)
        });
        codes.unzip()
    }

    fn seal_totp(&self, secret: &TotpSecret, id: UserId) -> Result<Vec<u8>, Failure> {
        let sealed = self.keys().seal(secret.as_bytes(), &place(id), &self.random());
        Ok(sealed.ok_or(StoreError::Inconsistent("sealing_key"))?)
    }

    fn open_totp(&self, totp: &Totp, id: UserId) -> Result<TotpSecret, Failure> {
        const SEALED: StoreError = StoreError::Inconsistent("totp.sealed");
        let bytes = self.keys().open(&totp.sealed, &place(id)).ok_or(SEALED)?;
        Ok(TotpSecret::new(bytes.as_slice().try_into().map_err(|_| SEALED)?))
    }
}

/// A code as it was given.
pub(super) enum GivenCode {
    /// Of the authenticator app.
    Totp(TotpCode),
    /// One that was written down.
    Recovery(RecoveryCode),
}

impl GivenCode {
    /// Reads either. `None`: it is no code.
    fn parse(text: &str) -> Option<Self> {
        let code = TotpCode::parse(text).map(Self::Totp);
        code.or_else(|| RecoveryCode::parse(text).map(Self::Recovery))
    }

    fn method(&self) -> MfaMethod {
        match self {
            Self::Totp(_) => MfaMethod::Totp,
            Self::Recovery(_) => MfaMethod::RecoveryCode,
        }
    }
}

/// Where a sealed secret stands; it opens nowhere else.
fn place(id: UserId) -> String {
    format!("totp/{id}")
}

/// How long a set-up waits for its first code.
const SETUP_TTL: Duration = Duration::from_secs(30 * 60);
