//! Identifiers. None of them is a secret; knowing one opens nothing.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use uuid::{Builder, Uuid};

use crate::time::Timestamp;

/// Entropy that a new identifier takes: the random bits of a version 7 UUID (RFC 9562, section
/// 5.7).
pub type IdEntropy = [u8; 10];

/// A text that is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text is not an identifier")
    }
}

impl std::error::Error for InvalidId {}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier. Ids made later sort later, which keeps index pages together.
            pub fn new(now: Timestamp, entropy: IdEntropy) -> Self {
                let millis = u64::try_from(now.millis()).unwrap_or(0);
                Self(Builder::from_unix_timestamp_millis(millis, &entropy).into_uuid())
            }

            /// When it was made, to the millisecond, where it is one of [`Self::new`].
            pub fn made_at(&self) -> Option<Timestamp> {
                let (secs, nanos) = self.0.get_timestamp()?.to_unix();
                let secs = Timestamp::from_secs(i64::try_from(secs).ok()?);
                Some(secs.plus(Duration::from_nanos(u64::from(nanos))))
            }

            /// The identifier with these bytes, as a store or a token holds it.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The sixteen bytes that stores and tokens hold.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Reads the canonical form only (lower-case, hyphenated), so that one id has one text.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let id = Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)?;
                if id.to_string() == text { Ok(id) } else { Err(InvalidId) }
            }
        }
    };
}

id! {
    /// Identifies a user; the `sub` claim of access tokens.
    UserId
}
id! {
    /// Identifies a session: one sign-in on one device; the `sid` claim of access tokens.
    SessionId
}
id! {
    /// Identifies a mail on its way.
    MailId
}
id! {
    /// Identifies a service key.
    ServiceKeyId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_id_has_one_text() {
        let id = UserId::new(Timestamp::from_secs(1_700_000_000), [7; 10]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse::<UserId>(), Err(InvalidId));
        assert_eq!(id.to_string().replace('-', "").parse::<UserId>(), Err(InvalidId));
    }

    #[test]
    fn later_ids_sort_later() {
        let earlier = SessionId::new(Timestamp::from_millis(1000), [255; 10]);
        let later = SessionId::new(Timestamp::from_millis(1001), [0; 10]);
        assert!(earlier < later);
        assert_eq!(later.made_at(), Some(Timestamp::from_millis(1001)));
        assert_eq!(SessionId::from_bytes([0; 16]).made_at(), None);
    }
}
