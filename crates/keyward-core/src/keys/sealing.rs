//! How secrets are sealed at rest.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::UnfitKey;

/// A key that seals secrets at rest: AES-256-GCM-SIV (RFC 8452), 32 bytes.
pub struct SealingKey(LessSafeKey);

impl SealingKey {
    /// A key from 32 bytes of entropy. It serves nothing else.
    pub fn new(secret: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM_SIV, secret)
            .expect("32 bytes are the length of the algorithm's key");
        Self(LessSafeKey::new(key))
    }

    /// Seals a secret for one place. `place` names the row and column it will stand in; moved
    /// elsewhere it does not open. `nonce` is fresh entropy.
    pub fn seal(&self, secret: &[u8], place: &str, nonce: &[u8; 12]) -> Vec<u8> {
        let mut ciphertext = secret.to_vec();
        let tag = self
            .0
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(place.as_bytes()),
                &mut ciphertext,
            )
            .expect("a key is far below the algorithm's length limit");
        [SEAL_VERSION, nonce, ciphertext.as_slice(), tag.as_ref()].concat()
    }

    /// Opens what [`SealingKey::seal`] sealed for the same place.
    ///
    /// # Errors
    ///
    /// [`UnfitKey`] where the key, the place or the bytes are others.
    pub fn open(&self, sealed: &[u8], place: &str) -> Result<Zeroizing<Vec<u8>>, UnfitKey> {
        let (nonce, ciphertext) = sealed
            .strip_prefix(SEAL_VERSION)
            .and_then(|rest| rest.split_first_chunk::<12>())
            .ok_or(UnfitKey)?;
        let mut bytes = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .0
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(place.as_bytes()),
                &mut bytes,
            )
            .map_err(|_| UnfitKey)?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

/// First byte of everything sealed, so that a later form can be told apart.
const SEAL_VERSION: &[u8] = &[1];
