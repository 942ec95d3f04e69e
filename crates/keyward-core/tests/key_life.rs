//! The life of keys: a table of one key's stations, and what holds over any rows at any time.

use std::time::Duration;

use keyward_core::access_token::Algorithm;
use keyward_core::keys::{KeyLifePolicy, KeyLives, KeyPurpose, KeyRecord, KeyState, Lifetime};
use keyward_core::time::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

#[test]
fn a_key_goes_from_pending_to_gone() {
    let keys = [key("a", "ES256", 0), key("b", "ES256", 1000)];
    for (secs, first, second) in [
        (-1, KeyState::Active, KeyState::Pending),
        (0, KeyState::Active, KeyState::Pending),
        (999, KeyState::Active, KeyState::Pending),
        (1000, KeyState::Retired, KeyState::Active),
        (1000 + TTL + CHANGEOVER - 1, KeyState::Retired, KeyState::Active),
        (1000 + TTL + CHANGEOVER, KeyState::Gone, KeyState::Active),
        (1_000_000, KeyState::Gone, KeyState::Active),
    ] {
        assert_eq!(states(&keys, secs), [first, second], "{secs}");
    }
}

#[test]
fn what_lives_as_long_as_sessions_did_stays_as_long() {
    for purpose in [KeyPurpose::Csrf, KeyPurpose::RefreshToken] {
        let keys = [1, 2].map(|number| KeyRecord {
            purpose,
            ..key(&number.to_string(), "HMAC-SHA-256", number * 1000)
        });
        let end = 2000 + SESSION_TTL + CHANGEOVER;
        assert_eq!(states(&keys, end - 1)[0], KeyState::Retired);
        assert_eq!(states(&keys, end)[0], KeyState::Gone);
    }
}

#[test]
fn a_compromised_key_is_never_active_and_ends_as_is_configured_now() {
    let first = compromised(key("a", "ES256", 0), 500);
    let alone = [first.clone()];
    assert_eq!(states(&alone, 400), [KeyState::Compromised], "no clock undoes it");
    assert_eq!(KeyLives::new(&alone, &policy()).active(KeyPurpose::AccessToken, at(600)), None);
    let keys = [first, key("b", "ES256", 500)];
    assert_eq!(states(&keys, 500), [KeyState::Compromised, KeyState::Active]);
    let end = 500 + TTL_NOW + CHANGEOVER;
    assert_eq!(states(&keys, end - 1), [KeyState::Compromised, KeyState::Active]);
    assert_eq!(states(&keys, end), [KeyState::Gone, KeyState::Active]);
    for purpose in [KeyPurpose::Csrf, KeyPurpose::RefreshToken] {
        let keys = keys.clone().map(|key| KeyRecord { purpose, ..key });
        let end = 500 + SESSION_TTL_NOW + CHANGEOVER;
        assert_eq!(states(&keys, end - 1)[0], KeyState::Compromised);
        assert_eq!(states(&keys, end)[0], KeyState::Gone);
    }
}

/// The key before it went on signing, so its end is told from the one after.
#[test]
fn a_key_compromised_before_its_turn_takes_over_from_nobody() {
    let never = compromised(key("b", "ES256", 1000), 900);
    let keys = [key("a", "ES256", 0), never, key("c", "ES256", 5000)];
    assert_eq!(states(&keys, 4999)[0], KeyState::Active);
    assert_eq!(states(&keys, 5000 + TTL + CHANGEOVER - 1)[0], KeyState::Retired);
}

#[test]
fn keys_of_an_earlier_algorithm_verify_until_their_tokens_have_expired() {
    let keys = [key("a", "EdDSA", 0), key("b", "ES256", 1000)];
    let end = 1000 + TTL + CHANGEOVER;
    assert_eq!(states(&keys, 1000), [KeyState::Retired, KeyState::Active]);
    assert_eq!(states(&keys, end), [KeyState::Gone, KeyState::Active]);
    // To a process that is still configured as before, its own key is the one that signs.
    let before = KeyLifePolicy { algorithm: Some(Algorithm::EdDsa), ..policy() };
    let lives = KeyLives::new(&keys, &before);
    assert_eq!(lives.active(KeyPurpose::AccessToken, at(end)), Some(&keys[0]));
    assert!(lives.lacks_key(KeyPurpose::AccessToken), "at its next start it makes one");
    // With a key that is configured, no stored one signs.
    let configured = KeyLifePolicy { algorithm: None, ..policy() };
    let lives = KeyLives::new(&keys, &configured);
    assert_eq!(lives.active(KeyPurpose::AccessToken, at(end)), None);
    assert_eq!(lives.state(&keys[1], at(end)), KeyState::Retired);
    assert!(!lives.lacks_key(KeyPurpose::AccessToken));
}

