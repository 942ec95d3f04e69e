//! Opaque tokens: random bytes by which their record is found, and nothing else.
//!
//! ```text
//! prefix base64url( secret 32 )
//! ```
//!
//! The secret is random, so its SHA-256 is enough to find the token by and tells nothing about it.
//! Each kind has a type and a prefix of its own, so that none is taken for another:
//! [`OneTimeToken`](crate::one_time_token::OneTimeToken),
//! [`MfaToken`](crate::second_factor::MfaToken) and
//! [`ServiceKey`](crate::service_key::ServiceKey). Tokens that say something by themselves
//! ([`refresh_token`](crate::refresh_token), [`device_token`](crate::device_token)) have forms of
//! their own.

use std::fmt;
use std::marker::PhantomData;

use zeroize::Zeroizing;

use crate::encoding;
use crate::secret_hash::{Secret, SecretHash};

/// A kind of opaque token.
pub trait Kind {
    /// What `Debug` shows in place of the token.
    const NAME: &'static str;
    /// What every token of the kind starts with. Secret scanners know tokens by it: never change
    /// it.
    const PREFIX: &'static str;
}

/// A token in clear: it exists when it is made, and while what carries it is looked at.
pub struct OpaqueToken<K>(Zeroizing<String>, PhantomData<fn() -> K>);

impl<K: Kind> OpaqueToken<K> {
    /// Random bytes in each token, fresh from the operating system's generator.
    pub const SECRET_BYTES: usize = SECRET_BYTES;

    /// Makes a token from fresh entropy.
    pub fn issue(secret: &[u8; SECRET_BYTES]) -> Self {
        let encoded = Zeroizing::new(encoding::encode(secret));
        let mut text = Zeroizing::new(String::with_capacity(K::PREFIX.len() + encoded.len()));
        text.push_str(K::PREFIX);
        text.push_str(&encoded);
        Self(text, PhantomData)
    }

    /// Reads a presented text. `None` for everything that has not the form of such a token.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(K::PREFIX)?;
        Zeroizing::new(encoding::decode_exact::<SECRET_BYTES>(encoded)?);
        Some(Self(Zeroizing::new(text.to_owned()), PhantomData))
    }

    /// The text for whoever will present it. Keep it out of logs, errors and whatever else a
    /// browser sends.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the store knows of this token.
    pub fn hash(&self) -> SecretHash<Self> {
        SecretHash::over(&[self.0.as_bytes()])
    }
}

impl<K: Kind> Secret for OpaqueToken<K> {
    const NAME: &'static str = K::NAME;
}

impl<K: Kind> fmt::Debug for OpaqueToken<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::NAME)
    }
}

const SECRET_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;

    use super::*;
    use crate::one_time_token::{ForMail, OneTimeToken};
    use crate::second_factor::{ForChallenge, MfaToken};
    use crate::service_key::{ForServices, ServiceKey};

    fn has_one_text<K: Kind>() {
        let token = OpaqueToken::<K>::issue(&[0xff; SECRET_BYTES]);
        let text = token.expose();
        assert_eq!(text.len(), K::PREFIX.len() + 43);
        assert_eq!(OpaqueToken::<K>::parse(text).map(|token| token.hash()), Some(token.hash()));
        let last_bit = format!("{}9", &text[..text.len() - 1]);
        for junk in [
            "",
            K::PREFIX,
            &text[K::PREFIX.len()..],
            &text[..text.len() - 1],
            &format!("{text}A"),
            &format!("{text}="),
            &format!(" {text}"),
            &format!("{text}\n"),
            &text.replace(K::PREFIX, "kwr_"),
            &text.replace(K::PREFIX, &K::PREFIX.to_uppercase()),
            &text.replace('_', "/"),
            &last_bit,
        ] {
            assert!(OpaqueToken::<K>::parse(junk).is_none(), "{junk:?}");
        }
    }

    #[test]
    fn one_token_has_one_text() {
        has_one_text::<ForMail>();
        has_one_text::<ForChallenge>();
        has_one_text::<ForServices>();
    }

    #[test]
    fn no_kind_is_taken_for_another() {
        let (token, key) = (MfaToken::issue(&[7; 32]), ServiceKey::issue(&[7; 32]));
        assert!(ServiceKey::parse(token.expose()).is_none());
        assert!(MfaToken::parse(key.expose()).is_none());
        assert!(OneTimeToken::parse(key.expose()).is_none());
        assert!(ServiceKey::parse(OneTimeToken::issue(&[7; 32]).expose()).is_none());
    }

    #[test]
    fn the_hash_is_sha_256_of_the_text() {
        let key = ServiceKey::issue(&[1; SECRET_BYTES]);
        let expected = digest::digest(&digest::SHA256, key.expose().as_bytes());
        assert_eq!(key.hash().as_bytes(), expected.as_ref());
        assert_ne!(key.hash(), ServiceKey::issue(&[2; SECRET_BYTES]).hash());
    }

    #[test]
    fn nothing_shows_itself() {
        let key = ServiceKey::issue(&[1; SECRET_BYTES]);
        assert_eq!(format!("{key:?} {:?}", key.hash()), "ServiceKey ServiceKeyHash");
        let token = OneTimeToken::issue(&[1; SECRET_BYTES]);
        assert_eq!(format!("{token:?} {:?}", token.hash()), "OneTimeToken OneTimeTokenHash");
        let token = MfaToken::issue(&[1; SECRET_BYTES]);
        assert_eq!(format!("{token:?} {:?}", token.hash()), "MfaToken MfaTokenHash");
    }
}
