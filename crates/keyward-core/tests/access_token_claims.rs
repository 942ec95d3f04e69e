//! Claims that are refused though the signature is good: a verifier trusts its keys, not the form.

#[path = "support/access.rs"]
mod access;

use std::sync::LazyLock;

use access::{EDDSA, ES256, HS256, NOW, claims, now, verifier};
use keyward_core::access_token::{Refusal, Verifier};
use serde_json::json;

#[test]
fn odd_claims_are_refused_though_really_signed() {
    let text = claims().to_string();
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let with = |extra: &str| format!("{},{extra}}}", &text[..text.len() - 1]);
    for odd in [
        "",
        "null",
        "[]",
        "1",
        "\"\"",
        "{}",
        "{",
        &format!("[{text}]"),
        &format!("{text}x"),
        &format!("{text}{text}"),
        &format!("\u{feff}{text}"),
        &text.replace('"', "'"),
        &with(r#""a":{"b":1,"b":1}"#),
        &with(r#""a":[{"b":[{"c":1,"c":2}]}]"#),
        &with(r#""a":1,"\u0061":1"#),
        &with(r#""a":1e400"#),
        &with(r#""a":NaN"#),
        &with(r#""a":"\ud800""#),
        &with(&format!(r#""a":{}"#, nested(200))),
        &nested(1_400),
    ] {
        refuses(odd, &HS256.sign_claims(odd.as_bytes()));
    }
    for name in claims().as_object().expect("an object").keys() {
        let again = with(&format!(r#""{name}":{}"#, claims()[name]));
        refuses(name, &HS256.sign_claims(again.as_bytes()));
    }
    let broken = with("\"a\":\"?\"").into_bytes();
    let broken: Vec<u8> =
        broken.into_iter().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
    refuses("not UTF-8", &HS256.sign_claims(&broken));
    let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    refuses("UTF-16", &HS256.sign_claims(&utf_16));
    refuses(
        "too long",
        &HS256.sign_claims(with(&format!(r#""a":"{}""#, "x".repeat(4096))).as_bytes()),
    );
}

#[test]
fn claims_of_other_types_are_refused() {
    for name in claims().as_object().expect("an object").keys() {
        refuses_claim(name, None);
        for other in ["null", "true", "{}", "1.5", "-0.0", "[1]", "[null]", "[[\"a\"]]"] {
            refuses_claim(name, Some(other));
        }
    }
    for name in ["iat", "exp", "auth_time"] {
        for other in [
            "1e400",
            "1e308",
            "1800000100.0",
            "18e8",
            "1.9999",
            "9223372036854775808",
            "18446744073709551616",
            "-9223372036854775809",
            "\"1800000100\"",
            "[]",
            "[1800000100]",
            "01800000100",
            "+1800000100",
            "0x6b49d264",
            "Infinity",
        ] {
            refuses_claim(name, Some(other));
        }
    }
    for name in ["sub", "sid"] {
        for other in [
            "\"\"",
            "\"1\"",
            "1",
            "\"01010101010101010101010101010101\"",
            "\"{01010101-0101-0101-0101-010101010101}\"",
            "\"AAAAAAAA-0101-0101-0101-010101010101\"",
        ] {
            refuses_claim(name, Some(other));
        }
    }
}

#[test]
fn claims_of_another_issuer_audience_or_time_are_refused() {
    for other in [
        "",
        "https://auth.example.org/",
        "https://AUTH.example.org",
        "https://auth.example.or",
        "https://auth.example.org.evil.example",
        " https://auth.example.org",
    ] {
        refuses_claim("iss", Some(&json!(other).to_string()));
    }
    let audience = "https://api.example.org";
    for other in [
        json!(""),
        json!("https://api.example.orgx"),
        json!("https://api.example"),
        json!([]),
        json!([audience]),
        json!([audience, "https://evil.example"]),
        json!({ "aud": audience }),
    ] {
        refuses_claim("aud", Some(&other.to_string()));
    }
    for (name, other) in [
        ("iat", NOW + 61),
        ("iat", i64::MAX),
        ("exp", NOW - 11),
        ("exp", 0),
        ("exp", -1),
        ("exp", i64::MIN),
    ] {
        refuses_claim(name, Some(&other.to_string()));
    }
}

#[test]
fn reserved_claims_that_are_not_understood_are_refused() {
    for name in ["nbf", "acr", "cnf", "scope", "typ"] {
        for value in ["0", "null", "\"\"", "{}", "1800000000", "9999999999"] {
            refuses_claim(name, Some(value));
        }
    }
}

/// Good claims but for this one, really signed by each key; `None` leaves it out.
#[track_caller]
fn refuses_claim(name: &str, value: Option<&str>) {
    let text = claims_with(name, value);
    for signer in [&*ES256, &*EDDSA, &*HS256] {
        refuses(&text, &signer.sign_claims(text.as_bytes()));
    }
}

fn claims_with(name: &str, value: Option<&str>) -> String {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove(name);
    let text = claims.to_string();
    match value {
        Some(value) => format!("{},\"{name}\":{value}}}", &text[..text.len() - 1]),
        None => text,
    }
}

/// Were it not so, the tests above would prove nothing.
#[test]
fn claims_put_together_by_hand_are_accepted() {
    for (name, value) in claims().as_object().expect("an object") {
        let text = claims_with(name, Some(&value.to_string()));
        let token = HS256.sign_claims(text.as_bytes());
        assert!(VERIFIER.verify(&token, now()).is_ok(), "{text}");
    }
    let extra = claims_with("plan", Some(r#"{"seats":[1,2.5,null]}"#));
    assert!(VERIFIER.verify(&HS256.sign_claims(extra.as_bytes()), now()).is_ok());
}

#[track_caller]
fn refuses(name: &str, token: &str) {
    assert_eq!(VERIFIER.verify(token, now()), Err(Refusal::Invalid), "{name:.200}");
}

/// Made once: each of thousands of attacks asks it.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(verifier);
