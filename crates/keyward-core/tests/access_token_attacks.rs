//! Attacks on the verifier of access tokens: every known class, each refused, none accepted.
//!
//! The verifier holds an ES256, an EdDSA and an HS256 key at once: the most confusable of sets.

#[path = "support/access.rs"]
mod access;

use access::{EDDSA, ES256, HS256, Signer, claims, encode, hmac_sha256, now, verifier};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::sync::LazyLock;

use keyward_core::access_token::{Algorithm, Refusal, Verifier};
use serde_json::{Value, json};

#[test]
fn other_algorithms_and_types_are_refused_whoever_signs() {
    for name in ["alg", "kid", "typ"] {
        let mut header = genuine_header();
        header.as_object_mut().expect("an object").remove(name);
        refuses_header(header.to_string().as_bytes());
        for odd in [json!(null), json!([]), json!(["ES256"]), json!(0), json!({}), json!(true)] {
            refuses_member(name, odd);
        }
    }
    for alg in ["none", "None", "NONE", "nOnE", " none", "none\0", "Ed25519", "es256", "ES256 "] {
        refuses_member("alg", json!(alg));
    }
    for alg in ["HS256", "HS384", "RS256", "PS256", "ES384", "EdDSA", "PBES2-HS256+A128KW", "dir"] {
        refuses_member("alg", json!(alg));
    }
    for typ in ["JWT", "application/at+jwt", "AT+JWT", "at+jwt ", "refresh", "", "dpop+jwt"] {
        refuses_member("typ", json!(typ));
    }
}

#[test]
fn other_key_ids_are_refused_whoever_signs() {
    let kid = ES256.key.id();
    let long = "k".repeat(65_536);
    for other in [
        "",
        "../../dev/null",
        "' OR 1=1 --",
        "*)(uid=*",
        "; id",
        "\0",
        "a\r\nb",
        "csrf",
        "mail",
        &long,
        &kid[..kid.len() - 1],
        &format!("{kid}A"),
        &kid.to_uppercase(),
        &kid.to_lowercase(),
        EDDSA.key.id(),
        HS256.key.id(),
    ] {
        refuses_member("kid", json!(other));
    }
}

