//! What the tests of the rotation share.

use std::collections::VecDeque;
use std::time::Duration;

use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::RefreshTokenHash;
use keyward_core::session::{AuthenticationMethod, Device, Session};
use keyward_core::time::Timestamp;

/// When the sessions of the tests begin.
pub(crate) const SIGNED_IN_AT: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A session of generation 0, 7 days before its idle and 30 days before its absolute timeout.
pub(crate) fn new_session(id: SessionId, hash: RefreshTokenHash) -> Session {
    Session {
        id,
        user_id: UserId::from_bytes([1; 16]),
        generation: 0,
        refresh_token_hash: hash,
        previous_token_hash: None,
        sealed_successor: None,
        retry_proofs: VecDeque::new(),
        rotated_at: SIGNED_IN_AT,
        created_at: SIGNED_IN_AT,
        last_used_at: SIGNED_IN_AT,
        idle_expires_at: SIGNED_IN_AT.plus(7 * DAY),
        expires_at: SIGNED_IN_AT.plus(30 * DAY),
        revoked: None,
        device: Device::default(),
        auth_time: SIGNED_IN_AT,
        amr: vec![AuthenticationMethod::Password],
    }
}
