//! The session: the server's record of one sign-in on one device.

use std::collections::VecDeque;

use crate::id::{SessionId, UserId};
use crate::named::named;
use crate::refresh_token::{RefreshTokenHash, RetryProof, SealedSuccessor};
use crate::rotation::RotationPolicy;
use crate::time::Timestamp;

/// How many proofs of past rotations a session keeps. Its storage is constant, however often it
/// rotates.
pub const RETRY_PROOFS_MAX: usize = 8;

/// One sign-in on one device, and with it one refresh-token family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Names the session everywhere; never a secret.
    pub id: SessionId,
    /// Whose session it is.
    pub user_id: UserId,
    /// How often the refresh token was rotated; the one that may be exchanged now carries it.
    pub generation: u64,
    /// Hash of the current refresh token: the only one that may be exchanged now.
    pub refresh_token_hash: RefreshTokenHash,
    /// Hash of the token that the last rotation replaced.
    pub previous_token_hash: Option<RefreshTokenHash>,
    /// The current token, sealed for whoever presents the previous one with its Idempotency-Key.
    pub sealed_successor: Option<SealedSuccessor>,
    /// Proofs of the last rotations that came with an Idempotency-Key, newest first, at most
    /// [`RETRY_PROOFS_MAX`].
    pub retry_proofs: VecDeque<StoredProof>,
    /// When the current token was issued.
    pub rotated_at: Timestamp,
    /// When the sign-in happened.
    pub created_at: Timestamp,
    /// When a refresh token of this session was last exchanged.
    pub last_used_at: Timestamp,
    /// Idle timeout; slides with each rotation, never past [`Session::expires_at`].
    pub idle_expires_at: Timestamp,
    /// Absolute timeout; never moves.
    pub expires_at: Timestamp,
    /// Set once the session was ended by decision; such a session never lives again.
    pub revoked: Option<Revocation>,
    /// Address and browser of the last exchange.
    pub device: Device,
    /// When the user proved who they are (`auth_time`).
    pub auth_time: Timestamp,
    /// How they proved it (`amr`, RFC 8176).
    pub amr: Vec<AuthenticationMethod>,
}

impl Session {
    /// A session as a sign-in with a password at `now` opens it: generation 0, and nothing replaced
    /// yet.
    pub fn open(
        id: SessionId,
        user_id: UserId,
        refresh_token_hash: RefreshTokenHash,
        policy: &RotationPolicy,
        device: Device,
        now: Timestamp,
    ) -> Self {
        let expires_at = now.plus(policy.absolute_ttl);
        Self {
            id,
            user_id,
            generation: 0,
            refresh_token_hash,
            previous_token_hash: None,
            sealed_successor: None,
            retry_proofs: VecDeque::new(),
            rotated_at: now,
            created_at: now,
            last_used_at: now,
            idle_expires_at: now.plus(policy.idle_ttl).min(expires_at),
            expires_at,
            revoked: None,
            device,
            auth_time: now,
            amr: vec![AuthenticationMethod::Password],
        }
    }

    /// Whether its user proved a second factor when it was opened, or since.
    pub fn has_second_factor(&self) -> bool {
        self.amr.contains(&AuthenticationMethod::OneTimePassword)
    }

    /// Whether a token of this session can still be used at `now`.
    pub fn state(&self, now: Timestamp) -> SessionState {
        if let Some(revocation) = self.revoked {
            SessionState::Revoked(revocation)
        } else if now >= self.expires_at || now >= self.idle_expires_at {
            SessionState::Expired
        } else {
            SessionState::Live
        }
    }

    /// Carries out one rotation, the way every store does it in one guarded write. The caller has
    /// made sure that the presented token is current and the session live.
    pub fn rotate(&mut self, swap: &Swap) {
        self.generation = swap.generation;
        self.previous_token_hash = Some(swap.presented_hash);
        self.refresh_token_hash = swap.successor_hash;
        // Always overwritten: a sealed successor of an earlier rotation must never open again.
        self.sealed_successor = swap.retry.as_ref().map(|retry| retry.sealed_successor.clone());
        if let Some(retry) = &swap.retry {
            self.retry_proofs.push_front(StoredProof { proof: retry.proof, at: swap.at });
            self.retry_proofs.truncate(RETRY_PROOFS_MAX);
        }
        self.rotated_at = swap.at;
        self.last_used_at = swap.at;
        self.idle_expires_at = swap.idle_expires_at.min(self.expires_at);
        self.device = swap.device.clone();
    }

