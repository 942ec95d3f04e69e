//! The only map from failures to status, code and public sentence.
//!
//! A route answers an [`ApiError`]; it travels in the response's extensions to the outermost
//! layer, which knows the request id and renders the body. Whatever fails on the way there (no such
//! route, wrong method, a panic, a timeout) goes the same way, so every error looks alike.

mod field_errors;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue};
use keyward_core::password::PasswordRefusal;
use keyward_core::rotation::Decision;
use keyward_core::service_key::Scope;
use keyward_core::session::RevocationReason;
use serde::Serialize;

pub(super) use self::field_errors::FieldErrors;
use crate::hashing::Overloaded;
use crate::limits::Limited;
use crate::service::Failure;
use crate::store::StoreError;

/// A request that was not granted: one variant per code of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiError {
    /// The account is disabled, and the password was right.
    AccountDisabled,
    /// A service key is used on an administrator's account, or to make one.
    AdminsOnly,
    /// The CSRF token is missing, differs from its cookie or belongs to another session.
    CsrfFailed,
    /// The password was right, but the address was never verified.
    EmailNotVerified,
    /// Another account has this address.
    EmailTaken,
    /// The caller is no administrator.
    InsufficientPermissions,
    /// We failed. `why` is for the operator's log and never in the body.
    Internal {
        /// What went wrong, without any secret.
        why: String,
    },
    /// Unknown address or wrong password; which of them is not told.
    InvalidCredentials,
    /// The code of a second factor is wrong or was used.
    InvalidMfaCode,
    /// The token names no sign-in that waits for a code.
    InvalidMfaToken,
    /// The refresh token is not one of ours.
    InvalidRefreshToken,
    /// The request is malformed. `fields` says which field, where that is known.
    InvalidRequest {
        /// What is wrong with each field.
        fields: FieldErrors,
    },
    /// The access token or service key is not one of ours.
    InvalidToken,
    /// The keys that sign are configured.
    KeyConfigured,
    /// Every number that a new key could have is taken.
    KeyNumbersTaken,
    /// Nobody could call the admin API any more.
    LastAdmin,
    /// There is a second factor already.
    MfaEnabled,
    /// There is no second factor, or no set-up of one.
    MfaNotEnabled,
    /// The route knows other methods.
    MethodNotAllowed,
    /// The service key lacks this scope.
    MissingScope(Scope),
    /// No refresh cookie.
    NoRefreshToken,
    /// No access token.
    NoToken,
    /// The body is not a form by its `Content-Type`.
    NotAForm,
    /// No such route, or nothing there that the caller may see.
    NotFound,
    /// The request comes from a page that may not call the service.
    OriginNotAllowed,
    /// Too much to do; nothing was begun, or it took too long.
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The body is larger than allowed.
    PayloadTooLarge,
    /// Too many tries.
    RateLimited(Limited),
    /// The user has signed in too long ago, or without the second factor.
    ReauthenticationRequired,
    /// The refresh token was exchanged by an earlier request; nothing was revoked.
    RefreshRace,
    /// The refresh token was replaced before; its session is ended.
    RefreshTokenReused,
    /// Only the operator makes accounts.
    RegistrationClosed,
    /// The session has timed out.
    SessionExpired,
    /// The session was ended by decision.
    SessionRevoked {
        /// Why.
        reason: RevocationReason,
    },
    /// The store is out of reach. `why` is for the operator's log and never in the body.
    StoreUnavailable {
        /// What the store said.
        why: String,
    },
    /// The access token has expired.
    TokenExpired,
    /// The access token's session is over.
    TokenRevoked,
    /// The body is not JSON by its `Content-Type`.
    UnsupportedMediaType,
}

impl ApiError {
    /// [`ApiError::InvalidRequest`] that names no field.
    pub(super) fn invalid_request() -> Self {
        Self::InvalidRequest { fields: FieldErrors::default() }
    }

