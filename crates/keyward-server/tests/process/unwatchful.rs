//! A service that does not watch: reuse of refresh tokens is answered as ever, but the session
//! lives on, and nobody is told.

use std::net::SocketAddr;
use std::sync::Arc;

use keyward::clock::SystemClock;
use keyward::entropy::{self, SystemEntropy};
use keyward::policy::Policy;
use keyward::service::{Keyward, Parts};
use keyward::store::layer::Layer;
use keyward::store::{
    AdministrationStore as _, MemoryStore, Revoke, RevokeScope, Store, StoreError, UserFilter,
};
use keyward_core::audit::AuditContext;
use keyward_core::id::{ServiceKeyId, SessionId};
use keyward_core::keys::MasterKey;
use keyward_core::service_key::{Scope, ServiceKey, ServiceKeyRecord};
use keyward_core::session::RevocationReason;
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
        self.runtime
            .block_on(self.store.list_users(UserFilter::every(None, 100)))
            .expect("listed")
            .len()
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, store: Arc<BlindStore>) {
    let entropy = Arc::new(SystemEntropy::new());
    let mut policy = Policy::new(&format!("http://{address}"));
    policy.cookies.secure = false;
    let master_key = MasterKey::new(&entropy::array(entropy.as_ref()));
    let clock = Arc::new(SystemClock);
    let parts = Parts { policy, store, master_key, clock, entropy, shared: None, mailing: None };
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

impl Layer for BlindStore {
    fn inner(&self) -> &dyn Store {
        &self.0
    }

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
}
