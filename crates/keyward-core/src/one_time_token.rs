//! One-time tokens: what a mail carries so that its reader can prove that the address is theirs.
//!
//! ```text
//! kwo_ base64url( secret 32 )
//! ```
//!
//! The secret is random, so its SHA-256 is enough to find the token by and tells nothing about it.
//! A token is good for one purpose, once, until it expires, and only while the account is as it was
//! when the token was issued.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use zeroize::Zeroizing;

use crate::encoding;
use crate::id::UserId;
use crate::named::named;
use crate::time::Timestamp;

/// What every one-time token starts with. Secret scanners know tokens by it: never change it.
pub const PREFIX: &str = "kwo_";

/// Random bytes in each token, fresh from the operating system's generator.
pub const SECRET_BYTES: usize = 32;

/// A one-time token in clear: in a mail that waits sealed, and while a request that carries it is
/// looked at.
pub struct OneTimeToken(Zeroizing<String>);

impl OneTimeToken {
    /// Makes a token from fresh entropy.
    pub fn issue(secret: &[u8; SECRET_BYTES]) -> Self {
        let encoded = Zeroizing::new(encoding::encode(secret));
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + encoded.len()));
        text.push_str(PREFIX);
        text.push_str(&encoded);
        Self(text)
    }

    /// Reads a presented text. `None` for everything that has not the form of a token.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX)?;
        Zeroizing::new(encoding::decode_exact::<SECRET_BYTES>(encoded)?);
        Some(Self(Zeroizing::new(text.to_owned())))
    }

    /// The text for the link in the mail. Keep it out of logs, errors and whatever a browser sends.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the store knows of this token.
    pub fn hash(&self) -> OneTimeTokenHash {
        let digest = digest::digest(&digest::SHA256, self.0.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        OneTimeTokenHash(bytes)
    }
}

impl fmt::Debug for OneTimeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeToken")
    }
}

/// SHA-256 over the whole text of a token. It opens nothing, yet it stays out of logs as the hashes
/// of other secrets do.
#[derive(Clone, Copy)]
pub struct OneTimeTokenHash([u8; 32]);

impl OneTimeTokenHash {
    /// A hash as a store holds it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store holds.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for OneTimeTokenHash {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for OneTimeTokenHash {}

impl fmt::Debug for OneTimeTokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeTokenHash")
    }
}

named! {
    /// What a one-time token is good for.
    TokenPurpose {
        /// Setting a new password without the old one.
        ResetPassword = "reset_password",
        /// Showing that the address is the user's.
        VerifyEmail = "verify_email",
    }
}

/// Everything about a token but the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneTimeTokenRecord {
    /// Finds the record of a presented token.
    pub hash: OneTimeTokenHash,
    /// Whose account it is about.
    pub user_id: UserId,
    /// What it is good for.
    pub purpose: TokenPurpose,
    /// The address that it is mailed to, as it is compared.
    pub email_key: String,
    /// The version of the credentials at that time.
    pub credential_version: u64,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

impl OneTimeTokenRecord {
    /// Whether the token is accepted at `now` for an account with this address and these
    /// credentials. Whoever has changed either has answered the mail, or made it the mail of
    /// another.
    pub fn is_live(&self, email_key: &str, credential_version: u64, now: Timestamp) -> bool {
        now < self.expires_at
            && self.email_key == email_key
            && self.credential_version == credential_version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_has_one_text() {
        let token = OneTimeToken::issue(&[0xff; SECRET_BYTES]);
        let text = token.expose();
        assert_eq!(text.len(), PREFIX.len() + 43);
        assert_eq!(OneTimeToken::parse(text).map(|token| token.hash()), Some(token.hash()));
        let last_bit = format!("{}9", &text[..text.len() - 1]);
        for junk in [
            "",
            PREFIX,
            &text[PREFIX.len()..],
            &text[..text.len() - 1],
            &format!("{text}A"),
            &format!("{text}="),
            &format!(" {text}"),
            &format!("{text}\n"),
            &text.replace("kwo_", "kwk_"),
            &text.replace("kwo_", "KWO_"),
            &last_bit,
        ] {
            assert!(OneTimeToken::parse(junk).is_none(), "{junk:?}");
        }
    }

    #[test]
    fn the_hash_is_sha_256_of_the_text() {
        let token = OneTimeToken::issue(&[1; SECRET_BYTES]);
        let expected = digest::digest(&digest::SHA256, token.expose().as_bytes());
        assert_eq!(token.hash().as_bytes(), expected.as_ref());
        assert_ne!(token.hash(), OneTimeToken::issue(&[2; SECRET_BYTES]).hash());
    }

    #[test]
    fn nothing_shows_itself() {
        let token = OneTimeToken::issue(&[1; SECRET_BYTES]);
        assert_eq!(format!("{token:?} {:?}", token.hash()), "OneTimeToken OneTimeTokenHash");
    }

    #[test]
    fn a_token_lives_while_the_account_is_as_it_was() {
        const NOW: Timestamp = Timestamp::from_secs(1000);
        let record = OneTimeTokenRecord {
            hash: OneTimeTokenHash::from_bytes([1; 32]),
            user_id: UserId::from_bytes([1; 16]),
            purpose: TokenPurpose::ResetPassword,
            email_key: "ada@example.org".to_owned(),
            credential_version: 3,
            expires_at: NOW,
        };
        let before = Timestamp::from_millis(NOW.millis() - 1);
        assert!(record.is_live("ada@example.org", 3, before));
        assert!(!record.is_live("ada@example.org", 3, NOW));
        assert!(!record.is_live("ada@example.org", 4, before));
        assert!(!record.is_live("ada@example.com", 3, before));
    }
}
