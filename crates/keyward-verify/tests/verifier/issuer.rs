//! An issuer, its tokens and its published keys.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::keys::{SigningKey, generate_pkcs8};
use keyward_verify::{Algorithm, Timestamp, Verifier, VerifyPolicy};
use serde_json::{Value, json};

/// A signing key, with its secret bytes to sign what the library never would.
pub(crate) struct Signer {
    pub(crate) key: SigningKey,
    secret: Vec<u8>,
    /// Signatures of before, by what was signed.
    remembered: HashMap<String, String>,
}

impl Signer {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let secret = generate_pkcs8(algorithm).expect("a new key").to_vec();
        Self::known(algorithm, secret)
    }

    /// The signer with this PKCS#8 key.
    pub(crate) fn known(algorithm: Algorithm, secret: Vec<u8>) -> Self {
        let key = SigningKey::parse(algorithm, &secret).expect("a fitting key");
        Self { key, secret, remembered: HashMap::new() }
    }

    /// Answers those of these signatures that are its own again, where the same is to be signed:
    /// ECDSA would make another each time.
    pub(crate) fn remembering<'a>(mut self, tokens: impl Iterator<Item = &'a str>) -> Self {
        for (signed, signature) in tokens.filter_map(|token| token.rsplit_once('.')) {
            let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
            if self.has_signed(signed, &bytes) {
                self.remembered.insert(signed.to_owned(), signature.to_owned());
            }
        }
        self
    }

    /// These claims under the key's own header.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_encoded(&format!("{}.{}", self.key.header(), encode(claims.to_string())))
    }

    /// Whatever text, signed.
    pub(crate) fn sign_encoded(&self, signed: &str) -> String {
        let signature = match self.remembered.get(signed) {
            Some(signature) => signature.clone(),
            None => self.signature(signed),
        };
        format!("{signed}.{signature}")
    }

    fn signature(&self, signed: &str) -> String {
        match self.key.algorithm() {
            Algorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.secret)
                    .and_then(|key| Ok(key.sign(&SystemRandom::new(), signed.as_bytes())?))
                    .map(|signature| encode(signature.as_ref()))
                    .expect("the key parsed before")
            }
            Algorithm::EdDsa => {
                let key = Ed25519KeyPair::from_pkcs8(&self.secret).expect("it parsed before");
                encode(key.sign(signed.as_bytes()).as_ref())
            }
            Algorithm::Rs256 => {
                let key = RsaKeyPair::from_pkcs8(&self.secret).expect("it parsed before");
                let mut signature = vec![0; key.public_modulus_len()];
                let random = SystemRandom::new();
                key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
                    .expect("a key of 3072 bits signs");
                encode(signature)
            }
            Algorithm::Hs256 => unreachable!("it has no published keys"),
        }
    }

    /// Whether this is its signature of that.
    pub(crate) fn has_signed(&self, signed: &str, signature: &[u8]) -> bool {
        let (algorithm, key): (&'static dyn VerificationAlgorithm, Vec<u8>) =
            match self.key.algorithm() {
                Algorithm::Es256 => {
                    let key =
                        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.secret);
                    let key = key.expect("it parsed before");
                    (&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref().to_vec())
                }
                Algorithm::EdDsa => {
                    let key = Ed25519KeyPair::from_pkcs8(&self.secret).expect("it parsed before");
                    (&ED25519, key.public_key().as_ref().to_vec())
                }
                Algorithm::Rs256 => {
                    let key = RsaKeyPair::from_pkcs8(&self.secret).expect("it parsed before");
                    (&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref().to_vec())
                }
                Algorithm::Hs256 => unreachable!("it has no published keys"),
            };
        UnparsedPublicKey::new(algorithm, key).verify(signed.as_bytes(), signature).is_ok()
    }

    pub(crate) fn jwk(&self) -> Value {
        self.key.jwk().expect("a public key")
    }
}

/// The set of these keys, as the issuing service publishes it.
pub(crate) fn key_set(signers: &[&Signer]) -> Vec<u8> {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

pub(crate) fn policy() -> VerifyPolicy {
    VerifyPolicy::new(ISSUER, AUDIENCE)
}

/// A verifier that knows these keys, and that nothing was revoked until [`NOW`].
pub(crate) fn current(policy: VerifyPolicy, signers: &[&Signer]) -> Verifier {
    let verifier = Verifier::new(policy);
    verifier.take_up_keys(&key_set(signers), now()).expect("a good set");
    verifier.revocations().hear(now());
    verifier
}

/// Claims that are accepted at [`NOW`].
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": USER,
        "client_id": "keyward",
        "sid": SESSION,
        "jti": "a token",
        "iat": NOW - 10,
        "exp": NOW + 890,
        "auth_time": NOW - 10,
        "amr": ["pwd"],
        "roles": ["user"],
        "email": "ada@example.org",
    })
}

/// Claims that are accepted at this moment.
pub(crate) fn fresh_claims() -> Value {
    let now = crate::system_now().secs();
    let mut claims = claims();
    for (name, time) in [("iat", now), ("exp", now + 900), ("auth_time", now)] {
        claims[name] = json!(time);
    }
    claims
}

pub(crate) fn fresh_claims_with(name: &str, value: Value) -> Value {
    let mut claims = fresh_claims();
    claims[name] = value;
    claims
}

pub(crate) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

pub(crate) fn now() -> Timestamp {
    at(0)
}

/// So many seconds after [`NOW`].
pub(crate) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(NOW + secs)
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

pub(crate) fn hmac_sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://auth.example.org";
pub(crate) const AUDIENCE: &str = "https://api.example.org";
pub(crate) const USER: &str = "01010101-0101-0101-0101-010101010101";
pub(crate) const SESSION: &str = "02020202-0202-0202-0202-020202020202";
