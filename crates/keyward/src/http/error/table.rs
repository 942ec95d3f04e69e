//! What each refusal looks like from outside: one entry per refusal, with its status, its stable
//! code for programs, and its sentence for a person.

use http::StatusCode;

use super::ApiError;

macro_rules! shapes {
    ($($refusal:ident = $status:ident $code:literal $sentence:literal,)+) => {
        impl ApiError {
            /// Status, code and sentence of every refusal. Some refusals share a code.
            pub(in crate::http) const ALL: &[(StatusCode, &'static str, &'static str)] =
                &[$((StatusCode::$status, $code, $sentence),)+];

            /// The status of the answer.
            pub(in crate::http) const fn status(&self) -> StatusCode {
                match self { $(Self::$refusal { .. } => StatusCode::$status,)+ }
            }

            /// The stable code of the answer, for programs.
            pub(in crate::http) const fn code(&self) -> &'static str {
                match self { $(Self::$refusal { .. } => $code,)+ }
            }

            /// The sentence of the answer, for a person.
            pub(super) const fn sentence(&self) -> &'static str {
                match self { $(Self::$refusal { .. } => $sentence,)+ }
            }
        }
    };
}

shapes! {
    AccountDisabled = FORBIDDEN "ACCOUNT_DISABLED"
        "This account is disabled.",
    AdminsOnly = FORBIDDEN "INSUFFICIENT_PERMISSIONS"
        "A service key may not touch administrators; let an administrator do this.",
    CsrfFailed = FORBIDDEN "CSRF_FAILED"
        "The CSRF token is missing or does not fit.",
    EmailNotVerified = FORBIDDEN "EMAIL_NOT_VERIFIED"
        "Open the link in the mail that was sent to your address first.",
    EmailTaken = CONFLICT "EMAIL_TAKEN"
        "There is an account with this e-mail address already.",
    InsufficientPermissions = FORBIDDEN "INSUFFICIENT_PERMISSIONS"
        "You may not do this.",
    Internal = INTERNAL_SERVER_ERROR "INTERNAL"
        "Something went wrong on our side.",
    InvalidCredentials = UNAUTHORIZED "INVALID_CREDENTIALS"
        "The e-mail address or the password is wrong.",
    InvalidMfaCode = UNAUTHORIZED "INVALID_MFA_CODE"
        "The code is wrong or was used before; wait for the next one.",
    InvalidMfaToken = UNAUTHORIZED "INVALID_MFA_TOKEN"
        "This sign-in takes no more codes; begin with the password again.",
    InvalidRefreshToken = UNAUTHORIZED "INVALID_REFRESH_TOKEN"
        "The refresh token is not valid.",
    InvalidRequest = BAD_REQUEST "INVALID_REQUEST"
        "The request is not valid.",
    InvalidToken = UNAUTHORIZED "INVALID_TOKEN"
        "The access token or service key is not valid.",
    KeyConfigured = CONFLICT "CONFLICT"
        "This key is configured; change access_token.hmac_secret instead.",
    KeyNumbersTaken = CONFLICT "CONFLICT"
        "Too many keys are still in use; rotate again later.",
    LastAdmin = CONFLICT "CONFLICT"
        "This is the last administrator; make another one first.",
    MfaEnabled = CONFLICT "CONFLICT"
        "There is a second factor already; remove it first.",
    MfaNotEnabled = CONFLICT "CONFLICT"
        "There is no second factor; begin to set one up first.",
    MethodNotAllowed = METHOD_NOT_ALLOWED "METHOD_NOT_ALLOWED"
        "This method is not allowed here.",
    MissingScope = FORBIDDEN "INSUFFICIENT_PERMISSIONS"
        "The service key lacks the scope; make one that has what `scope` names.",
    NoRefreshToken = UNAUTHORIZED "NO_REFRESH_TOKEN"
        "The request carries no refresh token.",
    NoToken = UNAUTHORIZED "NO_TOKEN"
        "The request carries no access token.",
    NotAForm = UNSUPPORTED_MEDIA_TYPE "UNSUPPORTED_MEDIA_TYPE"
        "The body must be sent as application/x-www-form-urlencoded.",
    NotFound = NOT_FOUND "NOT_FOUND"
        "There is nothing here.",
    OriginNotAllowed = FORBIDDEN "ORIGIN_NOT_ALLOWED"
        "Pages of this origin may not do this.",
    Overloaded = SERVICE_UNAVAILABLE "OVERLOADED"
        "There is too much to do right now; try again soon.",
    PayloadTooLarge = PAYLOAD_TOO_LARGE "PAYLOAD_TOO_LARGE"
        "The body is too large.",
    RateLimited = TOO_MANY_REQUESTS "RATE_LIMITED"
        "Too many tries; wait a little.",
    ReauthenticationRequired = FORBIDDEN "REAUTHENTICATION_REQUIRED"
        "Sign in again to do this.",
    RefreshRace = CONFLICT "REFRESH_RACE"
        "Another request has exchanged this refresh token.",
    RefreshTokenReused = UNAUTHORIZED "REFRESH_TOKEN_REUSED"
        "The refresh token was used before; sign in again.",
    RegistrationClosed = FORBIDDEN "INSUFFICIENT_PERMISSIONS"
        "Registration is closed.",
    SessionExpired = UNAUTHORIZED "SESSION_EXPIRED"
        "The session has expired; sign in again.",
    SessionRevoked = UNAUTHORIZED "SESSION_REVOKED"
        "The session was ended; sign in again.",
    StoreUnavailable = SERVICE_UNAVAILABLE "STORE_UNAVAILABLE"
        "The service cannot answer right now; try again soon.",
    TokenExpired = UNAUTHORIZED "TOKEN_EXPIRED"
        "The access token has expired.",
    TokenRevoked = UNAUTHORIZED "TOKEN_REVOKED"
        "The session of the access token has ended.",
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "UNSUPPORTED_MEDIA_TYPE"
        "The body must be sent as application/json.",
}
