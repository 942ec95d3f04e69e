//! PBKDF2 as passlib, Django, Werkzeug and the PHC string format write it.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;

use super::{from_base64, from_hex, is_equal, is_output, number};

/// A hash with what it was made from.
pub(in crate::hashing) struct Pbkdf2 {
    digest: Digest,
    rounds: NonZeroU32,
    salt: Vec<u8>,
    output: Vec<u8>,
}

/// What HMAC is made over.
#[derive(Clone, Copy)]
enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

impl Pbkdf2 {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let hash = if let Some(rest) = text.strip_prefix("$pbkdf2") {
            Self::parse_modular(rest)
        } else if let Some(rest) = text.strip_prefix("pbkdf2_") {
            Self::parse_django(rest)
        } else {
            Self::parse_werkzeug(text.strip_prefix("pbkdf2:")?)
        }?;
        is_output(&hash.output).then_some(hash)
    }

    /// passlib's `$pbkdf2-sha256$29000$salt$hash`, whose digest is SHA-1 where none is named, and
    /// the PHC string format's `$pbkdf2-sha256$i=29000,l=32$salt$hash`.
    fn parse_modular(rest: &str) -> Option<Self> {
        let (digest, rest) = rest.split_once('$')?;
        let digest = if digest.is_empty() { "sha1" } else { digest.strip_prefix('-')? };
        let [rounds, salt, output] = three(rest)?;
        let (salt, output) = (from_base64(salt)?, from_base64(output)?);
        let Some(rest) = rounds.strip_prefix("i=") else {
            return Self::new(digest, rounds, salt, output)?.of_whole_output();
        };
        let (rounds, length) = rest.split_once(",l=").unzip();
        let length_fits =
            length.is_none_or(|length| number(length) == u32::try_from(output.len()).ok());
        length_fits.then(|| Self::new(digest, rounds.unwrap_or(rest), salt, output))?
    }

    /// `pbkdf2_sha256$1000000$salt$hash`, whose salt is hashed as it is written.
    fn parse_django(rest: &str) -> Option<Self> {
        let (digest, rest) = rest.split_once('$')?;
        let [rounds, salt, output] = three(rest)?;
        Self::new(digest, rounds, salt.into(), from_base64(output)?)?.of_whole_output()
    }

    /// `pbkdf2:sha256:1000000$salt$hash`, whose hash is in hexadecimal.
    fn parse_werkzeug(rest: &str) -> Option<Self> {
        let [method, salt, output] = three(rest)?;
        let (digest, rounds) = method.split_once(':')?;
        Self::new(digest, rounds, salt.into(), from_hex(output)?)?.of_whole_output()
    }

    fn new(digest: &str, rounds: &str, salt: Vec<u8>, output: Vec<u8>) -> Option<Self> {
        let digest = match digest {
            "sha1" => Digest::Sha1,
            "sha256" => Digest::Sha256,
            "sha512" => Digest::Sha512,
            _ => return None,
        };
        Some(Self { digest, rounds: NonZeroU32::new(number(rounds)?)?, salt, output })
    }

    /// Where programs keep all of what the digest yields, anything else was cut off.
    fn of_whole_output(self) -> Option<Self> {
        (self.output.len() == self.digest.output_bytes()).then_some(self)
    }

    /// Each block of the output takes all rounds.
    pub(super) fn is_bounded(&self) -> bool {
        let blocks = self.output.len().div_ceil(self.digest.output_bytes()) as u64;
        blocks * u64::from(self.rounds.get()) <= ROUNDS_MAX
    }

    pub(in crate::hashing) fn verify(&self, password: &[u8]) -> bool {
        let algorithm = match self.digest {
            Digest::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Digest::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Digest::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut output = vec![0; self.output.len()];
        pbkdf2::derive(algorithm, self.rounds, &self.salt, password, &mut output);
        is_equal(&output, &self.output)
    }
}

impl Digest {
    const fn output_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// Three parts between two `$`, no more and no less.
fn three(text: &str) -> Option<[&str; 3]> {
    let mut parts = text.split('$');
    let three = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(three)
}

/// About two seconds; OWASP recommends 1.3 million of SHA-1 and less of the others.
const ROUNDS_MAX: u64 = 5_000_000;
