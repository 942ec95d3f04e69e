//! The text of refresh tokens, and the seal around a successor.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use keyward_core::id::SessionId;
use keyward_core::refresh_token::{
    GENERATION_MAX, IdempotencyKey, MacKey, MacKeys, PREFIX, RefreshToken, RefreshTokenHash,
    RetrySecret, SealedSuccessor, TEXT_BYTES, TagTrust,
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn what_is_issued_parses_to_the_same(
        session_id in any::<[u8; 16]>(),
        generation in 0..=GENERATION_MAX,
        secret in any::<[u8; 32]>(),
    ) {
        let session_id = SessionId::from_bytes(session_id);
        let issued = RefreshToken::issue(session_id, generation, &secret, &keys());
        let parsed = RefreshToken::parse(issued.expose(), &keys()).expect("it was issued");
        assert_eq!(parsed.session_id(), session_id);
        assert_eq!(parsed.generation(), generation);
        assert_eq!(parsed.hash(), issued.hash());
        assert_eq!(parsed.expose(), issued.expose());
        assert_eq!(parsed.trust(), TagTrust::Sound);
        assert_eq!(issued.expose().len(), TEXT_BYTES);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in prop_oneof![".*", "kwr_[A-Za-z0-9_-]{90,100}"]) {
        refuses(&text);
    }
}

#[test]
fn a_claimed_key_is_told_without_any_proof() {
    let mut bytes = decode(token(3).expose());
    bytes[0] = 251;
    assert_eq!(RefreshToken::claimed_key(&encode(&bytes)), Some(251));
    assert!(!keys().has(251));
    let text = encode(&bytes);
    for other in ["", "kwr_", &text[1..], &text[..text.len() - 1], &format!("{text}A")] {
        assert_eq!(RefreshToken::claimed_key(other), None, "{other}");
    }
}

#[test]
fn every_bit_is_covered_by_the_tag() {
    let token = token(3);
    let bytes = decode(token.expose());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refuses(&encode(&flipped));
    }
    assert_eq!(encode(&bytes), token.expose());
}

#[test]
fn every_changed_inserted_or_removed_character_is_refused() {
    let token = token(3);
    let text = token.expose();
    for position in 0..=text.len() {
        let (head, tail) = text.split_at(position);
        for other in 0..128_u8 {
            let other = char::from(other);
            refuses(&format!("{head}{other}{tail}"));
            if !tail.is_empty() && !tail.starts_with(other) {
                refuses(&format!("{head}{other}{}", &tail[1..]));
            }
        }
        if position < text.len() {
            refuses(head);
            refuses(tail.strip_prefix(PREFIX).unwrap_or(&tail[1..]));
            refuses(&format!("{head}{}", &tail[1..]));
        }
    }
}

#[test]
fn one_token_has_one_text() {
    let token = token(3);
    let text = token.expose();
    let all_ones = RefreshToken::issue(SESSION, 3, &[0xff; 32], &keys());
    let standard = all_ones.expose()[PREFIX.len()..].replace('_', "/").replace('-', "+");
    for other in [
        text.to_uppercase(),
        text.to_lowercase(),
        text.replacen("kwr_", "KWR_", 1),
        text.replacen("kwr_", "kwk_", 1),
        text.replacen("kwr_", "", 1),
        format!("{PREFIX}{standard}"),
        format!("{text}="),
        format!("{text}=="),
        format!("{text}\n"),
        format!(" {text}"),
        format!("{text}{text}"),
        format!("\u{feff}{text}"),
        text.replace("kwr_", "kwr%5f"),
        "A".repeat(1_000_000),
        String::new(),
    ] {
        refuses(&other);
    }
}

#[test]
fn the_key_id_chooses_the_key_and_nothing_else_fits() {
    let text = token(3);
    let text = text.expose();
    let accepted = |active, retired| RefreshToken::parse(text, &MacKeys::new(active, retired));
    let sound = |id, secret| MacKey::new(id, &[secret; 32], TagTrust::Sound);

    assert!(accepted(sound(1, 1), vec![]).is_some());
    assert!(accepted(sound(2, 2), vec![sound(1, 1)]).is_some(), "retired keys still verify");
    assert!(accepted(sound(2, 2), vec![]).is_none(), "an unknown key id");
    assert!(accepted(sound(1, 2), vec![]).is_none(), "another key under the same id");
    assert!(accepted(sound(2, 1), vec![]).is_none(), "the same key under another id");
}

