//! What is accepted and for how long, without any HTTP.

use std::time::Duration;

use keyward_verify::{Algorithm, Refusal, Revocation, RevokedSubject, Verifier, WhenStale};
use serde_json::json;

use crate::attacks;
use crate::issuer::{
    NOW, SESSION, Signer, USER, at, claims, claims_with, current, encode, key_set, now, policy,
};

#[test]
fn a_good_token_is_accepted_until_it_expires() {
    let (es256, eddsa) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa));
    let verifier = current(long_silence(), &[&es256, &eddsa]);
    for signer in [&es256, &eddsa] {
        let token = signer.sign(&claims());
        for _ in 0..2 {
            assert_eq!(verifier.verify(&token, now()).expect("it is good").roles, ["user"]);
        }
        assert!(verifier.verify(&token, at(890 + 4)).is_ok(), "within the leeway");
        assert_eq!(verifier.verify(&token, at(890 + 5)), Err(Refusal::Expired));
    }
}

#[test]
fn every_attack_is_refused() {
    let (es256, eddsa) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa));
    let verifier = current(policy(), &[&es256, &eddsa]);
    let attacks = attacks::all(&es256, &eddsa, "127.0.0.1:1");
    assert!(attacks.len() > 1000, "{}", attacks.len());
    for (name, token) in attacks {
        assert_eq!(verifier.verify(&token, now()), Err(Refusal::Invalid), "{name}");
    }
}

/// Whatever a verifier remembers of good tokens opens it to no other.
#[test]
fn no_attack_passes_for_a_token_that_was_seen_before() {
    let (es256, eddsa) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa));
    let verifier = current(policy(), &[&es256, &eddsa]);
    for signer in [&es256, &eddsa] {
        let good = signer.sign(&claims());
        assert!(verifier.verify(&good, now()).is_ok());
        let (signed, signature) = good.rsplit_once('.').expect("three parts");
        let header = signer.key.header();
        let mut of_others = vec![format!(".{signature}"), signature.to_owned()];
        for (name, value) in [("roles", json!(["admin"])), ("sid", json!(USER))] {
            let payload = encode(claims_with(name, value).to_string());
            of_others.push(format!("{header}.{payload}.{signature}"));
        }
        for at in 0..signature.len() {
            let other = if signature[at..].starts_with('A') { "B" } else { "A" };
            let (before, after) = (&signature[..at], &signature[at + 1..]);
            of_others.push(format!("{signed}.{before}{other}{after}"));
        }
        for token in of_others {
            assert_eq!(verifier.verify(&token, now()), Err(Refusal::Invalid), "{token}");
        }
        for (name, token) in attacks::all(&es256, &eddsa, "127.0.0.1:1") {
            assert_eq!(verifier.verify(&token, now()), Err(Refusal::Invalid), "{name}");
        }
        assert!(verifier.verify(&good, now()).is_ok());
    }
}

#[test]
fn nothing_is_accepted_before_there_are_keys_or_when_they_are_old() {
    let signer = Signer::new(Algorithm::Es256);
    let token = signer.sign(&claims());
    let verifier = Verifier::new(long_silence());
    verifier.revocations().hear(now());
    assert_eq!(verifier.verify(&token, now()), Err(Refusal::NotCurrent));
    assert_eq!(verifier.status(now()).keys_age, None);

    let fetched_at = at(-3600);
    verifier.take_up_keys(&key_set(&[&signer]), fetched_at).expect("a good set");
    assert!(verifier.verify(&token, now()).is_ok());
    assert_eq!(verifier.verify(&token, at(1)), Err(Refusal::NotCurrent));
    assert_eq!(verifier.status(now()).keys_age, Some(Duration::from_secs(3600)));
    verifier.take_up_keys(&key_set(&[&signer]), now()).expect("a good set");
    assert!(verifier.verify(&token, at(1)).is_ok());
}

#[test]
fn a_key_that_is_dropped_takes_its_remembered_tokens_with_it() {
    let (before, after) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    let verifier = current(policy(), &[&before]);
    let token = before.sign(&claims());
    assert!(verifier.verify(&token, now()).is_ok());
    assert_eq!(verifier.verify(&after.sign(&claims()), now()), Err(Refusal::Invalid));

    verifier.take_up_keys(&key_set(&[&before, &after]), now()).expect("a good set");
    assert!(verifier.verify(&token, now()).is_ok());
    assert!(verifier.verify(&after.sign(&claims()), now()).is_ok());

    verifier.take_up_keys(&key_set(&[&after]), now()).expect("a good set");
    assert_eq!(verifier.verify(&token, now()), Err(Refusal::Invalid));
    assert!(verifier.verify(&after.sign(&claims()), now()).is_ok());
}

