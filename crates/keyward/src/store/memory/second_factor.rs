//! Second factors in memory.

use async_trait::async_trait;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::id::UserId;
use keyward_core::limits::Quota;
use keyward_core::second_factor::RecoveryCodeHash;
use keyward_core::time::Timestamp;

use super::MemoryStore;
use super::state::State;
use crate::store::{
    BeginTotpOutcome, ChallengeOutcome, DisableTotpOutcome, EnableTotp, EnableTotpOutcome,
    MfaAnswer, MfaChallenge, MfaProof, MfaTry, MfaTryOutcome, NewSession, OpenMfaOutcome, OwnGuard,
    QueuedMail, ReplaceCodesOutcome, SecondFactorStore, StoreError, Totp, TotpRemoval, TotpSetup,
};

#[async_trait]
impl SecondFactorStore for MemoryStore {
    async fn begin_totp(
        &self,
        setup: TotpSetup,
        context: &AuditContext,
    ) -> Result<BeginTotpOutcome, StoreError> {
        let mut state = self.state();
        let account = state.users.get(&setup.user_id).map(|row| &row.account);
        let OwnGuard { session_id, credential_version } = setup.guard;
        let verified = account.filter(|own| own.credential_version == credential_version);
        let Some(account) = verified else { return Ok(BeginTotpOutcome::CredentialChanged) };
        if !state.is_live_session_of(session_id, setup.user_id, context.at) {
            return Ok(BeginTotpOutcome::SessionEnded);
        }
        if account.user.mfa_enabled_at.is_some() {
            return Ok(BeginTotpOutcome::Enabled);
        }
        state.totps.insert(setup.user_id, Totp::begun(setup.sealed, context.at));
        Ok(BeginTotpOutcome::Begun)
    }

    async fn find_totp(&self, user_id: UserId) -> Result<Option<Totp>, StoreError> {
        Ok(self.state().totps.get(&user_id).cloned())
    }

    async fn enable_totp(
        &self,
        enabling: EnableTotp,
        context: &AuditContext,
    ) -> Result<EnableTotpOutcome, StoreError> {
        let (mut state, id) = (self.state(), enabling.user_id);
        if !state.is_live_session_of(enabling.session_id, id, context.at) {
            return Ok(EnableTotpOutcome::SessionEnded);
        }
        let present = state.totps.get(&id).cloned();
        let Some(enabled) = enabling.enabled(present, context.at) else {
            return Ok(EnableTotpOutcome::SetupGone);
        };
        state.totps.insert(id, enabled);
        state.set_mfa_enabled_at(id, Some(context.at));
        state.replace_recovery_codes(id, &enabling.recovery_codes);
        if let Some(session) = state.sessions.get_mut(&enabling.session_id) {
            session.amr = enabling.amr;
        }
        state.record(AuditEvent::of_user(AuditKind::MfaEnabled {}, id), context);
        state.queue(enabling.notice);
        let user = state.user(id).ok_or(StoreError::Inconsistent("totp.user_id"))?;
        Ok(EnableTotpOutcome::Enabled(user))
    }

