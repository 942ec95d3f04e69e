//! Forms, for the one route whose callers send them by a standard.

use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;

use super::ApiError;
use super::json::read;

/// The parameter `token` of a form of at most 64 KiB (RFC 7662, section 2.1). It must be there
/// once; other parameters are ignored, as that section has it.
pub(super) struct TokenForm(pub(super) String);

impl<S: Sync> FromRequest<S> for TokenForm {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let essence = content_type
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next());
        if !essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(FORM)) {
            return Err(ApiError::NotAForm);
        }
        let bytes = read(request.into_body()).await?;
        let parameters = form_urlencoded::parse(&bytes);
        let mut tokens = parameters.filter(|(name, _)| name == "token").map(|(_, value)| value);
        match (tokens.next(), tokens.next()) {
            (Some(token), None) => Ok(Self(token.into_owned())),
            (_, Some(_)) => Err(ApiError::invalid_field("token", "Send this parameter once.")),
            (None, None) => Err(ApiError::invalid_field("token", "This parameter is missing.")),
        }
    }
}

const FORM: &str = "application/x-www-form-urlencoded";
