//! Refresh tokens and sealed successors.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::id::SessionId;
use keyward_core::refresh_token::{
    GENERATION_MAX, IdempotencyKey, MacKey, MacKeys, PREFIX, RefreshToken, RetrySecret,
    SealedSuccessor, TEXT_BYTES, TagTrust,
};

use crate::input::Input;

/// A text that parses is the one text of a token that was issued; a token that was issued parses,
/// and with one byte changed does not; a sealed successor opens for whom it was sealed for alone.
pub(crate) fn refresh_token(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        check_presented(text);
    }
    let mut input = Input::new(data);
    let session_id = SessionId::from_bytes(input.array());
    let generation = u64::from_be_bytes(input.array());
    let token = RefreshToken::issue(session_id, generation, &input.array(), &keys());
    let parsed = RefreshToken::parse(token.expose(), &keys());
    assert_eq!(parsed.is_some(), generation <= GENERATION_MAX, "only forgers count that far");
    if let Some(parsed) = parsed {
        assert_eq!(parsed.expose(), token.expose());
        assert_eq!((parsed.session_id(), parsed.generation()), (session_id, generation));
        check_tampered(token.expose(), &mut input);
        check_sealed(&token, &mut input);
    }
}

/// Of a text that parses, nothing but its tag is left to choose.
fn check_presented(text: &str) {
    let Some(token) = RefreshToken::parse(text, &keys()) else { return };
    assert_eq!((token.expose(), text.len()), (text, TEXT_BYTES));
    let body = text.strip_prefix(PREFIX).expect("every token has the prefix");
    let bytes = URL_SAFE_NO_PAD.decode(body).expect("every token is base64url");
    let secret = bytes[25..57].try_into().expect("32 bytes");
    let key = keys_with_active(bytes[0]);
    let issued = RefreshToken::issue(token.session_id(), token.generation(), secret, &key);
    assert_eq!(issued.expose(), text, "this server would not have issued it");
    assert_eq!(issued.trust(), token.trust());
}

/// One byte is another one.
fn check_tampered(text: &str, input: &mut Input<'_>) {
    let mut bytes = text.as_bytes().to_vec();
    let at = input.choice(bytes.len());
    bytes[at] ^= input.array::<1>()[0].max(1);
    if let Ok(tampered) = std::str::from_utf8(&bytes) {
        assert!(RefreshToken::parse(tampered, &keys()).is_none(), "a changed token parses");
    }
}

/// What was sealed opens, and nothing else does: not for another generation or key, not where it is
/// not the current token, not cut, not changed.
fn check_sealed(successor: &RefreshToken, input: &mut Input<'_>) {
    let presented = RefreshToken::issue(successor.session_id(), 0, &input.array(), &keys());
    let key = |text: &str| IdempotencyKey::parse(text).expect("a key");
    let secret = RetrySecret::derive(&presented, &key("0123456789abcdef"));
    let other = RetrySecret::derive(&presented, &key("0123456789abcdeg"));
    let sealed = secret.seal(successor, &input.array());
    let (id, generation) = (successor.session_id(), successor.generation());
    let open = |secret: &RetrySecret, sealed: &SealedSuccessor, generation| {
        let opened = secret.open(sealed, id, generation, successor.hash(), &keys());
        opened.map(|token| token.expose().to_owned())
    };
    let second_line = secret.open(&sealed, id, generation, presented.hash(), &keys());
    assert!(second_line.is_none() || presented.hash() == successor.hash());
    let opened = open(&secret, &sealed, generation);
    assert_eq!(opened.as_deref(), Some(successor.expose()));
    assert_eq!(open(&secret, &sealed, generation ^ 1), None);
    assert_eq!(open(&other, &sealed, generation), None);
    assert!(other.proof() != secret.proof());
    let mut bytes = sealed.as_bytes().to_vec();
    let at = input.choice(bytes.len());
    let cut = SealedSuccessor::from_bytes(bytes[..at].to_vec());
    bytes[at] ^= input.array::<1>()[0].max(1);
    for bytes in [cut, SealedSuccessor::from_bytes(bytes)] {
        assert_eq!(open(&secret, &bytes, generation), None);
    }
    let junk = SealedSuccessor::from_bytes(input.rest().to_vec());
    assert!(junk == sealed || open(&secret, &junk, generation).is_none());
}

fn keys() -> MacKeys {
    keys_with_active(1)
}

/// Key 1 is in use, key 2 was, and key 3 was stolen; any of them can be the active one.
fn keys_with_active(id: u8) -> MacKeys {
    let key = |id: u8| {
        let trust = if id == 3 { TagTrust::Compromised } else { TagTrust::Sound };
        MacKey::new(id, &[id; 32], trust)
    };
    MacKeys::new(key(id), (1..=3).filter(|other| *other != id).map(key).collect())
}
