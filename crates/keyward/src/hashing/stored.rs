//! Stored hashes of every scheme that is verified: our own, and those that other systems have left
//! ([ADR 17](../../../../docs/adr/0017-hashes-of-other-systems.md)).
//!
//! A hash of another system is kept as that system wrote it, for as long as nobody has signed in
//! with it; what it says of its cost is bounded before it is kept, and again whenever it is read.

mod bcrypt;
mod firebase;
mod pbkdf2;
mod scrypt;

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use keyward_core::password::Password;

use self::bcrypt::Bcrypt;
pub use self::firebase::FirebaseParameters;
use self::firebase::FirebaseScrypt;
use self::pbkdf2::Pbkdf2;
use self::scrypt::Scrypt;
use super::phc::{Cost, Phc};
use crate::store::PasswordHash;

/// A hash as a store holds it, read.
pub(super) enum StoredHash {
    /// Argon2id as we hash, or another system that does so too.
    Ours(Phc),
    /// Argon2 of another kind or version.
    Argon2(Phc),
    Bcrypt(Bcrypt),
    FirebaseScrypt(FirebaseScrypt),
    Pbkdf2(Pbkdf2),
    Scrypt(Scrypt),
}

/// What a hash was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 9106, of any kind.
    Argon2,
    /// Of the versions `2a`, `2b` and `2y`.
    Bcrypt,
    /// What Firebase makes of scrypt.
    FirebaseScrypt,
    /// RFC 8018 over HMAC with SHA-1, SHA-256 or SHA-512.
    Pbkdf2,
    /// RFC 7914.
    Scrypt,
}

impl Scheme {
    /// The name under which people know it, as in `bcrypt`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Argon2 => "argon2",
            Self::Bcrypt => "bcrypt",
            Self::FirebaseScrypt => "firebase-scrypt",
            Self::Pbkdf2 => "pbkdf2",
            Self::Scrypt => "scrypt",
        }
    }
}

/// Why a hash of another system is not taken. Says nothing of the hash itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnfitHash {
    /// Of the scheme in its first letters, but not as any program known here writes it.
    Malformed(Scheme),
    /// Its project's parameters are needed to read it.
    NeedsParameters,
    /// One sign-in could take more than about two seconds, or more than 256 MiB.
    TooCostly(Scheme),
    /// Of no scheme that is known here.
    Unknown,
}

impl fmt::Display for UnfitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(scheme) => write!(f, "is no {} hash as it begins", scheme.name()),
            Self::NeedsParameters => f.write_str("is Firebase's, whose parameters are not given"),
            Self::TooCostly(scheme) => {
                write!(f, "has a cost beyond what is taken of {}", scheme.name())
            }
            Self::Unknown => f.write_str("is of no scheme that is known here"),
        }
    }
}

impl std::error::Error for UnfitHash {}

/// Takes over a hash of another system, so that its user signs in with the password as before. It
/// gives way to one of ours when they do. Hashes nothing.
///
/// # Errors
///
/// Where the hash cannot be verified, or costs more than a sign-in may.
pub fn adopt(text: &str, firebase: Option<&FirebaseParameters>) -> Result<PasswordHash, UnfitHash> {
    if let Some(given) = text.strip_prefix(firebase::PREFIX) {
        return firebase.ok_or(UnfitHash::NeedsParameters)?.adopt(given);
    }
    // Django puts the name of its class before these two.
    let text = text.strip_prefix("argon2").filter(|rest| rest.starts_with('$')).unwrap_or(text);
    let text = text.strip_prefix("bcrypt$").unwrap_or(text);
    let hash = StoredHash::parse(text)?;
    if hash.is_too_costly_to_adopt() {
        return Err(UnfitHash::TooCostly(hash.scheme()));
    }
    Ok(PasswordHash::from_phc(text.to_owned()))
}

impl StoredHash {
    /// Reads a hash of ours or of another system.
    pub(super) fn parse(text: &str) -> Result<Self, UnfitHash> {
        let scheme = scheme_of(text).ok_or(UnfitHash::Unknown)?;
        let malformed = UnfitHash::Malformed(scheme);
        if text.len() > TEXT_BYTES_MAX {
            return Err(malformed);
        }
        match scheme {
            Scheme::Argon2 => Phc::parse(text)
                .map(Self::Ours)
                .or_else(|| Phc::parse_any(text).map(Self::Argon2))
                .ok_or(malformed),
            Scheme::Bcrypt => Bcrypt::parse(text).map(Self::Bcrypt).ok_or(malformed),
            Scheme::FirebaseScrypt => {
                FirebaseScrypt::parse(text).map(Self::FirebaseScrypt).ok_or(malformed)
            }
            Scheme::Pbkdf2 => Pbkdf2::parse(text).map(Self::Pbkdf2).ok_or(malformed),
            Scheme::Scrypt => Scrypt::parse(text).map(Self::Scrypt).ok_or(malformed),
        }
        .and_then(Self::within_bounds)
    }

