//! Recovery codes: what a user writes down for the day when the app is gone.
//!
//! ```text
//! Crockford base32( secret 10 ), as XXXX-XXXX-XXXX-XXXX
//! ```
//!
//! 80 random bits: the SHA-256 that is stored tells nobody the code, without the work of a
//! password hash. The hash is over the user's id too, so that a row moved to another user's account
//! is no code of that one.

use std::fmt;

use zeroize::Zeroizing;

use crate::encoding::encode_base32;
use crate::id::UserId;
use crate::secret_hash::{Secret, SecretHash};

/// How many codes a user is given at once.
pub const RECOVERY_CODES: usize = 10;

/// A recovery code in clear: it exists when it is made, and while a request that carries it is
/// looked at.
pub struct RecoveryCode(Zeroizing<[u8; CHARS]>);

impl RecoveryCode {
    /// Random bytes in each code.
    pub const BYTES: usize = 10;

    /// Makes a code from fresh entropy.
    pub fn issue(secret: &[u8; Self::BYTES]) -> Self {
        let text = Zeroizing::new(encode_base32(secret, CROCKFORD));
        let mut chars = Zeroizing::new([0; CHARS]);
        chars.copy_from_slice(text.as_bytes());
        Self(chars)
    }

    /// Reads what somebody typed: in either case, with or without hyphens and spaces, and with the
    /// letters that Crockford takes for digits. `None` for what is no code.
    pub fn parse(text: &str) -> Option<Self> {
        // Longer texts are not worth a look.
        if text.len() > 2 * CHARS {
            return None;
        }
        let mut chars = Zeroizing::new([0; CHARS]);
        let mut typed = text.bytes().filter(|byte| !b"- ".contains(byte));
        for char in chars.iter_mut() {
            *char = match typed.next()?.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                byte if CROCKFORD.contains(&byte) => byte,
                _ => return None,
            };
        }
        typed.next().is_none().then_some(Self(chars))
    }

    /// The text for its user. Keep it out of logs, errors and URLs.
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(CHARS + CHARS / GROUP));
        for (index, byte) in self.0.iter().enumerate() {
            if index > 0 && index % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(*byte));
        }
        text
    }

    /// What the store knows of this code of this user's.
    pub fn hash(&self, user_id: UserId) -> RecoveryCodeHash {
        SecretHash::over(&[b"keyward recovery code v1", user_id.as_bytes(), &*self.0])
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode")
    }
}

impl Secret for RecoveryCode {
    const NAME: &'static str = "RecoveryCode";
}

/// What the store knows of a recovery code, and of whose it is.
pub type RecoveryCodeHash = SecretHash<RecoveryCode>;

const CHARS: usize = 16;
const GROUP: usize = 4;
/// Without I, L, O and U, which are misread or spell words.
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: UserId = UserId::from_bytes([1; 16]);
    const BOB: UserId = UserId::from_bytes([2; 16]);

    #[test]
    fn what_was_written_down_is_read_however_it_is_typed() {
        let code = RecoveryCode::issue(&[0x08, 0x42, 0x10, 0x84, 0x21, 0xff, 0, 0xff, 0, 0xff]);
        assert_eq!(*code.expose(), "1111-1111-ZW0F-Y07Z");
        for typed in
            ["1111-1111-ZW0F-Y07Z", "11111111zw0fy07z", "iIlL 1111 zwof yo7z", "1-111-1111ZW0FY07Z"]
        {
            let read = RecoveryCode::parse(typed).expect("a code");
            assert_eq!(read.hash(ADA), code.hash(ADA), "{typed}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let long = "-".repeat(100);
        for text in ["", "1111-1111-ZW0F-Y07", "1111-1111-ZW0F-Y07ZZ", "1111-1111-ZW0F-Y07U", &long]
        {
            assert!(RecoveryCode::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_code_is_its_users_alone() {
        let code = RecoveryCode::issue(&[7; 10]);
        assert_ne!(code.hash(ADA), code.hash(BOB));
    }
}
