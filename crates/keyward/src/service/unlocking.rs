//! Accounts that an operator has unlocked: what was counted against them counts no more.
//!
//! Counts are kept by nodes, and where configured by a server that they share; none of them can be
//! told to forget an account. Instead each node reads which accounts were unlocked of late, and
//! counts for them under a new name from then on. Nothing has to be deleted anywhere, and once the
//! longest window is over the old name is whole again by itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use keyward_core::time::Timestamp;
use tokio::time::MissedTickBehavior;

use super::Keyward;
use crate::said_once::SaidOnce;
use crate::store::{StoreError, UnlockedAccount};

/// Those that a node knows of.
#[derive(Default)]
pub(super) struct UnlockedAccounts(RwLock<HashMap<String, Timestamp>>);

impl UnlockedAccounts {
    /// When the account was unlocked, if it was of late.
    pub(super) fn at(&self, email_key: &str) -> Option<Timestamp> {
        // No code that can panic runs under the lock.
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(email_key).copied()
    }

    fn replace(&self, unlocked: Vec<UnlockedAccount>) {
        let by_key = unlocked.into_iter().map(|account| (account.email_key, account.at)).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = by_key;
    }
}

impl fmt::Debug for UnlockedAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnlockedAccounts")
    }
}

impl Keyward {
    /// Reads which accounts were unlocked. A round of [`Keyward::run_background`].
    ///
    /// # Errors
    ///
    /// The store's; what is known stays known.
    pub async fn read_unlocked(&self) -> Result<(), StoreError> {
        let since = self.clock.now().minus(self.limits.longest_of_account());
        let unlocked = self.store.list_unlocked(since, UNLOCKED_MAX).await?;
        self.limits.unlocked().replace(unlocked);
        Ok(())
    }

    pub(super) async fn run_unlocking(&self) {
        let mut rounds = tokio::time::interval(UNLOCKED_READ_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said = SaidOnce::new();
        loop {
            rounds.tick().await;
            if let Some(error) = said.news(self.read_unlocked().await) {
                tracing::error!("accounts that are unlocked now stay limited: {error}");
            }
        }
    }
}

/// How long an unlocking may go unnoticed by a node.
pub const UNLOCKED_READ_EVERY: Duration = Duration::from_secs(5);

/// The latest ones, where an operator has unlocked more than these within one window.
const UNLOCKED_MAX: u32 = 10_000;
