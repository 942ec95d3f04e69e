//! The published keys that are trusted now, and the tokens that they were seen to have signed.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::RandomState;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use keyward_core::access_token::{Claims, ExpectedClaims, VerifiedTokens, Verifier};
use keyward_core::keys::{UnfitKey, VerifyingKey, read_jwk_set};
use keyward_core::time::Timestamp;

use crate::policy::VerifyPolicy;
use crate::refusal::Refusal;

/// The keys of one issuer. Empty until a set is taken up.
pub(crate) struct Keys {
    held: RwLock<Option<Arc<Held>>>,
}

/// One set of keys. Another set has a memory of its own: nothing that a dropped key signed is
/// remembered as good.
struct Held {
    /// What each key's tokens begin with. Since ids are thumbprints, these name the keys for good.
    headers: BTreeSet<String>,
    verified: VerifiedTokens,
    /// In milliseconds.
    fetched_at: AtomicI64,
}

impl Keys {
    pub(crate) const fn new() -> Self {
        Self { held: RwLock::new(None) }
    }

    /// Trusts the keys of this set from now on, and no others.
    pub(crate) fn take_up(
        &self,
        set: &[u8],
        policy: &VerifyPolicy,
        fetched_at: Timestamp,
    ) -> Result<(), UnfitKey> {
        let keys = read_jwk_set(set, &policy.algorithms)?;
        if keys.is_empty() {
            // Whoever signs publishes a key: this is somebody else's answer, or a broken one.
            return Err(UnfitKey);
        }
        let headers: BTreeSet<_> = keys.iter().map(|key| key.header().to_owned()).collect();
        if let Some(held) = self.held().filter(|held| held.headers == headers) {
            held.fetched_at.store(fetched_at.millis(), Ordering::Release);
            return Ok(());
        }
        let held = Arc::new(Held::new(headers, keys, policy, fetched_at));
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(())
    }

    /// Verifies a token as far as its keys can tell.
    pub(crate) fn verify(
        &self,
        token: &str,
        now: Timestamp,
        age_max: Duration,
    ) -> Result<Arc<Claims>, Refusal> {
        let held = self.held().filter(|held| held.age(now) <= age_max);
        Ok(held.ok_or(Refusal::NotCurrent)?.verified.verify(token, now)?)
    }

    /// How long ago they were fetched; `None` before the first time.
    pub(crate) fn age(&self, now: Timestamp) -> Option<Duration> {
        self.held().map(|held| held.age(now))
    }

    /// Whether a key with the header of this token is here.
    #[cfg(feature = "http-client")]
    pub(crate) fn knows_header_of(&self, token: &str) -> bool {
        let header = token.split('.').next().unwrap_or_default();
        self.held().is_some_and(|held| held.headers.contains(header))
    }

    /// The claims of a token that a key of ours signed for another issuer or audience.
    #[cfg(feature = "http-client")]
    pub(crate) fn misaddressed(&self, token: &str) -> Option<Claims> {
        self.held()?.verified.misaddressed(token)
    }

    fn held(&self) -> Option<Arc<Held>> {
        // No code that can panic runs under the lock.
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Held {
    fn new(
        headers: BTreeSet<String>,
        keys: Vec<VerifyingKey>,
        policy: &VerifyPolicy,
        fetched_at: Timestamp,
    ) -> Self {
        let expected = ExpectedClaims {
            issuer: policy.issuer.clone(),
            audience: policy.audience.clone(),
            leeway: policy.leeway,
        };
        let verifier = Verifier::new(keys, expected);
        Self {
            headers,
            verified: VerifiedTokens::new(verifier, policy.tokens_max, RandomState::new()),
            fetched_at: AtomicI64::new(fetched_at.millis()),
        }
    }

    /// The distance to when they were fetched: a clock that was set back makes them old, not young.
    fn age(&self, now: Timestamp) -> Duration {
        Timestamp::from_millis(self.fetched_at.load(Ordering::Acquire)).distance(now)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.held().map_or(0, |held| held.headers.len()))
    }
}
