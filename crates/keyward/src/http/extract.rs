//! What handlers take in. A handler's signature is its checklist: whoever holds one of these values
//! has passed the check that its type names.

mod admin;

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::response::Response;
use http::header::{AUTHORIZATION, ORIGIN, UPGRADE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Method};
use keyward_core::id::SessionId;
use keyward_core::refresh_token::{IdempotencyKey, RefreshToken};

pub(super) use super::guard::Caller;
pub(super) use admin::*;

use super::client_address::ClientAddress;
use super::layers::RequestId;
use super::web::Web;
use super::{ApiError, check_origin};
use crate::rejections::Rejection;
use crate::service::{Authenticated, Carried, ClientInfo, Failure};
use crate::store::Place;

/// Who is asking.
pub(super) struct Client(pub(super) ClientInfo);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(client(parts)))
    }
}

/// A browser's request comes from an allowed origin, or it comes from no browser.
pub(super) struct SameOrigin;

impl FromRequestParts<Arc<Web>> for SameOrigin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, ApiError> {
        same_origin(parts, web)?;
        Ok(Self)
    }
}

/// The refresh token of the session that a new sign-in supersedes, where the browser carries one
/// whose tag is good. Junk is nobody's session. To be taken after [`SameOrigin`].
pub(super) struct Superseded(pub(super) Option<RefreshToken>);

impl FromRequestParts<Arc<Web>> for Superseded {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, ApiError> {
        let cookies = web.cookies.read(&parts.headers)?;
        let Some(text) = cookies.refresh else { return Ok(Self(None)) };
        Ok(Self(web.keyward.read_refresh_token(text).await?))
    }
}

/// What a browser carries along to a sign-in. To be taken after [`SameOrigin`].
pub(super) struct Carrying(pub(super) Carried);

impl FromRequestParts<Arc<Web>> for Carrying {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, ApiError> {
        let Superseded(supersedes) = Superseded::from_request_parts(parts, web).await?;
        let device = web.cookies.read(&parts.headers)?.device.map(str::to_owned);
        Ok(Self(Carried { supersedes, device }))
    }
}

/// A refresh token whose tag is good, from a request that passed both CSRF checks. The order is the
/// contract's: origin, presence, tag, CSRF token.
pub(super) struct RefreshCookie(pub(super) RefreshToken);

impl FromRequestParts<Arc<Web>> for RefreshCookie {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, Response> {
        let token = refresh_token(parts, web).await.map_err(|error| web.refuse(error))?;
        csrf(parts, web, token.session_id()).await.map_err(|error| web.refuse(error))?;
        Ok(Self(token))
    }
}

/// A refresh token whose tag is good, from a request that passed the origin check only: for the one
/// route that tells a page its CSRF token. It touches no cookie where it refuses.
pub(super) struct RefreshCookieUnchecked(pub(super) RefreshToken);

impl FromRequestParts<Arc<Web>> for RefreshCookieUnchecked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, ApiError> {
        refresh_token(parts, web).await.map(Self)
    }
}

/// The `Idempotency-Key` header, where there is one.
pub(super) struct IdempotencyHeader(pub(super) Option<IdempotencyKey>);

impl<S: Sync> FromRequestParts<S> for IdempotencyHeader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let key = value.to_str().ok().and_then(IdempotencyKey::parse);
        match (key, values.next()) {
            (Some(key), None) => Ok(Self(Some(key))),
            _ => Err(ApiError::invalid_field(
                IDEMPOTENCY_KEY,
                "Send one key of 16 to 128 printable ASCII characters.",
            )),
        }
    }
}

/// The id of the last event that a client of a feed has, where it is one of ours. Any other text is
/// that of a client which has nothing.
pub(super) struct LastEventId(pub(super) Option<Place>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let id = parts.headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
        Ok(Self(id.and_then(|id| id.parse().ok())))
    }
}

/// The id in the path of a thing. A text that is none names nothing, which is a 404 like any other
/// id of nothing.
pub(super) struct PathId<T>(pub(super) T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) = path.map_err(|_| ApiError::invalid_request())?;
        text.parse().map(Self).map_err(|_| ApiError::NotFound)
    }
}

impl FromRequestParts<Arc<Web>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, ApiError> {
        authenticate(parts, web).await.map(Self)
    }
}

/// A user by access token: verified, its session live at this moment, and in cookie delivery past
/// both CSRF checks where the request changes anything, or past the first where it opens a socket.
pub(super) async fn authenticate(parts: &Parts, web: &Web) -> Result<Authenticated, ApiError> {
    if let Some(token) = bearer(&parts.headers)? {
        return Ok(web.keyward.authenticate(token, &client(parts)).await?);
    }
    if !web.delivers_by_cookie() {
        return Err(ApiError::NoToken);
    }
    // CORS does not hold back a socket, nor what its page reads from it.
    let opens_socket = parts.method == Method::CONNECT || parts.headers.contains_key(UPGRADE);
    if opens_socket && !parts.headers.contains_key(ORIGIN) {
        return Err(foreign_origin(parts, web));
    }
    let changes_state = !matches!(parts.method, Method::GET | Method::HEAD | Method::CONNECT);
    if changes_state || opens_socket {
        same_origin(parts, web)?;
    }
    let cookies = web.cookies.read(&parts.headers)?;
    let token = cookies.access.ok_or(ApiError::NoToken)?;
    let caller = web.keyward.authenticate(token, &client(parts)).await?;
    if changes_state {
        csrf(parts, web, caller.session.id).await?;
    }
    Ok(caller)
}

