//! How the parts of the library become a running service: the one place that picks them.

use std::path::Path;
use std::sync::Arc;

use keyward::clock::{Clock as _, SystemClock};
use keyward::entropy::{self, SystemEntropy};
use keyward::hashing::HashPool;
use keyward::policy::{HashingPolicy, Policy};
use keyward::service::{self, Keyward, Parts};
use keyward::store::{Migration, PasswordHash, SqliteStore, Store};
use keyward_core::audit::AuditContext;
use keyward_core::keys::MasterKey;
use keyward_core::password::Password;
use keyward_core::time::Timestamp;

use crate::config::Configuration;
use crate::failure::Failure;

/// Opens the store at this path, making it where it is not there, and applies its migrations.
pub(crate) async fn open_store(path: &Path) -> Result<Arc<dyn Store>, Failure> {
    Ok(Arc::new(SqliteStore::open(path, now())?))
}

/// Every migration that this version knows, and since when each is applied to the store.
pub(crate) fn migrations(path: &Path) -> Result<Vec<Migration>, Failure> {
    Ok(SqliteStore::migrations(path)?)
}

/// Starts the service.
pub(crate) async fn start(
    policy: Policy,
    store: Arc<dyn Store>,
    master_key: MasterKey,
) -> Result<Keyward, Failure> {
    let clock = Arc::new(SystemClock);
    let entropy = Arc::new(SystemEntropy::new());
    let parts = Parts { policy, store, master_key, clock, entropy };
    Keyward::start(parts).await.map_err(|error| Failure::new(format!("{error}.")))
}

/// Opens every key of a store that has keys.
pub(crate) async fn try_keys(
    configuration: &Configuration,
    store: Arc<dyn Store>,
    master_key: MasterKey,
) -> Result<(), Failure> {
    start(configuration.policy.clone(), store, master_key).await.map(drop)
}

/// Seals every key of the store with another master key.
pub(crate) async fn reseal(
    store: &dyn Store,
    from: &MasterKey,
    to: &MasterKey,
    context: &AuditContext,
) -> Result<usize, Failure> {
    let sealed = service::reseal(store, from, to, &SystemEntropy::new(), context).await;
    sealed.map_err(|error| Failure::new(format!("{error}.")))
}

/// Hashes one password.
pub(crate) async fn hash(
    policy: &HashingPolicy,
    password: Password,
) -> Result<PasswordHash, Failure> {
    let pool = HashPool::new(&HashingPolicy { concurrency_max: 1, ..policy.clone() })?;
    pool.hash(password, random())
        .await
        .map_err(|_| Failure::new("The password could not be hashed; try again."))
}

/// The present.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

/// So many fresh bytes of the operating system's randomness.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    entropy::array(&SystemEntropy::new())
}
