//! Why requests are refused, by reason and without anything of HTTP.

use std::fmt;

use keyward_core::password::PasswordRefusal;
use keyward_core::service_key::Scope;
use keyward_core::session::RevocationReason;

use super::keyring::KeyringError;
use crate::hashing::Overloaded;
use crate::limits::Limited;
use crate::store::StoreError;

/// Why a request was refused. `http::error` is the only place that knows what each one looks like
/// from outside.
#[derive(Debug)]
pub enum Failure {
    /// The account is disabled; the password was right.
    AccountDisabled,
    /// A service key is used on an administrator's account, or to make one.
    AdminsOnly,
    /// The password was right, but the address was never verified.
    EmailNotVerified,
    /// Another account has the address.
    EmailTaken,
    /// As many follow the revocations as may.
    FeedFull,
    /// No account with this address, or another password.
    InvalidCredentials,
    /// No administrator.
    InsufficientPermissions,
    /// The code is wrong, was used before, or is none.
    InvalidMfaCode,
    /// The sign-in that the token names waits for no code, or not any more.
    InvalidMfaToken,
    /// Not a one-time token of ours, or one that is spent, expired or of another purpose.
    InvalidOneTimeToken,
    /// Rows 1 and 2: not a refresh token of ours, or of a session that is not there.
    InvalidRefreshToken,
    /// Not an access token or a service key of ours.
    InvalidToken,
    /// The keys that sign are configured, and not rotated here.
    KeyConfigured,
    /// Every number that a new key could have is taken by one that is in use.
    KeyNumbersTaken,
    /// Nobody could call the admin API any more.
    LastAdmin,
    /// There is a second factor already.
    MfaEnabled,
    /// There is no second factor, or no set-up of one.
    MfaNotEnabled,
    /// The service key has not this scope.
    MissingScope(Scope),
    /// There is no such thing, or it is somebody else's.
    NotFound,
    /// Too many passwords wait to be hashed.
    Overloaded(Overloaded),
    /// Others are having the audit log read through.
    LogOverloaded,
    /// Too much waits to be mailed.
    MailOverloaded,
    /// A new password is refused.
    PasswordRefused(PasswordRefusal),
    /// Tried too often.
    RateLimited(Limited),
    /// The user has signed in too long ago for this, or without the second factor.
    ReauthenticationRequired,
    /// Rows 7 and 8: an honest repeat that comes too late to be answered, and no harm.
    RefreshRace,
    /// Row 9: a replaced refresh token; its session is ended.
    RefreshTokenReused,
    /// Only the operator makes accounts.
    RegistrationClosed,
    /// Row 4: the session timed out.
    SessionExpired,
    /// Rows 3 and 10: the session was ended.
    SessionRevoked(RevocationReason),
    /// The store failed.
    Store(StoreError),
    /// The access token was good until it expired.
    TokenExpired,
    /// The access token's session was ended.
    TokenRevoked,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccountDisabled => "the account is disabled",
            Self::AdminsOnly => "only an administrator may do this to an administrator",
            Self::EmailNotVerified => "the address is not verified",
            Self::EmailTaken => "another account has this address",
            Self::FeedFull => "too many follow the revocations",
            Self::InsufficientPermissions => "the caller may not do this",
            Self::InvalidCredentials => "address or password is wrong",
            Self::InvalidMfaCode => "the code is wrong or was used",
            Self::InvalidMfaToken => "the sign-in waits for no code",
            Self::InvalidOneTimeToken => "the one-time token is not valid",
            Self::InvalidRefreshToken => "the refresh token is not valid",
            Self::InvalidToken => "the access token or service key is not valid",
            Self::KeyConfigured => "the key is configured",
            Self::KeyNumbersTaken => "too many keys are in use",
            Self::LastAdmin => "this is the last administrator",
            Self::LogOverloaded => "the audit log is being read through for others",
            Self::MailOverloaded => "too much waits to be mailed",
            Self::MfaEnabled => "there is a second factor",
            Self::MfaNotEnabled => "there is no second factor",
            Self::MissingScope(_) => "the service key lacks the scope",
            Self::NotFound => "there is no such thing",
            Self::Overloaded(_) => "too many passwords wait to be hashed",
            Self::PasswordRefused(_) => "the new password is too short or too easily guessed",
            Self::RateLimited(_) => "tried too often",
            Self::ReauthenticationRequired => "this needs another sign-in",
            Self::RefreshRace => "another request has exchanged the refresh token",
            Self::RefreshTokenReused => "the refresh token was used before",
            Self::RegistrationClosed => "only the operator makes accounts",
            Self::SessionExpired => "the session has timed out",
            Self::SessionRevoked(_) => "the session was ended",
            Self::Store(error) => return error.fmt(f),
            Self::TokenExpired => "the access token has expired",
            Self::TokenRevoked => "the access token's session has ended",
        })
    }
}

impl std::error::Error for Failure {}

impl From<Limited> for Failure {
    fn from(limited: Limited) -> Self {
        Self::RateLimited(limited)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        Self::Store(match error {
            KeyringError::Store(error) => error,
            // Other nodes have the new master key, and this one soon: whoever asks again is served.
            KeyringError::Sealed { .. } | KeyringError::ClockAhead => {
                StoreError::Unavailable(error.to_string())
            }
            KeyringError::Unfit => StoreError::Inconsistent("key.sealed"),
            KeyringError::Configured => return Self::KeyConfigured,
            KeyringError::NumbersTaken { .. } => return Self::KeyNumbersTaken,
        })
    }
}
