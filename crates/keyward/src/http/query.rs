//! Queries: as strict as bodies, and refused in the same words.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::ApiError;
use super::json::from_parameters;

/// The parameters of a query. `T` derives `Deserialize` with `deny_unknown_fields`, and its fields
/// take texts; a parameter comes once at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let parameters = form_urlencoded::parse(query.as_bytes()).into_owned();
        from_parameters(parameters).map(Self)
    }
}
