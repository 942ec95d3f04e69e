//! What Firebase makes of scrypt: its output is the key under which the project's signer key is
//! encrypted, and what comes out is the hash.

use std::fmt;

use aws_lc_rs::cipher::{
    AES_256, AES_256_KEY_LEN, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::iv::FixedLength;
use base64::Engine as _;
use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

use super::scrypt::ScryptCost;
use super::{BASE64, Scheme, UnfitHash, from_base64, is_equal};
use crate::store::PasswordHash;

/// The parameters of a Firebase project's hashes, as its console shows them.
pub struct FirebaseParameters {
    signer_key: Zeroizing<Vec<u8>>,
    salt_separator: Vec<u8>,
    cost: ScryptCost,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "algorithm")]
    _algorithm: Option<String>,
    base64_signer_key: String,
    base64_salt_separator: String,
    rounds: u32,
    mem_cost: u8,
}

impl FirebaseParameters {
    /// Reads the parameters as JSON: `base64_signer_key`, `base64_salt_separator`, `rounds` and
    /// `mem_cost`.
    ///
    /// # Errors
    ///
    /// What is wrong, in half a sentence that says nothing of the signer key.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let written: Written = serde_json::from_str(text).map_err(|error| {
            // The error's own text may repeat a part of what was read.
            format!("are no such JSON object (line {})", error.line())
        })?;
        let encoded = Zeroizing::new(written.base64_signer_key);
        let signer_key = Zeroizing::new(
            from_base64(&encoded)
                .filter(|key| (1..=SIGNER_KEY_BYTES_MAX).contains(&key.len()))
                .ok_or("have no base64_signer_key in base64")?,
        );
        let salt_separator = from_base64(&written.base64_salt_separator)
            .ok_or("have no base64_salt_separator in base64")?;
        let cost = ScryptCost { log_n: written.mem_cost, r: written.rounds, p: 1 };
        if !cost.is_bounded() {
            return Err("have a cost beyond what is taken".to_owned());
        }
        Ok(Self { signer_key, salt_separator, cost })
    }

    /// Takes over `SALT$HASH`.
    ///
    /// AES-CTR adds a key stream to the signer key. What is kept is a digest of that key stream:
    /// the signer key, a secret of the other project, is not needed to compare with it, and neither
    /// it nor the other project's hash can be had from it.
    pub(super) fn adopt(&self, given: &str) -> Result<PasswordHash, UnfitHash> {
        let malformed = UnfitHash::Malformed(Scheme::FirebaseScrypt);
        let (salt, hash) = given.split_once('$').ok_or(malformed)?;
        let (mut salt, hash) = from_base64(salt).zip(from_base64(hash)).ok_or(malformed)?;
        if hash.len() != self.signer_key.len() || salt.len() > SALT_BYTES_MAX {
            return Err(malformed);
        }
        salt.extend(&self.salt_separator);
        let both = hash.iter().zip(self.signer_key.iter());
        let key_stream = Zeroizing::new(both.map(|(hash, key)| hash ^ key).collect::<Vec<u8>>());
        let kept = FirebaseScrypt {
            cost: self.cost,
            length: key_stream.len(),
            salt,
            digest: digest(&SHA256, &key_stream).as_ref().to_vec(),
        };
        Ok(PasswordHash::from_phc(kept.to_string()))
    }
}

impl fmt::Debug for FirebaseParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FirebaseParameters")
    }
}

/// A hash as it is kept: `$firebase-scrypt$ln=14,r=8,p=1$l=64$salt$digest`.
pub(in crate::hashing) struct FirebaseScrypt {
    cost: ScryptCost,
    /// How long the signer key was.
    length: usize,
    /// The separator is at its end.
    salt: Vec<u8>,
    digest: Vec<u8>,
}

impl FirebaseScrypt {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.strip_prefix(PREFIX)?.split('$').collect();
        let [cost, length, salt, digest] = parts[..] else { return None };
        let length = super::number(length.strip_prefix("l=")?)? as usize;
        let (salt, digest) = (from_base64(salt)?, from_base64(digest)?);
        let fits = (1..=SIGNER_KEY_BYTES_MAX).contains(&length) && digest.len() == 32;
        fits.then(|| Some(Self { cost: ScryptCost::parse(cost)?, length, salt, digest }))?
    }

    pub(super) const fn cost(&self) -> ScryptCost {
        self.cost
    }

    pub(in crate::hashing) fn verify(&self, password: &[u8]) -> bool {
        let mut key = Zeroizing::new([0; AES_256_KEY_LEN]);
        self.cost.derive(password, &self.salt, key.as_mut_slice());
        let mut key_stream = vec![0; self.length];
        let encrypted = UnboundCipherKey::new(&AES_256, key.as_slice())
            .and_then(EncryptingKey::ctr)
            .and_then(|key| {
                let from_zero = EncryptionContext::Iv128(FixedLength::from([0; 16]));
                key.less_safe_encrypt(&mut key_stream, from_zero)
            });
        let is_right =
            encrypted.is_ok() && is_equal(digest(&SHA256, &key_stream).as_ref(), &self.digest);
        key_stream.zeroize();
        is_right
    }
}

impl fmt::Display for FirebaseScrypt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScryptCost { log_n, r, p } = self.cost;
        let (salt, digest) = (BASE64.encode(&self.salt), BASE64.encode(&self.digest));
        write!(f, "{PREFIX}ln={log_n},r={r},p={p}$l={}${salt}${digest}", self.length)
    }
}

/// How both the given and the kept form begin.
pub(super) const PREFIX: &str = "$firebase-scrypt$";

const SIGNER_KEY_BYTES_MAX: usize = 256;
const SALT_BYTES_MAX: usize = 256;
