//! The ten rows of `rotation`, one by one, and the borders between them.
//!
//! The session of every case has rotated three times with a key, an hour apart: its generation is
//! 3, the proofs are those of the tokens 2, 1 and 0. Ten seconds later somebody presents a token.

mod support;

use std::time::Duration;

use keyward_core::id::SessionId;
use keyward_core::refresh_token::{RefreshTokenHash, RetryProof, SealedSuccessor, TagTrust};
use keyward_core::rotation::{Decision, Presented, RotationPolicy, decide};
use keyward_core::session::{
    Device, RETRY_PROOFS_MAX, Revocation, RevocationReason, Session, StoredProof, Swap, SwapRetry,
};
use keyward_core::time::Timestamp;
use support::{DAY, HOUR, SIGNED_IN_AT, new_session};

#[test]
fn row_1_junk_is_invalid_whatever_the_session() {
    for edit in [|_: &mut Session| {}, revoke, expire] {
        let case = present(3).session(edit);
        assert_eq!(decide(Some(&case.session), None, &case.policy, case.now), Decision::Invalid);
    }
    assert_eq!(decide(None, None, &RotationPolicy::default(), ROTATED_AT), Decision::Invalid);
}

#[test]
fn row_2_a_token_of_no_session_is_invalid_whatever_it_is() {
    for case in every_token() {
        let decision = decide(None, Some(&case.presented), &case.policy, case.now);
        assert_eq!(decision, Decision::Invalid, "{:?}", case.presented);
    }
}

#[test]
fn row_3_a_revoked_session_says_so_and_why_to_every_token() {
    for &reason in RevocationReason::ALL {
        for case in every_token() {
            case.session(|session| session.revoked = Some(Revocation { at: SIGNED_IN_AT, reason }))
                .decides(Decision::Revoked(reason));
        }
    }
}

#[test]
fn row_3_comes_before_row_4() {
    present(3).session(revoke).session(expire).decides(Decision::Revoked(RevocationReason::Logout));
}

#[test]
fn row_4_an_expired_session_tells_whether_the_token_was_spent() {
    for case in every_token() {
        let spent = case.presented.hash != hash(3);
        case.session(expire).decides(Decision::Expired { spent });
    }
}

#[test]
fn row_4_begins_exactly_at_either_timeout() {
    let (idle, absolute) = (ROTATED_AT.plus(7 * DAY), SIGNED_IN_AT.plus(30 * DAY));
    let expired = Decision::Expired { spent: false };
    present(3).at(idle.minus(MILLISECOND)).decides(Decision::Rotate);
    present(3).at(idle).decides(expired);

    let busy = |session: &mut Session| session.idle_expires_at = session.expires_at.plus(DAY);
    present(3).session(busy).at(absolute.minus(MILLISECOND)).decides(Decision::Rotate);
    present(3).session(busy).at(absolute).decides(expired);
}

#[test]
fn row_5_the_current_token_rotates() {
    present(3).decides(Decision::Rotate);
    present(3).compromised().decides(Decision::Rotate);
}

#[test]
fn row_5_asks_neither_for_a_proof_nor_for_the_time_of_the_last_rotation() {
    for generation in 0..5 {
        present(3).proof_of(generation).decides(Decision::Rotate);
    }
    present(3).at(SIGNED_IN_AT.minus(30 * DAY)).decides(Decision::Rotate);
    present(3).racing(5 * SECOND).at(ROTATED_AT).decides(Decision::Rotate);
}

#[test]
fn row_6_the_previous_token_with_its_proof_is_a_retry() {
    present(2).proved().decides(Decision::Retry);
    present(2).proved().compromised().decides(Decision::Retry);
    present(2).proved().racing(5 * SECOND).at(ROTATED_AT).decides(Decision::Retry);
}

#[test]
fn row_6_ends_after_the_retry_window() {
    present(2).proved().at(ROTATED_AT.plus(DAY)).decides(Decision::Retry);
    present(2).proved().at(ROTATED_AT.plus(DAY + MILLISECOND)).decides(Decision::Reuse);

    let none = |policy: &mut RotationPolicy| policy.retry_window = Duration::ZERO;
    present(2).proved().policy(none).at(ROTATED_AT).decides(Decision::Retry);
    present(2).proved().policy(none).at(ROTATED_AT.plus(MILLISECOND)).decides(Decision::Reuse);
}

#[test]
fn row_6_survives_a_clock_that_steps_back() {
    present(2).proved().at(ROTATED_AT.minus(2 * DAY)).decides(Decision::Retry);
}

#[test]
fn row_6_needs_the_sealed_successor_and_is_row_7_without() {
    present(2).proved().session(|session| session.sealed_successor = None).decides(Decision::Late);
}

#[test]
fn row_7_any_stored_proof_but_that_of_row_6_is_late() {
    present(1).proved().decides(Decision::Late);
    present(0).proved().decides(Decision::Late);
    present(0).proved().compromised().decides(Decision::Late);
    // A proof that belongs to another rotation than the token's opens nothing.
    present(2).proof_of(1).decides(Decision::Late);
    present(1).proof_of(2).decides(Decision::Late);
}

