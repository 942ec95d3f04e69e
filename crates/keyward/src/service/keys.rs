//! The life of the keys: what an operator sees of it, and what is done about it.

use std::time::Duration;

use keyward_core::audit::AuditContext;
use keyward_core::keys::{KeyLives, KeyPurpose, KeyRecord, KeyState};
use keyward_core::time::Timestamp;
use tokio::time::MissedTickBehavior;

use super::keyring::{KeyringError, Succession};
use super::{Admin, Failure, Keyward, own_context};
use crate::policy::Policy;
use crate::said_once::SaidOnce;
use crate::store::StoreError;

/// A key as an operator sees it. It holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStanding {
    /// The `kid` of a signing key, a number from 1 to 255 for the others.
    pub id: String,
    /// What it serves.
    pub purpose: KeyPurpose,
    /// The `alg` of a signing key; the MAC's name for the others.
    pub algorithm: String,
    /// What it is good for now.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub activates_at: Timestamp,
    /// Since when it may be in other hands.
    pub compromised_at: Option<Timestamp>,
    /// When the last thing that it made has expired; `None` while no successor is there.
    pub gone_at: Option<Timestamp>,
}

/// How stored keys stand under a policy, in the order of the rows.
pub fn key_standings(rows: &[KeyRecord], policy: &Policy, now: Timestamp) -> Vec<KeyStanding> {
    let life = policy.key_life();
    let lives = KeyLives::new(rows, &life);
    let standing = |row: &KeyRecord| KeyStanding {
        id: row.id.clone(),
        purpose: row.purpose,
        algorithm: row.algorithm.clone(),
        state: lives.state(row, now),
        created_at: row.created_at,
        activates_at: row.activates_at,
        compromised_at: row.compromised_at,
        gone_at: lives.gone_at(row),
    };
    rows.iter().map(standing).collect()
}

impl Keyward {
    /// Every stored key, oldest first.
    ///
    /// # Errors
    ///
    /// [`Failure::Store`].
    pub async fn list_keys(&self) -> Result<Vec<KeyStanding>, Failure> {
        let rows = self.store.list_keys().await?;
        Ok(key_standings(&rows, &self.policy, self.clock.now()))
    }

    /// Makes a new key of this purpose, in use as `succession` says. Other processes on the same
    /// store take it up within [`KEYS_READ_EVERY`], and as soon as they meet what it has made.
    ///
    /// # Errors
    ///
    /// Where the store fails, the keys were sealed with another master key meanwhile, the key is
    /// configured and in no store, or too many keys of the purpose are still in use.
    pub async fn rotate_key(
        &self,
        purpose: KeyPurpose,
        succession: Succession,
        context: &AuditContext,
    ) -> Result<KeyStanding, KeyringError> {
        let id = self.keyring.rotate(purpose, succession, context).await?.id;
        let rows = self.store.list_keys().await?;
        let mut standings = key_standings(&rows, &self.policy, context.at).into_iter();
        let made = standings.find(|key| key.purpose == purpose && key.id == id);
        made.ok_or(KeyringError::Store(StoreError::Inconsistent("key.id")))
    }

    /// Makes a new key of this purpose, which signs at once.
    ///
    /// # Errors
    ///
    /// [`Failure::KeyConfigured`], [`Failure::KeyNumbersTaken`] and [`Failure::Store`].
    pub async fn rotate_key_now(
        &self,
        purpose: KeyPurpose,
        by: &Admin,
    ) -> Result<KeyStanding, Failure> {
        let context = self.admin_context(by);
        Ok(self.rotate_key(purpose, Succession::AtOnce, &context).await?)
    }

    /// Reads the keys again, and makes those that the schedule asks for. A round of
    /// [`Keyward::run_background`].
    ///
    /// # Errors
    ///
    /// As [`Keyward::rotate_key`]; the keys stay as they were.
    pub async fn tend_keys(&self) -> Result<(), KeyringError> {
        let at = self.clock.now();
        self.keyring.read(at).await?;
        self.keyring.rotate_due(&own_context(at)).await
    }

    /// Tends the keys until dropped. What fails is said once, until something else does.
    pub(super) async fn run_key_rounds(&self) {
        let mut rounds = tokio::time::interval(KEYS_READ_EVERY);
        // Rounds that a machine has slept through need not be made up for.
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = SaidOnce::new();
        loop {
            rounds.tick().await;
            if let Some(error) = said.news(self.tend_keys().await) {
                tracing::error!("the keys stay as they were: {error}");
            }
        }
    }
}

/// How long a key that another process has made, or marked as compromised, may go unnoticed.
pub const KEYS_READ_EVERY: Duration = Duration::from_secs(10);
