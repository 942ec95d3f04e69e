//! Signing keys, their public halves, how secret keys are sealed at rest, and when a key signs.

mod jwk;
mod life;
mod sealing;

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use aws_lc_rs::{digest, hkdf, hmac};
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub use jwk::{JWK_SET_BYTES_MAX, read_jwk_set};
pub use life::{KeyLifePolicy, KeyLives, KeyPurpose, KeyRecord, KeyState, Lifetime, newest};
pub use sealing::SealingKey;

use crate::access_token::Algorithm;
use crate::encoding;

/// The fewest bytes of an HS256 key (RFC 7518, section 3.2).
pub const HMAC_SECRET_BYTES_MIN: usize = 32;

/// Size of new RSA keys in bits, and the least that is accepted.
pub const RSA_BITS_MIN: usize = 3072;

/// A key that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfitKey;

impl fmt::Display for UnfitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key does not fit its algorithm or is too short")
    }
}

impl std::error::Error for UnfitKey {}

/// Makes the secret half of a new asymmetric key, as PKCS#8 (RFC 5208). The generator behind it is
/// the cryptography library's own: a key pair cannot be made from entropy that is handed in.
/// An HMAC key is `HMAC_SECRET_BYTES_MIN` bytes of entropy, and is none of this function's.
///
/// # Errors
///
/// [`UnfitKey`] for HS256, or where the system yields no randomness.
pub fn generate_pkcs8(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, UnfitKey> {
    let document = match algorithm {
        Algorithm::EdDsa => {
            Ed25519KeyPair::generate().and_then(|key| Ok(key.to_pkcs8v1()?.as_ref().to_vec()))
        }
        Algorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|key| Ok(key.to_pkcs8v1()?.as_ref().to_vec())),
        Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa3072)
            .and_then(|key| Ok(key.as_der()?.as_ref().to_vec())),
        Algorithm::Hs256 => return Err(UnfitKey),
    };
    document.map(Zeroizing::new).map_err(|_| UnfitKey)
}

/// A key that signs access tokens.
pub struct SigningKey {
    header: String,
    id: String,
    algorithm: Algorithm,
    secret: Secret,
}

enum Secret {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Hmac(Box<hmac::Key>),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// Reads the secret half: PKCS#8, or the bytes of an HMAC key. Its id is the thumbprint of its
    /// public half (RFC 7638), of an HMAC key a digest that tells nothing about it.
    ///
    /// # Errors
    ///
    /// [`UnfitKey`] where the bytes are no key of this algorithm or the key is too short.
    pub fn parse(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, UnfitKey> {
        let secret = match algorithm {
            Algorithm::EdDsa => {
                Secret::Ed25519(Ed25519KeyPair::from_pkcs8(bytes).map_err(|_| UnfitKey)?)
            }
            Algorithm::Es256 => Secret::Ecdsa(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes)
                    .map_err(|_| UnfitKey)?,
            ),
            Algorithm::Hs256 if bytes.len() >= HMAC_SECRET_BYTES_MIN => {
                Secret::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
            }
            Algorithm::Hs256 => return Err(UnfitKey),
            Algorithm::Rs256 => Secret::Rsa(rsa_key(bytes)?),
        };
        let id = match &secret {
            Secret::Hmac(key) => {
                let tag = hmac::sign(key, b"keyward key id v1");
                encoding::encode(&tag.as_ref()[..16])
            }
            Secret::Ecdsa(_) | Secret::Ed25519(_) | Secret::Rsa(_) => {
                thumbprint(&public_members(&secret).ok_or(UnfitKey)?)
            }
        };
        Ok(Self { header: header(algorithm, &id), id, algorithm, secret })
    }

    /// The `kid`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The `alg`.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The encoded header of every token of this key.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// The half that verifies.
    ///
    /// # Errors
    ///
    /// [`UnfitKey`] where the library refuses its own public key.
    pub fn verifying_key(&self) -> Result<VerifyingKey, UnfitKey> {
        let public = match &self.secret {
            Secret::Ecdsa(key) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref())
            }
            Secret::Ed25519(key) => ParsedPublicKey::new(&ED25519, key.public_key().as_ref()),
            Secret::Rsa(key) => {
                ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
            }
            Secret::Hmac(key) => {
                let public = Public::Hmac(key.clone());
                return Ok(VerifyingKey { header: self.header.clone(), public });
            }
        };
        let public = Public::Signature(public.map_err(|_| UnfitKey)?);
        Ok(VerifyingKey { header: self.header.clone(), public })
    }

    /// The public half as a member of a JWK set (RFC 7517); `None` for an HMAC key, which has none.
    pub fn jwk(&self) -> Option<Value> {
        let mut jwk = public_members(&self.secret)?;
        let members = jwk.as_object_mut()?;
        members.insert("kid".to_owned(), json!(self.id));
        members.insert("alg".to_owned(), json!(self.algorithm.as_str()));
        members.insert("use".to_owned(), json!("sig"));
        Some(jwk)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        const FAILED: &str = "signing with a key that parsed does not fail";
        match &self.secret {
            Secret::Ecdsa(key) => {
                key.sign(&SystemRandom::new(), message).expect(FAILED).as_ref().to_vec()
            }
            Secret::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Secret::Hmac(key) => hmac::sign(key, message).as_ref().to_vec(),
            Secret::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .expect(FAILED);
                signature
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm.as_str(), self.id)
    }
}