#[test]
fn a_bad_set_leaves_the_keys_as_they_were() {
    let (signer, other) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa));
    let verifier = current(policy(), &[&signer]);
    let mut es256_alone = policy();
    es256_alone.algorithms = vec![Algorithm::Es256];
    let mut secret = signer.jwk();
    secret["d"] = json!("AA");
    for bad in ["", "<html>", r#"{"keys":[]}"#, &json!({ "keys": [secret] }).to_string()] {
        assert!(verifier.take_up_keys(bad.as_bytes(), now()).is_err(), "{bad}");
    }
    assert!(verifier.verify(&signer.sign(&claims()), now()).is_ok());
    let pinned = current(es256_alone, &[&signer, &other]);
    assert_eq!(pinned.verify(&other.sign(&claims()), now()), Err(Refusal::Invalid));
}

#[test]
fn a_revoked_session_is_refused_though_its_token_was_seen_before() {
    let signer = Signer::new(Algorithm::EdDsa);
    let verifier = current(policy(), &[&signer]);
    let token = signer.sign(&claims());
    let elsewhere = json!("03030303-0303-0303-0303-030303030303");
    let other = signer.sign(&claims_with("sid", elsewhere));
    assert!(verifier.verify(&token, now()).is_ok());
    for _ in 0..2 {
        revoke(&verifier, session(NOW + 900), 0);
        assert_eq!(verifier.verify(&token, now()), Err(Refusal::Revoked));
        assert_eq!(verifier.revocations().len(), 1, "the same word twice is one");
    }
    assert!(verifier.verify(&other, now()).is_ok(), "of the same user");
}

#[test]
fn a_revoked_user_is_refused_until_there_is_a_newer_token() {
    let signer = Signer::new(Algorithm::EdDsa);
    let verifier = current(policy(), &[&signer]);
    let issued_at = |iat: i64| {
        let token = signer.sign(&claims_with("iat", json!(iat)));
        verifier.verify(&token, now()).map(drop)
    };
    revoke(&verifier, user(NOW - 5, NOW + 900), 0);
    assert_eq!(issued_at(NOW - 6), Err(Refusal::Revoked));
    assert_eq!(issued_at(NOW - 5), Ok(()));
    // An older word that comes late takes nothing back.
    revoke(&verifier, user(NOW - 8, NOW + 800), 0);
    assert_eq!(issued_at(NOW - 6), Err(Refusal::Revoked));
    revoke(&verifier, user(NOW - 4, NOW + 901), 0);
    assert_eq!(issued_at(NOW - 5), Err(Refusal::Revoked));
}

/// Disabled, enabled and signed in again within one second, as tokens count.
#[test]
fn of_a_revoked_users_second_the_sessions_of_before_are_refused_and_no_others() {
    let signer = Signer::new(Algorithm::EdDsa);
    let verifier = current(policy(), &[&signer]);
    let token = |sid: &str, exp: i64| {
        let mut claims = claims_with("iat", json!(NOW));
        (claims["sid"], claims["exp"]) = (json!(sid), json!(exp));
        signer.sign(&claims)
    };
    let (timed_out, since) =
        ("03030303-0303-0303-0303-030303030303", "04040404-0404-0404-0404-040404040404");
    revoke(&verifier, session(NOW + 900), 0);
    revoke(&verifier, user(NOW, NOW + 900), 0);
    assert_eq!(verifier.verify(&token(SESSION, NOW + 890), now()), Err(Refusal::Revoked));
    assert!(verifier.verify(&token(since, NOW + 890), now()).is_ok());
    // Nobody tells of a session that had timed out; the leeway would let its token live on.
    assert_eq!(verifier.verify(&token(timed_out, NOW), now()), Err(Refusal::Revoked));
    assert!(verifier.verify(&token(timed_out, NOW + 1), now()).is_ok());
}

