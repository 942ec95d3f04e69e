//! Tokens whose signature was verified before: seen again, they cost no signature check.

use std::fmt;
use std::hash::{Hash, Hasher, RandomState};
use std::sync::Arc;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::{Claims, Refusal, Verifier};
use crate::time::Timestamp;

/// A bounded cache in front of a [`Verifier`].
///
/// Only what passed the signature check enters, and it is found by its whole text, so nobody can
/// fill the cache with junk or collide with another's token. Issuer, audience and expiry are judged
/// on every use; whether the session was revoked is for the caller to ask on every use.
pub struct VerifiedTokens {
    verifier: Verifier,
    seen: Cache<Seen, Arc<Claims>, quick_cache::UnitWeighter, RandomState>,
}

impl VerifiedTokens {
    /// A cache of at most `capacity` tokens. `hasher` spreads its keys, and is keyed itself, so
    /// that nobody can find tokens which fall on one place.
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
        if let Some(claims) = self.seen.get(&Presented(token)) {
            if let Err(refusal) = self.verifier.judge(&claims, now) {
                self.seen.remove(&Presented(token));
                return Err(refusal);
            }
            return Ok(claims);
        }
        let claims = Arc::new(self.verifier.verify(token, now)?);
        self.seen.insert(Seen(token.into()), Arc::clone(&claims));
        Ok(claims)
    }

    /// As [`Verifier::misaddressed`].
    pub fn misaddressed(&self, token: &str) -> Option<Claims> {
        self.verifier.misaddressed(token)
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

/// A token that was verified.
#[derive(PartialEq, Eq)]
struct Seen(Box<str>);

impl Hash for Seen {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Presented(&self.0).hash(state);
    }
}

/// A token that may have been.
struct Presented<'a>(&'a str);

impl Hash for Presented<'_> {
    /// The end of the signature tells verified tokens apart as well as the whole text would, and is
    /// read sooner. It decides where to look, never what is found there.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let bytes = self.0.as_bytes();
        state.write(&bytes[bytes.len().saturating_sub(HASHED_BYTES)..]);
    }
}

impl Equivalent<Seen> for Presented<'_> {
    fn equivalent(&self, seen: &Seen) -> bool {
        self.0 == &*seen.0
    }
}

/// 192 bits of signature.
const HASHED_BYTES: usize = 32;
