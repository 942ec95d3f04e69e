//! Tokens whose signature was verified before: seen again, they cost no signature check.

use std::fmt;
use std::hash::RandomState;
use std::sync::Arc;

use aws_lc_rs::digest;
use quick_cache::sync::Cache;

use super::{Claims, Refusal, Verifier};
use crate::time::Timestamp;

/// A bounded cache in front of a [`Verifier`].
///
/// Only what passed the signature check enters, under the SHA-256 of the whole token, so nobody can
/// fill it with junk or collide with another's token. Issuer, audience and expiry are judged on
/// every use; whether the session was revoked is for the caller to ask on every use.
pub struct VerifiedTokens {
    verifier: Verifier,
    seen: Cache<[u8; 32], Arc<Claims>, quick_cache::UnitWeighter, RandomState>,
}

impl VerifiedTokens {
    /// A cache of at most `capacity` tokens. `hasher` spreads its keys.
    pub fn new(verifier: Verifier, capacity: usize, hasher: RandomState) -> Self {
        let seen = Cache::with(
            capacity,
            capacity as u64,
            quick_cache::UnitWeighter,
            hasher,
            quick_cache::sync::DefaultLifecycle::default(),
        );
        Self { verifier, seen }
    }

    /// Verifies a token, or remembers having done so.
    ///
    /// # Errors
    ///
    /// As [`Verifier::verify`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, Refusal> {
        if token.len() > super::TOKEN_BYTES_MAX {
            return Err(Refusal::Invalid);
        }
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(digest.as_ref());
        if let Some(claims) = self.seen.get(&key) {
            if let Err(refusal) = self.verifier.judge(&claims, now) {
                self.seen.remove(&key);
                return Err(refusal);
            }
            return Ok(claims);
        }
        let claims = Arc::new(self.verifier.verify(token, now)?);
        self.seen.insert(key, Arc::clone(&claims));
        Ok(claims)
    }

    /// How many tokens are remembered.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedTokens({})", self.len())
    }
}
