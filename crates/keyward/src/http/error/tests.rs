use keyward_core::limits::Quota;

use super::*;

#[test]
fn every_failure_has_the_status_and_code_of_the_contract() {
    let limited = Limited {
        name: "login",
        quota: Quota::new(5, Duration::from_secs(900)).expect("a quota"),
        retry_after: Duration::from_secs(1),
    };
    let overloaded = Overloaded { retry_after: Duration::from_secs(1) };
    for (error, status, code) in [
        (ApiError::invalid_request(), 400, "INVALID_REQUEST"),
        (ApiError::InvalidCredentials, 401, "INVALID_CREDENTIALS"),
        (ApiError::InvalidMfaCode, 401, "INVALID_MFA_CODE"),
        (ApiError::InvalidMfaToken, 401, "INVALID_MFA_TOKEN"),
        (ApiError::InvalidRefreshToken, 401, "INVALID_REFRESH_TOKEN"),
        (ApiError::InvalidToken, 401, "INVALID_TOKEN"),
        (ApiError::NoRefreshToken, 401, "NO_REFRESH_TOKEN"),
        (ApiError::NoToken, 401, "NO_TOKEN"),
        (ApiError::RefreshTokenReused, 401, "REFRESH_TOKEN_REUSED"),
        (ApiError::SessionExpired, 401, "SESSION_EXPIRED"),
        (ApiError::SessionRevoked { reason: RevocationReason::Admin }, 401, "SESSION_REVOKED"),
        (ApiError::TokenExpired, 401, "TOKEN_EXPIRED"),
        (ApiError::TokenRevoked, 401, "TOKEN_REVOKED"),
        (ApiError::AccountDisabled, 403, "ACCOUNT_DISABLED"),
        (ApiError::CsrfFailed, 403, "CSRF_FAILED"),
        (ApiError::InsufficientPermissions, 403, "INSUFFICIENT_PERMISSIONS"),
        (ApiError::OriginNotAllowed, 403, "ORIGIN_NOT_ALLOWED"),
        (ApiError::ReauthenticationRequired, 403, "REAUTHENTICATION_REQUIRED"),
        (ApiError::RegistrationClosed, 403, "INSUFFICIENT_PERMISSIONS"),
        (ApiError::NotFound, 404, "NOT_FOUND"),
        (ApiError::MethodNotAllowed, 405, "METHOD_NOT_ALLOWED"),
        (ApiError::EmailTaken, 409, "EMAIL_TAKEN"),
        (ApiError::LastAdmin, 409, "CONFLICT"),
        (ApiError::MfaEnabled, 409, "CONFLICT"),
        (ApiError::MfaNotEnabled, 409, "CONFLICT"),
        (ApiError::RefreshRace, 409, "REFRESH_RACE"),
        (ApiError::PayloadTooLarge, 413, "PAYLOAD_TOO_LARGE"),
        (ApiError::UnsupportedMediaType, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (ApiError::RateLimited(limited), 429, "RATE_LIMITED"),
        (StoreError::Inconsistent("session.amr").into(), 500, "INTERNAL"),
        (overloaded.into(), 503, "OVERLOADED"),
        (StoreError::Unavailable("full".to_owned()).into(), 503, "STORE_UNAVAILABLE"),
    ] {
        assert_eq!((error.status().as_u16(), error.code()), (status, code));
    }
}

#[test]
fn of_two_messages_about_one_field_the_first_stays() {
    let mut fields = FieldErrors::default();
    assert!(fields.is_empty());
    fields.add("email", "One.");
    fields.add("email", "Two.");
    let expected = ApiError::invalid_field("email", "One.");
    assert_eq!(ApiError::InvalidRequest { fields }, expected);
}

#[test]
fn a_limit_is_told_to_the_client() {
    let limited = Limited {
        name: "login",
        quota: Quota::new(5, Duration::from_secs(900)).expect("a quota"),
        retry_after: Duration::from_millis(179_001),
    };
    let mut headers = HeaderMap::new();
    ApiError::RateLimited(limited).write_headers(&mut headers);
    assert_eq!(headers["ratelimit-policy"], "\"login\";q=5;w=900");
    assert_eq!(headers["ratelimit"], "\"login\";r=0;t=180");
    assert_eq!(headers["retry-after"], "180");
}
