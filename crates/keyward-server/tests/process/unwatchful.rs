//! A service that does not watch: reuse of refresh tokens is answered as ever, but the session
//! lives on, and nobody is told.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use keyward::clock::SystemClock;
use keyward::entropy::{self, SystemEntropy};
use keyward::policy::Policy;
use keyward::service::{Keyward, Parts};
use keyward::store::{
    Account, AuditFilter, DeleteGuard, DeleteUserOutcome, InsertUserOutcome, KeyRecord,
    KeyRotation, MemoryStore, NewSession, NewUser, OpenSessionOutcome, PasswordHash, Resealed,
    Revoke, RevokeScope, RotateOutcome, SessionFilter, SessionOfUser, Store, StoreError, User,
};
use keyward_core::audit::{AuditContext, AuditEvent, RecordedEvent};
use keyward_core::id::{ServiceKeyId, SessionId, UserId};
use keyward_core::keys::MasterKey;
use keyward_core::service_key::{Scope, ServiceKey, ServiceKeyHash, ServiceKeyRecord};
use keyward_core::session::{RevocationReason, Session, Swap};
use keyward_core::time::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A service in this process, until dropped.
pub(crate) struct Unwatchful {
    pub(crate) address: SocketAddr,
    pub(crate) service_key: String,
    store: Arc<BlindStore>,
    runtime: Runtime,
}

impl Unwatchful {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let store = Arc::new(BlindStore(MemoryStore::default()));
        let key = ServiceKey::issue(&entropy::array(&SystemEntropy::new()));
        let listener = runtime.block_on(async {
            let context = AuditContext {
                at: Timestamp::from_secs(0),
                device: Default::default(),
                request_id: None,
                actor: None,
            };
            store.insert_service_key(record_of(&key), &context).await.expect("inserted");
            TcpListener::bind("127.0.0.1:0").await.expect("bound")
        });
        let address = listener.local_addr().expect("an address");
        runtime.spawn(serve(listener, address, Arc::clone(&store)));
        Self { address, service_key: key.expose().to_owned(), store, runtime }
    }

    /// How many accounts it has.
    pub(crate) fn accounts(&self) -> usize {
        self.runtime.block_on(self.store.list_users(None, 100)).expect("listed").len()
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, store: Arc<BlindStore>) {
    let entropy = Arc::new(SystemEntropy::new());
    let mut policy = Policy::new(&format!("http://{address}"));
    policy.cookies.secure = false;
    let master_key = MasterKey::new(&entropy::array(entropy.as_ref()));
    let parts = Parts { policy, store, master_key, clock: Arc::new(SystemClock), entropy };
    let keyward = Arc::new(Keyward::start(parts).await.expect("started"));
    let router = keyward::http::router(Arc::clone(&keyward)).expect("good cookie names");
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        served = axum::serve(listener, service) => served.expect("served"),
        () = keyward.run_background() => {}
    }
}

fn record_of(key: &ServiceKey) -> ServiceKeyRecord {
    ServiceKeyRecord {
        id: ServiceKeyId::from_bytes([7; 16]),
        name: "drill".to_owned(),
        hash: key.hash(),
        scopes: [Scope::AuditRead, Scope::UsersWrite].into(),
        created_at: Timestamp::from_secs(0),
        expires_at: None,
        revoked_at: None,
    }
}

/// The memory store, but a session that reuse should end lives on.
#[derive(Debug)]
struct BlindStore(MemoryStore);

#[async_trait]
impl Store for BlindStore {
    async fn revoke(
        &self,
        revoke: Revoke,
        context: &AuditContext,
    ) -> Result<Vec<SessionId>, StoreError> {
        match (revoke.reason, revoke.scope) {
            (RevocationReason::ReuseDetected, RevokeScope::Session(id)) => Ok(vec![id]),
            _ => self.0.revoke(revoke, context).await,
        }
    }

    async fn insert_user(
        &self,
        user: NewUser,
        session: Option<NewSession>,
        context: &AuditContext,
    ) -> Result<InsertUserOutcome, StoreError> {
        self.0.insert_user(user, session, context).await
    }

    async fn find_user_by_email(&self, email_key: &str) -> Result<Option<Account>, StoreError> {
        self.0.find_user_by_email(email_key).await
    }

    async fn find_user(&self, id: UserId) -> Result<Option<Account>, StoreError> {
        self.0.find_user(id).await
    }

    async fn list_users(&self, after: Option<UserId>, limit: u32) -> Result<Vec<User>, StoreError> {
        self.0.list_users(after, limit).await
    }

    async fn set_name(
        &self,
        id: UserId,
        name: Option<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.0.set_name(id, name, context).await
    }

    async fn set_roles(
        &self,
        id: UserId,
        roles: Vec<String>,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.0.set_roles(id, roles, context).await
    }

    async fn set_disabled(
        &self,
        id: UserId,
        disabled: bool,
        context: &AuditContext,
    ) -> Result<Option<User>, StoreError> {
        self.0.set_disabled(id, disabled, context).await
    }

    async fn delete_user(
        &self,
        id: UserId,
        guard: DeleteGuard,
        context: &AuditContext,
    ) -> Result<DeleteUserOutcome, StoreError> {
        self.0.delete_user(id, guard, context).await
    }

    async fn open_session(
        &self,
        session: NewSession,
        credential_version: u64,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        self.0.open_session(session, credential_version, context).await
    }

    async fn change_password(
        &self,
        session: NewSession,
        credential_version: u64,
        hash: PasswordHash,
        context: &AuditContext,
    ) -> Result<OpenSessionOutcome, StoreError> {
        self.0.change_password(session, credential_version, hash, context).await
    }

    async fn rotate(
        &self,
        swap: Swap,
        context: &AuditContext,
    ) -> Result<RotateOutcome, StoreError> {
        self.0.rotate(swap, context).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<SessionOfUser>, StoreError> {
        self.0.find_session(id).await
    }

    async fn list_sessions(&self, filter: SessionFilter) -> Result<Vec<Session>, StoreError> {
        self.0.list_sessions(filter).await
    }

    async fn record(&self, events: Vec<(AuditEvent, AuditContext)>) -> Result<(), StoreError> {
        self.0.record(events).await
    }

    async fn list_audit(&self, filter: AuditFilter) -> Result<Vec<RecordedEvent>, StoreError> {
        self.0.list_audit(filter).await
    }

    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.0.list_keys().await
    }

    async fn rotate_key(
        &self,
        rotation: KeyRotation,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.0.rotate_key(rotation, context).await
    }

    async fn reseal_keys(
        &self,
        keys: Vec<Resealed>,
        context: &AuditContext,
    ) -> Result<bool, StoreError> {
        self.0.reseal_keys(keys, context).await
    }

    async fn insert_service_key(
        &self,
        key: ServiceKeyRecord,
        context: &AuditContext,
    ) -> Result<(), StoreError> {
        self.0.insert_service_key(key, context).await
    }

    async fn find_service_key(
        &self,
        hash: ServiceKeyHash,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        self.0.find_service_key(hash).await
    }

    async fn list_service_keys(&self) -> Result<Vec<ServiceKeyRecord>, StoreError> {
        self.0.list_service_keys().await
    }

    async fn revoke_service_key(
        &self,
        id: ServiceKeyId,
        context: &AuditContext,
    ) -> Result<Option<ServiceKeyRecord>, StoreError> {
        self.0.revoke_service_key(id, context).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.0.ping().await
    }
}
