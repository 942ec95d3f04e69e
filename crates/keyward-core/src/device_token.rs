//! The device token: by it a browser shows that an account has signed in with it before (the device
//! cookie of OWASP's authentication cheat sheet). Nobody is signed in by it.
//!
//! ```text
//! base64url( device 16 | user_id 16 | credential_version 8 | issued_at 8 | tag 32 )
//! tag = HMAC-SHA-256("keyward device v1" | all before the tag | e-mail key)
//! ```
//!
//! The address is under the tag and not in the token: a sign-in names the address, so that the
//! token is judged before anything is looked up. User and credential version are in it for
//! afterwards: a token from before a change of the credentials, or of another account that had the
//! address, is none of this account's.
//!
//! Which mistakes are dangerous: to take a token for one of another account, since with it
//! strangers would guess beside the account's limits. To take a good one for none costs a mail.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;

use crate::encoding;
use crate::id::UserId;
use crate::time::Timestamp;

/// How long a device is known after its last sign-in.
pub const DEVICE_TTL: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// The key under which device tokens are tagged.
pub struct DeviceKey(hmac::Key);

/// Names a browser towards one account. It means nothing else, and each sign-in has a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId([u8; 16]);

/// What a device token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownDevice {
    /// The browser.
    pub id: DeviceId,
    /// Who signed in with it.
    pub user_id: UserId,
    /// The version of the credentials that they had by then.
    pub credential_version: u64,
    /// When they did.
    pub issued_at: Timestamp,
}

/// The text of a device token.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceToken(String);

impl DeviceKey {
    /// A key from 32 bytes of entropy. It serves nothing else.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token of a device for the account with this [`Email::key`](crate::email::Email::key).
    pub fn issue(&self, device: &KnownDevice, email_key: &str) -> DeviceToken {
        let mut bytes = [0; TOKEN_BYTES];
        let (said, tag) = bytes.split_at_mut(SAID_BYTES);
        said[..16].copy_from_slice(&device.id.0);
        said[16..32].copy_from_slice(device.user_id.as_bytes());
        said[32..40].copy_from_slice(&device.credential_version.to_be_bytes());
        said[40..].copy_from_slice(&device.issued_at.millis().to_be_bytes());
        tag.copy_from_slice(hmac::sign(&self.0, &message(said, email_key)).as_ref());
        DeviceToken(encoding::encode(&bytes))
    }

    /// What the token says, where it is one for an account with this address, made under this key
    /// less than [`DEVICE_TTL`] ago. Compares in constant time.
    pub fn verify(&self, token: &str, email_key: &str, now: Timestamp) -> Option<KnownDevice> {
        let bytes = encoding::decode_exact::<TOKEN_BYTES>(token)?;
        let (said, tag) = bytes.split_at(SAID_BYTES);
        hmac::verify(&self.0, &message(said, email_key), tag).ok()?;
        let device = KnownDevice {
            id: DeviceId(said[..16].try_into().ok()?),
            user_id: UserId::from_bytes(said[16..32].try_into().ok()?),
            credential_version: u64::from_be_bytes(said[32..40].try_into().ok()?),
            issued_at: Timestamp::from_millis(i64::from_be_bytes(said[40..].try_into().ok()?)),
        };
        (now < device.issued_at.plus(DEVICE_TTL)).then_some(device)
    }
}

impl DeviceId {
    /// An id from 16 bytes of entropy.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl KnownDevice {
    /// Whether this account has signed in with the device, with the credentials that it has still.
    pub fn is_of(&self, user_id: UserId, credential_version: u64) -> bool {
        self.user_id == user_id && self.credential_version == credential_version
    }
}

impl DeviceToken {
    /// The text for the cookie. Keep it out of logs, errors and URLs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey")
    }
}

impl fmt::Debug for DeviceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceToken")
    }
}

/// All but the last part are of one length, so that no two messages are the same.
fn message(said: &[u8], email_key: &str) -> Vec<u8> {
    [LABEL.as_slice(), said, email_key.as_bytes()].concat()
}

const LABEL: &[u8; 17] = b"keyward device v1";
const SAID_BYTES: usize = 48;
const TOKEN_BYTES: usize = SAID_BYTES + 32;

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str = "ada@example.org";
    const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

    fn key() -> DeviceKey {
        DeviceKey::new(&[1; 32])
    }

    fn device() -> KnownDevice {
        KnownDevice {
            id: DeviceId::from_bytes([2; 16]),
            user_id: UserId::from_bytes([3; 16]),
            credential_version: 4,
            issued_at: NOW,
        }
    }

    #[test]
    fn says_what_it_was_made_for() {
        let token = key().issue(&device(), ADA);
        assert_eq!(key().verify(token.expose(), ADA, NOW), Some(device()));
        let (own, other) = (UserId::from_bytes([3; 16]), UserId::from_bytes([9; 16]));
        assert!(device().is_of(own, 4));
        assert!(!device().is_of(own, 5) && !device().is_of(own, 3) && !device().is_of(other, 4));
        assert_eq!(format!("{token:?} {:?}", key()), "DeviceToken DeviceKey");
    }

    #[test]
    fn is_nothing_for_another_address_or_under_another_key() {
        let token = key().issue(&device(), ADA);
        assert_eq!(key().verify(token.expose(), "eve@example.org", NOW), None);
        assert_eq!(key().verify(token.expose(), "", NOW), None);
        assert_eq!(DeviceKey::new(&[2; 32]).verify(token.expose(), ADA, NOW), None);
    }

    #[test]
    fn ends_to_the_millisecond() {
        let token = key().issue(&device(), ADA);
        let end = NOW.plus(DEVICE_TTL);
        let last = end.minus(Duration::from_millis(1));
        assert_eq!(key().verify(token.expose(), ADA, last), Some(device()));
        assert_eq!(key().verify(token.expose(), ADA, end), None);
        // A clock that was set back forgets nobody.
        assert_eq!(key().verify(token.expose(), ADA, NOW.minus(DEVICE_TTL)), Some(device()));
    }

    #[test]
    fn any_other_text_is_none() {
        let token = key().issue(&device(), ADA);
        let text = token.expose();
        for end in 0..text.len() {
            assert_eq!(key().verify(&text[..end], ADA, NOW), None);
            // Each character tampered with; of the last one four bits count.
            let mut bytes = text.as_bytes().to_vec();
            bytes[end] = if bytes[end] == b'A' { b'Q' } else { b'A' };
            let tampered = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(key().verify(&tampered, ADA, NOW), None, "at {end}");
        }
        for text in ["", "é", &format!("{text}A"), &format!("{text}=")] {
            assert_eq!(key().verify(text, ADA, NOW), None);
        }
    }
}
