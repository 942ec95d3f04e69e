//! Time-based one-time passwords as every authenticator app makes them (RFC 6238): HMAC-SHA-1, six
//! digits, steps of 30 seconds.
//!
//! SHA-1 is what the apps know. Its weakness against collisions is none in an HMAC.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::encoding::encode_base32;
use crate::time::Timestamp;

/// What an authenticator app and the service share.
pub struct TotpSecret(Zeroizing<[u8; Self::BYTES]>);

impl TotpSecret {
    /// Its length: that of the hash, as RFC 4226 recommends.
    pub const BYTES: usize = 20;

    /// A secret from fresh entropy, or as it was sealed.
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes to seal.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The text that a person types into an app: base32 (RFC 4648).
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(encode_base32(&*self.0, BASE32))
    }

    /// The address that an app reads from a QR code: the `otpauth` scheme, which has no standard
    /// beyond what the apps agree on. `issuer` and `account` are what the app shows.
    pub fn uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let (issuer, account) = (percent_encoded(issuer), percent_encoded(account));
        let secret = self.to_base32();
        // Said in full, though apps take these for granted.
        Zeroizing::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}\
             &algorithm=SHA1&digits={DIGITS}&period={STEP_SECS}",
            *secret
        ))
    }

    /// The step whose code this is: that of `now`, the one before or the one after, since clocks
    /// differ and typing takes time. Only steps later than `after` count: a code is good once, and
    /// none that came before it is good any more (RFC 6238, section 5.2). Takes the same time
    /// whichever code is right.
    pub fn step_of(&self, code: &TotpCode, after: Option<u64>, now: Timestamp) -> Option<u64> {
        let present = step_at(now);
        let mut found = None;
        for step in [present + 1, present, present.saturating_sub(1)] {
            let is_equal = verify_slices_are_equal(&self.code(step).0, &code.0).is_ok();
            if is_equal && after.is_none_or(|after| step > after) {
                found = Some(step);
            }
        }
        found
    }

    /// The code that an app with this secret shows at `now`.
    pub fn code_at(&self, now: Timestamp) -> TotpCode {
        self.code(step_at(now))
    }

    /// RFC 4226, section 5.3.
    fn code(&self, step: u64) -> TotpCode {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &*self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[tag.len() - 1] & 0xf);
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&tag[offset..offset + 4]);
        let mut number = u32::from_be_bytes(bytes) & 0x7fff_ffff;
        let mut digits = [0; DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
        }
        TotpCode(digits)
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret")
    }
}

/// Six digits.
#[derive(Clone)]
pub struct TotpCode([u8; DIGITS]);

impl TotpCode {
    /// Reads six digits, with spaces between them as some apps show them. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        // Longer texts are not worth a look.
        if text.len() > 2 * DIGITS {
            return None;
        }
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
        let digits: [u8; DIGITS] = digits.try_into().ok()?;
        digits.iter().all(u8::is_ascii_digit).then_some(Self(digits))
    }

    /// The digits. Keep them out of logs: they are good for a minute.
    pub fn expose(&self) -> String {
        self.0.iter().copied().map(char::from).collect()
    }
}

impl fmt::Debug for TotpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpCode")
    }
}

fn step_at(now: Timestamp) -> u64 {
    u64::try_from(now.secs()).unwrap_or_default() / STEP_SECS
}

/// Whatever is not unreserved (RFC 3986, section 2.3) by its bytes.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

const DIGITS: usize = 6;
const STEP_SECS: u64 = 30;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B, for SHA-1.
    fn secret() -> TotpSecret {
        TotpSecret::new(*b"12345678901234567890")
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        for (secs, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret().code_at(at(secs)).expose(), code);
        }
    }

    #[test]
    fn a_clock_may_be_a_step_off_and_no_more() {
        let code = secret().code_at(at(3000));
        for (secs, is_right) in
            [(2940, false), (2969, false), (2970, true), (3000, true), (3059, true), (3060, false)]
        {
            let step = secret().step_of(&code, None, at(secs));
            assert_eq!(step, is_right.then_some(100), "{secs}");
        }
    }

    #[test]
    fn a_step_counts_once_and_never_goes_back() {
        let code = secret().code_at(at(3000));
        for (after, is_right) in [(98, true), (99, true), (100, false), (101, false)] {
            let step = secret().step_of(&code, Some(after), at(3000));
            assert_eq!(step, is_right.then_some(100), "{after}");
        }
    }

    #[test]
    fn a_code_is_six_digits() {
        for text in ["123456", "123 456", " 1 2 3 4 5 6"] {
            assert_eq!(TotpCode::parse(text).map(|code| code.expose()), Some("123456".to_owned()));
        }
        for text in
            ["", "12345", "1234567", "12345a", "-12345", "+12345", "１２３４５６", "123456\n"]
        {
            assert!(TotpCode::parse(text).is_none(), "{text:?}");
        }
        assert!(TotpCode::parse(&format!("123456{}", " ".repeat(100))).is_none());
    }

    #[test]
    fn an_app_is_told_everything_it_needs() {
        let uri = secret().uri("auth.example.org", "ada+1@example.org");
        let expected = "otpauth://totp/auth.example.org:ada%2B1%40example.org\
            ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=auth.example.org\
            &algorithm=SHA1&digits=6&period=30";
        assert_eq!(*uri, expected);
    }
}
