//! Access tokens that are accepted, for how long, and the cache in front of the verifier.

#[path = "support/access.rs"]
mod access;

use std::hash::RandomState;
use std::time::Duration;

use access::{EDDSA, ES256, HS256, NOW, Signer, claims, encode, now, policy, verifier};
use keyward_core::access_token::{
    Algorithm, Claims, RESERVED_CLAIMS, Refusal, TOKEN_BYTES_MAX, VerifiedTokens, Verifier,
    claimed_key, issue,
};
use keyward_core::time::Timestamp;
use serde_json::{Value, json};

#[test]
fn every_algorithm_verifies_what_it_issued() {
    let rs256 = Signer::new(Algorithm::Rs256);
    for signer in [&*ES256, &*EDDSA, &*HS256, &rs256] {
        let key = signer.key.verifying_key().expect("its public half");
        let verifier = Verifier::new([key], policy(Duration::ZERO));
        let claims = parsed_claims();
        let token = issue(&claims, &signer.key);
        assert_eq!(verifier.verify(&token, now()), Ok(claims), "{:?}", signer.key);
        assert!(token.len() < 1200, "{}", token.len());
    }
}

#[test]
fn a_key_that_the_verifier_lacks_is_refused() {
    let lone = |signer: &Signer| Verifier::new(signer.key.verifying_key(), policy(Duration::ZERO));
    let token = issue(&parsed_claims(), &ES256.key);
    assert!(lone(&ES256).verify(&token, now()).is_ok());
    assert_eq!(lone(&EDDSA).verify(&token, now()), Err(Refusal::Invalid));
    assert_eq!(
        Verifier::new([], policy(Duration::ZERO)).verify(&token, now()),
        Err(Refusal::Invalid)
    );
}

#[test]
fn what_a_user_record_adds_is_kept_and_overwrites_nothing() {
    let mut claims = parsed_claims();
    claims.extra.insert("plan".to_owned(), json!({ "name": "large", "seats": [1, 2.5, null] }));
    let honest = claims.clone();
    for &name in RESERVED_CLAIMS {
        claims.extra.insert(name.to_owned(), json!("evil"));
    }
    assert_eq!(verifier().verify(&issue(&claims, &HS256.key), now()), Ok(honest));
}

#[test]
fn a_token_expires_at_exactly_its_time() {
    let token = issue(&parsed_claims(), &ES256.key);
    let check = |leeway_secs: u64, at: Timestamp, expected: Result<(), Refusal>| {
        let key = ES256.key.verifying_key().expect("its public half");
        let verifier = Verifier::new([key], policy(Duration::from_secs(leeway_secs)));
        assert_eq!(verifier.verify(&token, at).map(drop), expected, "{leeway_secs} {at:?}");
    };
    let (iat, exp) = (NOW - 10, NOW + 890);
    let last = Timestamp::from_millis(exp * 1000 - 1);
    check(0, last, Ok(()));
    check(0, Timestamp::from_secs(exp), Err(Refusal::Expired));
    check(30, Timestamp::from_secs(exp + 29), Ok(()));
    check(30, Timestamp::from_secs(exp + 30), Err(Refusal::Expired));
    check(0, Timestamp::from_secs(iat - 60), Ok(()));
    check(0, Timestamp::from_secs(iat - 61), Err(Refusal::Invalid));
    check(30, Timestamp::from_secs(iat - 90), Ok(()));
    check(30, Timestamp::from_secs(iat - 91), Err(Refusal::Invalid));
    for extreme in [i64::MIN, i64::MAX].map(Timestamp::from_millis) {
        let refusal = if extreme < now() { Refusal::Invalid } else { Refusal::Expired };
        check(0, extreme, Err(refusal));
        check(u64::MAX, extreme, Ok(()));
    }
}

#[test]
fn expired_is_said_of_tokens_that_were_good_only() {
    let expired = |edit: fn(&mut Value)| {
        let mut claims = claims();
        claims["exp"] = json!(NOW - 1);
        edit(&mut claims);
        verifier().verify(&ES256.sign_claims(claims.to_string().as_bytes()), now())
    };
    assert_eq!(expired(|_| {}), Err(Refusal::Expired));
    assert_eq!(expired(|claims| claims["aud"] = json!("https://other")), Err(Refusal::Invalid));
    assert_eq!(expired(|claims| claims["iss"] = json!("https://other")), Err(Refusal::Invalid));
    assert_eq!(expired(|claims| claims["nbf"] = json!(0)), Err(Refusal::Invalid));
}

