//! The caller of an admin route: another service by its key, or an administrator by access token.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::Method;
use http::request::Parts;
use keyward_core::service_key::{PREFIX, Scope, ServiceKeyRecord};

use super::{authenticate, bearer, client};
use crate::http::ApiError;
use crate::http::web::Web;
use crate::service::Admin;

/// A caller who may do what the scope `S` names: a service whose key has it, or an administrator,
/// who has signed in lately where the request changes anything.
pub(in crate::http) struct Permitted<S> {
    pub(in crate::http) admin: Admin,
    scope: PhantomData<S>,
}

impl<S: Permission> FromRequestParts<Arc<Web>> for Permitted<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, ApiError> {
        // Only here is a key looked for: in a cookie or an address it would be one that leaks.
        let key = bearer(&parts.headers)?.filter(|token| token.starts_with(PREFIX));
        let admin = if let Some(key) = key {
            web.keyward.admin_by_key(key, S::SCOPE, &client(parts)).await?
        } else {
            let caller = authenticate(parts, web).await?;
            let changes_state = !matches!(parts.method, Method::GET | Method::HEAD);
            web.keyward.admin_by_token(&caller, changes_state, &client(parts))?
        };
        Ok(Self { admin, scope: PhantomData })
    }
}

/// Another service, whose key has the scope `S`. Users are not let in, whatever their role.
pub(in crate::http) struct KeyHolder<S> {
    pub(in crate::http) key: ServiceKeyRecord,
    scope: PhantomData<S>,
}

impl<S: Permission> FromRequestParts<Arc<Web>> for KeyHolder<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, ApiError> {
        let key = bearer(&parts.headers)?.ok_or(ApiError::NoToken)?;
        let key = web.keyward.service_key(key, S::SCOPE, &client(parts)).await?;
        Ok(Self { key, scope: PhantomData })
    }
}

/// As [`KeyHolder`], for what changes something and is recorded as that service's act. To a user
/// whose token is good it is forbidden: a 401 would have their page sign them out.
pub(in crate::http) struct PermittedKey<S> {
    pub(in crate::http) admin: Admin,
    scope: PhantomData<S>,
}

impl<S: Permission> FromRequestParts<Arc<Web>> for PermittedKey<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, ApiError> {
        let key = bearer(&parts.headers)?.filter(|token| token.starts_with(PREFIX));
        let Some(key) = key else {
            let caller = authenticate(parts, web).await?;
            return Err(web.keyward.deny_permission(&caller, &client(parts)).into());
        };
        let admin = web.keyward.admin_by_key(key, S::SCOPE, &client(parts)).await?;
        Ok(Self { admin, scope: PhantomData })
    }
}

/// A scope as a type, for the signatures of routes.
pub(in crate::http) trait Permission {
    const SCOPE: Scope;
}

macro_rules! permissions {
    ($($name:ident),+) => {
        $(
            pub(in crate::http) struct $name;

            impl Permission for $name {
                const SCOPE: Scope = Scope::$name;
            }
        )+
    };
}

permissions! {
    AuditRead,
    Introspect,
    KeysWrite,
    Revocations,
    SessionsRead,
    SessionsWrite,
    StatsRead,
    UsersRead,
    UsersWrite
}