#[test]
fn a_rotation_is_due_one_overlap_before_the_next_turn() {
    let keys = [key("a", "ES256", 0)];
    let policy = policy();
    let lives = KeyLives::new(&keys, &policy);
    assert_eq!(lives.rotation_due_at(KeyPurpose::AccessToken), Some(at(86_400 - 3600)));
    assert_eq!(lives.rotation_due_at(KeyPurpose::Csrf), None, "there is none to rotate");
    let by_hand = KeyLifePolicy { rotate_every: None, ..policy.clone() };
    assert_eq!(KeyLives::new(&keys, &by_hand).rotation_due_at(KeyPurpose::AccessToken), None);
}

#[test]
fn numbers_come_back_only_after_all_others() {
    let numbered = |number: u8| KeyRecord {
        purpose: KeyPurpose::Csrf,
        ..key(&number.to_string(), "HMAC-SHA-256", number.into())
    };
    let free = |keys: &[KeyRecord]| KeyLives::new(keys, &policy()).free_number(KeyPurpose::Csrf);
    assert_eq!(free(&[]), Some(1));
    assert_eq!(free(&[numbered(1)]), Some(2));
    assert_eq!(free(&[numbered(7)]), Some(8));
    assert_eq!(free(&[numbered(1), numbered(255)]), Some(2));
    let all: Vec<KeyRecord> = (1..=255).map(numbered).collect();
    assert_eq!(free(&all), None);
    assert_eq!(free(&all[1..]), Some(1));
}

#[test]
fn a_number_is_taken_where_least_is_lost() {
    let policy = policy();
    let numbered = |number: i64, activates| KeyRecord {
        purpose: KeyPurpose::RefreshToken,
        ..key(&number.to_string(), "HMAC-SHA-256", activates)
    };
    let spare = |keys: &[KeyRecord], urgent, secs| {
        let spare = KeyLives::new(keys, &policy).spare_key(keys[0].purpose, urgent, at(secs));
        spare.map(|key| key.id.clone())
    };
    let mut keys = [0, 1000, 1001, 5000].map(|at| numbered(at, at));
    let over = 1000 + SESSION_TTL_NOW + CHANGEOVER;
    assert_eq!(spare(&keys, false, over - 1), None, "as is configured");
    assert_eq!(spare(&keys, false, over), Some("0".to_owned()));
    assert_eq!(spare(&keys, true, over - 1), Some("1000".to_owned()), "signed for a moment");
    assert_eq!(spare(&keys, true, over), Some("0".to_owned()));
    assert_eq!(spare(&keys, false, 1_000_000_000), Some("0".to_owned()), "gone");
    assert_eq!(spare(&keys[..1], true, 1_000_000_000), None, "the active one stays");
    keys[3].activates_at = at(1_000_000);
    assert_eq!(spare(&keys[2..], true, 5000), Some("5000".to_owned()), "has signed nothing");
    assert_eq!(spare(&keys[2..], false, 5000), None);

    let marked = |key: &KeyRecord| compromised(key.clone(), 4000);
    let keys = [0, 1000, 2000, 4000].map(|at| numbered(at, at));
    let doubtful = [marked(&keys[0]), marked(&keys[1]), keys[2].clone(), keys[3].clone()];
    assert_eq!(spare(&doubtful, true, 4000), Some("2000".to_owned()), "spares what is in doubt");
    let leaked = [marked(&keys[0]), marked(&keys[1]), marked(&keys[2]), keys[3].clone()];
    assert_eq!(spare(&leaked, true, 4000), Some("0".to_owned()), "the oldest");
    assert_eq!(spare(&leaked, false, 4000), None);

    let sealing = keys.map(|key| KeyRecord { purpose: KeyPurpose::SecondFactor, ..key });
    assert_eq!(spare(&sealing, true, 1_000_000_000), None, "what it sealed would be lost");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the clock says, one key signs, and it is beyond doubt.
    #[test]
    fn one_sound_key_signs(keys in any_keys(), secs in -2000_i64..200_000) {
        let policy = policy();
        let lives = KeyLives::new(&keys, &policy);
        let active: Vec<_> =
            keys.iter().filter(|key| lives.state(key, at(secs)) == KeyState::Active).collect();
        prop_assert_eq!(active.len(), 1);
        prop_assert_eq!(active.first().copied(), lives.active(PURPOSE, at(secs)));
        prop_assert!(active.iter().all(|key| key.compromised_at.is_none()));
    }

    /// Once gone, always gone; once its turn is over, never active again.
    #[test]
    fn time_takes_a_key_one_way(
        keys in any_keys(),
        secs in -2000_i64..200_000,
        later in 0..200_000_i64,
    ) {
        for (before, after) in states(&keys, secs).into_iter().zip(states(&keys, secs + later)) {
            prop_assert!(rank(before) <= rank(after), "{before:?} {after:?}");
        }
    }

    /// What a key made in its last moment as the active one is accepted until it has expired, by
    /// the slowest clock too.
    #[test]
    fn nothing_that_was_signed_is_dropped(keys in any_keys(), secs in 0..100_000_i64) {
        let policy = policy();
        let lives = KeyLives::new(&keys, &policy);
        if let Some(active) = lives.active(PURPOSE, at(secs)) {
            for age in [0, TTL / 2, TTL, TTL + CHANGEOVER - 1] {
                let state = lives.state(active, at(secs + age));
                prop_assert!(matches!(state, KeyState::Active | KeyState::Retired), "{state:?}");
            }
        }
    }

    /// Within the span that is called steady no state changes, and it holds the present.
    #[test]
    fn a_steady_span_is_steady(keys in any_keys(), secs in -2000_i64..200_000, share in 0.0..1.0) {
        let span = KeyLives::new(&keys, &policy()).steady(at(secs));
        prop_assert!(span.contains(&at(secs)));
        let (start, end) = (span.start.secs().max(-10_000), span.end.secs().min(400_000));
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small")]
        let within = start + ((end - 1 - start) as f64 * share) as i64;
        prop_assert_eq!(states(&keys, secs), states(&keys, within));
    }
}

