//! The known attacks on verifiers of signed tokens, each as a token to present.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_verify::Algorithm;
use serde_json::{Value, json};

use crate::issuer::{NOW, Signer, claims, claims_with, decode, encode, hmac_sha256};

/// Every attack with its name, on a verifier of these two keys. `listener` is an address that hears
/// of it if anything in a token makes the verifier connect.
pub(crate) fn all(es256: &Signer, eddsa: &Signer, listener: &str) -> Vec<(String, String)> {
    let strangers = [Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa)];
    let mut attacks = named(es256, eddsa, &strangers, listener);
    attacks.extend([es256, eddsa].into_iter().flat_map(flipped_bits));
    attacks
}

/// Those that each have a name of their own: all but the flips of every single bit of a signature.
pub(crate) fn named(
    es256: &Signer,
    eddsa: &Signer,
    strangers: &[Signer; 2],
    listener: &str,
) -> Vec<(String, String)> {
    let mut attacks = Vec::new();
    for signer in [es256, eddsa] {
        let of_one = headers(signer, listener)
            .into_iter()
            .chain(structures(signer))
            .chain(odd_claims(signer))
            .chain(signatures(signer))
            .chain(secrets(signer));
        let name = signer.key.algorithm().as_str();
        attacks.extend(of_one.map(|(attack, token)| (format!("{name}: {attack}"), token)));
    }
    attacks.extend(strange_keys(&[es256, eddsa], strangers));
    attacks
}

