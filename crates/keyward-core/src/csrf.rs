//! The CSRF token: bound to its session by HMAC, stored nowhere.
//!
//! ```text
//! base64url( key_id 1 | HMAC-SHA-256("keyward csrf v1" | session_id) 32 )
//! ```
//!
//! It is the same for the life of a session and another one for every other session, so a token
//! from before a sign-in, or of another user, fits nothing (the signed double-submit cookie of
//! OWASP's cheat sheet).

use std::fmt;

use aws_lc_rs::hmac;

use crate::encoding;
use crate::id::SessionId;

/// The keys that CSRF tokens are bound with: the active one and those before it.
pub struct CsrfKeys {
    active: (u8, hmac::Key),
    retired: Vec<(u8, hmac::Key)>,
}

impl CsrfKeys {
    /// Keys from 32 bytes of entropy each, with their ids. They serve nothing else.
    pub fn new(active: (u8, [u8; 32]), retired: Vec<(u8, [u8; 32])>) -> Self {
        let key = |(id, secret): (u8, [u8; 32])| (id, hmac::Key::new(hmac::HMAC_SHA256, &secret));
        Self { active: key(active), retired: retired.into_iter().map(key).collect() }
    }

    /// The token of a session.
    pub fn issue(&self, session_id: SessionId) -> String {
        let (id, key) = &self.active;
        let mut bytes = [0; TOKEN_BYTES];
        bytes[0] = *id;
        bytes[1..].copy_from_slice(hmac::sign(key, &message(session_id)).as_ref());
        encoding::encode(&bytes)
    }

    /// Whether `token` is one of this session's. Compares in constant time.
    pub fn verify(&self, token: &str, session_id: SessionId) -> bool {
        let Some(bytes) = encoding::decode_exact::<TOKEN_BYTES>(token) else { return false };
        self.find(bytes[0])
            .is_some_and(|key| hmac::verify(key, &message(session_id), &bytes[1..]).is_ok())
    }

    /// The number of the key that a text claims to be made with, which proves nothing.
    pub fn claimed_key(token: &str) -> Option<u8> {
        encoding::decode_exact::<TOKEN_BYTES>(token).map(|bytes| bytes[0])
    }

    /// Whether tokens of the key with this number are accepted.
    pub fn has(&self, id: u8) -> bool {
        self.find(id).is_some()
    }

    fn find(&self, id: u8) -> Option<&hmac::Key> {
        let mut keys = std::iter::once(&self.active).chain(&self.retired);
        keys.find(|(number, _)| *number == id).map(|(_, key)| key)
    }
}

impl fmt::Debug for CsrfKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfKeys")
    }
}

fn message(session_id: SessionId) -> [u8; LABEL.len() + 16] {
    let mut message = [0; LABEL.len() + 16];
    message[..LABEL.len()].copy_from_slice(LABEL);
    message[LABEL.len()..].copy_from_slice(session_id.as_bytes());
    message
}

const LABEL: &[u8; 15] = b"keyward csrf v1";
const TOKEN_BYTES: usize = 33;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_its_session_only() {
        let keys = CsrfKeys::new((1, [1; 32]), vec![]);
        let (mine, other) = (SessionId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
        let token = keys.issue(mine);
        assert!(keys.verify(&token, mine));
        assert!(!keys.verify(&token, other));
        assert!(!keys.verify("", mine));
        assert!(!keys.verify(&token[..token.len() - 1], mine));
        assert!(!keys.verify(&token.to_lowercase(), mine));
    }

    #[test]
    fn outlives_its_key_being_retired() {
        let session = SessionId::from_bytes([1; 16]);
        let token = CsrfKeys::new((1, [1; 32]), vec![]).issue(session);
        let rolled = CsrfKeys::new((2, [2; 32]), vec![(1, [1; 32])]);
        assert!(rolled.verify(&token, session));
        assert!(!CsrfKeys::new((1, [2; 32]), vec![]).verify(&token, session));
    }
}