/// A key that verifies access tokens of exactly one header.
pub struct VerifyingKey {
    header: String,
    public: Public,
}

enum Public {
    Hmac(Box<hmac::Key>),
    Signature(ParsedPublicKey),
}

impl VerifyingKey {
    /// The encoded header of every token of this key.
    pub fn header(&self) -> &str {
        &self.header
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        #[cfg(test)]
        SIGNATURE_CHECKS.set(SIGNATURE_CHECKS.get() + 1);
        match &self.public {
            Public::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Public::Signature(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How many signatures were checked on this thread, for tests of what must not cost any.
    pub(crate) static SIGNATURE_CHECKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey")
    }
}

/// The key that seals all other keys at rest, 32 bytes.
pub struct MasterKey {
    sealing: SealingKey,
    deriving: hkdf::Prk,
}

impl MasterKey {
    /// A master key from 32 bytes of entropy.
    pub fn new(secret: &[u8; 32]) -> Self {
        let deriving = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret);
        Self { sealing: SealingKey::new(secret), deriving }
    }

    /// Reads the text form: 32 bytes in base64url, as `keyward secret` prints them.
    ///
    /// # Errors
    ///
    /// [`UnfitKey`] for anything else.
    pub fn parse(text: &str) -> Result<Self, UnfitKey> {
        let bytes = encoding::decode_exact::<32>(text).map(Zeroizing::new).ok_or(UnfitKey)?;
        Ok(Self::new(&bytes))
    }

    /// A key for one purpose, which says nothing of the master key or of another purpose's key
    /// (HKDF-Expand, RFC 5869).
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        self.deriving
            .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|output| output.fill(key.as_mut_slice()))
            .expect("one block of output is within the algorithm's length limit");
        key
    }

    /// As [`SealingKey::seal`].
    pub fn seal(&self, secret: &[u8], place: &str, nonce: &[u8; 12]) -> Vec<u8> {
        self.sealing.seal(secret, place, nonce)
    }

    /// As [`SealingKey::open`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open(&self, sealed: &[u8], place: &str) -> Result<Zeroizing<Vec<u8>>, UnfitKey> {
        self.sealing.open(sealed, place)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

fn rsa_key(pkcs8: &[u8]) -> Result<RsaKeyPair, UnfitKey> {
    let key = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| UnfitKey)?;
    if key.public_modulus_len() * 8 < RSA_BITS_MIN { Err(UnfitKey) } else { Ok(key) }
}

/// The members of a JWK that the thumbprint covers (RFC 7638, section 3.2; RFC 8037, section 2).
fn public_members(secret: &Secret) -> Option<Value> {
    match secret {
        Secret::Ecdsa(key) => {
            // Uncompressed point: 4, then both coordinates.
            let (x, y) = key.public_key().as_ref().get(1..65)?.split_at(32);
            Some(json!({
                "crv": "P-256", "kty": "EC", "x": encoding::encode(x), "y": encoding::encode(y),
            }))
        }
        Secret::Ed25519(key) => {
            let x = encoding::encode(key.public_key().as_ref());
            Some(json!({ "crv": "Ed25519", "kty": "OKP", "x": x }))
        }
        Secret::Rsa(key) => {
            let public = key.public_key();
            let e = encoding::encode(public.exponent().big_endian_without_leading_zero());
            let n = encoding::encode(public.modulus().big_endian_without_leading_zero());
            Some(json!({ "e": e, "kty": "RSA", "n": n }))
        }
        Secret::Hmac(_) => None,
    }
}

/// RFC 7638: the members in lexicographic order without white space. `serde_json` sorts them, and
/// they are listed in that order for when a dependency makes it keep theirs.
fn thumbprint(members: &Value) -> String {
    let digest = digest::digest(&digest::SHA256, members.to_string().as_bytes());
    encoding::encode(digest.as_ref())
}

fn header(algorithm: Algorithm, id: &str) -> String {
    let alg = algorithm.as_str();
    // Ids are base64url, so nothing here needs escaping.
    encoding::encode(format!(r#"{{"alg":"{alg}","kid":"{id}","typ":"at+jwt"}}"#).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprint_of_the_example_of_rfc_7638() {
        const MODULUS: &str = concat!(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1",
            "L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4",
            "QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbO",
            "pbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csF",
            "Cur-kEgU8awapJzKnqDKgw",
        );
        let members = json!({ "e": "AQAB", "kty": "RSA", "n": MODULUS });
        assert_eq!(thumbprint(&members), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
