//! What every request passes first and every answer last.
//!
//! One middleware instead of a stack of them: the parts share the request id, and each layer of a
//! stack would cost every request an allocation or two.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt as _;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE,
    ORIGIN, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::client_address::{ClientAddress, client_address, peer_address};
use super::origin::is_listed;
use super::{ApiError, json};
use crate::entropy::{self, Entropy};
use crate::metrics::Metrics;
use crate::policy::WebPolicy;
use crate::service::Keyward;

/// The outermost layer: request id, client address, deadline, panic guard, the wait for the body,
/// headers of every answer, CORS, bodies of errors, and one log line per request.
#[derive(Debug)]
pub(super) struct Edge {
    policy: WebPolicy,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<Metrics>,
    https: bool,
}

impl Edge {
    /// The layer for this service.
    pub(super) fn of(keyward: &Keyward) -> Self {
        Self::new(&keyward.policy().web, keyward.entropy(), keyward.counted())
    }

    fn new(policy: &WebPolicy, entropy: Arc<dyn Entropy>, metrics: Arc<Metrics>) -> Self {
        metrics.refusals.know(ApiError::ALL.iter().map(|(_, code, _)| *code));
        let https = policy.public_url.starts_with("https://");
        Self { policy: policy.clone(), entropy, metrics, https }
    }

    /// Puts the layer around everything that `router` has by now, fallbacks included. An answer of
    /// 400 or above that no [`ApiError`] made gets the body of the one with its status.
    pub(super) fn wrap(self, router: Router) -> Router {
        router.layer(from_fn_with_state(Arc::new(self), pass))
    }

    /// Finds out who sent the request, and gives it an id, unless that was done before.
    pub(super) fn identify(&self, parts: &mut Parts) -> RequestId {
        if let Some(id) = parts.extensions.get::<RequestId>() {
            return id.clone();
        }
        let peer = peer_address(&parts.extensions);
        // From anyone else a request id would let strangers forge lines of the log.
        let given = self.policy.is_trusted_proxy(peer).then(|| RequestId::given(&parts.headers));
        let id = given.flatten().unwrap_or_else(|| RequestId::new(&*self.entropy));
        let client = ClientAddress(client_address(peer, &parts.headers, &self.policy));
        parts.extensions.insert(client);
        parts.extensions.insert(id.clone());
        id
    }

    /// The `Origin` of the request, if its pages are listed.
    fn listed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        is_listed(origin.to_str().ok()?, &self.policy).then(|| origin.clone())
    }

    /// The answer of the routes, or the error that stands for a panic or a missed deadline.
    async fn answer(&self, request: Request, next: Next) -> Response {
        // Nothing of a request outlives its panic but what is shared behind locks, and those are
        // written to be left whole.
        let answer = async { next.run(arrived(request).await).await };
        let guarded = AssertUnwindSafe(answer).catch_unwind();
        match tokio::time::timeout(self.policy.request_timeout, guarded).await {
            Ok(Ok(response)) => response,
            // The panic hook has said where; what it said may hold what nobody should read.
            Ok(Err(_)) => ApiError::internal("a request panicked").into_response(),
            Err(_) => ApiError::Overloaded { retry_after: RETRY_AFTER_DEADLINE }.into_response(),
        }
    }

    /// Counts an error, and logs what its answer does not say.
    pub(super) fn note(&self, error: &ApiError, id: &RequestId) {
        self.metrics.refusals.count(error.code());
        if let ApiError::RateLimited(limited) = error {
            self.metrics.rate_limited.count(limited.name);
        }
        if let Some(why) = error.why() {
            tracing::error!(request_id = id.as_str(), code = error.code(), "{why}");
        }
    }

    fn write_headers(&self, headers: &mut HeaderMap, id: &RequestId, origin: Option<HeaderValue>) {
        id.write(headers);
        headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        headers.insert(REFERRER_POLICY, NO_REFERRER);
        // Pages have a policy of their own, and public keys may be cached.
        headers.entry(CONTENT_SECURITY_POLICY).or_insert(NO_CONTENT);
        headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
        headers.append(VARY, VARY_ORIGIN);
        if self.https {
            headers.insert(STRICT_TRANSPORT_SECURITY, ONE_YEAR);
        }
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// Names one request in its answer, the log and the audit log. The outermost layer puts it into the
/// extensions of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The id that the outermost layer gave the request.
    ///
    /// # Panics
    ///
    /// For a request that did not come through the router of this crate.
    pub(super) fn of(extensions: &Extensions) -> String {
        let id = extensions.get::<Self>().expect("every route lies under the outermost layer");
        id.as_str().to_owned()
    }

    fn new(entropy: &dyn Entropy) -> Self {
        let mut text = [0; 22];
        URL_SAFE_NO_PAD
            .encode_slice(entropy::array::<16>(entropy), &mut text)
            .expect("16 bytes are 22 characters");
        Self(HeaderValue::from_bytes(&text).expect("base64url is a header value"))
    }

    /// The id that a trusted proxy gave the request, if it is a plain one.
    fn given(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(X_REQUEST_ID)?;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        let bytes = value.as_bytes();
        let fits = (1..=64).contains(&bytes.len()) && bytes.iter().all(plain);
        fits.then(|| Self(value.clone()))
    }

    /// Tells the client which request was answered.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(X_REQUEST_ID, self.0.clone());
    }

    /// The id as text: 1 to 64 letters, digits, `.`, `_` and `-`.
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().expect("made of plain characters")
    }
}

