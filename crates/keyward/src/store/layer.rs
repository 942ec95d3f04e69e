//! Layers over a store: what is put between the service and its data. The service itself measures
//! there; tests look on or do harm.
//!
//! A layer says what it does to calls, and is a [`Store`] by that. Every method of [`Store`] is
//! passed on here, and nowhere else.

mod administration;
mod chain;
mod imports;
mod load;
mod mail;
mod second_factor;
mod statistics;
mod unlocking;

use std::fmt;

use async_trait::async_trait;
use keyward_core::audit::chain::Checkpoint;
use keyward_core::audit::{AuditContext, AuditEvent, RecordedEvent};
use keyward_core::id::{ServiceKeyId, SessionId, UserId};
use keyward_core::service_key::{ServiceKeyHash, ServiceKeyRecord};
use keyward_core::session::{Session, Swap};
use keyward_core::time::Timestamp;

use super::{
    Account, AuditFilter, DeleteGuard, DeleteUserOutcome, InsertUserOutcome, KeyRecord,
    KeyRotation, NewSession, NewUser, OpenSessionOutcome, OwnGuard, PasswordHash, Purge, Purged,
    QueuedMail, Resealed, RevocationCursor, RevocationPage, Revoke, RotateOutcome, SessionFilter,
    SessionOfUser, Store, StoreError, User,
};

/// A store that lies over another one, and need say no more than over which: whatever else it
/// leaves out is done as the store below does it.
pub trait Layer: Send + Sync + fmt::Debug {
    /// The store below.
    fn inner(&self) -> &dyn Store;

    /// Every call on its way: `work` is the call of the store below, and is not begun before it is
    /// awaited.
    fn pass<T: Send>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        let _ = call;
        work
    }

    /// [`Store::rotate`], for layers that change what is asked or answered.
    fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> impl Future<Output = Result<RotateOutcome, StoreError>> + Send {
        async move { self.pass(Call::Rotate, self.inner().rotate(swap, context)).await }
    }

    /// [`Store::revoke`], for layers that change what is asked or answered.
    fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        async move { self.pass(Call::Revoke, self.inner().revoke(revoke, context)).await }
    }

    /// [`Store::list_audit`], for layers that change what is asked or answered.
    fn list_audit(
        &self,
        filter: AuditFilter,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, StoreError>> + Send {
        async move { self.pass(Call::ListAudit, self.inner().list_audit(filter)).await }
    }
}