#[test]
fn headers_that_ask_for_more_are_refused_whoever_signs() {
    let jwk = ES256.key.jwk().expect("a public key");
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("jku", json!("file:///etc/passwd")),
        ("x5u", json!("https://auth.example.org@evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("b64", json!(false)),
        ("p2c", json!(1_000_000_000)),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("crit", json!(["unknown"])),
        ("crit", json!("exp")),
    ] {
        refuses_member(name, value);
    }
}

/// What was signed is the text of a header, not its meaning.
#[test]
fn headers_of_other_bytes_are_refused_whoever_signs() {
    let genuine = genuine_header().to_string();
    for header in [
        &genuine.replace(':', ": "),
        &genuine.replace("\"alg\"", "\"alg\":\"none\",\"alg\""),
        &format!("\u{feff}{genuine}"),
        &format!(r#"{{"payload":"","signatures":[{{"protected":{genuine}}}]}}"#),
        "[]",
        "\"\"",
        "1",
        "null",
        "",
        "{}",
    ] {
        refuses_header(header.as_bytes());
    }
    let utf_16: Vec<u8> = genuine.encode_utf16().flat_map(u16::to_le_bytes).collect();
    refuses_header(&utf_16);
    refuses_header(b"{\"alg\":\"ES256\xff\"}");
}

fn genuine_header() -> Value {
    json!({ "alg": "ES256", "kid": ES256.key.id(), "typ": "at+jwt" })
}

/// The header of the ES256 key but for one member.
#[track_caller]
fn refuses_member(name: &str, value: Value) {
    let mut header = genuine_header();
    header[name] = value;
    refuses_header(header.to_string().as_bytes());
}

/// Were it not so, the tests above would prove nothing.
#[test]
fn a_header_put_together_by_hand_is_accepted() {
    let header = encode(genuine_header().to_string().as_bytes());
    let payload = encode(claims().to_string().as_bytes());
    let token = ES256.sign_encoded(&format!("{header}.{payload}"));
    assert!(VERIFIER.verify(&token, now()).is_ok());
}

/// Refused unsigned, with junk for a signature, and really signed by each of the keys.
#[track_caller]
fn refuses_header(header: &[u8]) {
    let payload = claims().to_string();
    let signed = format!("{}.{}", encode(header), encode(payload.as_bytes()));
    let name = String::from_utf8_lossy(header);
    refuses(&name, &format!("{signed}."));
    refuses(&name, &format!("{signed}.AAAA"));
    refuses(&name, &signed);
    for signer in [&*ES256, &*EDDSA, &*HS256] {
        refuses(&name, &signer.sign_encoded(&signed));
    }
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    let public = ES256.key.jwk().expect("a public key");
    let coordinate = |name: &str| decode(public[name].as_str().expect("text"));
    let point = [&[4], coordinate("x").as_slice(), &coordinate("y")].concat();
    let der = [P256_SPKI_HEAD, &point].concat();
    let body = STANDARD.encode(&der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
    let json = public.to_string();
    let secrets: [&[u8]; 13] = [
        pem.as_bytes(),
        pem.trim_end().as_bytes(),
        &format!(" {pem}").into_bytes(),
        &der,
        &point,
        &point[1..33],
        &point[1..],
        json.as_bytes(),
        public["x"].as_str().expect("text").as_bytes(),
        b"",
        b"secret",
        b"null",
        b"keyward",
    ];
    let es256_as_hs256 = format!(r#"{{"alg":"HS256","kid":"{}","typ":"at+jwt"}}"#, ES256.key.id());
    for secret in secrets {
        let headers = [ES256.key.header(), EDDSA.key.header(), HS256.key.header()];
        for header in
            headers.map(str::to_owned).into_iter().chain([encode(es256_as_hs256.as_bytes())])
        {
            let signed = format!("{header}.{}", encode(claims().to_string().as_bytes()));
            let tag = encode(&hmac_sha256(secret, signed.as_bytes()));
            refuses("a forged HMAC", &format!("{signed}.{tag}"));
        }
    }
}

#[test]
fn another_key_convinces_nobody() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let attacker = Signer::new(algorithm);
        let payload = claims().to_string();
        refuses("under its own id", &attacker.sign_claims(payload.as_bytes()));
        for signer in [&*ES256, &*EDDSA, &*HS256] {
            let signed = format!("{}.{}", signer.key.header(), encode(payload.as_bytes()));
            refuses("under a real id", &attacker.sign_encoded(&signed));
        }
    }
}

#[test]
fn every_changed_inserted_or_removed_character_is_refused() {
    for signer in [&*ES256, &*EDDSA, &*HS256] {
        let token = good(signer);
        for position in 0..token.len() {
            let (head, tail) = token.split_at(position);
            let (byte, rest) = (token.as_bytes()[position], &tail[1..]);
            for bit in 0..7 {
                refuses("a flipped bit", &format!("{head}{}{rest}", char::from(byte ^ (1 << bit))));
            }
            refuses("a removed character", &format!("{head}{rest}"));
            for other in ["A", ".", "=", " ", "\n", "%", "é"] {
                refuses("an inserted character", &format!("{head}{other}{tail}"));
            }
            refuses("a truncation", head);
        }
        for end in ["A", "AAAA", ".", "=", "==", "\n", " ", "\0", "%3D", ".AAAA", ".."] {
            refuses("an extension", &format!("{token}{end}"));
        }
        for start in [" ", "\u{feff}", "Bearer ", "\n", "."] {
            refuses("a head", &format!("{start}{token}"));
        }
    }
}

#[test]
fn odd_ecdsa_signatures_are_refused() {
    let token = good(&ES256);
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let signature = decode(signature);
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let mut order_less_one = P256_ORDER;
    order_less_one[31] -= 1;
    let mut der = vec![0x30, 0x44, 0x02, 0x20];
    der.extend_from_slice(r);
    der.extend_from_slice(&[0x02, 0x20]);
    der.extend_from_slice(s);
    for odd in [
        [zero, zero].concat(),
        [r, &zero].concat(),
        [&zero, s].concat(),
        [P256_ORDER, P256_ORDER].concat(),
        [r, &P256_ORDER].concat(),
        [&P256_ORDER, s].concat(),
        [r, &order_less_one].concat(),
        [s, r].concat(),
        [&[0], signature.as_slice()].concat(),
        [signature.as_slice(), &[0]].concat(),
        signature[..63].to_vec(),
        vec![0xff; 64],
        vec![],
        der,
    ] {
        refuses("an odd signature", &format!("{signed}.{}", encode(&odd)));
    }
}

/// Anyone can turn (r, s) into (r, n - s), and both are signatures by the standard. Nothing may
/// depend on a token having one text: revocation names the session, not the text.
#[test]
fn the_twin_of_an_ecdsa_signature_says_the_same() {
    let token = good(&ES256);
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let mut twin = decode(signature);
    let mut borrow = 0;
    for (digit, order) in twin[32..].iter_mut().zip(P256_ORDER).rev() {
        let difference = i16::from(order) - i16::from(*digit) - borrow;
        borrow = i16::from(difference < 0);
        *digit = u8::try_from(difference.rem_euclid(256)).expect("below 256");
    }
    let twin = format!("{signed}.{}", encode(&twin));
    assert_ne!(twin, token);
    assert_eq!(VERIFIER.verify(&twin, now()), VERIFIER.verify(&token, now()));
}

#[test]
fn odd_ed25519_signatures_are_refused() {
    let token = good(&EDDSA);
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let signature = decode(signature);
    let mut malleated = signature.clone();
    let mut carry = 0;
    for (digit, order) in malleated[32..].iter_mut().zip(ED25519_ORDER) {
        let sum = u16::from(*digit) + u16::from(order) + carry;
        carry = sum >> 8;
        *digit = sum.to_le_bytes()[0];
    }
    let mut identity = vec![0; 64];
    identity[0] = 1;
    for odd in [malleated, identity, vec![0; 64], vec![0xff; 64], signature[..63].to_vec()] {
        refuses("an odd signature", &format!("{signed}.{}", encode(&odd)));
    }
}

#[test]
fn a_signature_fits_its_own_token_only() {
    for signer in [&*ES256, &*EDDSA, &*HS256] {
        let (one, mut edited) = (good(signer), claims());
        edited["roles"] = json!(["admin"]);
        let other = signer.sign_claims(edited.to_string().as_bytes());
        let (signed, _) = other.rsplit_once('.').expect("three parts");
        let (_, signature) = one.rsplit_once('.').expect("three parts");
        refuses("a signature of another token", &format!("{signed}.{signature}"));
        // Only the full length of a MAC counts.
        refuses("half a signature", &format!("{signed}.{}", &signature[..signature.len() / 2]));
    }
}

#[test]
fn odd_structures_are_refused() {
    let token = good(&HS256);
    let parts: Vec<&str> = token.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    for odd in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "....".to_owned(),
        ".".repeat(1_000_000),
        "A".repeat(1_000_000),
        format!("{header}.{payload}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}.{payload}.{signature}.{signature}.{signature}"),
        format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#),
        format!(r#"{{"a":".{payload}.{signature}"}}"#),
    ] {
        refuses("an odd structure", &odd);
    }
    // An unsecured token inside a signed one.
    let inner = format!("{}.{payload}.", encode(br#"{"alg":"none"}"#));
    refuses("a nested token", &HS256.sign_claims(inner.as_bytes()));
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

#[track_caller]
fn refuses(name: &str, token: &str) {
    assert_eq!(VERIFIER.verify(token, now()), Err(Refusal::Invalid), "{name:.200}");
}

fn good(signer: &Signer) -> String {
    let token = signer.sign_claims(claims().to_string().as_bytes());
    VERIFIER.verify(&token, now()).expect("what the attacks start from is accepted");
    token
}

/// Made once: each of thousands of attacks asks it.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(verifier);

/// The order n of P-256 (FIPS 186-5), big-endian.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order L of Ed25519 (RFC 8032), little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10,
];

/// What stands before the point in a SubjectPublicKeyInfo of P-256 (RFC 5480).
const P256_SPKI_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
