//! Published key sets, as verifiers read them: what the service writes, and nothing odd.

use keyward_core::access_token::Algorithm;
use keyward_core::keys::{
    JWK_SET_BYTES_MAX, SigningKey, UnfitKey, VerifyingKey, generate_pkcs8, read_jwk_set,
};
use serde_json::{Value, json};

#[test]
fn what_the_service_publishes_is_read_back() {
    for &algorithm in ALL {
        let key = key(algorithm);
        let read = read(&set(&[jwk(&key)])).expect("a set as the service writes it");
        assert_eq!(headers(&read), [key.header()], "{algorithm:?}");
    }
}

#[test]
fn algorithms_that_are_not_asked_for_are_passed_over() {
    let (es256, eddsa) = (key(Algorithm::Es256), key(Algorithm::EdDsa));
    let set = set(&[
        jwk(&es256),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "later", "pub": "AA" }),
        json!({ "kty": "EC" }),
        jwk(&eddsa),
    ]);
    assert_eq!(headers(&read(&set).expect("a set")), [es256.header(), eddsa.header()]);
    let read = read_jwk_set(set.to_string().as_bytes(), &[Algorithm::EdDsa]).expect("a set");
    assert_eq!(headers(&read), [eddsa.header()]);
    assert_eq!(read_jwk_set(set.to_string().as_bytes(), &[]).expect("a set").len(), 0);
}

#[test]
fn no_key_is_taken_whose_id_is_not_its_thumbprint() {
    let (one, other) = (jwk(&key(Algorithm::Es256)), jwk(&key(Algorithm::Es256)));
    refuses(&with(&one, "kid", other["kid"].clone()));
    for odd in [json!(""), json!("key-1"), json!(7), json!(null), json!([one["kid"]])] {
        refuses(&with(&one, "kid", odd));
    }
    refuses(&without(&one, "kid"));
    // Nor one key twice.
    assert!(read(&set(&[one.clone(), one])).is_err());
}

#[test]
fn keys_for_another_use_are_refused() {
    for &algorithm in ALL {
        let jwk = jwk(&key(algorithm));
        refuses(&with(&jwk, "use", json!("enc")));
        refuses(&with(&jwk, "use", json!(["sig"])));
        refuses(&with(&jwk, "key_ops", json!(["sign"])));
        refuses(&with(&jwk, "key_ops", json!("verify")));
        assert!(read(&set(&[with(&jwk, "key_ops", json!(["verify"]))])).is_ok());
        assert!(read(&set(&[without(&jwk, "use")])).is_ok());
    }
}

#[test]
fn a_set_with_a_secret_in_it_is_refused() {
    let good = jwk(&key(Algorithm::Es256));
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert!(read(&set(&[good.clone(), json!({ "kty": "EC", name: "AA" })])).is_err(), "{name}");
    }
    let secret = json!({ "kty": "oct", "alg": "HS256", "kid": "a", "k": "AAAA" });
    assert!(read(&set(&[good, secret])).is_err());
}

#[test]
fn keys_that_do_not_fit_their_algorithm_are_refused() {
    let (es256, eddsa) = (jwk(&key(Algorithm::Es256)), jwk(&key(Algorithm::EdDsa)));
    refuses(&with(&es256, "alg", json!("EdDSA")));
    refuses(&with(&eddsa, "alg", json!("ES256")));
    for (name, odd) in
        [("crv", "P-384"), ("kty", "OKP"), ("x", "AA"), ("y", "AA"), ("y", "A=="), ("x", "")]
    {
        refuses(&with(&es256, name, json!(odd)));
    }
    // A point that is not on the curve.
    refuses(&with(&es256, "y", es256["x"].clone()));
    let rs256 = jwk(&key(Algorithm::Rs256));
    for (name, odd) in [("e", "AQ"), ("e", "Aw"), ("n", "AQAB"), ("n", "")] {
        refuses(&with(&rs256, name, json!(odd)));
    }
    let modulus = rs256["n"].as_str().expect("text");
    refuses(&with(&rs256, "n", json!(format!("AA{modulus}"))));
    refuses(&with(&rs256, "n", json!(modulus[..modulus.len() - 200])));
}

#[test]
fn what_is_no_key_set_is_refused() {
    let good = set(&[jwk(&key(Algorithm::Es256))]).to_string();
    let key = &good[9..good.len() - 2];
    for odd in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[null]}"#,
        r#"{"keys":[[]]}"#,
        r#"{"keys":[],"keys":[]}"#,
        &format!("{good}x"),
        &format!("\u{feff}{good}"),
        &good[1..],
        &good.replace(r#""kty":"EC""#, r#""kty":"EC","kty":"EC""#),
        &format!("{good}{}", " ".repeat(JWK_SET_BYTES_MAX)),
    ] {
        assert!(read_jwk_set(odd.as_bytes(), ALL).is_err(), "{odd:.200}");
    }
    assert!(read_jwk_set(format!(r#"{{"keys":[{key}]}}"#).as_bytes(), ALL).is_ok());
}

#[track_caller]
fn refuses(jwk: &Value) {
    assert_eq!(
        read(&set(std::slice::from_ref(jwk))).map(|keys| keys.len()),
        Err(UnfitKey),
        "{jwk}"
    );
}

fn read(set: &Value) -> Result<Vec<VerifyingKey>, UnfitKey> {
    read_jwk_set(set.to_string().as_bytes(), ALL)
}

fn headers(keys: &[VerifyingKey]) -> Vec<&str> {
    keys.iter().map(VerifyingKey::header).collect()
}

fn key(algorithm: Algorithm) -> SigningKey {
    let secret = generate_pkcs8(algorithm).expect("a new key");
    SigningKey::parse(algorithm, &secret).expect("it was just made")
}

fn jwk(key: &SigningKey) -> Value {
    key.jwk().expect("a public key")
}

fn set(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}

fn with(jwk: &Value, name: &str, value: Value) -> Value {
    let mut jwk = jwk.clone();
    jwk[name] = value;
    jwk
}

fn without(jwk: &Value, name: &str) -> Value {
    let mut jwk = jwk.clone();
    jwk.as_object_mut().expect("an object").remove(name);
    jwk
}

const ALL: &[Algorithm] = &[Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256];