/// Headers that ask for another algorithm, another key, or anything at all. Each unsigned, with a
/// junk signature, and really signed.
fn headers(signer: &Signer, listener: &str) -> Vec<(String, String)> {
    let genuine: Value = serde_json::from_slice(&decode(signer.key.header())).expect("a header");
    let mut texts = Vec::new();
    for (name, value) in odd_members(signer, listener) {
        let mut header = genuine.clone();
        let called = format!("{name} {value:.60}");
        header[name] = value;
        texts.push((called, header.to_string()));
    }
    for name in ["alg", "kid", "typ"] {
        let mut header = genuine.clone();
        header.as_object_mut().expect("an object").remove(name);
        texts.push((format!("without {name}"), header.to_string()));
    }
    let genuine = genuine.to_string();
    let whole_texts = [
        ("with blanks", genuine.replace(':', ": ")),
        ("with alg twice", genuine.replace("\"alg\"", "\"alg\":\"none\",\"alg\"")),
        ("after a byte order mark", format!("\u{feff}{genuine}")),
        ("in JSON form", format!(r#"{{"payload":"","signatures":[{{"protected":{genuine}}}]}}"#)),
    ];
    texts.extend(whole_texts.map(|(name, text)| (name.to_owned(), text)));
    let no_headers = ["[]", "\"\"", "1", "null", "", "{}"];
    texts.extend(no_headers.map(|text| (format!("`{text}`"), text.to_owned())));
    let payload = encode(claims().to_string());
    let mut attacks = Vec::new();
    for (name, text) in texts {
        let signed = format!("{}.{payload}", encode(&text));
        attacks.push((format!("header {name}, unsigned"), format!("{signed}.")));
        attacks.push((format!("header {name}{WITH_JUNK}"), format!("{signed}.AAAA")));
        attacks.push((format!("header {name}, signed"), signer.sign_encoded(&signed)));
    }
    attacks
}

fn odd_members(signer: &Signer, listener: &str) -> Vec<(&'static str, Value)> {
    let kid = signer.key.id();
    let mut members = Vec::new();
    for alg in [
        "none",
        "None",
        "NONE",
        "nOnE",
        " none",
        "none\0",
        "HS256",
        "HS384",
        "RS256",
        "PS256",
        "ES384",
        "Ed25519",
        "es256",
        "dir",
        "PBES2-HS256+A128KW",
    ] {
        members.push(("alg", json!(alg)));
    }
    for name in ["alg", "kid", "typ"] {
        for odd in [json!(null), json!([]), json!(0), json!({}), json!(true)] {
            members.push((name, odd));
        }
    }
    for typ in ["JWT", "AT+JWT", "application/at+jwt", "at+jwt ", "", "refresh", "dpop+jwt"] {
        members.push(("typ", json!(typ)));
    }
    let url = format!("http://{listener}/jwks.json");
    for other in [
        "",
        "../../dev/null",
        "' OR 1=1 --",
        "*)(uid=*",
        "; id",
        "\0",
        "a\r\nb",
        "csrf",
        &url,
        &"k".repeat(2048),
        &kid[1..],
        &format!("{kid}A"),
        &kid.to_uppercase(),
    ] {
        members.push(("kid", json!(other)));
    }
    for name in ["jku", "x5u"] {
        for target in
            [&*url, "file:///etc/passwd", &format!("http://auth.example.org@{listener}/jwks.json")]
        {
            members.push((name, json!(target)));
        }
    }
    members.extend([
        ("jwk", signer.jwk()),
        ("x5c", json!(["MIIB"])),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("b64", json!(false)),
        ("p2c", json!(1_000_000_000)),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!("exp")),
    ]);
    members
}

fn structures(signer: &Signer) -> Vec<(String, String)> {
    let token = signer.sign(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let unsecured = format!("{}.{payload}.", encode(r#"{"alg":"none"}"#));
    let texts = [
        ("nothing", String::new()),
        ("one dot", ".".to_owned()),
        ("two dots", "..".to_owned()),
        ("dots", ".".repeat(10_000)),
        ("letters", "A".repeat(10_000)),
        ("no signature", format!("{header}.{payload}")),
        ("no claims", format!("{header}..{signature}")),
        ("no header", format!(".{payload}.{signature}")),
        ("four parts", format!("{token}.{signature}")),
        ("five parts", format!("{token}.{signature}.{signature}")),
        (
            "JSON form",
            format!(
                r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#
            ),
        ),
        ("unsecured in signed", signer.sign_encoded(&format!("{header}.{}", encode(unsecured)))),
        ("signed in signed", signer.sign_encoded(&format!("{header}.{}", encode(&token)))),
    ];
    let mut structures: Vec<_> =
        texts.into_iter().map(|(name, text)| (format!("structure: {name}"), text)).collect();
    for end in ["A", "AAAA", ".", "=", "==", " ", "%3D", ".AAAA"] {
        structures.push((format!("structure: `{end}` behind it"), format!("{token}{end}")));
    }
    for start in [".", "Bearer ", "\u{feff}"] {
        structures.push((format!("structure: `{start}` before it"), format!("{start}{token}")));
    }
    structures
}

/// Really signed, and still not what the service writes.
fn odd_claims(signer: &Signer) -> Vec<(String, String)> {
    let mut texts = odd_texts();
    for name in claims().as_object().expect("an object").keys() {
        let mut without = claims();
        without.as_object_mut().expect("an object").remove(name);
        texts.push((format!("without {name}"), without.to_string()));
    }
    for (name, value) in odd_values() {
        let text = claims_with(&name, value.clone()).to_string();
        texts.push((format!("{name} {value}"), text));
    }
    texts
        .into_iter()
        .map(|(name, text)| {
            let signed = format!("{}.{}", signer.key.header(), encode(&text));
            (format!("claims {name}"), signer.sign_encoded(&signed))
        })
        .collect()
}

/// What is no object of claims, or has something in it that JSON alone allows.
fn odd_texts() -> Vec<(String, String)> {
    let text = claims().to_string();
    let open = &text[..text.len() - 1];
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let whole_texts = [
        ("`null`", "null".to_owned()),
        ("`[]`", "[]".to_owned()),
        ("in an array", format!("[{text}]")),
        ("twice", format!("{text}{text}")),
        ("after a byte order mark", format!("\u{feff}{text}")),
        ("with a name twice within", format!(r#"{open},"a":{{"b":1,"b":1}}}}"#)),
        ("with 200 arrays in each other", format!(r#"{open},"a":{deep}}}"#)),
    ];
    let mut texts: Vec<_> =
        whole_texts.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    for (name, value) in claims().as_object().expect("an object") {
        texts.push((format!("with {name} twice"), format!(r#"{open},"{name}":{value}}}"#)));
    }
    for odd in ["1e308", "1e400", "1.9999", "18446744073709551616", "\"9999999999\""] {
        texts.push((format!("exp {odd}"), text.replace(&(NOW + 890).to_string(), odd)));
    }
    texts
}

fn odd_values() -> Vec<(String, Value)> {
    let mut values = Vec::new();
    for name in claims().as_object().expect("an object").keys() {
        let odd = [json!(null), json!(true), json!({}), json!([1])];
        values.extend(odd.map(|value| (name.clone(), value)));
    }
    let issuers = ["", "https://auth.example.org/", "https://AUTH.example.org", "auth.example.org"];
    let audiences = ["https://api.example.org/x", "https://api.example", ""];
    values.extend(issuers.map(|iss| ("iss".to_owned(), json!(iss))));
    values.extend(audiences.map(|aud| ("aud".to_owned(), json!(aud))));
    values.push(("aud".to_owned(), json!(["https://api.example.org"])));
    let reserved = ["nbf", "cnf", "scope", "acr", "typ"];
    values.extend(reserved.map(|name| (name.to_owned(), json!(1))));
    values.push(("iat".to_owned(), json!(NOW + 3600)));
    values.push(("exp".to_owned(), json!(NOW - 11)));
    values
}

/// Signatures that are none, or fit another token.
fn signatures(signer: &Signer) -> Vec<(String, String)> {
    let token = signer.sign(&claims());
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let bytes = decode(signature);
    let other = signer.sign(&claims_with("roles", json!(["admin"])));
    let (_, of_another) = other.rsplit_once('.').expect("three parts");
    let odd = [
        ("empty", vec![]),
        ("all zeros", vec![0; 64]),
        ("all ones", vec![0xff; 64]),
        ("a byte short", bytes[..63].to_vec()),
        ("a byte long", [&bytes[..], &[0]].concat()),
        ("zeros in its second half", [&bytes[..32], &[0; 32]].concat()),
        ("zeros in its first half", [&[0; 32], &bytes[32..]].concat()),
        ("its first bit flipped", flipped(&bytes, 0)),
        ("its last bit flipped", flipped(&bytes, 511)),
        ("of another token", decode(of_another)),
    ];
    odd.into_iter()
        .map(|(name, bytes)| (format!("signature: {name}"), format!("{signed}.{}", encode(bytes))))
        .collect()
}

fn flipped_bits(signer: &Signer) -> Vec<(String, String)> {
    let token = signer.sign(&claims());
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let bytes = decode(signature);
    (0..512)
        .map(|bit| {
            let token = format!("{signed}.{}", encode(flipped(&bytes, bit)));
            (format!("signature: bit {bit} of {signature} flipped"), token)
        })
        .collect()
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

/// Keys that the verifier does not have, under their own ids and those of its keys.
fn strange_keys(signers: &[&Signer; 2], strangers: &[Signer; 2]) -> Vec<(String, String)> {
    let payload = encode(claims().to_string());
    let mut attacks = Vec::new();
    for stranger in strangers {
        for known in signers.iter().copied().chain([stranger]) {
            let token = stranger.sign_encoded(&format!("{}.{payload}", known.key.header()));
            let [of, under] = [stranger, known].map(|signer| signer.key.algorithm().as_str());
            let whose = if std::ptr::eq(known, stranger) { "its own" } else { "a known" };
            attacks.push((format!("a strange {of} key under {whose} {under} id"), token));
        }
    }
    attacks
}

/// Public keys, and what people choose, taken for secrets.
fn secrets(signer: &Signer) -> Vec<(String, String)> {
    let payload = encode(claims().to_string());
    let jwk = signer.jwk();
    let x = jwk["x"].as_str().expect("text");
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END", STANDARD.encode(decode(x)));
    let secrets = [
        ("nothing", vec![]),
        ("`secret`", b"secret".to_vec()),
        ("`null`", b"null".to_vec()),
        ("`keyward`", b"keyward".to_vec()),
        ("the public key as text", x.as_bytes().to_vec()),
        ("the public key as PEM", pem.into_bytes()),
        ("the public key as JWK", jwk.to_string().into_bytes()),
        ("the public key", decode(x)),
    ];
    let hs256 = format!(r#"{{"alg":"HS256","kid":"{}","typ":"at+jwt"}}"#, signer.key.id());
    let headers = [("its header", signer.key.header().to_owned()), ("HS256", encode(hs256))];
    let mut attacks = Vec::new();
    for (name, secret) in secrets {
        for (under, header) in &headers {
            let signed = format!("{header}.{payload}");
            let tag = encode(hmac_sha256(&secret, signed.as_bytes()));
            let token = format!("{signed}.{tag}");
            attacks.push((format!("an HMAC with {name} under {under}"), token));
        }
    }
    attacks
}

/// How the names of headers end that have a junk signature.
pub(crate) const WITH_JUNK: &str = ", with junk";