#[test]
fn past_the_longest_silence_nothing_is_accepted_unless_asked_for_by_name() {
    let signer = Signer::new(Algorithm::EdDsa);
    let token = signer.sign(&claims());
    let closed = current(policy(), &[&signer]);
    let mut lenient = policy();
    lenient.when_stale = WhenStale::AcceptUntilExpiry;
    let open = current(lenient, &[&signer]);
    for (secs, is_current) in [(0, true), (60, true), (61, false), (-60, true), (-61, false)] {
        let expected = if is_current { Ok(()) } else { Err(Refusal::NotCurrent) };
        assert_eq!(closed.verify(&token, at(secs)).map(drop), expected, "{secs}");
        assert!(open.verify(&token, at(secs)).is_ok(), "{secs}");
    }
    // What is known counts in either case, and is said rather than that nobody knows.
    for verifier in [&open, &closed] {
        revoke(verifier, session(NOW + 900), 0);
        assert_eq!(verifier.verify(&token, at(61)), Err(Refusal::Revoked));
    }
    closed.revocations().hear(at(61));
    assert_eq!(closed.status(at(65)).staleness, Some(Duration::from_secs(4)));
}

#[test]
fn before_the_first_word_nothing_is_accepted() {
    let signer = Signer::new(Algorithm::EdDsa);
    let verifier = Verifier::new(policy());
    verifier.take_up_keys(&key_set(&[&signer]), now()).expect("a good set");
    revoke(&verifier, user(NOW - 100, NOW + 900), 0);
    assert_eq!(verifier.verify(&signer.sign(&claims()), now()), Err(Refusal::NotCurrent));
    assert_eq!(verifier.status(now()).staleness, None);
}

#[test]
fn revocations_leave_with_the_last_token_that_they_speak_of() {
    let signer = Signer::new(Algorithm::EdDsa);
    let verifier = current(long_silence(), &[&signer]);
    let token = signer.sign(&claims_with("exp", json!(NOW + 900)));
    revoke(&verifier, session(NOW + 900), 0);
    revoke(&verifier, user(NOW - 100, NOW + 800), 0);
    hear_all_round(&verifier, 900 + 4);
    assert_eq!(verifier.revocations().len(), 1);
    assert_eq!(verifier.verify(&token, at(900 + 4)), Err(Refusal::Revoked));
    assert_eq!(verifier.verify(&token, at(900 + 5)), Err(Refusal::Expired));
    // They are looked for twice a minute.
    hear_all_round(&verifier, 900 + 4 + 30);
    assert!(verifier.revocations().is_empty());
    // A clock that is set back lets in nothing that an entry which left might have spoken of.
    verifier.revocations().hear(now());
    verifier.take_up_keys(&key_set(&[&signer]), now()).expect("a good set");
    assert_eq!(verifier.verify(&token, now()), Err(Refusal::Expired));
    let newer = signer.sign(&claims_with("exp", json!(NOW + 901)));
    assert!(verifier.verify(&newer, now()).is_ok());
}

#[test]
fn revocations_are_bounded_and_none_is_forgotten_for_another() {
    let signer = Signer::new(Algorithm::EdDsa);
    let mut small = policy();
    small.revocations_max = 1;
    let verifier = current(small, &[&signer]);
    revoke(&verifier, session(NOW + 900), 0);
    let more = verifier.revocations().take_in(user(NOW, NOW + 900), now());
    assert!(more.is_err());
    revoke(&verifier, session(NOW + 901), 0);
    assert_eq!(verifier.verify(&signer.sign(&claims()), now()), Err(Refusal::Revoked));
    assert_eq!(verifier.revocations().len(), 1);
    hear_all_round(&verifier, 906);
    assert!(verifier.revocations().take_in(user(NOW, NOW + 1800), at(906)).is_ok());
}

fn session(exp: i64) -> Revocation {
    Revocation { subject: RevokedSubject::Session(SESSION.parse().expect("an id")), exp }
}

fn user(revoked_at: i64, exp: i64) -> Revocation {
    Revocation {
        subject: RevokedSubject::User { id: USER.parse().expect("an id"), revoked_at },
        exp,
    }
}

#[track_caller]
fn revoke(verifier: &Verifier, revocation: Revocation, secs: i64) {
    verifier.revocations().take_in(revocation, at(secs)).expect("there is room");
}

/// As often as it takes until every part of the set had its turn to be swept.
fn hear_all_round(verifier: &Verifier, secs: i64) {
    for _ in 0..64 {
        verifier.revocations().hear(at(secs));
    }
}

/// For tests in which time passes without a word.
fn long_silence() -> keyward_verify::VerifyPolicy {
    let mut policy = policy();
    policy.staleness_max = Duration::from_secs(3600);
    policy
}
