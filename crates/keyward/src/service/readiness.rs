//! Whether the service can do its work right now.
//!
//! Anyone may ask, as often as they like. So a write that is tried for the sake of the answer costs
//! a wait for the disk and a page of its log once for everybody who asks within a moment.

use std::time::Duration;

use keyward_core::id::SessionId;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Failure, Keyward};
use crate::store::{Metered, Store as _, StoreError};

impl Keyward {
    /// Whether the store can be read and written to right now, and all its keys are here. While
    /// nothing has failed lately the store is written to once in two seconds at most, however many
    /// ask.
    ///
    /// # Errors
    ///
    /// Where they cannot.
    pub async fn ready(&self) -> Result<(), Failure> {
        self.store.find_session(NOBODYS).await?;
        self.probe.write_to(&self.metered).await?;
        let ready = self.keyring.ready();
        Ok(ready.map_err(|error| StoreError::Unavailable(error.to_string()))?)
    }
}

/// What came of the last write that was tried.
#[derive(Debug, Default)]
pub(super) struct Probe(Mutex<Option<Probed>>);

#[derive(Debug)]
struct Probed {
    began_at: Instant,
    outcome: Result<(), StoreError>,
}

impl Probe {
    async fn write_to(&self, store: &Metered) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let mut last = self.0.lock().await;
        if let Some(Probed { began_at, outcome }) = &*last {
            // Who has waited while another one tried shares what came of it.
            let is_news = *began_at > asked_at;
            let still_holds = outcome.is_ok() && store.is_up() && began_at.elapsed() < HOLDS_FOR;
            if is_news || still_holds {
                return outcome.clone();
            }
        }
        let began_at = Instant::now();
        let outcome = store.ping().await;
        *last = Some(Probed { began_at, outcome: outcome.clone() });
        outcome
    }
}

/// No session has this id.
const NOBODYS: SessionId = SessionId::from_bytes([0; 16]);

/// How long a write that succeeded answers for those that would follow, unless any call of the
/// store fails meanwhile.
const HOLDS_FOR: Duration = Duration::from_secs(2);
