//! Second factors, passed on.

use async_trait::async_trait;
use keyward_core::audit::AuditContext;
use keyward_core::id::UserId;
use keyward_core::limits::Quota;
use keyward_core::second_factor::RecoveryCodeHash;
use keyward_core::time::Timestamp;

use super::{Call, Layer};
use crate::store::{
    BeginTotpOutcome, ChallengeOutcome, DisableTotpOutcome, EnableTotp, EnableTotpOutcome,
    MfaAnswer, MfaChallenge, MfaTry, MfaTryOutcome, NewSession, OpenMfaOutcome, OwnGuard,
    QueuedMail, ReplaceCodesOutcome, SecondFactorStore, StoreError, Totp, TotpRemoval, TotpSetup,
};

#[async_trait]
impl<L: Layer> SecondFactorStore for L {
    async fn begin_totp(
        &self,
        setup: TotpSetup,
        context: &AuditContext,
    ) -> Result<BeginTotpOutcome, StoreError> {
        self.pass(Call::BeginTotp, self.inner().begin_totp(setup, context)).await
    }

    async fn find_totp(&self, user_id: UserId) -> Result<Option<Totp>, StoreError> {
        self.pass(Call::FindTotp, self.inner().find_totp(user_id)).await
    }

    async fn enable_totp(
        &self,
        enabling: EnableTotp,
        context: &AuditContext,
    ) -> Result<EnableTotpOutcome, StoreError> {
        self.pass(Call::EnableTotp, self.inner().enable_totp(enabling, context)).await
    }

    async fn disable_totp(
        &self,
        user_id: UserId,
        removal: Option<TotpRemoval>,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<DisableTotpOutcome, StoreError> {
        self.pass(Call::DisableTotp, self.inner().disable_totp(user_id, removal, notice, context))
            .await
    }

    async fn replace_recovery_codes(
        &self,
        user_id: UserId,
        guard: OwnGuard,
        codes: Vec<RecoveryCodeHash>,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<ReplaceCodesOutcome, StoreError> {
        self.pass(
            Call::ReplaceRecoveryCodes,
            self.inner().replace_recovery_codes(user_id, guard, codes, notice, context),
        )
        .await
    }

    async fn insert_mfa_challenge(
        &self,
        challenge: MfaChallenge,
        context: &AuditContext,
    ) -> Result<ChallengeOutcome, StoreError> {
        self.pass(Call::InsertMfaChallenge, self.inner().insert_mfa_challenge(challenge, context))
            .await
    }

    async fn count_mfa_try(
        &self,
        whose: MfaTry,
        quota: Option<Quota>,
        now: Timestamp,
    ) -> Result<MfaTryOutcome, StoreError> {
        self.pass(Call::CountMfaTry, self.inner().count_mfa_try(whose, quota, now)).await
    }

    async fn open_mfa_session(
        &self,
        session: NewSession,
        answer: MfaAnswer,
        context: &AuditContext,
    ) -> Result<OpenMfaOutcome, StoreError> {
        self.pass(Call::OpenMfaSession, self.inner().open_mfa_session(session, answer, context))
            .await
    }
}
