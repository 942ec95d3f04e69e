//! The small texts: CSRF tokens, device tokens, e-mail addresses, Idempotency-Keys, identifiers,
//! service keys.

use keyward_core::csrf::CsrfKeys;
use keyward_core::device_token::{DeviceId, DeviceKey, KnownDevice};
use keyward_core::email::{EMAIL_BYTES_MAX, Email};
use keyward_core::id::{SessionId, UserId};
use keyward_core::refresh_token::IdempotencyKey;
use keyward_core::service_key::ServiceKey;
use keyward_core::time::Timestamp;
use unicode_normalization::UnicodeNormalization as _;

use crate::input::Input;

/// A session has exactly one token per key, in exactly one form.
pub(crate) fn csrf_token(data: &[u8]) {
    let (first, second) = ((1, [1; 32]), (2, [2; 32]));
    let keys = CsrfKeys::new(second, vec![first]);
    let mut input = Input::new(data);
    let session = SessionId::from_bytes(input.array());
    let good = [keys.issue(session), CsrfKeys::new(first, vec![]).issue(session)];
    assert!(good.iter().all(|token| keys.verify(token, session)), "an issued token is refused");
    if let Ok(text) = std::str::from_utf8(input.rest()) {
        let is_good = good.iter().any(|token| token == text);
        assert_eq!(keys.verify(text, session), is_good, "another text than the issued one");
    }
}

/// A device has exactly one token for an address, and it is one for no other address.
pub(crate) fn device_token(data: &[u8]) {
    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
    let key = DeviceKey::new(&[1; 32]);
    let mut input = Input::new(data);
    let device = KnownDevice {
        id: DeviceId::from_bytes(input.array()),
        user_id: UserId::from_bytes(input.array()),
        credential_version: u64::from_be_bytes(input.array()),
        issued_at: NOW,
    };
    let good = key.issue(&device, "ada@example.org");
    assert_eq!(key.verify(good.expose(), "ada@example.org", NOW), Some(device));
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };
    let read = key.verify(text, "ada@example.org", NOW);
    assert_eq!(read.is_some(), text == good.expose(), "another text than the issued one");
    let read = key.verify(good.expose(), text, NOW);
    assert_eq!(read.is_some(), text == "ada@example.org", "good for another address");
}

/// An address is kept as it was given, in NFC; its key is an address too, and its own key.
pub(crate) fn email(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(email) = Email::parse(text) else { return };
    let shown = email.shown();
    assert!(shown.chars().eq(text.nfc()), "{shown:?}");
    assert!(text.len().max(shown.len()) <= EMAIL_BYTES_MAX);
    assert!(!shown.contains(|char: char| char.is_control() || char.is_whitespace()));
    let key = Email::parse(email.key()).expect("the key of an address is an address");
    assert_eq!(key.key(), email.key(), "the key of a key is another one");
}

/// A key is 16 to 128 printable ASCII characters, and every such text is a key.
pub(crate) fn idempotency_key(data: &[u8]) {
    let is_key =
        (16..=128).contains(&data.len()) && data.iter().all(|byte| (b' '..=b'~').contains(byte));
    let parsed = std::str::from_utf8(data).ok().and_then(IdempotencyKey::parse);
    assert_eq!(parsed.is_some(), is_key);
    assert!(parsed.is_none_or(|key| format!("{key:?}") == "IdempotencyKey"), "it shows itself");
}

/// An id has one text.
pub(crate) fn identifier(data: &[u8]) {
    let id = SessionId::from_bytes(Input::new(data).array());
    assert_eq!(id.to_string().parse(), Ok(id));
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(id) = text.parse::<UserId>() {
        assert_eq!(id.to_string(), text);
    }
}

/// A key has one text, and no other text is it.
pub(crate) fn service_key(data: &[u8]) {
    let key = ServiceKey::issue(&Input::new(data).array());
    let issued = ServiceKey::parse(key.expose()).expect("an issued key is refused");
    assert_eq!(issued.hash(), key.hash());
    let Some(parsed) = std::str::from_utf8(data).ok().and_then(ServiceKey::parse) else { return };
    assert_eq!(parsed.expose().as_bytes(), data, "another text than the presented one");
    assert_eq!(format!("{parsed:?}"), "ServiceKey", "it shows itself");
}
