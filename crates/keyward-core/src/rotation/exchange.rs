//! One presentation of a refresh token: what it would swap, what is decided about it, and what an
//! honest retry is answered. A store carries out the swap; nothing here needs one.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Decision, Presented, RotationPolicy, decide};
use crate::refresh_token::{
    IdempotencyKey, MacKeys, RefreshToken, RetrySecret, SECRET_BYTES, SealNonce,
};
use crate::session::{Device, Session, Swap, SwapRetry};
use crate::time::Timestamp;

/// A refresh token whose tag was verified, as one request presents it.
#[derive(Debug)]
pub struct Exchange<'a> {
    token: &'a RefreshToken,
    retry: Option<RetrySecret>,
}

impl<'a> Exchange<'a> {
    /// A token and the `Idempotency-Key` of its request, where it has one.
    pub fn new(token: &'a RefreshToken, key: Option<&IdempotencyKey>) -> Self {
        Self { token, retry: key.map(|key| RetrySecret::derive(token, key)) }
    }

    /// The presented token.
    pub fn token(&self) -> &'a RefreshToken {
        self.token
    }

    /// Makes the successor and everything that a swap writes. The successor is handed out only once
    /// the swap is committed.
    pub fn prepare(
        &self,
        entropy: &SwapEntropy,
        keys: &MacKeys,
        policy: &RotationPolicy,
        device: Device,
        now: Timestamp,
    ) -> (RefreshToken, Swap) {
        let session_id = self.token.session_id();
        // At the last generation there is no successor. Nobody gets there: a rotation each
        // microsecond would take half a million years.
        let generation = self.token.generation().saturating_add(1);
        let successor = RefreshToken::issue(session_id, generation, &entropy.secret, keys);
        let swap = Swap {
            session_id,
            presented_hash: self.token.hash(),
            successor_hash: successor.hash(),
            generation,
            retry: self.retry.as_ref().map(|secret| SwapRetry {
                proof: secret.proof(),
                sealed_successor: secret.seal(&successor, &entropy.nonce),
            }),
            at: now,
            idle_expires_at: now.plus(policy.idle_ttl),
            device,
        };
        (successor, swap)
    }

    /// What is to be done where the swap did not happen. `session` is what the store holds.
    pub fn decide(
        &self,
        session: Option<&Session>,
        policy: &RotationPolicy,
        now: Timestamp,
    ) -> Decision {
        decide(session, Some(&self.presented()), policy, now)
    }

    /// Row 6: the successor that the last rotation sealed, to be handed out again. `None` means
    /// after [`Decision::Retry`] that the row is damaged: the proof was right, so the seal must
    /// open. That is an internal error, and never a reason to revoke.
    pub fn open_successor(&self, session: &Session, keys: &MacKeys) -> Option<RefreshToken> {
        let (secret, sealed) = self.retry.as_ref().zip(session.sealed_successor.as_ref())?;
        secret.open(sealed, session.id, session.generation, session.refresh_token_hash, keys)
    }

    /// What the decision is taken from.
    fn presented(&self) -> Presented {
        Presented {
            hash: self.token.hash(),
            generation: self.token.generation(),
            trust: self.token.trust(),
            proof: self.retry.as_ref().map(RetrySecret::proof),
        }
    }
}

/// The fresh entropy that one swap consumes.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SwapEntropy {
    /// Becomes the secret of the successor.
    pub secret: [u8; SECRET_BYTES],
    /// Seals it; without an `Idempotency-Key` nothing is sealed.
    pub nonce: SealNonce,
}

impl fmt::Debug for SwapEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SwapEntropy")
    }
}
