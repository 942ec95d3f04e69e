//! What is passed on of mails and the tokens in them.

use async_trait::async_trait;
use keyward_core::audit::AuditContext;
use keyward_core::id::MailId;
use keyward_core::one_time_token::{OneTimeTokenHash, TokenPurpose};
use keyward_core::time::Timestamp;

use super::{Call, Layer};
use crate::store::{
    Account, ClaimedMail, MailClaim, MailFate, MailStore, MailedToken, PasswordReset, QueuedMail,
    ResetOutcome, StoreError, User,
};

#[async_trait]
impl<L: Layer> MailStore for L {
    async fn issue_token(
        &self,
        issued: MailedToken,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.pass(Call::IssueToken, self.inner().issue_token(issued, context)).await
    }

    async fn find_token(
        &self,
        hash: OneTimeTokenHash,
        purpose: TokenPurpose,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        self.pass(Call::FindToken, self.inner().find_token(hash, purpose, now)).await
    }

    async fn reset_password(
        &self,
        reset: PasswordReset,
        context: &AuditContext,
    ) -> Result<Option<ResetOutcome>, StoreError> {
        self.pass(Call::ResetPassword, self.inner().reset_password(reset, context)).await
    }

    async fn verify_email(
        &self,
        hash: OneTimeTokenHash,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.pass(Call::VerifyEmail, self.inner().verify_email(hash, context)).await
    }

    async fn queue_mail(&self, mail: QueuedMail) -> Result<bool, StoreError> {
        self.pass(Call::QueueMail, self.inner().queue_mail(mail)).await
    }

    async fn claim_mail(&self, claim: MailClaim) -> Result<Vec<ClaimedMail>, StoreError> {
        self.pass(Call::ClaimMail, self.inner().claim_mail(claim)).await
    }

    async fn settle_mail(
        &self,
        id: MailId,
        attempts: u32,
        fate: MailFate,
    ) -> Result<bool, StoreError> {
        self.pass(Call::SettleMail, self.inner().settle_mail(id, attempts, fate)).await
    }
}
