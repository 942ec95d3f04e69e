//! One-time tokens: what a mail carries so that its reader can prove that the address is theirs.
//!
//! A token is good for one purpose, once, until it expires, and only while the account is as it was
//! when the token was issued, or as a change has left it that took the token along.

use crate::id::UserId;
use crate::named::named;
use crate::opaque_token::{Kind, OpaqueToken};
use crate::secret_hash::SecretHash;
use crate::time::Timestamp;

/// A one-time token in clear: in a mail that waits sealed, and while a request that carries it is
/// looked at.
pub type OneTimeToken = OpaqueToken<ForMail>;

/// What the store knows of a one-time token.
pub type OneTimeTokenHash = SecretHash<OneTimeToken>;

/// The kind of token that a mail carries.
#[derive(Debug)]
pub enum ForMail {}

impl Kind for ForMail {
    const NAME: &'static str = "OneTimeToken";
    const PREFIX: &'static str = "kwo_";
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
    /// The version of the credentials at that time, or that the token was taken along to.
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