/// Which session a sign-out is of.
pub(super) enum SignOut {
    /// That of a good access token, or of a refresh cookie that passed both CSRF checks.
    Of(SessionId),
    /// The request carries a refresh cookie that is none of ours; it may as well go.
    OfJunk,
    /// The request carries nothing.
    OfNothing,
}

impl FromRequestParts<Arc<Web>> for SignOut {
    type Rejection = ApiError;

    /// An access token that is no longer good does not keep its user from signing out by cookie;
    /// only where there is no cookie either is it told why.
    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, ApiError> {
        let refused = match bearer(&parts.headers)? {
            Some(token) => match session_of(token, parts, web).await? {
                Ok(session_id) => return Ok(Self::Of(session_id)),
                Err(refused) => Some(refused),
            },
            None => None,
        };
        let without_refresh_token = match refresh_token(parts, web).await {
            Ok(token) if web.keyward.vouches(&token).await? => {
                csrf(parts, web, token.session_id()).await?;
                return Ok(Self::Of(token.session_id()));
            }
            Ok(_) => Ok(Self::OfJunk),
            Err(ApiError::InvalidRefreshToken) => Ok(Self::OfJunk),
            Err(ApiError::NoRefreshToken) => refused.map_or(Ok(Self::OfNothing), Err),
            Err(error) => return Err(error),
        };
        let by_access_cookie = sign_out_by_access_cookie(parts, web).await?;
        by_access_cookie.map_or(without_refresh_token, Ok)
    }
}

/// In cookie delivery, the sign-out of the access cookie's session, where that is live. To be taken
/// after the origin check.
async fn sign_out_by_access_cookie(parts: &Parts, web: &Web) -> Result<Option<SignOut>, ApiError> {
    if !web.delivers_by_cookie() {
        return Ok(None);
    }
    let Some(token) = web.cookies.read(&parts.headers)?.access else { return Ok(None) };
    let Ok(session_id) = session_of(token, parts, web).await? else { return Ok(None) };
    csrf(parts, web, session_id).await?;
    Ok(Some(SignOut::Of(session_id)))
}

/// The live session of an access token, or why the token is refused. The outer error is the
/// store's: it says nothing about the token.
async fn session_of(
    token: &str,
    parts: &Parts,
    web: &Web,
) -> Result<Result<SessionId, ApiError>, ApiError> {
    match web.keyward.authenticate(token, &client(parts)).await {
        Ok(caller) => Ok(Ok(caller.session.id)),
        Err(Failure::Store(error)) => Err(error.into()),
        Err(failure) => Ok(Err(failure.into())),
    }
}

/// Origin, presence, form and tag, in this order.
async fn refresh_token(parts: &Parts, web: &Web) -> Result<RefreshToken, ApiError> {
    same_origin(parts, web)?;
    let cookies = web.cookies.read(&parts.headers)?;
    let text = cookies.refresh.ok_or(ApiError::NoRefreshToken)?;
    Ok(web.keyward.parse_refresh_token(text, &client(parts)).await?)
}

/// CSRF check (1): where the request comes from.
fn same_origin(parts: &Parts, web: &Web) -> Result<(), ApiError> {
    check_origin(&parts.headers, &web.keyward.policy().web).map_err(|_| foreign_origin(parts, web))
}

/// The refusal of a request for where it comes from, which is noted.
fn foreign_origin(parts: &Parts, web: &Web) -> ApiError {
    web.keyward.note_rejection(Rejection::Csrf, None, &client(parts));
    ApiError::OriginNotAllowed
}

/// CSRF check (2): the header repeats the cookie, and the token is this session's.
async fn csrf(parts: &Parts, web: &Web, session_id: SessionId) -> Result<(), ApiError> {
    let cookies = web.cookies.read(&parts.headers)?;
    let mut headers = parts.headers.get_all(X_CSRF_TOKEN).iter();
    let header = headers.next().and_then(|value| value.to_str().ok());
    let repeated = header.filter(|header| headers.next().is_none() && cookies.csrf == Some(header));
    if let Some(token) = repeated
        && web.keyward.verify_csrf(token, session_id).await?
    {
        return Ok(());
    }
    web.keyward.note_rejection(Rejection::Csrf, Some(session_id), &client(parts));
    Err(ApiError::CsrfFailed)
}

/// The token of the `Authorization` header (RFC 6750, section 2.1). Another scheme is no token of
/// ours; two headers are no request of anybody's.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(ApiError::invalid_field("Authorization", "Send this header once."));
    }
    let credentials = value.to_str().unwrap_or_default();
    let Some((scheme, token)) = credentials.split_once(' ') else { return Ok(None) };
    Ok(scheme.eq_ignore_ascii_case("bearer").then_some(token))
}

/// Who is asking, once the outermost layer or a [`Guard`](super::guard::Guard) has found out.
pub(super) fn client(parts: &Parts) -> ClientInfo {
    let user_agent = parts.headers.get(USER_AGENT).map(|value| value.as_bytes());
    let user_agent = user_agent.map(String::from_utf8_lossy);
    let address = ClientAddress::of(&parts.extensions);
    ClientInfo::new(address, user_agent.as_deref(), RequestId::of(&parts.extensions))
}

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const LAST_EVENT_ID: &str = "last-event-id";
const X_CSRF_TOKEN: &str = "x-csrf-token";
