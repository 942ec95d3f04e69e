//! A store that can be told to fail, and that lets other requests in between any two steps.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use keyward::store::{
    Account, AuditFilter, DeleteGuard, DeleteUserOutcome, InsertUserOutcome, KeyRecord,
    KeyRotation, MemoryStore, NewSession, NewUser, OpenSessionOutcome, PasswordHash, Resealed,
    Revoke, RotateOutcome, SessionFilter, SessionOfUser, Standing, Store, StoreError, User,
};
use keyward_core::audit::{AuditContext, AuditEvent, RecordedEvent};
use keyward_core::id::{ServiceKeyId, SessionId, UserId};
use keyward_core::service_key::{ServiceKeyHash, ServiceKeyRecord};
use keyward_core::session::{Session, Swap};
use tokio::task::yield_now;

/// A store, with faults.
pub(crate) struct FaultyStore {
    inner: Arc<dyn Store>,
    fault: Mutex<Option<(Call, Fault)>>,
    meanwhile: Mutex<Option<(Call, BoxFuture<'static, ()>)>>,
    key_reads: AtomicUsize,
}

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// Everything.
    Any,
    /// [`Store::find_session`].
    FindSession,
    /// [`Store::find_user`] and [`Store::find_user_by_email`].
    FindUser,
    /// [`Store::list_keys`].
    ListKeys,
    /// [`Store::record`].
    Record,
    /// [`Store::revoke`].
    Revoke,
    /// [`Store::rotate`].
    Rotate,
    /// Whatever has no name of its own.
    Other,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store is out of reach; nothing happens.
    Down,
    /// It is done, but the answer is lost on the way back.
    AnswerLost,
    /// So many swaps do not happen, and the session is answered as it was.
    StaleReads(u32),
}

impl FaultyStore {
    /// A store in memory that works.
    pub(crate) fn new() -> Arc<Self> {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// This store, working.
    pub(crate) fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        let (fault, meanwhile) = (Mutex::default(), Mutex::default());
        Arc::new(Self { inner, fault, meanwhile, key_reads: AtomicUsize::default() })
    }

    /// Lets something happen once, between the next such call and its answer.
    pub(crate) fn meanwhile(&self, call: Call, what: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.lock().expect("no panic") = Some((call, Box::pin(what)));
    }

    /// Fails from now on.
    pub(crate) fn fail(&self, call: Call, fault: Fault) {
        *self.fault.lock().expect("no panic") = Some((call, fault));
    }

    /// Works again.
    pub(crate) fn heal(&self) {
        *self.fault.lock().expect("no panic") = None;
    }

    /// How often the keys were read.
    pub(crate) fn key_reads(&self) -> usize {
        self.key_reads.load(Ordering::SeqCst)
    }

    fn fault_of(&self, call: Call) -> Option<Fault> {
        let fault = *self.fault.lock().expect("no panic");
        fault.filter(|(failing, _)| matches!(failing, Call::Any) || *failing == call).map(|f| f.1)
    }

