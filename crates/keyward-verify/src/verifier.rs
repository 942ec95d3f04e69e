//! The verdict on a token: signature, claims, revocation.

use std::sync::Arc;
use std::time::Duration;

use keyward_core::access_token::Claims;
use keyward_core::keys::UnfitKey;
use keyward_core::time::Timestamp;

use crate::keys::Keys;
use crate::policy::{VerifyPolicy, WhenStale};
use crate::refusal::Refusal;
use crate::revocations::Revocations;

/// Verifies access tokens of one issuer for one audience, from memory alone.
///
/// It accepts nothing before it has keys and has heard which sessions were revoked; see
/// [`VerifyPolicy`] for how it may be told otherwise.
#[derive(Debug)]
pub struct Verifier {
    policy: VerifyPolicy,
    pub(crate) keys: Keys,
    revocations: Revocations,
    #[cfg(feature = "http-client")]
    pub(crate) lookups: crate::remote::Lookups,
    #[cfg(feature = "http-client")]
    pub(crate) troubles: crate::troubles::Troubles,
}

impl Verifier {
    /// A verifier without keys.
    pub fn new(policy: VerifyPolicy) -> Self {
        let revocations = Revocations::new(policy.revocations_max, policy.leeway);
        Self {
            policy,
            keys: Keys::new(),
            revocations,
            #[cfg(feature = "http-client")]
            lookups: crate::remote::Lookups::new(),
            #[cfg(feature = "http-client")]
            troubles: crate::troubles::Troubles::default(),
        }
    }

    /// Trusts the keys of this set (RFC 7517), fetched at this time, and no others from now on.
    ///
    /// # Errors
    ///
    /// [`UnfitKey`] where the text is no set of the issuing service, or has no key of the policy's
    /// algorithms; see [`read_jwk_set`](keyward_core::keys::read_jwk_set). The keys stay as they
    /// were.
    pub fn take_up_keys(&self, set: &[u8], fetched_at: Timestamp) -> Result<(), UnfitKey> {
        self.keys.take_up(set, &self.policy, fetched_at)
    }

    /// Verifies a token and answers its claims. Waits for nothing; a token that was seen before
    /// costs no cryptography, and is judged afresh in all else.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where the token is not accepted.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Refusal> {
        let verdict = self.keys.verify(token, now, self.policy.keys_age_max);
        #[cfg(feature = "http-client")]
        if verdict == Err(Refusal::Invalid) {
            self.troubles.misaddressed.look_at(token, &self.keys, &self.policy, now);
        }
        let claims = verdict?;
        self.revocations.judge(&claims)?;
        let is_current = self
            .revocations
            .staleness(now)
            .is_some_and(|staleness| staleness <= self.policy.staleness_max);
        match self.policy.when_stale {
            WhenStale::FailClosed if !is_current => Err(Refusal::NotCurrent),
            WhenStale::FailClosed | WhenStale::AcceptUntilExpiry => Ok(claims),
        }
    }

    /// What was revoked; to be filled by whoever follows the revocations by other means.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// How much it knows, for a readiness check or a gauge.
    pub fn status(&self, now: Timestamp) -> Status {
        Status {
            keys_age: self.keys.age(now),
            staleness: self.revocations.staleness(now),
            revocations: self.revocations.len(),
            #[cfg(feature = "http-client")]
            keys_trouble: self.troubles.keys.now(),
            #[cfg(feature = "http-client")]
            feed_trouble: self.troubles.feed.now(),
        }
    }

    /// What it was made with.
    pub fn policy(&self) -> &VerifyPolicy {
        &self.policy
    }
}

/// How much a verifier knows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// How long ago the keys were fetched; `None` before the first time.
    pub keys_age: Option<Duration>,
    /// How long the issuing service has been silent about revocations; `None` before its first
    /// word.
    pub staleness: Option<Duration>,
    /// How many revocations are held.
    pub revocations: usize,
    /// Why the keys cannot be fetched, while that is so.
    #[cfg(feature = "http-client")]
    pub keys_trouble: Option<String>,
    /// Why the revocations cannot be followed, while that is so.
    #[cfg(feature = "http-client")]
    pub feed_trouble: Option<String>,
}
