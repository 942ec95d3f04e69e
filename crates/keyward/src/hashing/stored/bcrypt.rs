//! bcrypt: `$2b$12$` and 53 characters of salt and hash.

use base64::Engine as _;
use zeroize::Zeroizing;

use super::is_equal;

/// A hash with what it was made from. The versions `2a`, `2b` and `2y` differ in nothing that a
/// correct program does; `2x` marks hashes of a program with an error, and is not taken.
pub(in crate::hashing) struct Bcrypt {
    cost: u32,
    salt: [u8; 16],
    output: [u8; 23],
}

impl Bcrypt {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|start| text.strip_prefix(start))?;
        let (cost, rest) = rest.split_once('$')?;
        let is_cost = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        let cost = if is_cost { cost.parse().ok()? } else { return None };
        let (salt, output) = rest.split_at_checked(SALT_CHARS)?;
        let decode = |text: &str| BASE64.decode(text).ok();
        Some(Self {
            cost,
            salt: decode(salt)?.try_into().ok()?,
            output: decode(output)?.try_into().ok()?,
        })
    }

    pub(super) fn is_bounded(&self) -> bool {
        (COST_MIN..=COST_MAX).contains(&self.cost)
    }

    /// Compares as every bcrypt does: the password ends at [`PASSWORD_BYTES_MAX`], or before that
    /// with a NUL that is hashed along.
    pub(in crate::hashing) fn verify(&self, password: &[u8]) -> bool {
        let mut key = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX));
        key.extend(password.iter().copied().take(PASSWORD_BYTES_MAX));
        if key.len() < PASSWORD_BYTES_MAX {
            key.push(0);
        }
        let output = bcrypt::bcrypt(self.cost, self.salt, &key);
        is_equal(&output[..self.output.len()], &self.output)
    }
}

/// What bcrypt looks at of a password.
pub(super) const PASSWORD_BYTES_MAX: usize = 72;

const SALT_CHARS: usize = 22;
const COST_MIN: u32 = 4;
/// About two seconds; programs use 10 to 12.
const COST_MAX: u32 = 15;

/// Some programs leave bits in the last character that mean nothing.
const BASE64: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::BCRYPT,
    base64::engine::general_purpose::NO_PAD.with_decode_allow_trailing_bits(true),
);