#[test]
fn a_compromised_key_shows_in_the_token() {
    let compromised = || MacKey::new(1, &[1; 32], TagTrust::Compromised);
    let text = token(3);
    let keys = MacKeys::new(MacKey::new(2, &[2; 32], TagTrust::Sound), vec![compromised()]);
    let parsed = RefreshToken::parse(text.expose(), &keys).expect("the tag is good");
    assert_eq!(parsed.trust(), TagTrust::Compromised);

    let keys = MacKeys::new(compromised(), vec![]);
    let issued = RefreshToken::issue(SESSION, 0, &[9; 32], &keys);
    assert_eq!(issued.trust(), TagTrust::Compromised, "whichever way the token comes about");
}

#[test]
fn a_generation_without_a_successor_is_refused() {
    assert!(RefreshToken::parse(token(GENERATION_MAX).expose(), &keys()).is_some());
    for beyond in [GENERATION_MAX + 1, u64::MAX] {
        refuses(token(beyond).expose());
    }
}

#[test]
fn a_sealed_successor_opens_for_its_own_rotation() {
    let sealed = Sealed::new();
    let opened = sealed.open(&sealed.secret).expect("everything fits");
    assert_eq!(opened.expose(), token(4).expose());
    let again = sealed.open(&secret(&token(3), KEY)).expect("derived anew");
    assert_eq!(again.hash(), token(4).hash());
}

#[test]
fn a_sealed_successor_opens_nowhere_else() {
    let refuses = |what: &str, edit: &dyn Fn(&mut Sealed)| {
        let mut sealed = Sealed::new();
        edit(&mut sealed);
        assert!(sealed.open(&sealed.secret).is_none(), "{what}");
    };
    refuses("another token", &|sealed| sealed.secret = secret(&token(2), KEY));
    refuses("another key", &|sealed| sealed.secret = secret(&token(3), "another key of 16+"));
    refuses("another session", &|sealed| sealed.session_id = SessionId::from_bytes([4; 16]));
    refuses("another generation", &|sealed| sealed.generation = 5);
    refuses("another current token", &|sealed| sealed.hash = token(5).hash());
    refuses("a key of tags that is gone", &|sealed| {
        sealed.keys = MacKeys::new(MacKey::new(7, &[7; 32], TagTrust::Sound), vec![]);
    });
    let length = Sealed::new().bytes.len();
    for position in 0..length {
        refuses("a flipped bit", &|sealed| sealed.bytes[position] ^= 1);
        refuses("a truncation", &|sealed| sealed.bytes.truncate(position));
        refuses("a missing head", &|sealed| drop(sealed.bytes.drain(..=position)));
    }
    refuses("an extension", &|sealed| sealed.bytes.push(0));
}

#[test]
fn a_proof_depends_on_both_the_token_and_the_key() {
    let proof = secret(&token(3), KEY).proof();
    assert_eq!(secret(&token(3), KEY).proof(), proof);
    for (generation, key) in
        [(4, KEY), (3, "0123456789abcdeF"), (3, "0123456789abcdef0"), (3, " 123456789abcdef")]
    {
        assert_ne!(secret(&token(generation), key).proof(), proof, "{generation} {key}");
    }
    // A character moved over the border between the two inputs: the token's length is fixed, so the
    // nearest that can be presented is a key that begins with the end of the token.
    let moved = format!("{}{KEY}", &token(3).expose()[TEXT_BYTES - 1..]);
    assert_ne!(secret(&token(3), &moved).proof(), proof);
}

#[test]
fn tokens_and_proofs_are_stable_formats() {
    // What was issued and stored must survive an upgrade: these bytes may not change.
    assert_eq!(token(3).expose(), TEXT);
    assert_eq!(*secret(&token(3), KEY).proof().as_bytes(), PROOF);
}

