//! Nothing that both other makes refuse is accepted by ours, and what ours accepts is a token that
//! the issuer has signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_bench_peers::{Issuer, Random, claims, now};
use keyward_verify::{Algorithm, Verifier};
use serde_json::{Value, json};

#[test]
fn good_tokens_are_accepted_by_all() {
    for issuer in issuers() {
        let verifier = issuer.verifier(0, 1);
        for number in 0..100 {
            let token = issuer.token(number);
            assert!(verifier.verify(&token, now()).is_ok());
            assert!(issuer.jsonwebtoken_accepts(&token));
            assert!(issuer.jwt_simple_accepts(&token));
        }
    }
}

#[test]
fn no_change_of_a_good_token_is_accepted_by_ours_alone() {
    for issuer in issuers() {
        let verifier = issuer.verifier(0, 1);
        let mut random = Random(0x5eed_0001);
        let tokens: Vec<String> = (0..8).map(|number| issuer.token(number)).collect();
        let mut accepted = 0;
        for _ in 0..10_000 {
            let token = mutated(&tokens, &mut random);
            accepted += usize::from(compare(&issuer, &verifier, &token));
        }
        // A swap of two parts of one token, or a change back, leaves it good.
        assert!(accepted < 1_000, "{accepted}");
    }
}

#[test]
fn no_odd_header_or_claim_is_accepted_by_ours_alone() {
    for issuer in issuers() {
        let verifier = issuer.verifier(0, 1);
        let mut random = Random(0x5eed_0002);
        let mut accepted = 0;
        for _ in 0..10_000 {
            let token = odd(&issuer, &mut random);
            accepted += usize::from(compare(&issuer, &verifier, &token));
        }
        assert!(accepted > 50, "{accepted}: most changes of claims are harmless ones");
    }
}

/// Whether ours accepts it; then so does another.
fn compare(issuer: &Issuer, verifier: &Verifier, token: &str) -> bool {
    let is_accepted = verifier.verify(token, now()).is_ok();
    if is_accepted {
        let others = [issuer.jsonwebtoken_accepts(token), issuer.jwt_simple_accepts(token)];
        assert!(others.contains(&true), "accepted by ours alone: {token}");
    }
    is_accepted
}

/// Bytes changed, removed, doubled; parts of several tokens put together.
fn mutated(tokens: &[String], random: &mut Random) -> String {
    let mut bytes = random.one_of(tokens).clone().into_bytes();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(7),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, *random.one_of(b"Aa0-_.=+/ \n\0%{")),
            3 => bytes.truncate(at.max(1)),
            4 => {
                let other = random.one_of(tokens).as_bytes();
                bytes.splice(at.., other.iter().skip(at).copied());
            }
            _ => bytes.extend_from_within(at..),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Really signed, with a header and claims in which something is not as the service writes it.
fn odd(issuer: &Issuer, random: &mut Random) -> String {
    let mut header = issuer.header();
    let mut body = serde_json::to_value(claims(7)).expect("JSON");
    match random.below(4) {
        0 => header = odd_object(&header, HEADER_NAMES, random),
        1 => body["note"] = odd_value(random),
        _ => {
            body = serde_json::from_str(&odd_object(&body.to_string(), CLAIM_NAMES, random))
                .expect("JSON");
        }
    }
    issuer.sign(&header, &body.to_string())
}

fn odd_object(text: &str, names: &[&str], random: &mut Random) -> String {
    let mut object: Value = serde_json::from_str(text).expect("JSON");
    let name = *random.one_of(names);
    if random.below(4) == 0 {
        object.as_object_mut().expect("an object").remove(name);
    } else {
        object[name] = odd_value(random);
    }
    object.to_string()
}

fn odd_value(random: &mut Random) -> Value {
    let now = now().secs();
    let values = [
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!("none"),
        json!("HS256"),
        json!("ES256"),
        json!("EdDSA"),
        json!("at+jwt"),
        json!(["exp"]),
        json!(now),
        json!(now + 60),
        json!(now - 60),
        json!(now + 100_000),
        json!(now.to_string()),
        json!(1.5),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!("https://auth.example.org"),
        json!("https://api.example.org"),
        json!(["https://api.example.org"]),
        json!(["https://api.example.org", 1]),
        json!("https://api.example.org/"),
    ];
    random.one_of(&values).clone()
}

/// Were the other makes to accept everything, the comparison would prove nothing.
#[test]
fn the_other_makes_refuse_what_is_forged() {
    for issuer in issuers() {
        let token = issuer.token(1);
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        bytes[10] ^= 1;
        let forged = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes));
        assert!(!issuer.jsonwebtoken_accepts(&forged));
        assert!(!issuer.jwt_simple_accepts(&forged));
    }
}

fn issuers() -> [Issuer; 2] {
    [Issuer::new(Algorithm::Es256), Issuer::new(Algorithm::EdDsa)]
}

const HEADER_NAMES: &[&str] =
    &["alg", "kid", "typ", "crit", "jku", "jwk", "x5u", "x5c", "cty", "zip", "b64", "enc"];

const CLAIM_NAMES: &[&str] = &[
    "iss",
    "aud",
    "sub",
    "client_id",
    "sid",
    "jti",
    "iat",
    "exp",
    "nbf",
    "auth_time",
    "amr",
    "roles",
    "email",
    "cnf",
    "acr",
    "scope",
    "more",
];
