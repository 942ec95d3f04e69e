//! One issuer, its tokens, and every verifier that judges them.

mod random;

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_simple::prelude::{
    ECDSAP256PublicKeyLike as _, ES256PublicKey, Ed25519PublicKey, EdDSAPublicKeyLike as _,
    NoCustomClaims, VerificationOptions,
};
use keyward_core::access_token::{Claims, issue};
use keyward_core::keys::{SigningKey, generate_pkcs8};
use keyward_verify::{Algorithm, Timestamp, Verifier, VerifyPolicy};
use serde_json::{Map, Value, json};

pub use random::Random;

/// A signing key, and who verifies with its public half.
pub struct Issuer {
    key: SigningKey,
    secret: Vec<u8>,
    pub bare: ParsedPublicKey,
    jsonwebtoken: (jsonwebtoken::DecodingKey, jsonwebtoken::Validation),
    jwt_simple: JwtSimple,
}

enum JwtSimple {
    EdDsa(Ed25519PublicKey),
    Es256(ES256PublicKey),
}

impl Issuer {
    /// A new key of this algorithm: ES256 or EdDSA.
    pub fn new(algorithm: Algorithm) -> Self {
        let secret = generate_pkcs8(algorithm).expect("a new key");
        let key = SigningKey::parse(algorithm, &secret).expect("it was just made");
        let jwk = key.jwk().expect("a public key");
        let member = |name: &str| jwk[name].as_str().expect("text").to_owned();
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(member(name)).expect("base64url");
        let is_es256 = algorithm == Algorithm::Es256;
        let (bare, decoding, jwt_simple) = if is_es256 {
            let point = [vec![4], bytes("x"), bytes("y")].concat();
            (
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point),
                jsonwebtoken::DecodingKey::from_ec_components(&member("x"), &member("y")),
                JwtSimple::Es256(ES256PublicKey::from_bytes(&point).expect("a key")),
            )
        } else {
            (
                ParsedPublicKey::new(&ED25519, bytes("x")),
                jsonwebtoken::DecodingKey::from_ed_components(&member("x")),
                JwtSimple::EdDsa(Ed25519PublicKey::from_bytes(&bytes("x")).expect("a key")),
            )
        };
        let named =
            if is_es256 { jsonwebtoken::Algorithm::ES256 } else { jsonwebtoken::Algorithm::EdDSA };
        let mut validation = jsonwebtoken::Validation::new(named);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY_SECS;
        validation.validate_nbf = true;
        Self {
            key,
            secret: secret.to_vec(),
            bare: bare.expect("a key"),
            jsonwebtoken: (decoding.expect("a key"), validation),
            jwt_simple,
        }
    }

    /// A verifier of ours, which knows that nothing was revoked.
    pub fn verifier(&self, tokens_max: usize, revocations_max: usize) -> Verifier {
        let mut policy = VerifyPolicy::new(ISSUER, AUDIENCE);
        policy.tokens_max = tokens_max;
        policy.revocations_max = revocations_max;
        policy.staleness_max = Duration::from_secs(3600);
        let verifier = Verifier::new(policy);
        let set = json!({ "keys": [self.key.jwk().expect("a public key")] }).to_string();
        verifier.take_up_keys(set.as_bytes(), now()).expect("a good set");
        verifier.revocations().hear(now());
        verifier
    }

    /// A token that is good now, and unlike any with another number.
    pub fn token(&self, number: u64) -> String {
        issue(&claims(number), &self.key)
    }

    /// These tokens and what a verifier of another language has to know of them, as JSON.
    pub fn described(&self, tokens: &[String]) -> Value {
        let jwk = self.key.jwk().expect("a public key");
        json!({ "issuer": ISSUER, "audience": AUDIENCE, "jwk": jwk, "tokens": tokens })
    }

    /// Any header and claims, really signed.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = match self.jwt_simple {
            JwtSimple::EdDsa(_) => {
                let key = Ed25519KeyPair::from_pkcs8(&self.secret).expect("it parsed before");
                encode(key.sign(message.as_bytes()))
            }
            JwtSimple::Es256(_) => {
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.secret);
                let key = key.expect("it parsed before");
                encode(key.sign(&SystemRandom::new(), message.as_bytes()).expect("it signs"))
            }
        };
        format!("{message}.{signature}")
    }

    /// The header of its tokens.
    pub fn header(&self) -> String {
        let header = URL_SAFE_NO_PAD.decode(self.key.header()).expect("base64url");
        String::from_utf8(header).expect("UTF-8")
    }

    /// Whether jsonwebtoken accepts it.
    pub fn jsonwebtoken_accepts(&self, token: &str) -> bool {
        let (key, validation) = &self.jsonwebtoken;
        jsonwebtoken::decode::<Value>(token, key, validation).is_ok()
    }

    /// Whether jwt-simple accepts it.
    pub fn jwt_simple_accepts(&self, token: &str) -> bool {
        let options = Some(VerificationOptions {
            allowed_issuers: Some([ISSUER.to_owned()].into()),
            allowed_audiences: Some([AUDIENCE.to_owned()].into()),
            time_tolerance: Some(jwt_simple::prelude::Duration::from_secs(LEEWAY_SECS)),
            ..VerificationOptions::default()
        });
        match &self.jwt_simple {
            JwtSimple::EdDsa(key) => key.verify_token::<NoCustomClaims>(token, options).is_ok(),
            JwtSimple::Es256(key) => key.verify_token::<NoCustomClaims>(token, options).is_ok(),
        }
    }
}

/// Claims as the service writes them.
pub fn claims(number: u64) -> Claims {
    let now = now().secs();
    Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: keyward_verify::UserId::from_bytes(id(number / 2)),
        client_id: "keyward".to_owned(),
        sid: keyward_verify::SessionId::from_bytes(id(number)),
        jti: encode(id(number)),
        iat: now,
        exp: now + 900,
        auth_time: now,
        amr: vec!["pwd".to_owned()],
        roles: vec!["user".to_owned()],
        email: "ada@example.org".to_owned(),
        extra: Map::new(),
    }
}

/// Ids that end as random ones do.
pub fn id(number: u64) -> [u8; 16] {
    let mut bytes = [1; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes
}

pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the other makes read this clock themselves")]
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::from_secs(0).plus(since_epoch.unwrap_or_default())
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

const ISSUER: &str = "https://auth.example.org";
const AUDIENCE: &str = "https://api.example.org";
const LEEWAY_SECS: u64 = 5;