#[test]
fn idempotency_keys_are_16_to_128_printable_characters() {
    for good in ["x".repeat(16), "x".repeat(128), "a key with spaces!~".to_owned()] {
        assert!(IdempotencyKey::parse(&good).is_some(), "{good:?}");
    }
    for bad in [
        String::new(),
        "x".repeat(15),
        "x".repeat(129),
        "tab\tin the middle of it".to_owned(),
        "line\nin the middle of it".to_owned(),
        "zero\0in the middle of it".to_owned(),
        "delete\u{7f}in the middle".to_owned(),
        "ümlaute sind zu viele".to_owned(),
    ] {
        assert!(IdempotencyKey::parse(&bad).is_none(), "{bad:?}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let check = |shown: String, expected: &str| assert_eq!(shown, expected);
    let sealed = Sealed::new();
    check(format!("{:?}", token(3)), "RefreshToken");
    check(format!("{:?}", token(3).hash()), "RefreshTokenHash");
    check(format!("{:?}", sealed.secret), "RetrySecret");
    check(format!("{:?}", sealed.secret.proof()), "RetryProof");
    check(format!("{:?}", SealedSuccessor::from_bytes(sealed.bytes)), "SealedSuccessor");
    check(format!("{:?}", IdempotencyKey::parse(KEY)), "Some(IdempotencyKey)");
    check(format!("{:?}", keys()), "MacKeys { active: MacKey(1), retired: [] }");
}

/// A sealed successor with everything that is needed to open it.
struct Sealed {
    secret: RetrySecret,
    bytes: Vec<u8>,
    session_id: SessionId,
    generation: u64,
    hash: RefreshTokenHash,
    keys: MacKeys,
}

impl Sealed {
    fn new() -> Self {
        let secret = secret(&token(3), KEY);
        let bytes = secret.seal(&token(4), &[5; 12]).as_bytes().to_vec();
        let hash = token(4).hash();
        Self { secret, bytes, session_id: SESSION, generation: 4, hash, keys: keys() }
    }

    fn open(&self, secret: &RetrySecret) -> Option<RefreshToken> {
        let sealed = SealedSuccessor::from_bytes(self.bytes.clone());
        secret.open(&sealed, self.session_id, self.generation, self.hash, &self.keys)
    }
}

#[track_caller]
fn refuses(text: &str) {
    assert!(RefreshToken::parse(text, &keys()).is_none(), "{text:?}");
}

fn token(generation: u64) -> RefreshToken {
    let mut secret = [0xa5; 32];
    secret[..8].copy_from_slice(&generation.to_be_bytes());
    RefreshToken::issue(SESSION, generation, &secret, &keys())
}

fn secret(token: &RefreshToken, key: &str) -> RetrySecret {
    RetrySecret::derive(token, &IdempotencyKey::parse(key).expect("it is well formed"))
}

fn keys() -> MacKeys {
    MacKeys::new(MacKey::new(1, &[1; 32], TagTrust::Sound), vec![])
}

fn encode(bytes: &[u8]) -> String {
    format!("{PREFIX}{}", BASE64URL.encode(bytes))
}

fn decode(text: &str) -> Vec<u8> {
    BASE64URL.decode(text.strip_prefix(PREFIX).expect("the prefix")).expect("base64url")
}

const SESSION: SessionId = SessionId::from_bytes([3; 16]);
const KEY: &str = "0123456789abcdef";
/// Both computed by another implementation of HMAC and HKDF.
const TEXT: &str = concat!(
    "kwr_AQMDAwMDAwMDAwMDAwMDAwMAAAAAAAAAAwAAAAAAAAADpaW",
    "lpaWlpaWlpaWlpaWlpaWlpaWlpaWlxYaGsggfgMSYSREYkKmnDQ",
);
const PROOF: [u8; 16] = [152, 83, 181, 218, 190, 64, 218, 81, 33, 213, 89, 86, 16, 134, 28, 93];
