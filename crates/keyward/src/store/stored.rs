//! What several stores write into a column in the same form, and how it is read back. Whatever no
//! code of ours writes is an inconsistency.

use std::collections::VecDeque;

use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::RetryProof;
use keyward_core::session::{
    AuthenticationMethod, RETRY_PROOFS_MAX, Revocation, RevocationReason, StoredProof,
};
use keyward_core::time::Timestamp;

use super::{RevokedSubject, StoreError};

/// The proofs of a session: entries of [`RETRY_PROOF_BYTES`], newest first.
pub(super) fn retry_proofs(bytes: &[u8]) -> Result<VecDeque<StoredProof>, StoreError> {
    let (entries, rest) = bytes.as_chunks::<RETRY_PROOF_BYTES>();
    if !rest.is_empty() || entries.len() > RETRY_PROOFS_MAX {
        return Err(StoreError::Inconsistent("session.retry_proofs"));
    }
    Ok(entries.iter().map(stored_proof).collect())
}

/// One entry of `session.retry_proofs`: 16 bytes of proof, then the time, big-endian.
pub(super) const RETRY_PROOF_BYTES: usize = 24;

/// Writes an entry of `session.retry_proofs`.
pub(super) fn retry_proof_bytes(stored: &StoredProof) -> [u8; RETRY_PROOF_BYTES] {
    let mut entry = [0; RETRY_PROOF_BYTES];
    entry[..16].copy_from_slice(stored.proof.as_bytes());
    entry[16..].copy_from_slice(&stored.at.millis().to_be_bytes());
    entry
}

fn stored_proof(entry: &[u8; RETRY_PROOF_BYTES]) -> StoredProof {
    let (mut proof, mut millis) = ([0; 16], [0; 8]);
    proof.copy_from_slice(&entry[..16]);
    millis.copy_from_slice(&entry[16..]);
    let at = Timestamp::from_millis(i64::from_be_bytes(millis));
    StoredProof { proof: RetryProof::from_bytes(proof), at }
}

/// The end of a session: both columns or neither.
pub(super) fn revocation(
    at: Option<Timestamp>,
    reason: Option<&str>,
) -> Result<Option<Revocation>, StoreError> {
    const INCONSISTENT: StoreError = StoreError::Inconsistent("session.revoked_reason");
    match (at, reason) {
        (None, None) => Ok(None),
        (Some(at), Some(name)) => {
            let reason = RevocationReason::from_name(name).ok_or(INCONSISTENT)?;
            Ok(Some(Revocation { at, reason }))
        }
        (Some(_), None) | (None, Some(_)) => Err(INCONSISTENT),
    }
}

/// What was revoked: one of both columns.
pub(super) fn revoked_subject(
    session_id: Option<[u8; 16]>,
    user_id: Option<[u8; 16]>,
) -> Result<RevokedSubject, StoreError> {
    match (session_id, user_id) {
        (Some(id), None) => Ok(RevokedSubject::Session(SessionId::from_bytes(id))),
        (None, Some(id)) => Ok(RevokedSubject::User(UserId::from_bytes(id))),
        (Some(_), Some(_)) | (None, None) => Err(StoreError::Inconsistent("revocation.user_id")),
    }
}

/// How a user proved who they are.
pub(super) fn amr<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<AuthenticationMethod>, StoreError> {
    let methods = names.into_iter().map(AuthenticationMethod::from_name);
    methods.collect::<Option<_>>().ok_or(StoreError::Inconsistent("session.amr"))
}
