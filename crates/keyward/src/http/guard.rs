//! The checks of Keyward's own routes for those of the app that embeds it: who is calling, with
//! which role, and whether they have signed in lately.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use super::extract::{authenticate, client};
use super::layers::{Edge, RequestId};
use super::web::Web;
use super::{ApiError, InvalidCookiePolicy};
use crate::service::{Authenticated, Keyward};

/// What the routes of an app need to know of a running Keyward, to ask for a [`Caller`]: the state
/// of its router, or a part of it ([`FromRef`]). Costs little to clone.
#[derive(Debug, Clone)]
pub struct Guard {
    edge: Arc<Edge>,
    web: Arc<Web>,
}

impl Guard {
    /// A guard by this service's policy.
    ///
    /// # Errors
    ///
    /// Where the policy asks for cookies that no browser would keep.
    pub fn new(keyward: Arc<Keyward>) -> Result<Self, InvalidCookiePolicy> {
        let edge = Arc::new(Edge::of(&keyward));
        Ok(Self { edge, web: Arc::new(Web::new(keyward)?) })
    }

    async fn admit(&self, parts: &mut Parts) -> Result<Authenticated, Denial> {
        self.edge.identify(parts);
        authenticate(parts, &self.web).await.map_err(|error| self.deny(error, parts))
    }

    fn deny(&self, error: ApiError, parts: &mut Parts) -> Denial {
        let id = self.edge.identify(parts);
        self.edge.note(&error, &id);
        Denial { error, id }
    }
}

/// Who is calling, by an access token that is good and whose session lives at this moment: in the
/// `Authorization` header, or in cookie delivery in its cookie, with the CSRF checks where the
/// request changes anything. A request that opens a WebSocket (`Upgrade`, or CONNECT over HTTP/2)
/// carries no CSRF token, for browsers let no page add a header to it: by cookie it is let in from
/// an allowed `Origin` alone, which it must name.
///
/// This is asked once, when the request's head is there. Whoever holds the body back goes on as who
/// they were: a handler that then waits for it, as [`axum::Json`] does, may act for somebody who
/// has been disabled or signed out meanwhile. Keyward's own routes read the body first. Have a
/// layer do so around yours where that matters, and give requests a deadline in any case.
#[derive(Debug)]
pub struct Caller(
    /// Their account and their session.
    pub Authenticated,
);

impl<S: Sync> FromRequestParts<S> for Caller
where
    Guard: FromRef<S>,
{
    type Rejection = Denial;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denial> {
        Guard::from_ref(state).admit(parts).await.map(Self)
    }
}

/// A role of yours.
///
/// ```
/// struct Editor;
///
/// impl keyward::http::Role for Editor {
///     const NAME: &str = "editor";
/// }
/// ```
pub trait Role {
    /// As it stands in the account.
    const NAME: &str;
}

/// A [`Caller`] whose account has the role now, whatever the access token says. Others are answered
/// 403 `INSUFFICIENT_PERMISSIONS`, which the audit log tells of in bounded number. The role `admin`
/// counts only in a session whose user has signed in here, as on Keyward's own admin routes: not in
/// one that an app has opened by its key. In one from before the second factor it is answered 403
/// `REAUTHENTICATION_REQUIRED`.
pub struct RequireRole<R> {
    /// Who it is.
    pub caller: Authenticated,
    role: PhantomData<fn() -> R>,
}

impl<R: Role, S: Sync> FromRequestParts<S> for RequireRole<R>
where
    Guard: FromRef<S>,
{
    type Rejection = Denial;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denial> {
        let guard = Guard::from_ref(state);
        let caller = guard.admit(parts).await?;
        let checked = guard.web.keyward.require_role(&caller, R::NAME, &client(parts));
        checked.map_err(|failure| guard.deny(failure.into(), parts))?;
        Ok(Self { caller, role: PhantomData })
    }
}

impl<R> fmt::Debug for RequireRole<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequireRole").field(&self.caller).finish()
    }
}

/// A [`Caller`] who may do what is most sensitive, as Keyward's own routes ask for it: with a
/// sign-in no longer ago than
/// [`reauthentication_window`](crate::policy::AccountPolicy::reauthentication_window), and with
/// the second factor if there is one. Others are answered 403 `REAUTHENTICATION_REQUIRED`: they
/// sign in again, and come back.
#[derive(Debug)]
pub struct RequireStepUp(
    /// Who it is.
    pub Authenticated,
);

impl<S: Sync> FromRequestParts<S> for RequireStepUp
where
    Guard: FromRef<S>,
{
    type Rejection = Denial;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denial> {
        let guard = Guard::from_ref(state);
        let caller = guard.admit(parts).await?;
        let checked = guard.web.keyward.require_recent_sign_in(&caller);
        checked.map_err(|failure| guard.deny(failure.into(), parts))?;
        Ok(Self(caller))
    }
}

/// A request that was not let through. It answers as Keyward's own routes do; an app that would
/// rather show a page takes `Result<Caller, Denial>`, and looks at the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    error: ApiError,
    id: RequestId,
}

impl Denial {
    /// The code by which clients tell what to do, such as `TOKEN_EXPIRED`.
    pub const fn code(&self) -> &'static str {
        self.error.code()
    }
}

impl IntoResponse for Denial {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        self.error.render(self.id.as_str(), &mut response);
        self.id.write(response.headers_mut());
        response
    }
}
