//! The layer: a request goes on with its caller, or is answered here.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::response::{IntoResponse as _, Response};
use futures_util::future::Either;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Request};
use tower_layer::Layer;
use tower_service::Service;

use super::caller::Caller;
use super::denial::{Cause, Denial};
use crate::clock;
#[cfg(feature = "http-client")]
use crate::refusal::Refusal;
use crate::verifier::Verifier;

/// Lets requests with a good access token through, with the [`Caller`] in their extensions, and
/// answers all others as the issuing service would.
///
/// Only the `Authorization` header counts: a token in a cookie, a URL or a body is none. Preflight
/// requests of browsers carry no token; put the layer that answers them outside of this one.
#[derive(Debug, Clone)]
pub struct VerifyLayer {
    verifier: Arc<Verifier>,
}

impl VerifyLayer {
    /// A layer in front of routes that are for verified callers only.
    pub fn new(verifier: Arc<Verifier>) -> Self {
        Self { verifier }
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = Verify<S>;

    fn layer(&self, inner: S) -> Verify<S> {
        Verify { inner, verifier: Arc::clone(&self.verifier) }
    }
}

/// What [`VerifyLayer`] puts in front of a service.
#[derive(Debug, Clone)]
pub struct Verify<S> {
    inner: S,
    verifier: Arc<Verifier>,
}

impl<S, B> Service<Request<B>> for Verify<S>
where
    S: Service<Request<B>, Response = Response, Error: Send, Future: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    /// A token that is known costs no allocation.
    type Future = Either<S::Future, Boxed<S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let verdict = bearer(request.headers())
            .and_then(|token| self.verifier.verify(token, clock::now()).map_err(Cause::Refused));
        match verdict {
            Ok(claims) => {
                request.extensions_mut().insert(Caller::new(claims));
                Either::Left(self.inner.call(request))
            }
            #[cfg(feature = "http-client")]
            Err(Cause::Refused(Refusal::Invalid)) if self.lacks_key_of(&request) => {
                Either::Right(self.wait_for_key(request))
            }
            Err(cause) => {
                let denial = Denial::new(cause, request.headers());
                Either::Right(Box::pin(std::future::ready(Ok(denial.into_response()))))
            }
        }
    }
}

type Boxed<E> = Pin<Box<dyn Future<Output = Result<Response, E>> + Send>>;

#[cfg(feature = "http-client")]
impl<S> Verify<S> {
    /// Whether the token may be of a key that is not known yet.
    fn lacks_key_of<B>(&self, request: &Request<B>) -> bool {
        bearer(request.headers()).is_ok_and(|token| self.verifier.lacks_key_of(token).is_some())
    }

    fn wait_for_key<B>(&mut self, mut request: Request<B>) -> Boxed<S::Error>
    where
        S: Service<Request<B>, Response = Response, Error: Send, Future: Send>,
        S: Clone + Send + 'static,
        B: Send + 'static,
    {
        // The one that is ready goes along; its clone may not be.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let verifier = Arc::clone(&self.verifier);
        Box::pin(async move {
            let token = bearer(request.headers()).unwrap_or_default().to_owned();
            match verifier.authenticate(&token).await {
                Ok(claims) => {
                    request.extensions_mut().insert(Caller::new(claims));
                    inner.call(request).await
                }
                Err(refusal) => {
                    let denial = Denial::new(Cause::Refused(refusal), request.headers());
                    Ok(denial.into_response())
                }
            }
        })
    }
}

/// The token of the `Authorization` header (RFC 6750, section 2.1). Another scheme is no token of
/// ours; two headers are no request of anybody's.
fn bearer(headers: &HeaderMap) -> Result<&str, Cause> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(Cause::NoToken) };
    if values.next().is_some() {
        return Err(Cause::TwoTokens);
    }
    let credentials = value.to_str().unwrap_or_default();
    let (scheme, token) = credentials.split_once(' ').ok_or(Cause::NoToken)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token) } else { Err(Cause::NoToken) }
}
