//! The secret keys of a running service: opened with the master key, read again as they change.
//!
//! Rows are read at the start, at short intervals in the background, and at once where a token
//! names a key that is not here: another process, or the command line, may have made it. Which of
//! the keys signs follows from the rows and the clock ([`KeyLives`]), and is worked out anew as
//! soon as the time comes, without a read. A read that fails leaves the keys as they were.
//!
//! After a [`reseal`] a process that holds the old master key goes on with the keys that it has
//! opened, so that nodes can be restarted one by one. Once there is one that it has not, it cannot
//! verify what others sign: it says that it is not ready, and publishes all keys or none.
//!
//! Requests take the keys with one short read lock, which is held for writing only to put another
//! pointer in its place.

mod making;
mod opened;
mod snapshot;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use keyward_core::audit::AuditContext;
use keyward_core::audit::chain::ChainKey;
use keyward_core::keys::{KeyLives, KeyPurpose, KeyRecord, KeyState, MasterKey, UnfitKey};
use keyward_core::time::Timestamp;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::chain::secret_chain_key;
use super::readiness::CLOCK_DIFFERENCE_MAX;
use crate::entropy::{self, Entropy};
use crate::policy::Policy;
use crate::store::{Store, StoreError};
pub use making::{Resealing, reseal, try_master_key};
use opened::Opened;
use snapshot::KeyUse;
pub(crate) use snapshot::Keys;

/// Every key, and the way to more of them.
pub(crate) struct Keyring {
    store: Arc<dyn Store>,
    entropy: Arc<dyn Entropy>,
    master_key: MasterKey,
    key_use: KeyUse,
    keys: RwLock<Arc<Keys>>,
    /// Why the last rows that could be read are not those in use, where they are not.
    stuck: Mutex<Option<KeyringError>>,
    /// One read is on its way at a time: whoever waits here wants the same rows.
    last_read: tokio::sync::Mutex<LastRead>,
    /// How many reads have begun.
    reads: AtomicU64,
}

/// When the rows were read last, and what came of it.
struct LastRead {
    began: Option<Instant>,
    /// `None`: whoever began it has gone away in the middle.
    outcome: Option<Result<(), KeyringError>>,
}

/// How a new key comes into use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Succession {
    /// It is published first and signs after the overlap.
    AfterOverlap,
    /// It signs at once; the keys before it stay good for what they have signed.
    AtOnce,
    /// It signs at once, and every key before it is in doubt from now on.
    Compromise,
}