    /// [`ApiError::InvalidRequest`] about one field. `message` is one sentence for a person.
    pub(super) fn invalid_field(
        field: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut fields = FieldErrors::default();
        fields.add(field, message);
        Self::InvalidRequest { fields }
    }

    /// Whatever is wrong with a mailed token: it is not told what.
    pub(super) fn invalid_one_time_token() -> Self {
        Self::invalid_field("token", "This link is not good any more; ask for a new mail.")
    }

    /// [`ApiError::Internal`], with what went wrong for the operator's log.
    pub(super) fn internal(why: impl Into<String>) -> Self {
        Self::Internal { why: why.into() }
    }

    /// What the operator should read about it; nothing where the answer says it all.
    pub(super) fn why(&self) -> Option<&str> {
        match self {
            Self::Internal { why } | Self::StoreUnavailable { why } => Some(why),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after } => Some(*retry_after),
            Self::RateLimited(limited) => Some(limited.retry_after),
            Self::StoreUnavailable { .. } => Some(STORE_RETRY_AFTER),
            _ => None,
        }
    }

    /// Writes status, headers and body over `response`; other headers of it, such as cookies that
    /// are cleared, stay.
    pub(super) fn render(&self, request_id: &str, response: &mut Response) {
        *response.status_mut() = self.status();
        self.write_headers(response.headers_mut());
        let body = Body {
            error: self.sentence(),
            code: self.code(),
            request_id,
            fields: match self {
                Self::InvalidRequest { fields } if !fields.is_empty() => Some(fields),
                _ => None,
            },
            retry_after: self.retry_after().map(whole_secs),
            scope: match self {
                Self::MissingScope(scope) => Some(scope.as_str()),
                _ => None,
            },
            reason: match self {
                Self::SessionRevoked { reason } => Some(reason.as_str()),
                _ => None,
            },
        };
        // Strings and numbers only: this cannot fail, and an empty body would still carry the code
        // of HTTP.
        *response.body_mut() = serde_json::to_vec(&body).unwrap_or_default().into();
    }

    fn write_headers(&self, headers: &mut HeaderMap) {
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Self::MissingScope(scope) = self {
            headers.insert(WWW_AUTHENTICATE, scope_challenge(*scope));
        }
        if let Some(retry_after) = self.retry_after() {
            headers.insert(RETRY_AFTER, whole_secs(retry_after).into());
        }
        if let Self::RateLimited(limited) = self {
            write_limit(limited, headers);
        }
    }

    /// What was decided about the refresh token, where that is why it was not granted.
    pub(super) const fn decision(&self) -> Option<Decision> {
        match self {
            Self::InvalidRefreshToken => Some(Decision::Invalid),
            Self::RefreshRace => Some(Decision::Race),
            Self::RefreshTokenReused => Some(Decision::Reuse),
            // Whether the token was spent is told to the audit log alone.
            Self::SessionExpired => Some(Decision::Expired { spent: false }),
            Self::SessionRevoked { reason } => Some(Decision::Revoked(*reason)),
            _ => None,
        }
    }

    /// RFC 6750, section 3: a request without any token learns no error code.
    const fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::NoToken => Some("Bearer"),
            Self::InvalidToken | Self::TokenExpired | Self::TokenRevoked => {
                Some(r#"Bearer error="invalid_token""#)
            }
            Self::AdminsOnly | Self::InsufficientPermissions => Some(INSUFFICIENT_SCOPE),
            _ => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::AccountDisabled => Self::AccountDisabled,
            Failure::AdminsOnly => Self::AdminsOnly,
            Failure::EmailNotVerified => Self::EmailNotVerified,
            Failure::EmailTaken => Self::EmailTaken,
            Failure::FeedFull => Self::Overloaded { retry_after: FEED_RETRY_AFTER },
            Failure::InsufficientPermissions => Self::InsufficientPermissions,
            Failure::InvalidCredentials => Self::InvalidCredentials,
            Failure::InvalidOneTimeToken => Self::invalid_one_time_token(),
            Failure::InvalidMfaCode => Self::InvalidMfaCode,
            Failure::InvalidMfaToken => Self::InvalidMfaToken,
            Failure::InvalidRefreshToken => Self::InvalidRefreshToken,
            Failure::InvalidToken => Self::InvalidToken,
            Failure::KeyConfigured => Self::KeyConfigured,
            Failure::KeyNumbersTaken => Self::KeyNumbersTaken,
            Failure::LastAdmin => Self::LastAdmin,
            Failure::LogOverloaded => Self::Overloaded { retry_after: LOG_RETRY_AFTER },
            Failure::MailOverloaded => Self::Overloaded { retry_after: MAIL_RETRY_AFTER },
            Failure::MfaEnabled => Self::MfaEnabled,
            Failure::MfaNotEnabled => Self::MfaNotEnabled,
            Failure::MissingScope(scope) => Self::MissingScope(scope),
            Failure::NotFound => Self::NotFound,
            Failure::Overloaded(overloaded) => overloaded.into(),
            Failure::PasswordRefused(refusal) => password_refused("password", refusal),
            Failure::RateLimited(limited) => Self::RateLimited(limited),
            Failure::ReauthenticationRequired => Self::ReauthenticationRequired,
            Failure::RefreshRace => Self::RefreshRace,
            Failure::RefreshTokenReused => Self::RefreshTokenReused,
            Failure::RegistrationClosed => Self::RegistrationClosed,
            Failure::SessionExpired => Self::SessionExpired,
            Failure::SessionRevoked(reason) => Self::SessionRevoked { reason },
            Failure::Store(error) => error.into(),
            Failure::TokenExpired => Self::TokenExpired,
            Failure::TokenRevoked => Self::TokenRevoked,
        }
    }
}