/// The rows that some rotations leave, one after another: at once, after the overlap, or since all
/// keys before are in doubt.
fn any_keys() -> impl Strategy<Value = Vec<KeyRecord>> {
    let rotation = (0..20_000_i64, select(vec!["at once", "after overlap", "compromise"]));
    prop::collection::vec(rotation, 0..6).prop_map(|rotations| {
        let mut keys = vec![key("0", "ES256", 0)];
        let mut now = 0;
        for (wait, succession) in rotations {
            now += wait;
            if succession == "compromise" {
                for key in &mut keys {
                    key.compromised_at.get_or_insert(at(now));
                }
            }
            let activates = if succession == "after overlap" { now + 3600 } else { now };
            let id = keys.len().to_string();
            let created_at = at(now).plus(Duration::from_millis(keys.len() as u64));
            keys.push(KeyRecord { created_at, ..key(&id, "ES256", activates) });
        }
        keys
    })
}

fn rank(state: KeyState) -> u8 {
    match state {
        KeyState::Pending => 0,
        KeyState::Active => 1,
        KeyState::Retired => 2,
        KeyState::Compromised => 3,
        KeyState::Gone => 4,
    }
}

fn states(keys: &[KeyRecord], secs: i64) -> Vec<KeyState> {
    let policy = policy();
    let lives = KeyLives::new(keys, &policy);
    keys.iter().map(|key| lives.state(key, at(secs))).collect()
}

fn policy() -> KeyLifePolicy {
    KeyLifePolicy {
        algorithm: Some(Algorithm::Es256),
        access_token: Lifetime { configured: secs(TTL_NOW), longest: secs(TTL) },
        session: Lifetime { configured: secs(SESSION_TTL_NOW), longest: secs(SESSION_TTL) },
        rotate_every: Some(secs(86_400)),
        overlap: secs(3600),
    }
}

fn key(id: &str, algorithm: &str, activates: i64) -> KeyRecord {
    KeyRecord {
        id: id.to_owned(),
        purpose: PURPOSE,
        algorithm: algorithm.to_owned(),
        sealed: vec![],
        created_at: at(activates),
        activates_at: at(activates),
        compromised_at: None,
    }
}

fn compromised(key: KeyRecord, secs: i64) -> KeyRecord {
    KeyRecord { compromised_at: Some(at(secs)), ..key }
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn secs(secs: i64) -> Duration {
    Duration::from_secs(secs.unsigned_abs())
}

const PURPOSE: KeyPurpose = KeyPurpose::AccessToken;

/// As was configured once, and as is now.
const TTL: i64 = 900;
const TTL_NOW: i64 = 60;
const SESSION_TTL: i64 = 30 * 86_400;
const SESSION_TTL_NOW: i64 = 86_400;

const CHANGEOVER: i64 = 300;