#[test]
fn row_7_counts_the_retry_window_from_each_proof_of_its_own() {
    let stored_at = ROTATED_AT.minus(HOUR);
    present(1).proved().at(stored_at.plus(DAY)).decides(Decision::Late);
    present(1).proved().at(stored_at.plus(DAY + MILLISECOND)).decides(Decision::Reuse);
    // The newest one still counts by then.
    present(2).proved().at(stored_at.plus(DAY + MILLISECOND)).decides(Decision::Retry);
}

#[test]
fn row_7_comes_before_row_8() {
    present(2).proof_of(1).racing(5 * SECOND).at(ROTATED_AT).decides(Decision::Late);
}

#[test]
fn row_7_remembers_eight_rotations_with_a_key_and_no_more() {
    let mut session = session();
    for generation in 4..12 {
        rotate(&mut session, generation, Key::Sent);
        assert!(session.retry_proofs.len() <= RETRY_PROOFS_MAX);
    }
    assert_eq!(session.generation, 11);
    let row = |rotated: &mut Session| *rotated = session.clone();
    present(10).proved().session(row).decides(Decision::Retry);
    present(3).proved().session(row).decides(Decision::Late);
    present(2).proved().session(row).decides(Decision::Reuse);
}

#[test]
fn a_rotation_without_a_key_adds_no_proof_and_leaves_nothing_to_open() {
    let mut session = session();
    rotate(&mut session, 4, Key::Absent);
    assert_eq!(session.sealed_successor, None);
    let row = |rotated: &mut Session| *rotated = session.clone();
    // The newest proof is now that of an older token than the previous one.
    present(2).proved().session(row).decides(Decision::Late);
    present(3).session(row).decides(Decision::Reuse);
    present(3).proved().session(row).decides(Decision::Reuse);
    present(4).session(row).decides(Decision::Rotate);
}

#[test]
fn row_8_the_previous_token_within_the_race_window_is_a_race() {
    let window = 5 * SECOND;
    let inside = window - MILLISECOND;
    present(2).racing(window).at(ROTATED_AT).decides(Decision::Race);
    present(2).racing(window).at(ROTATED_AT.plus(inside)).decides(Decision::Race);
    present(2).racing(window).at(ROTATED_AT.plus(window)).decides(Decision::Reuse);
    present(2).racing(window).at(ROTATED_AT.minus(inside)).decides(Decision::Race);
    present(2).racing(window).at(ROTATED_AT.minus(window)).decides(Decision::Reuse);
}

#[test]
fn row_8_is_off_by_default() {
    present(2).at(ROTATED_AT).decides(Decision::Reuse);
}

#[test]
fn row_8_is_for_the_previous_token_only() {
    let window = 5 * SECOND;
    present(1).racing(window).at(ROTATED_AT).decides(Decision::Reuse);
    present(4).racing(window).at(ROTATED_AT).decides(Decision::Rollback);
    // A proof that is not stored is as good as none.
    present(2).proof_of(9).racing(window).at(ROTATED_AT).decides(Decision::Race);
    // A stored hash tells a real token from a forged one without the tag.
    present(2).compromised().racing(window).at(ROTATED_AT).decides(Decision::Race);
}

#[test]
fn row_9_a_replaced_token_without_proof_is_reuse_at_any_age() {
    for generation in 0..3 {
        present(generation).decides(Decision::Reuse);
        present(generation).proof_of(9).decides(Decision::Reuse);
        present(generation).at(ROTATED_AT.plus(6 * DAY)).decides(Decision::Reuse);
    }
}

#[test]
fn row_9_another_token_of_the_present_generation_is_reuse() {
    present(3).session(|session| session.refresh_token_hash = hash(33)).decides(Decision::Reuse);
}

#[test]
fn row_10_a_token_ahead_of_the_store_is_a_rollback() {
    present(4).decides(Decision::Rollback);
    present(4).proved().decides(Decision::Rollback);
    present(u64::MAX).decides(Decision::Rollback);
    present(u64::MAX).session(|session| session.generation = u64::MAX).decides(Decision::Reuse);
}

#[test]
fn rows_9_and_10_never_follow_from_a_compromised_tag_alone() {
    for generation in [0, 1, 4, u64::MAX] {
        present(generation).compromised().decides(Decision::Invalid);
        present(generation).compromised().proof_of(9).decides(Decision::Invalid);
    }
    // The hash of the token before shows that it is real, whoever could have made the tag.
    present(2).compromised().decides(Decision::Reuse);
}

#[test]
fn what_a_row_does_not_hold_never_matches() {
    let fresh = |session: &mut Session| {
        *session = new_session(session.id, hash(3));
        session.generation = 3;
    };
    for presented in [present(0), present(0).proved(), present(2).proved()] {
        presented.session(fresh).racing(DAY).at(SIGNED_IN_AT).decides(Decision::Reuse);
    }
}