/// What is asked of a store: one variant per method of [`Store`] and its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`Store::insert_user`].
    InsertUser,
    /// [`ImportStore::insert_users`](super::ImportStore::insert_users).
    InsertUsers,
    /// [`Store::find_user_by_email`].
    FindUserByEmail,
    /// [`Store::find_user`].
    FindUser,
    /// [`Store::set_name`].
    SetName,
    /// [`Store::delete_user`].
    DeleteUser,
    /// [`Store::open_session`].
    OpenSession,
    /// [`Store::change_password`].
    ChangePassword,
    /// [`ImportStore::replace_hash`](super::ImportStore::replace_hash).
    ReplaceHash,
    /// [`AdministrationStore::change_user`](super::AdministrationStore::change_user).
    ChangeUser,
    /// [`AdministrationStore::end_sessions`](super::AdministrationStore::end_sessions).
    EndSessions,
    /// [`AdministrationStore::list_users`](super::AdministrationStore::list_users).
    ListUsers,
    /// [`StatisticsStore::count_events`](super::StatisticsStore::count_events).
    CountEvents,
    /// [`StatisticsStore::count_population`](super::StatisticsStore::count_population).
    CountPopulation,
    /// [`StatisticsStore::forget_counts`](super::StatisticsStore::forget_counts).
    ForgetCounts,
    /// [`StatisticsStore::keep_counts`](super::StatisticsStore::keep_counts).
    KeepCounts,
    /// [`StatisticsStore::last_counted_hour`](super::StatisticsStore::last_counted_hour).
    LastCountedHour,
    /// [`StatisticsStore::list_counts`](super::StatisticsStore::list_counts).
    ListCounts,
    /// [`UnlockStore::list_unlocked`](super::UnlockStore::list_unlocked).
    ListUnlocked,
    /// [`UnlockStore::unlock`](super::UnlockStore::unlock).
    Unlock,
    /// [`Store::rotate`].
    Rotate,
    /// [`Store::find_session`].
    FindSession,
    /// [`Store::list_sessions`].
    ListSessions,
    /// [`Store::revoke`].
    Revoke,
    /// [`Store::list_revocations`].
    ListRevocations,
    /// [`Store::record`].
    Record,
    /// [`Store::list_audit`].
    ListAudit,
    /// [`Store::list_keys`].
    ListKeys,
    /// [`Store::rotate_key`].
    RotateKey,
    /// [`Store::reseal_keys`].
    ResealKeys,
    /// [`Store::insert_service_key`].
    InsertServiceKey,
    /// [`Store::find_service_key`].
    FindServiceKey,
    /// [`Store::list_service_keys`].
    ListServiceKeys,
    /// [`Store::revoke_service_key`].
    RevokeServiceKey,
    /// [`super::MailStore::issue_token`].
    IssueToken,
    /// [`super::MailStore::find_token`].
    FindToken,
    /// [`super::MailStore::reset_password`].
    ResetPassword,
    /// [`super::MailStore::verify_email`].
    VerifyEmail,
    /// [`super::MailStore::queue_mail`].
    QueueMail,
    /// [`super::MailStore::claim_mail`].
    ClaimMail,
    /// [`super::MailStore::settle_mail`].
    SettleMail,
    /// [`Store::purge`].
    Purge,
    /// [`Store::prepare_audit`].
    PrepareAudit,
    /// [`Store::ping`].
    Ping,
    /// [`last_checkpoint`](super::ChainStore::last_checkpoint).
    LastCheckpoint,
    /// [`list_checkpoints`](super::ChainStore::list_checkpoints).
    ListCheckpoints,
    /// [`list_unsealed`](super::ChainStore::list_unsealed).
    ListUnsealed,
    /// [`append_checkpoint`](super::ChainStore::append_checkpoint).
    AppendCheckpoint,
    /// [`keep_salts`](super::ChainStore::keep_salts).
    KeepSalts,
    /// [`find_salts`](super::ChainStore::find_salts).
    FindSalts,
    /// [`begin_totp`](super::SecondFactorStore::begin_totp).
    BeginTotp,
    /// [`find_totp`](super::SecondFactorStore::find_totp).
    FindTotp,
    /// [`enable_totp`](super::SecondFactorStore::enable_totp).
    EnableTotp,
    /// [`disable_totp`](super::SecondFactorStore::disable_totp).
    DisableTotp,
    /// [`replace_recovery_codes`](super::SecondFactorStore::replace_recovery_codes).
    ReplaceRecoveryCodes,
    /// [`insert_mfa_challenge`](super::SecondFactorStore::insert_mfa_challenge).
    InsertMfaChallenge,
    /// [`count_mfa_try`](super::SecondFactorStore::count_mfa_try).
    CountMfaTry,
    /// [`open_mfa_session`](super::SecondFactorStore::open_mfa_session).
    OpenMfaSession,
}

#[async_trait]
impl<L: Layer> Store for L {
    async fn insert_user(
        &self,
        user: NewUser,
        session: Option<NewSession>,
        context: &AuditContext,
    ) -> Result<InsertUserOutcome, StoreError> {
        self.pass(Call::InsertUser, self.inner().insert_user(user, session, context)).await
    }

    async fn find_user_by_email(&self, email_key: &str) -> Result<Option<Account>, StoreError> {
        self.pass(Call::FindUserByEmail, self.inner().find_user_by_email(email_key)).await
    }

