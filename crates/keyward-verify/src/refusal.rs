//! Why a token is not accepted, in the words of the service's HTTP interface.

use std::fmt;

/// Why a token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It was good until it expired: refresh and try again.
    Expired,
    /// It is no token of ours. Which check failed is not told, so that it cannot be probed.
    Invalid,
    /// Nobody can say at this moment: keys or revocations are missing or too old. The token may be
    /// good, so its bearer is not signed out over it; [`Verifier::status`](crate::Verifier::status)
    /// says what is missing.
    NotCurrent,
    /// Its session, or its user, was revoked.
    Revoked,
}

impl Refusal {
    /// The code of the answer, as clients of the issuing service know it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Expired => "TOKEN_EXPIRED",
            Self::Invalid => "INVALID_TOKEN",
            Self::NotCurrent => "STORE_UNAVAILABLE",
            Self::Revoked => "TOKEN_REVOKED",
        }
    }

    /// The sentence of the answer, for a person.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Expired => "The access token has expired.",
            Self::Invalid => "The access token or service key is not valid.",
            Self::NotCurrent => "The service cannot answer right now; try again soon.",
            Self::Revoked => "The session of the access token has ended.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for Refusal {}

impl From<keyward_core::access_token::Refusal> for Refusal {
    fn from(refusal: keyward_core::access_token::Refusal) -> Self {
        match refusal {
            keyward_core::access_token::Refusal::Expired => Self::Expired,
            keyward_core::access_token::Refusal::Invalid => Self::Invalid,
        }
    }
}
