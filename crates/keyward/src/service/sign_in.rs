//! A sign-in in two steps, where the user has a second factor (ADR 18): the right password gives a
//! challenge, and a code for the challenge gives the session.
//!
//! A challenge is a row, so that its bounds hold on every node and over every restart. It ends by
//! the session that it is about, by its tries, by its time, by any change of the credentials or the
//! address, and by disabling.

use std::time::Duration;

use keyward_core::audit::{LoginFailure, MfaMethod};
use keyward_core::second_factor::{MfaToken, MfaTokenHash, RecoveryCode, TotpCode};
use keyward_core::session::AuthenticationMethod;

use super::devices::SignInEffects;
use super::metrics::name_of_sign_in;
use super::second_factor::GivenCode;
use super::{Carried, ClientInfo, Failure, Keyward, Tokens};
use crate::store::{
    Account, ChallengeOutcome, MfaAnswer, MfaChallenge, MfaProof, MfaTry, OpenMfaOutcome,
};

/// What the right password has led to.
#[derive(Debug)]
pub enum SignIn {
    /// A session.
    Opened(Box<Tokens>),
    /// A code is asked for.
    Challenged(Challenge),
}

/// A sign-in that waits for a code.
#[derive(Debug)]
pub struct Challenge {
    /// Goes with the code.
    pub token: MfaToken,
    /// What the user can give.
    pub methods: Vec<MfaMethod>,
    /// How long it waits.
    pub expires_in: Duration,
}

impl Keyward {
    /// Goes on with a sign-in by a code of the authenticator app.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidMfaToken`] where the sign-in waits for no code, or not any more;
    /// [`Failure::InvalidMfaCode`], [`Failure::AccountDisabled`], [`Failure::RateLimited`] and
    /// [`Failure::Store`].
    pub async fn login_with_code(
        &self,
        token: &str,
        code: &str,
        carried: &Carried,
        client: &ClientInfo,
    ) -> Result<Tokens, Failure> {
        let code = TotpCode::parse(code).map(GivenCode::Totp);
        self.answer_challenge(token, code, carried, client).await
    }

    /// Goes on with a sign-in by a recovery code, as [`Keyward::login_with_code`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn login_with_recovery_code(
        &self,
        token: &str,
        code: &str,
        carried: &Carried,
        client: &ClientInfo,
    ) -> Result<Tokens, Failure> {
        let code = RecoveryCode::parse(code).map(GivenCode::Recovery);
        self.answer_challenge(token, code, carried, client).await
    }

    /// Has a sign-in whose password was right wait for a code.
    pub(super) async fn challenge(
        &self,
        account: &Account,
        client: &ClientInfo,
    ) -> Result<Challenge, Failure> {
        let now = self.clock.now();
        let token = MfaToken::issue(&self.random());
        let quota = self.policy.limits.mfa_challenge;
        let expires_in = quota.map_or(CHALLENGE_TTL, |quota| quota.window());
        let challenge = MfaChallenge {
            hash: token.hash(),
            user_id: account.user.id,
            credential_version: account.credential_version,
            tries_left: quota.map_or(u32::MAX, |quota| quota.count()),
            expires_at: now.plus(expires_in),
        };
        match self.store.insert_mfa_challenge(challenge, &client.context(now)).await? {
            ChallengeOutcome::Inserted { recovery_codes } => {
                let mut methods = vec![MfaMethod::Totp];
                methods.extend((recovery_codes > 0).then_some(MfaMethod::RecoveryCode));
                Ok(Challenge { token, methods, expires_in })
            }
            ChallengeOutcome::CredentialChanged => Err(Failure::InvalidCredentials),
            ChallengeOutcome::Disabled => Err(Failure::AccountDisabled),
        }
    }

    /// `None` for what is no code: it takes no try.
    async fn answer_challenge(
        &self,
        token: &str,
        given: Option<GivenCode>,
        carried: &Carried,
        client: &ClientInfo,
    ) -> Result<Tokens, Failure> {
        let opened = match given {
            Some(given) => self.try_challenge(token, &given, carried, client).await,
            None => Err(Failure::InvalidMfaCode),
        };
        self.metrics.sign_ins.count(name_of_sign_in(&opened));
        opened
    }

    async fn try_challenge(
        &self,
        token: &str,
        given: &GivenCode,
        carried: &Carried,
        client: &ClientInfo,
    ) -> Result<Tokens, Failure> {
        let token = MfaToken::parse(token).ok_or(Failure::InvalidMfaToken)?;
        let challenge = token.hash();
        let counted = self.count_mfa_try(MfaTry::Challenge(challenge), client).await?;
        let (user_id, totp) = counted.ok_or(Failure::InvalidMfaToken)?;
        match self.proof_of(given, &totp, user_id)? {
            Some(proof) => {
                let found = self.store.find_user(user_id).await?;
                // Another sign-in says what it is that the address lacks.
                let account = found.filter(|account| !self.needs_verification(&account.user));
                let account = account.ok_or(Failure::InvalidMfaToken)?;
                let answer = Answer { challenge, account, given, proof };
                self.open_challenged(answer, carried, client).await
            }
            None => self.refuse_code(given, user_id, client).await,
        }
    }

    async fn open_challenged(
        &self,
        answer: Answer<'_>,
        carried: &Carried,
        client: &ClientInfo,
    ) -> Result<Tokens, Failure> {
        let Answer { challenge, account, given, proof } = answer;
        let now = self.clock.now();
        let user_id = account.user.id;
        let supersedes = carried.supersedes.as_ref();
        let (mut session, token) = self.new_session(user_id, supersedes, client, now);
        session.session.amr.push(AuthenticationMethod::OneTimePassword);
        let device = self.device_of(carried, &account);
        session.notice = self.new_device_notice(&account, device, client, now).await?;
        let is_mailed = session.notice.is_some();
        let opened = session.session.clone();
        let answer = MfaAnswer { challenge, proof, quota: self.policy.limits.mfa_account };
        match self.store.open_mfa_session(session, answer, &client.context(now)).await? {
            OpenMfaOutcome::Opened { user, ended_others } => {
                self.tell_of_sign_in(&user, &SignInEffects { ended_others, is_mailed }).await;
                // Another version would have ended the challenge.
                let device_token = self.remember_device(&user, account.credential_version, now);
                Ok(Tokens { device_token, ..self.issue_tokens(user, opened, token, now) })
            }
            OpenMfaOutcome::ChallengeSpent => Err(Failure::InvalidMfaToken),
            OpenMfaOutcome::ProofSpent => self.refuse_code(given, user_id, client).await,
            OpenMfaOutcome::Disabled => {
                let reason = LoginFailure::AccountDisabled;
                self.record_failed_login_of(reason, Some(user_id), client).await?;
                Err(Failure::AccountDisabled)
            }
        }
    }
}

/// A code that may be right, for a challenge that was there.
struct Answer<'a> {
    challenge: MfaTokenHash,
    account: Account,
    given: &'a GivenCode,
    proof: MfaProof,
}

/// How long a sign-in waits where no limit says so.
const CHALLENGE_TTL: Duration = Duration::from_secs(10 * 60);
