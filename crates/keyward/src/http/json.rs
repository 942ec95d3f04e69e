//! JSON bodies: strict, bounded, and refused in our own words.

mod strict;

use std::error::Error as _;
use std::iter;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use futures_util::stream;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use super::ApiError;

/// A JSON body of at most 64 KiB. `T` derives `Deserialize` with `deny_unknown_fields`.
///
/// Refused are: another `Content-Type` (415), a larger body (413), and as 400 what is not one JSON
/// object in UTF-8, nested too deep, or has an unknown, doubled, missing or wrongly typed field, or
/// within one a doubled name or a whole number beyond 64 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        // Also a wall against forms of other sites: none can send this type without a preflight.
        if !is_json(request.headers()) {
            return Err(ApiError::UnsupportedMediaType);
        }
        let bytes = read(request.into_body()).await?;
        let value = strict::from_slice(&bytes)
            .map_err(|refusal| ApiError::InvalidRequest { fields: refusal.into_fields() })?;
        Ok(Self(value))
    }
}

/// Reads the parameters of a query as if they were the members of an object.
pub(super) fn from_parameters<T: DeserializeOwned>(
    parameters: impl Iterator<Item = (String, String)>,
) -> Result<T, ApiError> {
    strict::from_texts(parameters)
        .map_err(|refusal| ApiError::InvalidRequest { fields: refusal.into_fields() })
}

/// Whether the type is `application/json`. Parameters change nothing: RFC 8259, section 11, has
/// none, and the text must be UTF-8 whatever `charset` says.
fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// The whole body, at most 64 KiB.
pub(super) async fn read(body: Body) -> Result<Bytes, ApiError> {
    to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| {
        let mut sources = iter::successors(error.source(), |&source| source.source());
        let too_large = sources.any(|source| source.is::<http_body_util::LengthLimitError>());
        // Otherwise the body broke off.
        if too_large { ApiError::PayloadTooLarge } else { ApiError::invalid_request() }
    })
}

/// The same body, once it has arrived. One that is too large or broke off is what [`read`] refuses
/// in the same words: not here, since a route has other checks to make before it.
pub(super) async fn arrived(body: Body) -> Body {
    match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(bytes) => Body::from(bytes),
        Err(error) => Body::from_stream(stream::iter([Err::<Bytes, _>(error)])),
    }
}

const BODY_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests;
