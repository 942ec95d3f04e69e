//! New keys, and new seals for those that are there.

use std::time::Duration;

use keyward_core::access_token::Algorithm;
use keyward_core::audit::AuditContext;
use keyward_core::audit::chain::Checkpoint;
use keyward_core::keys::{
    self, KeyLifePolicy, KeyLives, KeyPurpose, KeyRecord, KeyState, MasterKey, SigningKey,
    UnfitKey, newest,
};
use zeroize::Zeroizing;

use super::opened::place;
use super::{KeyringError, Succession};
use crate::entropy::{self, Entropy};
use crate::service::chain::secret_chain_key;
use crate::store::{KeyRotation, Resealed, Store};

/// Makes keys.
#[derive(Clone, Copy)]
pub(super) struct Maker<'a> {
    pub(super) master_key: &'a MasterKey,
    pub(super) life: &'a KeyLifePolicy,
}

impl Maker<'_> {
    /// A new key for this purpose, and what becomes of those that are there.
    pub(super) async fn rotation(
        self,
        rows: &[KeyRecord],
        purpose: KeyPurpose,
        succession: Succession,
        entropy: &dyn Entropy,
        context: &AuditContext,
    ) -> Result<KeyRotation, KeyringError> {
        let lives = KeyLives::new(rows, self.life);
        let own = rows.iter().filter(|key| key.purpose == purpose);
        let is_gone = |key: &&KeyRecord| lives.state(key, context.at) == KeyState::Gone;
        let mut gone: Vec<_> = own.filter(is_gone).map(|key| key.id.clone()).collect();
        let compromised = succession == Succession::Compromise;
        let (id, algorithm, secret) = if purpose == KeyPurpose::AccessToken {
            self.signing_key(entropy).await?
        } else {
            let id = if let Some(number) = lives.free_number(purpose) {
                number.to_string()
            } else {
                let spare = lives.spare_key(purpose, compromised, context.at);
                let taken = || KeyringError::NumbersTaken { purpose: purpose.as_str() };
                let id = spare.ok_or_else(taken)?.id.clone();
                // It leaves as the new one comes.
                gone.push(id.clone());
                id
            };
            let algorithm = if purpose.seals() { SEAL_ALGORITHM } else { MAC_ALGORITHM };
            (id, algorithm, symmetric(entropy))
        };

        let replaces = newest(rows, purpose);
        // Later than the one before, whatever a clock says: the newest must be one and the same to
        // all processes.
        let after = replaces.map(|key| key.created_at.plus(Duration::from_millis(1)));
        let activates_at = match succession {
            Succession::AfterOverlap => context.at.plus(self.life.overlap),
            Succession::AtOnce | Succession::Compromise => context.at,
        };
        let nonce = entropy::array::<12>(entropy);
        let key = KeyRecord {
            sealed: self.master_key.seal(&secret, &place(purpose, &id), &nonce),
            id,
            purpose,
            algorithm: algorithm.to_owned(),
            created_at: after.map_or(context.at, |after| after.max(context.at)),
            activates_at,
            compromised_at: None,
        };
        Ok(KeyRotation { key, replaces: replaces.cloned(), compromised, gone })
    }

    /// Id, algorithm and secret half.
    async fn signing_key(
        self,
        entropy: &dyn Entropy,
    ) -> Result<(String, &'static str, Zeroizing<Vec<u8>>), KeyringError> {
        let algorithm = self.life.algorithm.ok_or(KeyringError::Configured)?;
        let secret = match algorithm {
            Algorithm::Hs256 => symmetric(entropy),
            // An RSA key takes its time, which no request shall wait for.
            Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256 => {
                let made = tokio::task::spawn_blocking(move || keys::generate_pkcs8(algorithm));
                made.await.map_err(|_| UnfitKey)??
            }
        };
        let id = SigningKey::parse(algorithm, &secret)?.id().to_owned();
        Ok((id, algorithm.as_str(), secret))
    }
}

fn symmetric(entropy: &dyn Entropy) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(entropy::array::<32>(entropy).to_vec())
}

/// What was sealed with another master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resealing {
    /// How many keys.
    pub keys: usize,
    /// Whether the chain over the audit log was handed over. It was not where the last checkpoint
    /// is not signed with the old master key: then somebody else has written to the database.
    pub is_chain_handed_over: bool,
}

/// Seals every key of the store with another master key, all of them or, where anything fails,
/// none, and hands the chain over the audit log over to it at once: what holds the old one seals
/// nothing from then on.
///
/// # Errors
///
/// [`KeyringError::Sealed`] where `from` is not the master key that seals them,
/// [`KeyringError::Store`] where the store fails or its keys change at the same time.
pub async fn reseal(
    store: &dyn Store,
    from: &MasterKey,
    to: &MasterKey,
    entropy: &dyn Entropy,
    context: &AuditContext,
) -> Result<Resealing, KeyringError> {
    let (before, after) = (secret_chain_key(from), secret_chain_key(to));
    for _ in 0..super::ATTEMPTS_MAX {
        let rows = store.list_keys().await?;
        let count = rows.len();
        let resealed = rows.into_iter().map(|key| {
            let place = place(key.purpose, &key.id);
            let secret = from
                .open(&key.sealed, &place)
                .map_err(|UnfitKey| KeyringError::Sealed { purpose: key.purpose.as_str() })?;
            let sealed = to.seal(&secret, &place, &entropy::array(entropy));
            Ok(Resealed { key, sealed })
        });
        let resealed = resealed.collect::<Result<Vec<_>, KeyringError>>()?;
        let last = store.last_checkpoint().await?;
        let last = last.as_ref();
        let is_own = last.is_none_or(|last| last.is_sealed_by(&before.public()));
        let hand_over = is_own.then(|| Checkpoint::hand_over(last, context.at, &before, &after));
        if store.reseal_keys(resealed, hand_over, context).await? {
            return Ok(Resealing { keys: count, is_chain_handed_over: is_own });
        }
    }
    Err(super::contended())
}

/// Finds out whether this is the master key that seals the store's keys, as whoever has something
/// sealed for the services on the store wants to know. Any is good for a store without keys.
///
/// # Errors
///
/// [`KeyringError::Sealed`] where it is not, [`KeyringError::Store`].
pub async fn try_master_key(store: &dyn Store, master_key: &MasterKey) -> Result<(), KeyringError> {
    let Some(key) = store.list_keys().await?.pop() else { return Ok(()) };
    let opened = master_key.open(&key.sealed, &place(key.purpose, &key.id));
    opened.map(drop).map_err(|UnfitKey| KeyringError::Sealed { purpose: key.purpose.as_str() })
}

const MAC_ALGORITHM: &str = "HMAC-SHA-256";
const SEAL_ALGORITHM: &str = "AES-256-GCM-SIV";
