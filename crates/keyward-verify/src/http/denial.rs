//! A request that is not let through, answered as the issuing service answers.

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::refusal::Refusal;

/// A request that was not let through; its answer has the form of every error of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    cause: Cause,
    request_id: String,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The roles of the token are others.
    InsufficientPermissions,
    /// No layer stands before the route: our own mistake.
    Internal,
    /// No token.
    NoToken,
    /// The sign-in was too long ago, or not strong enough.
    ReauthenticationRequired,
    /// The token is not accepted.
    Refused(Refusal),
    /// There are two tokens, and nobody can tell which of them is meant.
    TwoTokens,
}

impl Denial {
    /// A denial of the request with these headers.
    pub(super) fn new(cause: Cause, headers: &HeaderMap) -> Self {
        Self { cause, request_id: given_id(headers).unwrap_or_else(new_id) }
    }

    /// The code by which clients tell what to do, such as `TOKEN_EXPIRED`.
    pub const fn code(&self) -> &'static str {
        match self.cause {
            Cause::InsufficientPermissions => "INSUFFICIENT_PERMISSIONS",
            Cause::Internal => "INTERNAL",
            Cause::NoToken => "NO_TOKEN",
            Cause::ReauthenticationRequired => "REAUTHENTICATION_REQUIRED",
            Cause::Refused(refusal) => refusal.code(),
            Cause::TwoTokens => "INVALID_REQUEST",
        }
    }

    const fn status(&self) -> StatusCode {
        match self.cause {
            Cause::TwoTokens => StatusCode::BAD_REQUEST,
            Cause::NoToken
            | Cause::Refused(Refusal::Expired | Refusal::Invalid | Refusal::Revoked) => {
                StatusCode::UNAUTHORIZED
            }
            Cause::InsufficientPermissions | Cause::ReauthenticationRequired => {
                StatusCode::FORBIDDEN
            }
            Cause::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Cause::Refused(Refusal::NotCurrent) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn sentence(&self) -> &'static str {
        match self.cause {
            Cause::InsufficientPermissions => "You may not do this.",
            Cause::Internal => "Something went wrong on our side.",
            Cause::NoToken => "The request carries no access token.",
            Cause::ReauthenticationRequired => "Sign in again to do this.",
            Cause::Refused(refusal) => refusal.sentence(),
            Cause::TwoTokens => "The request is not valid.",
        }
    }

    /// RFC 6750, section 3: a request without any token learns no error code.
    const fn challenge(&self) -> Option<&'static str> {
        match self.cause {
            Cause::NoToken => Some("Bearer"),
            Cause::Refused(Refusal::Expired | Refusal::Invalid | Refusal::Revoked) => {
                Some(r#"Bearer error="invalid_token""#)
            }
            Cause::InsufficientPermissions => Some(r#"Bearer error="insufficient_scope""#),
            Cause::Internal
            | Cause::ReauthenticationRequired
            | Cause::Refused(Refusal::NotCurrent)
            | Cause::TwoTokens => None,
        }
    }

    const fn retry_after(&self) -> Option<u64> {
        match self.cause {
            Cause::Refused(Refusal::NotCurrent) => Some(RETRY_AFTER_SECS),
            _ => None,
        }
    }
}

impl IntoResponse for Denial {
    fn into_response(self) -> Response {
        let fields = Fields { authorization: "Send this header once." };
        let body = Json {
            error: self.sentence(),
            code: self.code(),
            request_id: &self.request_id,
            fields: (self.cause == Cause::TwoTokens).then_some(fields),
            retry_after: self.retry_after(),
        };
        // Strings and numbers only: this cannot fail, and an empty body would still carry the
        // status.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(id) = HeaderValue::try_from(&self.request_id) {
            headers.insert(X_REQUEST_ID, id);
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    error: &'static str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Fields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Fields {
    authorization: &'static str,
}

/// The id that the request has already, if it is a plain one.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(is_plain);
    fits.then(|| text.to_owned())
}

fn new_id() -> String {
    let mut bytes = [0; 16];
    // An id only helps to find a line in a log: where the system has no randomness it helps less.
    let _filled = SystemRandom::new().fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Reconnecting takes no longer, unless the service is down.
const RETRY_AFTER_SECS: u64 = 2;