/// What is wrong with a new password, told of the field that it came in.
pub(super) fn password_refused(field: &'static str, refusal: PasswordRefusal) -> ApiError {
    match refusal {
        PasswordRefusal::Breached => {
            ApiError::invalid_field(field, "This password has leaked somewhere; choose another.")
        }
        PasswordRefusal::Guessable => ApiError::invalid_field(
            field,
            "This password is among the first that anyone would guess; choose another.",
        ),
        PasswordRefusal::TooShort { min_length } => {
            ApiError::invalid_field(field, format!("Give at least {min_length} characters."))
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Inconsistent(_) => Self::Internal { why: error.to_string() },
            StoreError::Unavailable(_) => Self::StoreUnavailable { why: error.to_string() },
        }
    }
}

impl From<Overloaded> for ApiError {
    fn from(overloaded: Overloaded) -> Self {
        Self::Overloaded { retry_after: overloaded.retry_after }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    error: &'static str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<&'a FieldErrors>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
}

/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
fn write_limit(limited: &Limited, headers: &mut HeaderMap) {
    let Limited { name, quota, retry_after } = limited;
    let policy = format!("\"{name}\";q={};w={}", quota.count(), whole_secs(quota.window()));
    let state = format!("\"{name}\";r=0;t={}", whole_secs(*retry_after));
    for (header, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
        // A limit whose name no header can hold goes unnamed.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(header, value);
        }
    }
}

/// RFC 6750, section 3: which scope it takes.
fn scope_challenge(scope: Scope) -> HeaderValue {
    let challenge = format!(r#"{INSUFFICIENT_SCOPE}, scope="{}""#, scope.as_str());
    HeaderValue::try_from(challenge)
        .unwrap_or_else(|_| HeaderValue::from_static(INSUFFICIENT_SCOPE))
}

/// Whole seconds, rounded up and at least one: who comes back then is not refused again.
fn whole_secs(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

const INSUFFICIENT_SCOPE: &str = r#"Bearer error="insufficient_scope""#;

const FEED_RETRY_AFTER: Duration = Duration::from_secs(10);

/// A walk through a log of some million events.
const LOG_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The queue of what is answered by mail is worked off within seconds.
const MAIL_RETRY_AFTER: Duration = Duration::from_secs(5);

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A guess: locks clear in less, and a store that is down for longer is asked again in vain.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(2);