#[test]
fn exactly_a_live_session_accepts_exactly_its_current_token() {
    let accepts = |edit: fn(&mut Session), generation: u64, at: Timestamp| {
        let mut session = session();
        edit(&mut session);
        session.accepts(&swap(generation, Key::Sent, at))
    };
    assert!(accepts(|_| {}, 4, ROTATED_AT));
    for generation in [1, 2, 3, 5] {
        assert!(!accepts(|_| {}, generation, ROTATED_AT), "{generation}");
    }
    assert!(!accepts(revoke, 4, ROTATED_AT));
    assert!(!accepts(|_| {}, 4, ROTATED_AT.plus(7 * DAY)));
}

#[test]
fn a_rotation_slides_the_idle_timeout_up_to_the_absolute_one() {
    let mut session = session();
    let late = session.expires_at.minus(HOUR);
    session.rotate(&swap(4, Key::Sent, late));
    assert_eq!(session.idle_expires_at, session.expires_at);
    assert_eq!(session.expires_at, SIGNED_IN_AT.plus(30 * DAY));
    assert_eq!((session.rotated_at, session.last_used_at), (late, late));
}

/// A token presented to a session, and when.
#[derive(Clone)]
struct Case {
    session: Session,
    presented: Presented,
    policy: RotationPolicy,
    now: Timestamp,
}

/// The token of this generation, without a proof, under the default policy.
fn present(generation: u64) -> Case {
    Case {
        session: session(),
        presented: Presented {
            hash: hash(generation),
            generation,
            trust: TagTrust::Sound,
            proof: None,
        },
        policy: RotationPolicy::default(),
        now: ROTATED_AT.plus(10 * SECOND),
    }
}

/// Tokens behind, at and ahead of the session's generation, with and without proof, with either
/// kind of tag.
fn every_token() -> impl Iterator<Item = Case> {
    (0..6).map(present).flat_map(|case| {
        [
            case.clone(),
            case.clone().proved(),
            case.clone().compromised(),
            case.proved().compromised(),
        ]
    })
}

impl Case {
    /// With the proof that belongs to the token.
    fn proved(self) -> Self {
        let generation = self.presented.generation;
        self.proof_of(generation)
    }

    fn proof_of(mut self, generation: u64) -> Self {
        self.presented.proof = Some(proof(generation));
        self
    }

    fn compromised(mut self) -> Self {
        self.presented.trust = TagTrust::Compromised;
        self
    }

    fn racing(self, window: Duration) -> Self {
        self.policy(|policy| policy.race_window = window)
    }

    fn policy(mut self, edit: impl FnOnce(&mut RotationPolicy)) -> Self {
        edit(&mut self.policy);
        self
    }

    fn session(mut self, edit: impl FnOnce(&mut Session)) -> Self {
        edit(&mut self.session);
        self
    }

    fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    #[track_caller]
    fn decides(self, expected: Decision) {
        let decision = decide(Some(&self.session), Some(&self.presented), &self.policy, self.now);
        assert_eq!(decision, expected, "{:?} at {:?}", self.presented, self.now);
    }
}

fn session() -> Session {
    let mut session = new_session(SessionId::from_bytes([2; 16]), hash(0));
    session.rotate(&swap(1, Key::Sent, ROTATED_AT.minus(2 * HOUR)));
    session.rotate(&swap(2, Key::Sent, ROTATED_AT.minus(HOUR)));
    session.rotate(&swap(3, Key::Sent, ROTATED_AT));
    let stored = |generation, age: Duration| StoredProof {
        proof: proof(generation),
        at: ROTATED_AT.minus(age),
    };
    assert_eq!(
        session.retry_proofs,
        [stored(2, Duration::ZERO), stored(1, HOUR), stored(0, 2 * HOUR)]
    );
    session
}

fn rotate(session: &mut Session, generation: u64, key: Key) {
    session.rotate(&swap(generation, key, ROTATED_AT));
}

#[derive(PartialEq)]
enum Key {
    Sent,
    Absent,
}

/// The rotation that makes this generation.
fn swap(generation: u64, key: Key, at: Timestamp) -> Swap {
    Swap {
        session_id: SessionId::from_bytes([2; 16]),
        presented_hash: hash(generation - 1),
        successor_hash: hash(generation),
        generation,
        retry: (key == Key::Sent).then(|| SwapRetry {
            proof: proof(generation - 1),
            sealed_successor: SealedSuccessor::from_bytes(generation.to_be_bytes().to_vec()),
        }),
        at,
        idle_expires_at: at.plus(7 * DAY),
        device: Device::default(),
    }
}

fn revoke(session: &mut Session) {
    let reason = RevocationReason::Logout;
    session.revoked = Some(Revocation { at: SIGNED_IN_AT, reason });
}

fn expire(session: &mut Session) {
    session.idle_expires_at = ROTATED_AT;
}

/// What stands for the hash of the token of this generation.
fn hash(generation: u64) -> RefreshTokenHash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&generation.to_be_bytes());
    RefreshTokenHash::from_bytes(bytes)
}

/// What stands for the proof that belongs to the token of this generation.
fn proof(generation: u64) -> RetryProof {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&generation.to_be_bytes());
    RetryProof::from_bytes(bytes)
}

const ROTATED_AT: Timestamp = Timestamp::from_secs(1_800_010_000);
const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
