//! Signing keys, their public halves, and the seal around secrets at rest.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::access_token::Algorithm;
use keyward_core::csrf::CsrfKeys;
use keyward_core::keys::{MasterKey, SigningKey, UnfitKey, generate_pkcs8};
use serde_json::Value;

#[test]
fn the_key_of_rfc_8037_has_its_thumbprint() {
    let key = rfc_8037();
    assert_eq!(key.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let jwk = key.jwk().expect("a public key");
    assert_eq!(jwk["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let header = URL_SAFE_NO_PAD.decode(key.header()).expect("base64url");
    assert_eq!(
        String::from_utf8(header).expect("JSON"),
        r#"{"alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","typ":"at+jwt"}"#
    );
}

#[test]
fn a_jwk_holds_public_members_only() {
    for (algorithm, expected) in [
        (Algorithm::EdDsa, &["alg", "crv", "kid", "kty", "use", "x"][..]),
        (Algorithm::Es256, &["alg", "crv", "kid", "kty", "use", "x", "y"]),
        (Algorithm::Rs256, &["alg", "e", "kid", "kty", "n", "use"]),
    ] {
        let secret = generate_pkcs8(algorithm).expect("a new key");
        let key = SigningKey::parse(algorithm, &secret).expect("it was just made");
        let Some(Value::Object(jwk)) = key.jwk() else { panic!("a JWK is an object") };
        let mut names: Vec<&str> = jwk.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!((&jwk["alg"], &jwk["kid"]), (&algorithm.as_str().into(), &key.id().into()));
        assert_eq!(SigningKey::parse(algorithm, &secret).expect("again").id(), key.id());
    }
}

#[test]
fn an_hmac_key_is_published_nowhere() {
    let secret = [7; 32];
    let key = SigningKey::parse(Algorithm::Hs256, &secret).expect("long enough");
    assert_eq!(key.jwk(), None);
    assert_ne!(key.id(), URL_SAFE_NO_PAD.encode(secret));
    let other = SigningKey::parse(Algorithm::Hs256, &[8; 32]).expect("long enough");
    assert_ne!(key.id(), other.id());
}

#[test]
fn short_keys_are_refused() {
    for length in [0, 1, 31] {
        refuses(Algorithm::Hs256, &vec![7; length]);
    }
    assert!(SigningKey::parse(Algorithm::Hs256, &[7; 64]).is_ok());
    let short = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    refuses(Algorithm::Rs256, short.as_der().expect("PKCS#8").as_ref());
}

#[test]
fn a_key_fits_its_own_algorithm_only() {
    let asymmetric = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];
    for made_for in asymmetric {
        let secret = generate_pkcs8(made_for).expect("a new key");
        for algorithm in asymmetric {
            assert_eq!(SigningKey::parse(algorithm, &secret).is_ok(), made_for == algorithm);
            refuses(algorithm, &secret[..secret.len() - 1]);
        }
    }
    assert!(generate_pkcs8(Algorithm::Hs256).is_err());
    for algorithm in asymmetric {
        for junk in [&[][..], &[0; 32], b"-----BEGIN PRIVATE KEY-----"] {
            refuses(algorithm, junk);
        }
    }
}

#[test]
fn a_sealed_secret_opens_in_its_place_with_its_key_only() {
    let master = MasterKey::new(&[1; 32]);
    for secret in [&b""[..], b"a secret", &[0; 4096]] {
        let sealed = master.seal(secret, PLACE, &[2; 12]);
        assert_eq!(*master.open(&sealed, PLACE).expect("its place"), secret);
        for place in ["", "key.secret:2", "key.secret:1 ", "key.secret:"] {
            assert!(master.open(&sealed, place).is_err(), "{place:?}");
        }
        assert!(MasterKey::new(&[2; 32]).open(&sealed, PLACE).is_err(), "another key");
    }
}

#[test]
fn a_derived_key_is_of_its_master_key_and_purpose() {
    let master = MasterKey::new(&[1; 32]);
    assert_eq!(master.derive("one"), MasterKey::new(&[1; 32]).derive("one"));
    assert_ne!(master.derive("one"), master.derive("other"));
    assert_ne!(master.derive("one"), MasterKey::new(&[2; 32]).derive("one"));
    assert_ne!(master.derive("one").as_slice(), [1; 32]);
}

#[test]
fn an_altered_seal_does_not_open() {
    let master = MasterKey::new(&[1; 32]);
    let sealed = master.seal(b"a secret", PLACE, &[2; 12]);
    for position in 0..sealed.len() {
        for bit in 0..8 {
            let mut flipped = sealed.clone();
            flipped[position] ^= 1 << bit;
            assert!(master.open(&flipped, PLACE).is_err(), "{position} {bit}");
        }
        assert!(master.open(&sealed[..position], PLACE).is_err(), "{position}");
        assert!(master.open(&sealed[position + 1..], PLACE).is_err(), "{position}");
    }
    assert!(master.open(&[sealed.as_slice(), &[0]].concat(), PLACE).is_err());
    assert!(master.open(&[], PLACE).is_err());
}

#[test]
fn a_master_key_is_read_in_its_canonical_form_only() {
    let text = URL_SAFE_NO_PAD.encode([1; 32]);
    let sealed = MasterKey::new(&[1; 32]).seal(b"a secret", PLACE, &[2; 12]);
    assert!(MasterKey::parse(&text).expect("32 bytes").open(&sealed, PLACE).is_ok());
    let unused_bit = format!("{}F", &text[..text.len() - 1]);
    for other in ["", "A", &text[1..], &format!("{text}="), &format!("{text}\n"), &unused_bit] {
        assert!(MasterKey::parse(other).is_err(), "{other:?}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let check = |shown: String, expected: &str| assert_eq!(shown, expected);
    let key = rfc_8037();
    check(format!("{key:?}"), "SigningKey(EdDSA kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)");
    check(format!("{:?}", key.verifying_key()), "Ok(VerifyingKey)");
    check(format!("{:?}", MasterKey::new(&[1; 32])), "MasterKey");
    check(format!("{:?}", CsrfKeys::new((1, [1; 32]), vec![])), "CsrfKeys");
}

#[track_caller]
fn refuses(algorithm: Algorithm, bytes: &[u8]) {
    assert_eq!(SigningKey::parse(algorithm, bytes).map(drop), Err(UnfitKey), "{algorithm:?}");
}

/// The key of RFC 8037, appendix A.1, as PKCS#8 (RFC 8410).
fn rfc_8037() -> SigningKey {
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let pkcs8 = [&head[..], &seed.expect("base64url")].concat();
    SigningKey::parse(Algorithm::EdDsa, &pkcs8).expect("a key")
}

const PLACE: &str = "key.secret:1";