    pub(super) const fn scheme(&self) -> Scheme {
        match self {
            Self::Ours(_) | Self::Argon2(_) => Scheme::Argon2,
            Self::Bcrypt(_) => Scheme::Bcrypt,
            Self::FirebaseScrypt(_) => Scheme::FirebaseScrypt,
            Self::Pbkdf2(_) => Scheme::Pbkdf2,
            Self::Scrypt(_) => Scheme::Scrypt,
        }
    }

    /// How much memory one verification takes besides a few pages, in KiB.
    pub(super) fn memory_kib(&self) -> u32 {
        match self {
            Self::Ours(phc) | Self::Argon2(phc) => phc.cost.memory_kib,
            Self::Bcrypt(_) | Self::Pbkdf2(_) => 0,
            Self::FirebaseScrypt(hash) => hash.cost().memory_kib(),
            Self::Scrypt(hash) => hash.cost.memory_kib(),
        }
    }

    /// Whether a hash of ours at this cost is worth more.
    pub(super) fn is_outdated(&self, cost: Cost) -> bool {
        match self {
            Self::Ours(phc) => phc.cost.estimate() < cost.estimate(),
            Self::Argon2(_)
            | Self::Bcrypt(_)
            | Self::FirebaseScrypt(_)
            | Self::Pbkdf2(_)
            | Self::Scrypt(_) => true,
        }
    }

    /// Whether a password that fits this hash is known to be the whole of the right one.
    pub(super) fn proves_all_of(&self, password: &Password) -> bool {
        match self {
            Self::Bcrypt(_) => password.expose_typed().len() <= bcrypt::PASSWORD_BYTES_MAX,
            Self::Ours(_)
            | Self::Argon2(_)
            | Self::FirebaseScrypt(_)
            | Self::Pbkdf2(_)
            | Self::Scrypt(_) => true,
        }
    }

    /// What may be read is bounded even in a row that someone wrote to.
    fn within_bounds(self) -> Result<Self, UnfitHash> {
        let is_bounded = match &self {
            // Bounded when it was read: a policy of ours may cost more than another system's may.
            Self::Ours(_) | Self::Argon2(_) => true,
            Self::Bcrypt(hash) => hash.is_bounded(),
            Self::FirebaseScrypt(hash) => hash.cost().is_bounded(),
            Self::Pbkdf2(hash) => hash.is_bounded(),
            Self::Scrypt(hash) => hash.cost.is_bounded(),
        };
        if is_bounded { Ok(self) } else { Err(UnfitHash::TooCostly(self.scheme())) }
    }

    fn is_too_costly_to_adopt(&self) -> bool {
        match self {
            Self::Ours(phc) | Self::Argon2(phc) => {
                phc.cost.memory_kib > ADOPTED_MEMORY_KIB_MAX
                    || phc.cost.estimate() > ADOPTED_TIME_MAX
            }
            Self::Bcrypt(_) | Self::FirebaseScrypt(_) | Self::Pbkdf2(_) | Self::Scrypt(_) => false,
        }
    }
}

fn scheme_of(text: &str) -> Option<Scheme> {
    const BEGINNINGS: [(&str, Scheme); 10] = [
        ("$argon2", Scheme::Argon2),
        ("$2a$", Scheme::Bcrypt),
        ("$2b$", Scheme::Bcrypt),
        ("$2y$", Scheme::Bcrypt),
        (firebase::PREFIX, Scheme::FirebaseScrypt),
        ("$pbkdf2", Scheme::Pbkdf2),
        ("pbkdf2", Scheme::Pbkdf2),
        ("$scrypt$", Scheme::Scrypt),
        ("scrypt:", Scheme::Scrypt),
        ("scrypt$", Scheme::Scrypt),
    ];
    BEGINNINGS.iter().find(|(beginning, _)| text.starts_with(beginning)).map(|(_, scheme)| *scheme)
}

/// base64 of either alphabet, with padding or without; passlib writes `.` for `+`.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.replace(['-', '.'], "+").replace('_', "/");
    BASE64.decode(text).ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    rest.is_empty().then(|| bytes.collect())?
}

/// Digits and nothing else: `+1` and `01` are no numbers of a hash.
fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_plain.then(|| text.parse().ok())?
}

/// A short output would be hit by chance.
fn is_output(output: &[u8]) -> bool {
    (OUTPUT_BYTES_MIN..=OUTPUT_BYTES_MAX).contains(&output.len())
}

fn is_equal(output: &[u8], stored: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(output, stored).is_ok()
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// More than any hash known here has.
const TEXT_BYTES_MAX: usize = 1024;
const OUTPUT_BYTES_MIN: usize = 16;
const OUTPUT_BYTES_MAX: usize = 128;

/// What one hash of another system may take: a quarter of what one of ours may.
const ADOPTED_MEMORY_KIB_MAX: u32 = 256 * 1024;
const ADOPTED_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(2);

#[cfg(test)]
mod tests;
