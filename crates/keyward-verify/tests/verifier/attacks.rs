//! The known attacks on verifiers of signed tokens, each as a token to present.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyward_verify::Algorithm;
use serde_json::{Value, json};

use crate::issuer::{NOW, Signer, claims, claims_with, decode, encode, hmac_sha256};

/// Every attack with its name, on a verifier of these two keys. `listener` is an address that hears
/// of it if anything in a token makes the verifier connect.
pub(crate) fn all(es256: &Signer, eddsa: &Signer, listener: &str) -> Vec<(String, String)> {
    let mut attacks = Vec::new();
    for signer in [es256, eddsa] {
        attacks.extend(headers(signer, listener));
        attacks.extend(structures(signer));
        attacks.extend(odd_claims(signer));
    }
    attacks.extend(signatures(es256, eddsa));
    attacks.extend(keys(es256, eddsa));
    attacks
}

/// Headers that ask for another algorithm, another key, or anything at all. Each unsigned, with a
/// junk signature, and really signed.
fn headers(signer: &Signer, listener: &str) -> Vec<(String, String)> {
    let genuine: Value = serde_json::from_slice(&decode(signer.key.header())).expect("a header");
    let mut texts = Vec::new();
    for (name, value) in odd_members(signer, listener) {
        let mut header = genuine.clone();
        header[name] = value;
        texts.push(header.to_string());
    }
    for name in ["alg", "kid", "typ"] {
        let mut header = genuine.clone();
        header.as_object_mut().expect("an object").remove(name);
        texts.push(header.to_string());
    }
    let genuine = genuine.to_string();
    texts.push(genuine.replace(':', ": "));
    texts.push(genuine.replace("\"alg\"", "\"alg\":\"none\",\"alg\""));
    texts.push(format!("\u{feff}{genuine}"));
    texts.push(format!(r#"{{"payload":"","signatures":[{{"protected":{genuine}}}]}}"#));
    texts.extend(["[]", "\"\"", "1", "null", "", "{}"].map(str::to_owned));
    let payload = encode(claims().to_string());
    let mut attacks = Vec::new();
    for text in texts {
        let name = format!("header {text:.100}");
        let signed = format!("{}.{payload}", encode(&text));
        attacks.push((name.clone(), format!("{signed}.")));
        attacks.push((name.clone(), format!("{signed}.AAAA")));
        attacks.push((name, signer.sign_encoded(&signed)));
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
    let mut texts = vec![
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        ".".repeat(10_000),
        "A".repeat(10_000),
        format!("{header}.{payload}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{token}.{signature}"),
        format!("{token}.{signature}.{signature}"),
        format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#),
        signer.sign_encoded(&format!("{header}.{}", encode(unsecured))),
        signer.sign_encoded(&format!("{header}.{}", encode(signer.sign(&claims())))),
    ];
    for end in ["A", "AAAA", ".", "=", "==", " ", "%3D", ".AAAA"] {
        texts.push(format!("{token}{end}"));
    }
    for start in [".", "Bearer ", "\u{feff}"] {
        texts.push(format!("{start}{token}"));
    }
    texts.into_iter().map(|text| (format!("structure {text:.60}"), text)).collect()
}

/// Really signed, and still not what the service writes.
fn odd_claims(signer: &Signer) -> Vec<(String, String)> {
    let text = claims().to_string();
    let open = &text[..text.len() - 1];
    let mut texts: Vec<String> = vec![
        "null".to_owned(),
        "[]".to_owned(),
        format!("[{text}]"),
        format!("{text}{text}"),
        format!("\u{feff}{text}"),
        format!(r#"{open},"a":{{"b":1,"b":1}}}}"#),
        format!(r#"{open},"a":{}{}}}"#, "[".repeat(200), "]".repeat(200)),
    ];
    for name in claims().as_object().expect("an object").keys() {
        texts.push(format!(r#"{open},"{name}":{}}}"#, claims()[name]));
        let mut without = claims();
        without.as_object_mut().expect("an object").remove(name);
        texts.push(without.to_string());
        for odd in [json!(null), json!(true), json!({}), json!([1])] {
            texts.push(claims_with(name, odd).to_string());
        }
    }
    let issuers = ["", "https://auth.example.org/", "https://AUTH.example.org", "auth.example.org"];
    let audiences = ["https://api.example.org/x", "https://api.example", ""];
    let others = issuers.map(|iss| claims_with("iss", json!(iss))).into_iter();
    texts.extend(
        others
            .chain(audiences.map(|aud| claims_with("aud", json!(aud))))
            .chain([claims_with("aud", json!(["https://api.example.org"]))])
            .chain(["nbf", "cnf", "scope", "acr", "typ"].map(|name| claims_with(name, json!(1))))
            .chain([claims_with("iat", json!(NOW + 3600)), claims_with("exp", json!(NOW - 11))])
            .map(|claims| claims.to_string()),
    );
    for odd in ["1e308", "1e400", "1.9999", "18446744073709551616", "\"9999999999\""] {
        texts.push(text.replace(&(NOW + 890).to_string(), odd));
    }
    texts
        .into_iter()
        .map(|text| {
            let signed = format!("{}.{}", signer.key.header(), encode(&text));
            (format!("claims {text:.400}"), signer.sign_encoded(&signed))
        })
        .collect()
}

fn signatures(es256: &Signer, eddsa: &Signer) -> Vec<(String, String)> {
    let mut attacks = Vec::new();
    for signer in [es256, eddsa] {
        let token = signer.sign(&claims());
        let (signed, signature) = token.rsplit_once('.').expect("three parts");
        let bytes = decode(signature);
        let other = signer.sign(&claims_with("roles", json!(["admin"])));
        let (_, of_another) = other.rsplit_once('.').expect("three parts");
        let mut odd = vec![
            vec![],
            vec![0; 64],
            vec![0xff; 64],
            bytes[..63].to_vec(),
            [&bytes[..], &[0]].concat(),
            [&bytes[..32], &[0; 32]].concat(),
            [&[0; 32], &bytes[32..]].concat(),
            decode(of_another),
        ];
        for bit in 0..512 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            odd.push(flipped);
        }
        for signature in odd {
            let signature = encode(signature);
            attacks.push((format!("signature {signature}"), format!("{signed}.{signature}")));
        }
    }
    attacks
}

/// Keys that the verifier does not have, and public keys taken for secrets.
fn keys(es256: &Signer, eddsa: &Signer) -> Vec<(String, String)> {
    let payload = encode(claims().to_string());
    let mut attacks = Vec::new();
    for stranger in [Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa)] {
        for header in [es256, eddsa, &stranger].map(|signer| signer.key.header()) {
            let token = stranger.sign_encoded(&format!("{header}.{payload}"));
            attacks.push(("a stranger's key".to_owned(), token));
        }
    }
    for signer in [es256, eddsa] {
        let jwk = signer.jwk();
        let x = jwk["x"].as_str().expect("text");
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END", STANDARD.encode(decode(x)));
        let secrets = ["", "secret", "null", "keyward", x, &pem, &jwk.to_string()];
        let secrets = secrets.map(|secret| secret.as_bytes().to_vec());
        let hs256 = format!(r#"{{"alg":"HS256","kid":"{}","typ":"at+jwt"}}"#, signer.key.id());
        for secret in secrets.into_iter().chain([decode(x)]) {
            for header in [signer.key.header(), &encode(&hs256)] {
                let signed = format!("{header}.{payload}");
                let tag = encode(hmac_sha256(&secret, signed.as_bytes()));
                attacks.push(("a public key as a secret".to_owned(), format!("{signed}.{tag}")));
            }
        }
    }
    attacks
}