    fn is_stale(&self) -> bool {
        match &mut *self.fault.lock().expect("no panic") {
            Some((_, Fault::StaleReads(left))) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    async fn pass<T>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = self.fault_of(call);
        if fault == Some(Fault::Down) {
            return Err(StoreError::Unavailable("table session is on fire".to_owned()));
        }
        yield_now().await;
        let done = work.await;
        let meanwhile = self.meanwhile.lock().expect("no panic").take_if(|(at, _)| *at == call);
        if let Some((_, what)) = meanwhile {
            what.await;
        }
        yield_now().await;
        if fault == Some(Fault::AnswerLost) {
            return Err(StoreError::Unavailable("the line is dead".to_owned()));
        }
        done
    }

    async fn read_stale(&self, id: SessionId) -> Result<RotateOutcome, StoreError> {
        let (session, user) =
            self.inner.find_session(id).await?.map(|found| (found.session, found.user)).unzip();
        Ok(RotateOutcome::Refused(Standing { session, user }))
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn insert_user(
        &self,
        user: NewUser,
        session: Option<NewSession>,
        context: &AuditContext,
    ) -> Result<InsertUserOutcome, StoreError> {
        self.pass(Call::Other, self.inner.insert_user(user, session, context)).await
    }

    async fn find_user_by_email(&self, email_key: &str) -> Result<Option<Account>, StoreError> {
        self.pass(Call::FindUser, self.inner.find_user_by_email(email_key)).await
    }

    async fn find_user(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.pass(Call::FindUser, self.inner.find_user(id)).await
    }

    async fn list_users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError> {
        self.pass(Call::Other, self.inner.list_users(after, limit)).await
    }

    async fn set_name(
        &self,
        id: UserId,
        name: Option<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.pass(Call::Other, self.inner.set_name(id, name, context)).await
    }

    async fn set_roles(
        &self,
        id: UserId,
        roles: Vec<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.pass(Call::Other, self.inner.set_roles(id, roles, context)).await
    }

    async fn set_disabled(
        &self,
        id: UserId,
        disabled: bool,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.pass(Call::Other, self.inner.set_disabled(id, disabled, context)).await
    }

    async fn delete_user(
        &self,
        id: UserId,
        guard: DeleteGuard,
        context: &AuditContext,
    ) -> Result<DeleteUserOutcome, StoreError> {
        self.pass(Call::Other, self.inner.delete_user(id, guard, context)).await
    }

    async fn open_session(
        &self,
        session: NewSession,
        credential_version: u64,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        self.pass(Call::Other, self.inner.open_session(session, credential_version, context)).await
    }

    async fn change_password(
        &self,
        session: NewSession,
        credential_version: u64,
        hash: PasswordHash,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        let change = self.inner.change_password(session, credential_version, hash, context);
        self.pass(Call::Other, change).await
    }

    async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        if self.is_stale() {
            return self.read_stale(swap.session_id).await;
        }
        self.pass(Call::Rotate, self.inner.rotate(swap, context)).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionOfUser>, StoreError> {
        self.pass(Call::FindSession, self.inner.find_session(id)).await
    }

    async fn list_sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, StoreError> {
        self.pass(Call::Other, self.inner.list_sessions(filter)).await
    }

    async fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.pass(Call::Revoke, self.inner.revoke(revoke, context)).await
    }

    async fn record(&self, events: Vec<(AuditEvent, AuditContext)>) -> Result<(), StoreError> {
        self.pass(Call::Record, self.inner.record(events)).await
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<RecordedEvent>, StoreError> {
        self.pass(Call::Other, self.inner.list_audit(filter)).await
    }

    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.key_reads.fetch_add(1, Ordering::SeqCst);
        self.pass(Call::ListKeys, self.inner.list_keys()).await
    }

    async fn rotate_key(
        &self,
        rotation: KeyRotation,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.pass(Call::Other, self.inner.rotate_key(rotation, context)).await
    }

    async fn reseal_keys(
        &self,
        keys: Vec<Resealed>,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.pass(Call::Other, self.inner.reseal_keys(keys, context)).await
    }

    async fn insert_service_key(
        &self,
        key: ServiceKeyRecord,
        context: &AuditContext,
    ) -> Result<(), StoreError> {
        self.pass(Call::Other, self.inner.insert_service_key(key, context)).await
    }

    async fn find_service_key(
        &self,
        hash: ServiceKeyHash,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        self.pass(Call::Other, self.inner.find_service_key(hash)).await
    }

    async fn list_service_keys(&self) -> Result<Vec<ServiceKeyRecord>, StoreError> {
        self.pass(Call::Other, self.inner.list_service_keys()).await
    }

    async fn revoke_service_key(
        &self,
        id: ServiceKeyId,
        context: &AuditContext,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        self.pass(Call::Other, self.inner.revoke_service_key(id, context)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.pass(Call::Other, self.inner.ping()).await
    }
}