#[test]
fn the_longest_token_is_the_longest_that_is_looked_at() {
    let padded = |length: usize| {
        let mut claims = parsed_claims();
        claims.jti = "x".repeat(length);
        issue(&claims, &HS256.key)
    };
    let longest = (2000..3000).rev().map(padded).find(|token| token.len() <= TOKEN_BYTES_MAX);
    assert!(verifier().verify(&longest.expect("some fit"), now()).is_ok());
    let beyond = (2000..3000).map(padded).find(|token| token.len() > TOKEN_BYTES_MAX);
    assert_eq!(verifier().verify(&beyond.expect("some do not"), now()), Err(Refusal::Invalid));
}

#[test]
fn a_remembered_token_is_still_judged_on_every_use() {
    let cached = cached(100);
    let token = issue(&parsed_claims(), &ES256.key);
    for _ in 0..2 {
        assert_eq!(*cached.verify(&token, now()).expect("it is good"), parsed_claims());
        assert_eq!(cached.len(), 1);
    }
    let expiry = Timestamp::from_secs(NOW + 890);
    assert_eq!(cached.verify(&token, expiry), Err(Refusal::Expired));
    assert!(cached.is_empty(), "what expired is forgotten");
    assert_eq!(cached.verify(&token, expiry), Err(Refusal::Expired));
    assert!(cached.verify(&token, now()).is_ok());
    assert_eq!(cached.verify(&token, Timestamp::from_secs(NOW - 71)), Err(Refusal::Invalid));
}

#[test]
fn failures_are_never_remembered() {
    let cached = cached(100);
    let token = issue(&parsed_claims(), &ES256.key);
    let refused = [
        (token[..token.len() - 1].to_owned(), now()),
        (format!("{token}A"), now()),
        ("A".repeat(TOKEN_BYTES_MAX + 1), now()),
        (String::new(), now()),
        (token.clone(), Timestamp::from_secs(NOW + 890)),
    ];
    for (text, at) in refused {
        for _ in 0..2 {
            assert!(cached.verify(&text, at).is_err());
            assert!(cached.is_empty());
        }
    }
    assert!(cached.verify(&token, now()).is_ok(), "and none stands in a good token's way");
}

/// Tokens that end alike have one place in the cache: the end of the signature says where to look.
#[test]
fn of_tokens_in_one_place_the_one_that_was_verified_is_good() {
    for signer in [&ES256, &EDDSA, &HS256] {
        let cached = cached(100);
        let good = issue(&parsed_claims(), &signer.key);
        let of_admin = Claims { roles: vec!["admin".to_owned()], ..parsed_claims() };
        let of_admin = issue(&of_admin, &signer.key);
        let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
        let [header, payload, signature] = &parts(&good)[..] else { panic!("{good}") };
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let others = [
            format!("{header}.{}.{signature}", parts(&of_admin)[1]),
            format!("{header}.{payload}.{first}{}", &signature[1..]),
            format!("{}.{payload}.{signature}", encode(br#"{"alg":"none"}"#)),
            format!("{payload}.{payload}.{signature}"),
            format!(".{signature}"),
            signature.clone(),
        ];
        assert!(cached.verify(&good, now()).is_ok());
        for other in &others {
            assert_eq!(other[other.len() - 32..], good[good.len() - 32..]);
            for _ in 0..2 {
                assert_eq!(cached.verify(other, now()), Err(Refusal::Invalid), "{other}");
            }
            assert_eq!(*cached.verify(&good, now()).expect("it stays"), parsed_claims());
            assert_eq!(cached.len(), 1);
        }
    }
}

#[test]
fn a_claimed_key_is_told_of_headers_of_our_form_only() {
    for signer in [&ES256, &HS256] {
        let token = issue(&parsed_claims(), &signer.key);
        assert_eq!(claimed_key(&token).as_deref(), Some(signer.key.id()));
        assert_eq!(claimed_key(&token[1..]), None);
        assert_eq!(claimed_key(&format!("{token}{}", "A".repeat(TOKEN_BYTES_MAX))), None);
    }
    for header in [
        r#"{"alg":"none","kid":"a","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","kid":"a b","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","kid":"a"}"#,
        "{}",
    ] {
        assert_eq!(claimed_key(&format!("{}.e30.AA", encode(header.as_bytes()))), None, "{header}");
    }
}

#[test]
fn the_cache_is_bounded() {
    for capacity in [0, 1, 10] {
        let cached = cached(capacity);
        for number in 0..100 {
            let mut claims = parsed_claims();
            claims.jti = number.to_string();
            let token = issue(&claims, &HS256.key);
            assert_eq!(*cached.verify(&token, now()).expect("it is good"), claims);
            assert_eq!(*cached.verify(&token, now()).expect("it is good"), claims);
            assert!(cached.len() <= capacity, "{capacity}");
        }
    }
}

fn cached(capacity: usize) -> VerifiedTokens {
    VerifiedTokens::new(verifier(), capacity, RandomState::new())
}

fn parsed_claims() -> Claims {
    serde_json::from_value(claims()).expect("good claims")
}