    async fn find_user(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.pass(Call::FindUser, self.inner().find_user(id)).await
    }

    async fn set_name(
        &self,
        id: UserId,
        name: Option<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.pass(Call::SetName, self.inner().set_name(id, name, context)).await
    }

    async fn delete_user(
        &self,
        id: UserId,
        guard: DeleteGuard,
        context: &AuditContext,
    ) -> Result<DeleteUserOutcome, StoreError> {
        self.pass(Call::DeleteUser, self.inner().delete_user(id, guard, context)).await
    }

    async fn open_session(
        &self,
        session: NewSession,
        credential_version: u64,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        self.pass(
            Call::OpenSession,
            self.inner().open_session(session, credential_version, context),
        )
        .await
    }

    async fn change_password(
        &self,
        session: NewSession,
        guard: OwnGuard,
        password_hash: PasswordHash,
        notice: Option<QueuedMail>,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        let inner = self.inner();
        let work = inner.change_password(session, guard, password_hash, notice, context);
        self.pass(Call::ChangePassword, work).await
    }

    async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        Layer::rotate(self, swap, context).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionOfUser>, StoreError> {
        self.pass(Call::FindSession, self.inner().find_session(id)).await
    }

    async fn list_sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, StoreError> {
        self.pass(Call::ListSessions, self.inner().list_sessions(filter)).await
    }

    async fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        Layer::revoke(self, revoke, context).await
    }

    async fn list_revocations(
        &self,
        after: Option<&RevocationCursor>,
        limit: u32,
    ) -> Result<RevocationPage, StoreError> {
        self.pass(Call::ListRevocations, self.inner().list_revocations(after, limit)).await
    }

    async fn record(&self, events: Vec<(AuditEvent, AuditContext)>) -> Result<(), StoreError> {
        self.pass(Call::Record, self.inner().record(events)).await
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<RecordedEvent>, StoreError> {
        Layer::list_audit(self, filter).await
    }

    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.pass(Call::ListKeys, self.inner().list_keys()).await
    }

    async fn rotate_key(
        &self,
        rotation: KeyRotation,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.pass(Call::RotateKey, self.inner().rotate_key(rotation, context)).await
    }

    async fn reseal_keys(
        &self,
        keys: Vec<Resealed>,
        hand_over: Option<Checkpoint>,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.pass(Call::ResealKeys, self.inner().reseal_keys(keys, hand_over, context)).await
    }

    async fn insert_service_key(
        &self,
        key: ServiceKeyRecord,
        context: &AuditContext,
    ) -> Result<(), StoreError> {
        self.pass(Call::InsertServiceKey, self.inner().insert_service_key(key, context)).await
    }

    async fn find_service_key(
        &self,
        hash: ServiceKeyHash,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        self.pass(Call::FindServiceKey, self.inner().find_service_key(hash)).await
    }

    async fn list_service_keys(&self) -> Result<Vec<ServiceKeyRecord>, StoreError> {
        self.pass(Call::ListServiceKeys, self.inner().list_service_keys()).await
    }

    async fn revoke_service_key(
        &self,
        id: ServiceKeyId,
        context: &AuditContext,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        self.pass(Call::RevokeServiceKey, self.inner().revoke_service_key(id, context)).await
    }

    async fn purge(
        &self,
        purge: Purge,
        limit: u32,
        context: &AuditContext,
    ) -> Result<Purged, StoreError> {
        self.pass(Call::Purge, self.inner().purge(purge, limit, context)).await
    }

    async fn prepare_audit(&self) -> Result<(), StoreError> {
        self.pass(Call::PrepareAudit, self.inner().prepare_audit()).await
    }

    async fn ping(&self) -> Result<Option<Timestamp>, StoreError> {
        self.pass(Call::Ping, self.inner().ping()).await
    }
}