    async fn disable_totp(
        &self,
        user_id: UserId,
        removal: Option<TotpRemoval>,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<DisableTotpOutcome, StoreError> {
        let mut state = self.state();
        let is_live =
            |own: TotpRemoval| state.is_live_session_of(own.session_id, user_id, context.at);
        if !removal.is_none_or(is_live) {
            return Ok(DisableTotpOutcome::SessionEnded);
        }
        let has = state.totps.get(&user_id).is_some_and(|totp| totp.confirmed_at.is_some());
        if !has {
            return Ok(DisableTotpOutcome::NotEnabled);
        }
        if removal.is_some_and(|own| !state.spend(user_id, own.proof, context)) {
            return Ok(DisableTotpOutcome::ProofSpent);
        }
        state.forget_second_factor(user_id);
        state.set_mfa_enabled_at(user_id, None);
        state.record(AuditEvent::of_user(AuditKind::MfaDisabled {}, user_id), context);
        state.queue(notice);
        Ok(DisableTotpOutcome::Disabled)
    }

    async fn replace_recovery_codes(
        &self,
        user_id: UserId,
        guard: OwnGuard,
        codes: Vec<RecoveryCodeHash>,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<ReplaceCodesOutcome, StoreError> {
        let mut state = self.state();
        let account = state.users.get(&user_id).map(|row| &row.account);
        let fits = account.is_some_and(|account| {
            account.credential_version == guard.credential_version
                && account.user.mfa_enabled_at.is_some()
        });
        if !fits {
            return Ok(ReplaceCodesOutcome::Unmatched);
        }
        if !state.is_live_session_of(guard.session_id, user_id, context.at) {
            return Ok(ReplaceCodesOutcome::SessionEnded);
        }
        state.replace_recovery_codes(user_id, &codes);
        let replaced = AuditKind::RecoveryCodesReplaced {};
        state.record(AuditEvent::of_user(replaced, user_id), context);
        state.queue(notice);
        Ok(ReplaceCodesOutcome::Replaced)
    }

    async fn insert_mfa_challenge(
        &self,
        challenge: MfaChallenge,
        context: &AuditContext,
    ) -> Result<ChallengeOutcome, StoreError> {
        let (mut state, user_id) = (self.state(), challenge.user_id);
        let Some(row) = state.users.get(&user_id) else {
            return Ok(ChallengeOutcome::CredentialChanged);
        };
        if let Some(refused) = row.account.refuses(challenge.credential_version) {
            return Ok(ChallengeOutcome::refused(&refused));
        }
        let is_over = |old: &MfaChallenge| old.user_id == user_id && old.expires_at <= context.at;
        state.challenges.retain(|_, old| !is_over(old));
        state.challenges.insert(challenge.hash, challenge);
        state.record(AuditEvent::of_user(AuditKind::MfaRequired {}, user_id), context);
        Ok(ChallengeOutcome::Inserted { recovery_codes: state.recovery_codes_left(user_id) })
    }

    async fn count_mfa_try(
        &self,
        whose: MfaTry,
        quota: Option<Quota>,
        now: Timestamp,
    ) -> Result<MfaTryOutcome, StoreError> {
        let mut guard = self.state();
        let state = &mut *guard;
        let (user_id, challenge) = match whose {
            MfaTry::User(id) => (id, None),
            MfaTry::Challenge(hash) => {
                let Some(challenge) = state.challenges.get_mut(&hash) else {
                    return Ok(MfaTryOutcome::Refused);
                };
                (challenge.user_id, Some(challenge))
            }
        };
        let account = state.users.get(&user_id).map(|row| &row.account);
        let totp = state.totps.get_mut(&user_id).filter(|totp| totp.confirmed_at.is_some());
        let (Some(account), Some(totp)) = (account, totp) else {
            return Ok(MfaTryOutcome::Refused);
        };
        if challenge.as_ref().is_some_and(|challenge| !challenge.takes_try(account, now)) {
            return Ok(MfaTryOutcome::Refused);
        }
        if let Err(limited) = totp.count(quota, now) {
            return Ok(MfaTryOutcome::Limited(limited));
        }
        if let Some(challenge) = challenge {
            challenge.tries_left -= 1;
        }
        Ok(MfaTryOutcome::Counted { user_id, totp: totp.clone() })
    }

    async fn open_mfa_session(
        &self,
        session: NewSession,
        answer: MfaAnswer,
        context: &AuditContext,
    ) -> Result<OpenMfaOutcome, StoreError> {
        let (mut state, user_id) = (self.state(), session.session.user_id);
        let Some(row) = state.users.get(&user_id) else {
            return Ok(OpenMfaOutcome::ChallengeSpent);
        };
        let challenge = state.challenges.get(&answer.challenge);
        if let Some(refused) = OpenMfaOutcome::refusal(challenge, &row.account, context.at) {
            return Ok(refused);
        }
        if !state.spend(user_id, answer.proof, context) {
            return Ok(OpenMfaOutcome::ProofSpent);
        }
        state.challenges.remove(&answer.challenge);
        if let Some(totp) = state.totps.get_mut(&user_id) {
            totp.refund(answer.quota);
        }
        let (user, ended_others) = state.sign_in(session, context)?;
        Ok(OpenMfaOutcome::Opened { user, ended_others })
    }
}

impl State {
    /// Whatever belongs to the second factor of a user.
    pub(super) fn forget_second_factor(&mut self, user_id: UserId) {
        self.totps.remove(&user_id);
        self.recovery_codes.retain(|(own, _)| *own != user_id);
        self.forget_challenges(user_id);
    }

    /// A set-up that is not finished.
    pub(super) fn forget_setup(&mut self, user_id: UserId) {
        self.totps.retain(|id, totp| *id != user_id || totp.confirmed_at.is_some());
    }

    /// Ends the user's sign-ins that wait for a code.
    pub(super) fn forget_challenges(&mut self, user_id: UserId) {
        self.challenges.retain(|_, challenge| challenge.user_id != user_id);
    }

    /// Uses a proof up, and records it where it is a recovery code; answers whether it was good.
    fn spend(&mut self, user_id: UserId, proof: MfaProof, context: &AuditContext) -> bool {
        let totp = self.totps.get_mut(&user_id).filter(|totp| totp.confirmed_at.is_some());
        let Some(totp) = totp else { return false };
        match proof {
            MfaProof::Step(step) if totp.takes(step) => totp.last_step = Some(step),
            MfaProof::Step(_) => return false,
            MfaProof::RecoveryCode(hash) => {
                if !self.recovery_codes.remove(&(user_id, hash)) {
                    return false;
                }
                let used = AuditKind::RecoveryCodeUsed { left: self.recovery_codes_left(user_id) };
                self.record(AuditEvent::of_user(used, user_id), context);
            }
        }
        true
    }

    pub(super) fn set_mfa_enabled_at(&mut self, id: UserId, at: Option<Timestamp>) {
        if let Some(row) = self.users.get_mut(&id) {
            row.account.user.mfa_enabled_at = at;
            row.account.credential_version += 1;
        }
        self.carry_tokens(id);
    }

    fn replace_recovery_codes(&mut self, user_id: UserId, codes: &[RecoveryCodeHash]) {
        self.recovery_codes.retain(|(own, _)| *own != user_id);
        self.recovery_codes.extend(codes.iter().map(|code| (user_id, *code)));
    }

    fn recovery_codes_left(&self, user_id: UserId) -> u64 {
        self.recovery_codes.iter().filter(|(own, _)| *own == user_id).count() as u64
    }
}