impl Keyring {
    /// Opens the stored keys and makes the missing ones. Safe when several processes start at once:
    /// the first key of each purpose wins and every process uses that one.
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        entropy: Arc<dyn Entropy>,
        master_key: MasterKey,
        policy: &Policy,
        context: &AuditContext,
    ) -> Result<Self, KeyringError> {
        let key_use = KeyUse::new(policy)?;
        let mut rows = store.list_keys().await?;
        for purpose in KeyPurpose::ALL.iter().copied() {
            for _ in 0..ATTEMPTS_MAX {
                if !KeyLives::new(&rows, &key_use.life).lacks_key(purpose) {
                    break;
                }
                let opened = Opened::all(rows, &master_key)?;
                let maker = making::Maker { master_key: &master_key, life: &key_use.life };
                let rotation =
                    maker.rotation(opened.rows(), purpose, Succession::AtOnce, &*entropy, context);
                store.rotate_key(rotation.await?, context).await?;
                rows = store.list_keys().await?;
            }
        }
        let keys = Keys::at(Arc::new(Opened::all(rows, &master_key)?), &key_use, context.at)?;
        Ok(Self {
            store,
            entropy,
            master_key,
            key_use,
            keys: RwLock::new(Arc::new(keys)),
            stuck: Mutex::default(),
            last_read: tokio::sync::Mutex::new(LastRead { began: None, outcome: None }),
            reads: AtomicU64::new(0),
        })
    }

    /// The keys as they are used at this time.
    pub(crate) fn keys(&self, now: Timestamp) -> Arc<Keys> {
        let held = self.held();
        if held.is_for(now) {
            return held;
        }
        match Keys::at(held.opened(), &self.key_use, now) {
            Ok(keys) => {
                let mut slot = self.keys.write().unwrap_or_else(PoisonError::into_inner);
                // A read that got in between knows more.
                if Arc::ptr_eq(&slot, &held) {
                    *slot = Arc::new(keys);
                }
                Arc::clone(&slot)
            }
            Err(error) => {
                tracing::error!("the keys stay as they were: {error}");
                held
            }
        }
    }

    /// Reads the rows again.
    pub(crate) async fn read(&self, now: Timestamp) -> Result<(), KeyringError> {
        let mut last = self.last_read.lock().await;
        self.read_rows(&mut last, now).await
    }

    /// Whether every key of the last rows that could be read is here. Where one is not, tokens that
    /// other nodes hand out are not verified here, and perhaps what the rows say of leaked keys is
    /// not followed: nobody should be sent to this node. Whether the store answers is asked
    /// elsewhere.
    pub(crate) fn ready(&self) -> Result<(), KeyringError> {
        self.require(|_| true)
    }

    /// For a token that names a key which is not in use here, or another of its number: reads the
    /// rows again, unless that key is among them and merely no longer good. Whoever comes while
    /// others wait shares their read, and reads are apart by the cool-down, so that junk cannot
    /// hammer the store. The read always begins after the call, and so knows every key that a token
    /// which came with the call can have been made with.
    pub(crate) async fn look_for(
        &self,
        purpose: KeyPurpose,
        id: &str,
        now: Timestamp,
    ) -> Result<(), KeyringError> {
        let opened = self.held().opened();
        if opened.knows(purpose, id)? && !KeyLives::numbers_run_short(opened.rows(), purpose) {
            return Ok(());
        }
        self.read_afresh(now).await?;
        self.held().opened().knows(purpose, id).map(drop)
    }

    /// The public keys as a JWK set, with those of other nodes: one may have made a key a moment
    /// ago and sign with it already. Reads as [`Keyring::look_for`] does; where the store does not
    /// answer soon, what is known here must do.
    ///
    /// An error where one of them does not open here. A verifier that fetched the others would take
    /// good tokens for forged ones, for as long as it may keep the set.
    pub(crate) async fn published(&self, now: Timestamp) -> Result<String, KeyringError> {
        // What fails is said by the rounds of the background.
        let _known = tokio::time::timeout(REFRESH_PATIENCE, self.read_afresh(now)).await;
        self.require(|purpose| purpose == KeyPurpose::AccessToken)?;
        Ok(self.keys(now).jwks().to_owned())
    }

    /// Whether the keys of these purposes are all here.
    fn require(&self, wanted: impl Fn(KeyPurpose) -> bool) -> Result<(), KeyringError> {
        if let Some(error) = &*self.stuck() {
            return Err(error.clone());
        }
        let opened = self.held().opened();
        let missing = opened.missing().find(|purpose| wanted(*purpose));
        missing.map_or(Ok(()), |purpose| Err(KeyringError::Sealed { purpose: purpose.as_str() }))
    }

    /// Reads the rows, or shares the read of another that begins after this call.
    async fn read_afresh(&self, now: Timestamp) -> Result<(), KeyringError> {
        let reads_before = self.reads.load(Ordering::SeqCst);
        let mut last = self.last_read.lock().await;
        let begun_since = self.reads.load(Ordering::SeqCst) != reads_before;
        if let Some(outcome) = last.outcome.as_ref().filter(|_| begun_since) {
            return outcome.clone();
        }
        if let Some(began) = last.began {
            tokio::time::sleep_until(began + COOL_DOWN).await;
        }
        self.read_rows(&mut last, now).await
    }

    async fn read_rows(&self, last: &mut LastRead, now: Timestamp) -> Result<(), KeyringError> {
        last.began = Some(Instant::now());
        last.outcome = None;
        self.reads.fetch_add(1, Ordering::SeqCst);
        let outcome = self.take_up_rows(now).await;
        last.outcome = Some(outcome.clone());
        outcome
    }

    async fn take_up_rows(&self, now: Timestamp) -> Result<(), KeyringError> {
        let rows = self.store.list_keys().await?;
        let outcome = self.take_up(rows, now);
        *self.stuck() = outcome.clone().err();
        outcome
    }

    fn take_up(&self, rows: Vec<KeyRecord>, now: Timestamp) -> Result<(), KeyringError> {
        let before = self.held().opened();
        if before.rows() == rows {
            return Ok(());
        }
        let opened = Arc::new(before.succeeded_by(rows, &self.master_key));
        let keys = Keys::at(Arc::clone(&opened), &self.key_use, now);
        // Where none may sign, the ones that may are most likely those that do not open.
        let keys = keys.or_else(|unfit| opened.require_all().and(Err(unfit)))?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    /// Since when the key that is in use now has been, of each purpose.
    pub(crate) fn active_since(&self, now: Timestamp) -> Vec<(KeyPurpose, Timestamp)> {
        let opened = self.held().opened();
        let lives = KeyLives::new(opened.rows(), &self.key_use.life);
        let active = opened.rows().iter().filter(|row| lives.state(row, now) == KeyState::Active);
        active.map(|row| (row.purpose, row.activates_at)).collect()
    }

    /// Seals what opens only at this place. Other processes with the master key open it too.
    pub(crate) fn seal(&self, secret: &[u8], place: &str) -> Vec<u8> {
        self.master_key.seal(secret, place, &entropy::array(&*self.entropy))
    }

    /// Opens what was sealed at this place. `None`: with another master key, or elsewhere.
    pub(crate) fn open_sealed(&self, sealed: &[u8], place: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.master_key.open(sealed, place).ok()
    }

    /// The key that signs the chain over the audit log.
    pub(crate) fn chain_key(&self) -> ChainKey {
        secret_chain_key(&self.master_key)
    }

    /// Makes a new key of this purpose, even if another process does the same at this moment.
    pub(crate) async fn rotate(
        &self,
        purpose: KeyPurpose,
        succession: Succession,
        context: &AuditContext,
    ) -> Result<KeyRecord, KeyringError> {
        for _ in 0..ATTEMPTS_MAX {
            self.read(context.at).await?;
            if let Some(key) = self.try_rotate(purpose, succession, context).await? {
                return Ok(key);
            }
        }
        Err(contended())
    }

    /// Makes the keys that the schedule asks for. Of several processes that try at once one does.
    pub(crate) async fn rotate_due(&self, context: &AuditContext) -> Result<(), KeyringError> {
        for purpose in KeyPurpose::ALL.iter().copied() {
            let opened = self.held().opened();
            let due = KeyLives::new(opened.rows(), &self.key_use.life).rotation_due_at(purpose);
            if due.is_some_and(|at| context.at >= at) {
                self.require_clock(context.at).await?;
                self.try_rotate(purpose, Succession::AfterOverlap, context).await?;
            }
        }
        Ok(())
    }

    /// A rotation deletes the keys whose time is over. To a clock far ahead of the others' that is
    /// every key, those that sign at this moment among them.
    async fn require_clock(&self, now: Timestamp) -> Result<(), KeyringError> {
        let server = self.store.ping().await?;
        let is_ahead = server.is_some_and(|server| now > server.plus(CLOCK_DIFFERENCE_MAX));
        if is_ahead { Err(KeyringError::ClockAhead) } else { Ok(()) }
    }

    /// `None` where the keys have changed since they were read.
    async fn try_rotate(
        &self,
        purpose: KeyPurpose,
        succession: Succession,
        context: &AuditContext,
    ) -> Result<Option<KeyRecord>, KeyringError> {
        let opened = self.held().opened();
        // What this process would seal could not be opened by those that hold the new master key.
        opened.require_all()?;
        let maker = making::Maker { master_key: &self.master_key, life: &self.key_use.life };
        let rotation =
            maker.rotation(opened.rows(), purpose, succession, &*self.entropy, context).await?;
        let key = rotation.key.clone();
        let done = self.store.rotate_key(rotation, context).await?;
        self.read(context.at).await?;
        Ok(done.then_some(key))
    }

    fn held(&self) -> Arc<Keys> {
        // No code that can panic runs under the lock.
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn stuck(&self) -> MutexGuard<'_, Option<KeyringError>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

/// Why the keys could not be opened or made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyringError {
    /// This machine's clock is more than [`CLOCK_DIFFERENCE_MAX`] ahead of the one of the store's
    /// server, so that keys which are in use might seem to be gone.
    ClockAhead,
    /// Access tokens are signed with a key that is configured; no other can be made for them.
    Configured,
    /// Every number of this purpose's keys is taken by one that is not gone yet.
    NumbersTaken {
        /// What the keys serve.
        purpose: &'static str,
    },
    /// The master key does not open this key: it is another one, or the row was changed.
    Sealed {
        /// What the key serves.
        purpose: &'static str,
    },
    /// The store failed.
    Store(StoreError),
    /// A key does not fit its algorithm or is too short.
    Unfit,
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClockAhead => f.write_str(
                "the clock of this machine is ahead of the one of the store's server: set right \
                 the one that is wrong",
            ),
            Self::Configured => f.write_str(
                "access tokens are signed with access_token.hmac_secret: set another one and \
                 start again",
            ),
            Self::NumbersTaken { purpose } => write!(
                f,
                "255 {purpose} keys are still in use: wait until what the oldest made has \
                 expired, as `keyward key list` shows; `keyward key compromise` does not wait"
            ),
            Self::Sealed { purpose } => write!(
                f,
                "the master key does not open the stored {purpose} key: \
                 start with the master key that seals the store's keys"
            ),
            Self::Store(error) => error.fmt(f),
            Self::Unfit => UnfitKey.fmt(f),
        }
    }
}

impl std::error::Error for KeyringError {}

impl From<StoreError> for KeyringError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<UnfitKey> for KeyringError {
    fn from(UnfitKey: UnfitKey) -> Self {
        Self::Unfit
    }
}

fn contended() -> KeyringError {
    let why = "others change keys at the same time; try again";
    StoreError::Unavailable(why.to_owned()).into()
}

/// How often a rotation is tried again when others rotate too.
const ATTEMPTS_MAX: usize = 4;

/// How far apart reads are that requests cause: strangers cause fifty a second at the most, each of
/// a handful of rows.
const COOL_DOWN: Duration = Duration::from_millis(20);

/// How long whoever asks for the published keys waits for a store.
const REFRESH_PATIENCE: Duration = Duration::from_secs(1);
