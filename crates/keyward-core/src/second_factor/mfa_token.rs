//! The token of a challenge: what a sign-in goes on with when the password was right.
//!
//! ```text
//! kwm_ base64url( secret 32 )
//! ```
//!
//! The secret is random, so its SHA-256 is enough to find the challenge by and tells nothing about
//! it.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use zeroize::Zeroizing;

use crate::encoding;

/// The token of a challenge in clear: it exists when it is made, and while a request that carries
/// it is looked at.
pub struct MfaToken(Zeroizing<String>);

impl MfaToken {
    /// Random bytes in each token.
    pub const SECRET_BYTES: usize = 32;

    /// Makes a token from fresh entropy.
    pub fn issue(secret: &[u8; Self::SECRET_BYTES]) -> Self {
        let encoded = Zeroizing::new(encoding::encode(secret));
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + encoded.len()));
        text.push_str(PREFIX);
        text.push_str(&encoded);
        Self(text)
    }

    /// Reads a presented text. `None` for everything that has not the form of a token.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX)?;
        Zeroizing::new(encoding::decode_exact::<{ Self::SECRET_BYTES }>(encoded)?);
        Some(Self(Zeroizing::new(text.to_owned())))
    }

    /// The text for the client. Keep it out of logs, errors and URLs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the store knows of this token.
    pub fn hash(&self) -> MfaTokenHash {
        let digest = digest::digest(&digest::SHA256, self.0.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        MfaTokenHash(bytes)
    }
}

impl fmt::Debug for MfaToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MfaToken")
    }
}

/// SHA-256 over the whole text of a token. It opens nothing, yet it stays out of logs as the hashes
/// of other secrets do.
#[derive(Clone, Copy, PartialOrd, Ord)]
pub struct MfaTokenHash([u8; 32]);

impl MfaTokenHash {
    /// A hash as a store holds it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store holds.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for MfaTokenHash {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for MfaTokenHash {}

impl fmt::Debug for MfaTokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MfaTokenHash")
    }
}

/// Secret scanners know tokens by it: never change it.
const PREFIX: &str = "kwm_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_nothing_else_is() {
        let token = MfaToken::issue(&[7; 32]);
        let read = MfaToken::parse(token.expose()).expect("a token");
        assert_eq!(read.hash(), token.hash());
        let bare = &token.expose()[PREFIX.len()..];
        for text in ["", PREFIX, bare, &format!("{}A", token.expose()), &format!("kwk_{bare}")] {
            assert!(MfaToken::parse(text).is_none(), "{text}");
        }
    }
}