async fn pass(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (mut parts, body) = request.into_parts();
    let id = edge.identify(&mut parts);
    let request = Request::from_parts(parts, body);
    let origin = edge.listed_origin(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = if is_preflight(&request) {
        preflight(origin.is_some())
    } else {
        edge.answer(request, next).await
    };
    if let Some(error) = error_of(&mut response) {
        error.render(id.as_str(), &mut response);
        edge.note(&error, &id);
    }
    edge.write_headers(response.headers_mut(), &id, origin);
    // The route and not the path: paths hold ids, queries anything.
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let (method, status, took) = (known(&method), response.status().as_u16(), began.elapsed());
    edge.metrics.answered(route, method, status, took);
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(request_id = id.as_str(), method, route, status, millis, "answered");
    response
}

/// The method, if it is one that anything answers to. Others are as long as strangers like.
fn known(method: &Method) -> &'static str {
    let served = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    served.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

/// The request, with its whole body if it has credentials. A route asks who is calling before it
/// reads: whoever sent the head and held the body back would keep, until the deadline, a standing
/// that was taken from them meanwhile. Without credentials there is none to keep.
async fn arrived(request: Request) -> Request {
    let headers = request.headers();
    let has_credentials = headers.contains_key(AUTHORIZATION) || headers.contains_key(COOKIE);
    // No route reads the body of these.
    let only_reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !has_credentials || only_reads || request.body().is_end_stream() {
        return request;
    }
    let (parts, body) = request.into_parts();
    Request::from_parts(parts, json::arrived(body).await)
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Fetch, "CORS-preflight fetch". A page that is not listed learns nothing more than that.
fn preflight(listed: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if listed {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, TEN_MINUTES);
    }
    response
}

/// The failure that the answer stands for, if it is one.
fn error_of(response: &mut Response) -> Option<ApiError> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let made = response.extensions_mut().remove::<ApiError>();
    Some(made.unwrap_or_else(|| match status {
        StatusCode::NOT_FOUND => ApiError::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ApiError::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::PayloadTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::UnsupportedMediaType,
        _ if status.is_client_error() => ApiError::invalid_request(),
        _ => ApiError::internal(format!("an answer of {status} without a reason")),
    }))
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NO_CONTENT: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const EXPOSED: HeaderValue = HeaderValue::from_static("X-Request-Id, Retry-After");
const ALLOWED_METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const ALLOWED_HEADERS: HeaderValue =
    HeaderValue::from_static("content-type, authorization, x-csrf-token, idempotency-key");
const TEN_MINUTES: HeaderValue = HeaderValue::from_static("600");
const RETRY_AFTER_DEADLINE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
