//! What each refusal looks like from outside: one line per code and sentence of the API.

use http::StatusCode;

use super::ApiError;

impl ApiError {
    /// The status of the answer.
    pub(in crate::http) const fn status(&self) -> StatusCode {
        self.shape().0
    }

    /// The stable code of the answer, for programs.
    pub(in crate::http) const fn code(&self) -> &'static str {
        self.shape().1
    }

    /// The sentence of the answer, for a person.
    pub(super) const fn sentence(&self) -> &'static str {
        self.shape().2
    }

    const fn shape(&self) -> Shape {
        match self {
            Self::AccountDisabled => {
                (StatusCode::FORBIDDEN, "ACCOUNT_DISABLED", "This account is disabled.")
            }
            Self::CsrfFailed => {
                (StatusCode::FORBIDDEN, "CSRF_FAILED", "The CSRF token is missing or does not fit.")
            }
            Self::EmailTaken => (
                StatusCode::CONFLICT,
                "EMAIL_TAKEN",
                "There is an account with this e-mail address already.",
            ),
            Self::InsufficientPermissions => {
                (StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS", "You may not do this.")
            }
            Self::Internal { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "Something went wrong on our side.")
            }
            Self::InvalidCredentials => (
                StatusCode::UNAUTHORIZED,
                "INVALID_CREDENTIALS",
                "The e-mail address or the password is wrong.",
            ),
            Self::InvalidRefreshToken => (
                StatusCode::UNAUTHORIZED,
                "INVALID_REFRESH_TOKEN",
                "The refresh token is not valid.",
            ),
            Self::InvalidRequest { .. } => {
                (StatusCode::BAD_REQUEST, "INVALID_REQUEST", "The request is not valid.")
            }
            Self::InvalidToken => (
                StatusCode::UNAUTHORIZED,
                "INVALID_TOKEN",
                "The access token or service key is not valid.",
            ),
            Self::KeyConfigured => (
                StatusCode::CONFLICT,
                "CONFLICT",
                "This key is configured; change access_token.hmac_secret instead.",
            ),
            Self::KeyNumbersTaken => (
                StatusCode::CONFLICT,
                "CONFLICT",
                "Too many keys are still in use; rotate again later.",
            ),
            Self::LastAdmin => (
                StatusCode::CONFLICT,
                "CONFLICT",
                "This is the last administrator; make another one first.",
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "This method is not allowed here.",
            ),
            Self::NoRefreshToken => (
                StatusCode::UNAUTHORIZED,
                "NO_REFRESH_TOKEN",
                "The request carries no refresh token.",
            ),
            Self::NoToken => {
                (StatusCode::UNAUTHORIZED, "NO_TOKEN", "The request carries no access token.")
            }
            Self::NotAForm => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                "The body must be sent as application/x-www-form-urlencoded.",
            ),
            Self::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND", "There is nothing here."),
            Self::OriginNotAllowed => (
                StatusCode::FORBIDDEN,
                "ORIGIN_NOT_ALLOWED",
                "Pages of this origin may not do this.",
            ),
            Self::Overloaded { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "OVERLOADED",
                "There is too much to do right now; try again soon.",
            ),
            Self::PayloadTooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "The body is too large.")
            }
            Self::RateLimited(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "Too many tries; wait a little.")
            }
            Self::ReauthenticationRequired => (
                StatusCode::FORBIDDEN,
                "REAUTHENTICATION_REQUIRED",
                "Your sign-in was too long ago; sign in again.",
            ),
            Self::RefreshRace => (
                StatusCode::CONFLICT,
                "REFRESH_RACE",
                "Another request has exchanged this refresh token.",
            ),
            Self::RefreshTokenReused => (
                StatusCode::UNAUTHORIZED,
                "REFRESH_TOKEN_REUSED",
                "The refresh token was used before; sign in again.",
            ),
            Self::RegistrationClosed => {
                (StatusCode::FORBIDDEN, "INSUFFICIENT_PERMISSIONS", "Registration is closed.")
            }
            Self::SessionExpired => (
                StatusCode::UNAUTHORIZED,
                "SESSION_EXPIRED",
                "The session has expired; sign in again.",
            ),
            Self::SessionRevoked { .. } => (
                StatusCode::UNAUTHORIZED,
                "SESSION_REVOKED",
                "The session was ended; sign in again.",
            ),
            Self::StoreUnavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "STORE_UNAVAILABLE",
                "The service cannot answer right now; try again soon.",
            ),
            Self::TokenExpired => {
                (StatusCode::UNAUTHORIZED, "TOKEN_EXPIRED", "The access token has expired.")
            }
            Self::TokenRevoked => (
                StatusCode::UNAUTHORIZED,
                "TOKEN_REVOKED",
                "The session of the access token has ended.",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                "The body must be sent as application/json.",
            ),
        }
    }
}

/// Status, code and sentence.
type Shape = (StatusCode, &'static str, &'static str);