    /// Whether [`Session::rotate`] may be carried out: the condition of the guarded write.
    pub fn accepts(&self, swap: &Swap) -> bool {
        self.refresh_token_hash == swap.presented_hash && self.state(swap.at) == SessionState::Live
    }
}

/// What a session is at one point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Its current token can be exchanged.
    Live,
    /// Past its idle or absolute timeout.
    Expired,
    /// Ended by decision.
    Revoked(Revocation),
}

/// The end of a session by decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// When it was committed.
    pub at: Timestamp,
    /// Why.
    pub reason: RevocationReason,
}

/// Everything a rotation changes, made before the store is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// The session whose token is exchanged.
    pub session_id: SessionId,
    /// Hash of the presented token; the write happens only where it is the current one.
    pub presented_hash: RefreshTokenHash,
    /// Hash of the token that replaces it.
    pub successor_hash: RefreshTokenHash,
    /// Generation of the successor.
    pub generation: u64,
    /// What answers an honest retry; only with an Idempotency-Key.
    pub retry: Option<SwapRetry>,
    /// When the rotation happens.
    pub at: Timestamp,
    /// The new idle timeout, not yet capped by the session's absolute one.
    pub idle_expires_at: Timestamp,
    /// Who asked.
    pub device: Device,
}

/// The part of a [`Swap`] that an Idempotency-Key adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapRetry {
    /// Proves later that the same party presents the same token again.
    pub proof: RetryProof,
    /// The successor, readable only with the presented token and its key.
    pub sealed_successor: SealedSuccessor,
}

/// A proof and when it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredProof {
    /// The proof itself.
    pub proof: RetryProof,
    /// When the rotation that it belongs to was committed.
    pub at: Timestamp,
}

/// Where a request came from, as far as a person should recognise it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// The client's address, after trusted proxies.
    pub ip: Option<String>,
    /// The `User-Agent` header, at most [`USER_AGENT_BYTES_MAX`] bytes.
    pub user_agent: Option<String>,
}

/// How much of a `User-Agent` header is kept.
pub const USER_AGENT_BYTES_MAX: usize = 256;

named! {
    /// Why a session was ended.
    RevocationReason {
        /// An administrator or the command line ended it.
        Admin = "admin",
        /// The user signed out on this device, or ended this session from another one.
        Logout = "logout",
        /// The user signed out everywhere.
        LogoutAll = "logout_all",
        /// The user changed the password.
        PasswordChanged = "password_changed",
        /// A new password was set with a mailed token, or by the operator.
        PasswordReset = "password_reset",
        /// A replaced token was presented without proof of a retry.
        ReuseDetected = "reuse_detected",
        /// The store had lost writes.
        StoreRollback = "store_rollback",
        /// A new sign-in in the same browser took its place.
        Superseded = "superseded",
        /// The user opened more sessions than allowed; this one was longest unused.
        TooMany = "too_many",
        /// The user was deleted.
        UserDeleted = "user_deleted",
        /// The user was disabled.
        UserDisabled = "user_disabled",
    }
}

named! {
    /// How a user proved who they are (RFC 8176, section 2).
    AuthenticationMethod {
        /// An app that signs its users in by itself vouched for the user. No name of RFC 8176 says
        /// that.
        External = "ext",
        /// A code of an authenticator app, or a recovery code in its place.
        OneTimePassword = "otp",
        /// A password.
        Password = "pwd",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_opens_with_its_first_token_and_idles_no_longer_than_it_lives() {
        let now = Timestamp::from_secs(1_800_000_000);
        let open = |policy: &RotationPolicy| {
            let hash = RefreshTokenHash::from_bytes([3; 32]);
            let (id, user_id) = (SessionId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
            Session::open(id, user_id, hash, policy, Device::default(), now)
        };
        let policy = RotationPolicy::default();
        let session = open(&policy);
        assert_eq!((session.generation, session.state(now)), (0, SessionState::Live));
        assert_eq!(session.idle_expires_at, now.plus(policy.idle_ttl));
        assert_eq!(session.expires_at, now.plus(policy.absolute_ttl));
        let session = open(&RotationPolicy { absolute_ttl: policy.idle_ttl / 2, ..policy });
        assert_eq!(session.idle_expires_at, session.expires_at);
    }
}
