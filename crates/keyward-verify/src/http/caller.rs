//! What handlers take in. A handler's signature is its checklist: whoever holds one of these values
//! has passed the check that its type names.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum_core::extract::FromRequestParts;
use http::request::Parts;
use keyward_core::access_token::Claims;

use super::denial::{Cause, Denial};
use crate::clock;

/// Who is calling, by a token that was verified. Behind it are the token's [`Claims`].
///
/// A route that asks for it without a [`VerifyLayer`](crate::VerifyLayer) before it answers 500.
#[derive(Debug, Clone)]
pub struct Caller(Arc<Claims>);

impl Caller {
    pub(super) fn new(claims: Arc<Claims>) -> Self {
        Self(claims)
    }

    /// Whether the user had this role when the token was issued, a token's life ago at most.
    pub fn has_role(&self, role: &str) -> bool {
        self.0.roles.iter().any(|own| own == role)
    }

    /// Whether the user has signed in no longer ago than this, in each of these ways (`amr`, RFC
    /// 8176). A refresh is no sign-in.
    pub fn has_signed_in(&self, max_age: Duration, amr: &[&str]) -> bool {
        let age = clock::now().secs().saturating_sub(self.0.auth_time);
        let is_recent = u64::try_from(age).is_ok_and(|age| age <= max_age.as_secs()) || age < 0;
        is_recent && amr.iter().all(|way| self.0.amr.iter().any(|own| own == way))
    }
}

impl Deref for Caller {
    type Target = Claims;

    fn deref(&self) -> &Claims {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Denial;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Denial> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Denial::new(Cause::Internal, &parts.headers))
    }
}

/// A role of yours.
///
/// ```
/// struct Admin;
///
/// impl keyward_verify::Role for Admin {
///     const NAME: &str = "admin";
/// }
/// ```
pub trait Role {
    /// As it stands in the claim `roles`.
    const NAME: &str;
}

/// A caller who has the role. Others are answered 403 `INSUFFICIENT_PERMISSIONS`.
pub struct RequireRole<R> {
    /// Who it is.
    pub caller: Caller,
    role: PhantomData<fn() -> R>,
}

impl<R: Role, S: Sync> FromRequestParts<S> for RequireRole<R> {
    type Rejection = Denial;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denial> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.has_role(R::NAME) {
            return Ok(Self { caller, role: PhantomData });
        }
        Err(Denial::new(Cause::InsufficientPermissions, &parts.headers))
    }
}

impl<R> fmt::Debug for RequireRole<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequireRole").field(&self.caller).finish()
    }
}

/// How recent and how strong a sign-in must be for a sensitive act.
///
/// ```
/// struct Payment;
///
/// impl keyward_verify::StepUp for Payment {
///     const MAX_AGE: std::time::Duration = std::time::Duration::from_secs(5 * 60);
///     const AMR: &[&str] = &["pwd"];
/// }
/// ```
pub trait StepUp {
    /// The longest that the sign-in may be ago, by the claim `auth_time`.
    const MAX_AGE: Duration;
    /// What it must have been done with, all of them, by the claim `amr`. Anything will do where
    /// this is empty.
    const AMR: &[&str] = &[];
}

/// A caller whose sign-in is recent and strong enough. Others are answered 403
/// `REAUTHENTICATION_REQUIRED`: they sign in again, and come back.
pub struct RequireStepUp<P> {
    /// Who it is.
    pub caller: Caller,
    step_up: PhantomData<fn() -> P>,
}

impl<P: StepUp, S: Sync> FromRequestParts<S> for RequireStepUp<P> {
    type Rejection = Denial;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Denial> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.has_signed_in(P::MAX_AGE, P::AMR) {
            return Ok(Self { caller, step_up: PhantomData });
        }
        Err(Denial::new(Cause::ReauthenticationRequired, &parts.headers))
    }
}

impl<P> fmt::Debug for RequireStepUp<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequireStepUp").field(&self.caller).finish()
    }
}
