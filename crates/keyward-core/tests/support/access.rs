//! Keys, claims and raw signatures for the tests of access tokens.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::access_token::{Algorithm, ExpectedClaims, Verifier};
use keyward_core::keys::{SigningKey, generate_pkcs8};
use keyward_core::time::Timestamp;
use serde_json::{Value, json};

pub(crate) const NOW: i64 = 1_800_000_000;

/// An algorithm's signing key, with its secret bytes to sign what the library never would.
pub(crate) struct Signer {
    pub(crate) key: SigningKey,
    secret: Vec<u8>,
}

pub(crate) static ES256: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::Es256));
pub(crate) static EDDSA: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::EdDsa));
pub(crate) static HS256: LazyLock<Signer> = LazyLock::new(|| Signer::new(Algorithm::Hs256));

impl Signer {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let secret = if algorithm == Algorithm::Hs256 {
            vec![7; 32]
        } else {
            generate_pkcs8(algorithm).expect("a new key").to_vec()
        };
        Self { key: SigningKey::parse(algorithm, &secret).expect("it was just made"), secret }
    }

    /// These claims under the key's own header.
    pub(crate) fn sign_claims(&self, payload: &[u8]) -> String {
        self.sign_encoded(&format!("{}.{}", self.key.header(), encode(payload)))
    }

    pub(crate) fn sign_encoded(&self, signed: &str) -> String {
        let message = signed.as_bytes();
        let signature = match self.key.algorithm() {
            Algorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.secret)
                    .and_then(|key| Ok(key.sign(&SystemRandom::new(), message)?.as_ref().to_vec()))
                    .expect("the key parsed before")
            }
            Algorithm::EdDsa => {
                let key = Ed25519KeyPair::from_pkcs8(&self.secret).expect("it parsed before");
                key.sign(message).as_ref().to_vec()
            }
            Algorithm::Hs256 => hmac_sha256(&self.secret, message),
            Algorithm::Rs256 => unreachable!("no test forges with RSA"),
        };
        format!("{signed}.{}", encode(&signature))
    }
}

/// A verifier of all three keys, at the exact time.
pub(crate) fn verifier() -> Verifier {
    let keys = [&*ES256, &*EDDSA, &*HS256];
    let keys = keys.map(|signer| signer.key.verifying_key().expect("its public half"));
    Verifier::new(keys, policy(Duration::ZERO))
}

pub(crate) fn policy(leeway: Duration) -> ExpectedClaims {
    let (issuer, audience) = ("https://auth.example.org", "https://api.example.org");
    ExpectedClaims { issuer: issuer.to_owned(), audience: audience.to_owned(), leeway }
}

/// Claims that are accepted at [`NOW`].
pub(crate) fn claims() -> Value {
    json!({
        "iss": "https://auth.example.org",
        "aud": "https://api.example.org",
        "sub": "01010101-0101-0101-0101-010101010101",
        "client_id": "keyward",
        "sid": "02020202-0202-0202-0202-020202020202",
        "jti": "a token",
        "iat": NOW - 10,
        "exp": NOW + 890,
        "auth_time": NOW - 10,
        "amr": ["pwd"],
        "roles": ["user"],
        "email": "ada@example.org",
    })
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn hmac_sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}
