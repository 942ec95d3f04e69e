//! Access tokens.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::access_token::{
    Algorithm, Claims, ExpectedClaims, RESERVED_CLAIMS, Refusal, TOKEN_BYTES_MAX, Verifier, issue,
};
use keyward_core::id::{SessionId, UserId};
use keyward_core::keys::{SigningKey, generate_pkcs8};
use keyward_core::time::Timestamp;
use serde_json::{Map, Value};

use crate::input::{Input, first_line};
use crate::json::names_are_distinct;

/// No text is accepted that the holder of a key did not sign; of what they signed, only claims as
/// the contract has them, under exactly the key's own header.
pub(crate) fn access_token(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        check_text(text);
    }
    check_claims(data);
    let (header, json) = first_line(data);
    check_header(header, json);
    check_issued(data);
}

/// Whatever text is accepted is three parts, the last of which is the key's signature.
fn check_text(text: &str) {
    let Ok(claims) = verify(text) else { return };
    let (message, signature) = text.rsplit_once('.').expect("a token has three parts");
    assert_eq!(sign(message), text, "the key's holder did not write {signature}");
    check_kept(&claims);
}

/// The bytes as claims, signed with the good key.
fn check_claims(json: &[u8]) {
    let token = signed(&URL_SAFE_NO_PAD.decode(HMAC.header()).expect("a header"), json);
    let outcome = verify(&token);
    let value = serde_json::from_slice::<Value>(json).ok();
    let fits = value.filter(|value| names_are_distinct(json, value)).is_some_and(|v| is_claims(&v));
    match outcome {
        Ok(claims) => {
            assert!(fits && token.len() <= TOKEN_BYTES_MAX, "claims that no contract knows");
            assert!(claims.iat <= NOW + 60 && NOW < claims.exp, "out of its time");
            check_kept(&claims);
        }
        Err(Refusal::Expired) => assert!(fits, "not even claims, and told to have expired"),
        Err(Refusal::Invalid) => {}
    }
}

/// What is verified is signed again and verified as the same.
fn check_kept(claims: &Claims) {
    let again = issue(claims, &HMAC);
    if again.len() <= TOKEN_BYTES_MAX {
        assert_eq!(verify(&again).as_ref(), Ok(claims));
    }
}

/// The bytes before the first line break as header, those after it as claims.
fn check_header(header: &[u8], json: &[u8]) {
    let token = signed(header, json);
    let is_own = URL_SAFE_NO_PAD.encode(header) == HMAC.header();
    assert!(is_own || verify(&token) == Err(Refusal::Invalid), "a header of nobody's");
    let unsigned = token.rsplit_once('.').map_or("", |(message, _)| message);
    for signature in ["", ".", ".AA"] {
        assert_eq!(verify(&format!("{unsigned}{signature}")), Err(Refusal::Invalid));
    }
}

/// A token of each algorithm is accepted, and with one byte changed refused.
fn check_issued(data: &[u8]) {
    let mut input = Input::new(data);
    let key = &KEYS[input.choice(KEYS.len())];
    let claims = claims(&mut input);
    let token = issue(&claims, key);
    assert_eq!(verify(&token), Ok(claims));
    let mut bytes = token.into_bytes();
    let at = usize::from(u16::from_be_bytes(input.array())) % bytes.len();
    bytes[at] ^= input.array::<1>()[0].max(1);
    if let Ok(tampered) = std::str::from_utf8(&bytes) {
        assert_eq!(verify(tampered), Err(Refusal::Invalid), "a changed token is accepted");
    }
}

/// What RFC 9068 and the service ask of claims, as far as JSON tells.
fn is_claims(value: &Value) -> bool {
    let text = |name: &str| value[name].is_string();
    let id = |name: &str| value[name].as_str().is_some_and(|id| id.parse::<UserId>().is_ok());
    let texts =
        |name: &str| value[name].as_array().is_some_and(|items| items.iter().all(Value::is_string));
    let members = ["iss", "aud", "sub", "client_id", "sid", "jti", "iat", "exp", "auth_time"];
    let more = ["amr", "roles", "email"];
    let is_ours = |name: &&&str| members.contains(*name) || more.contains(*name);
    value["iss"] == ISSUER
        && value["aud"] == AUDIENCE
        && ["client_id", "jti", "email"].into_iter().all(text)
        && ["sub", "sid"].into_iter().all(id)
        && ["amr", "roles"].into_iter().all(texts)
        && ["iat", "exp", "auth_time"].into_iter().all(|name| value[name].is_i64())
        && RESERVED_CLAIMS
            .iter()
            .filter(|name| !is_ours(name))
            .all(|name| value.get(name).is_none())
}

fn claims(input: &mut Input<'_>) -> Claims {
    let text = |bytes: [u8; 6]| String::from_utf8_lossy(&bytes).into_owned();
    Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: UserId::from_bytes(input.array()),
        client_id: text(input.array()),
        sid: SessionId::from_bytes(input.array()),
        jti: text(input.array()),
        iat: NOW - i64::from(input.array::<1>()[0]),
        exp: NOW + 1 + i64::from(input.array::<1>()[0]),
        auth_time: i64::from_be_bytes(input.array()),
        amr: vec![text(input.array())],
        roles: vec![text(input.array()), text(input.array())],
        email: text(input.array()),
        extra: Map::new(),
    }
}

fn verify(token: &str) -> Result<Claims, Refusal> {
    VERIFIER.verify(token, Timestamp::from_secs(NOW))
}

fn signed(header: &[u8], payload: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    sign(&format!("{}.{}", part(header), part(payload)))
}

fn sign(message: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &HMAC_SECRET);
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

static HMAC: LazyLock<SigningKey> = LazyLock::new(|| {
    SigningKey::parse(Algorithm::Hs256, &HMAC_SECRET).expect("32 bytes are a key")
});

/// One key of each algorithm, new in each process but for the HMAC key.
static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
    let key = |algorithm: &Algorithm| {
        let secret = match algorithm {
            Algorithm::Hs256 => HMAC_SECRET.to_vec(),
            Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256 => {
                generate_pkcs8(*algorithm).expect("the system has randomness").to_vec()
            }
        };
        SigningKey::parse(*algorithm, &secret).expect("a key that was just made")
    };
    Algorithm::ALL.iter().map(key).collect()
});

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let (issuer, audience) = (ISSUER.to_owned(), AUDIENCE.to_owned());
    let policy = ExpectedClaims { issuer, audience, leeway: Duration::ZERO };
    let keys = KEYS.iter().map(|key| key.verifying_key().expect("a key that was just made"));
    Verifier::new(keys, policy)
});

const HMAC_SECRET: [u8; 32] = [5; 32];
const ISSUER: &str = "https://auth.example.org";
const AUDIENCE: &str = "api";
const NOW: i64 = 1_790_000_000;
