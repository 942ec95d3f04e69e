//! Every route, in one table: the router, the tests that walk all routes, and whoever wants to
//! describe the interface read the same lines.

mod accounts;
mod admin;
mod keys;
mod mail;
mod second_factor;
mod service_state;
mod sessions;
mod statistics;
mod users;
mod verifiers;

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use keyward_core::service_key::Scope;

use super::web::Web;
use crate::policy::WebPolicy;

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// Where its path begins.
    pub root: Root,
    /// The path below that.
    pub path: &'static str,
    /// What the caller must bring.
    pub access: Access,
    /// The members of the JSON body; empty where the route takes none.
    pub fields: &'static [Field],
    mount: fn(MethodFilter) -> MethodRouter<Arc<Web>>,
}

impl Route {
    /// The whole path, for a service with this policy.
    pub fn mounted_at(&self, policy: &WebPolicy) -> String {
        match self.root {
            Root::Admin => format!("{}{}", policy.admin_path(), self.path),
            Root::Base => format!("{}{}", policy.base_path, self.path),
            Root::Service => self.path.to_owned(),
        }
    }
}

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Beside the base path, where administrators call.
    Admin,
    /// At the configured base path.
    Base,
    /// At the root of the service.
    Service,
}

/// What a caller must bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// An access token, by header or, in cookie delivery, by cookie with the CSRF checks.
    AccessToken,
    /// A service key with this scope, or an administrator's [`Access::AccessToken`].
    Admin(Scope),
    /// Nothing.
    Anyone,
    /// What `logout` takes: an access token, or a refresh cookie with the CSRF checks, or nothing.
    AnyToken,
    /// A refresh cookie, from an allowed origin; where the request changes state, with the CSRF
    /// token too.
    RefreshCookie,
    /// Nothing, but a browser must come from an allowed origin.
    SameOrigin,
    /// A service key with this scope, and nothing else.
    ServiceKey(Scope),
}

/// A member of a JSON body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it takes.
    pub kind: FieldKind,
}

/// What a member of a JSON body takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// `true` or `false`.
    Boolean,
    /// An object of any members.
    Object,
    /// A string.
    Text,
    /// A list of strings.
    Texts,
}

const fn required(name: &'static str) -> Field {
    Field { name, required: true, kind: FieldKind::Text }
}

const fn optional(name: &'static str) -> Field {
    Field { name, required: false, kind: FieldKind::Text }
}

const fn base(
    method: Method,
    path: &'static str,
    access: Access,
    fields: &'static [Field],
    mount: fn(MethodFilter) -> MethodRouter<Arc<Web>>,
) -> Route {
    Route { method, root: Root::Base, path, access, fields, mount }
}

const fn admin(
    method: Method,
    path: &'static str,
    scope: Scope,
    fields: &'static [Field],
    mount: fn(MethodFilter) -> MethodRouter<Arc<Web>>,
) -> Route {
    Route { method, root: Root::Admin, path, access: Access::Admin(scope), fields, mount }
}

const fn root(path: &'static str, mount: fn(MethodFilter) -> MethodRouter<Arc<Web>>) -> Route {
    let (method, access) = (Method::GET, Access::Anyone);
    Route { method, root: Root::Service, path, access, fields: &[], mount }
}

const EMAIL: Field = required("email");
const PASSWORD: Field = required("password");
const TOKEN: Field = required("token");
const NAME: Field = optional("name");

const ROLES: &[Field] = &[Field { name: "roles", required: true, kind: FieldKind::Texts }];

const PROFILE: &[Field] = &[
    optional("email"),
    NAME,
    Field { name: "emailVerified", required: false, kind: FieldKind::Boolean },
    Field { name: "claims", required: false, kind: FieldKind::Object },
];

const GIVEN_ACCOUNT: &[Field] = &[
    EMAIL,
    optional("password"),
    optional("passwordHash"),
    NAME,
    Field { name: "roles", required: false, kind: FieldKind::Texts },
    Field { name: "emailVerified", required: false, kind: FieldKind::Boolean },
];

/// The table.
pub const ROUTES: &[Route] = &[
    base(Method::POST, "/register", Access::SameOrigin, &[EMAIL, PASSWORD, NAME], |method| {
        on(method, accounts::register)
    }),
    base(Method::POST, "/login", Access::SameOrigin, &[EMAIL, PASSWORD], |method| {
        on(method, accounts::login)
    }),
    base(
        Method::POST,
        "/login/mfa",
        Access::SameOrigin,
        &[required("mfaToken"), optional("code"), optional("recoveryCode")],
        |method| on(method, second_factor::login),
    ),
    base(Method::POST, "/refresh", Access::RefreshCookie, &[], |method| {
        on(method, sessions::refresh)
    }),
    base(Method::POST, "/logout", Access::AnyToken, &[], |method| on(method, sessions::logout)),
    base(Method::POST, "/logout-all", Access::AccessToken, &[], |method| {
        on(method, sessions::logout_all)
    }),
    base(Method::GET, "/csrf", Access::RefreshCookie, &[], |method| on(method, sessions::csrf)),
    base(Method::GET, "/me", Access::AccessToken, &[], |method| on(method, accounts::me)),
    base(Method::PATCH, "/me", Access::AccessToken, &[NAME], |method| {
        on(method, accounts::update_me)
    }),
    base(Method::DELETE, "/me", Access::AccessToken, &[PASSWORD], |method| {
        on(method, accounts::delete_me)
    }),
    base(Method::GET, "/sessions", Access::AccessToken, &[], |method| on(method, sessions::list)),
    base(Method::DELETE, "/sessions/{id}", Access::AccessToken, &[], |method| {
        on(method, sessions::end)
    }),
    base(
        Method::POST,
        "/password/change",
        Access::AccessToken,
        &[required("currentPassword"), required("newPassword")],
        |method| on(method, accounts::change_password),
    ),
    base(Method::POST, "/password/forgot", Access::SameOrigin, &[EMAIL], |method| {
        on(method, mail::forgot_password)
    }),
    base(
        Method::POST,
        "/password/reset",
        Access::SameOrigin,
        &[TOKEN, required("newPassword")],
        |method| on(method, mail::reset_password),
    ),
    base(Method::POST, "/email/verify", Access::SameOrigin, &[TOKEN], |method| {
        on(method, mail::verify_email)
    }),
    base(Method::POST, "/email/verification", Access::AccessToken, &[], |method| {
        on(method, mail::send_verification)
    }),
    base(Method::POST, "/mfa/totp", Access::AccessToken, &[PASSWORD], |method| {
        on(method, second_factor::begin)
    }),
    base(Method::POST, "/mfa/totp/confirm", Access::AccessToken, &[required("code")], |method| {
        on(method, second_factor::confirm)
    }),
    base(
        Method::DELETE,
        "/mfa/totp",
        Access::AccessToken,
        &[PASSWORD, required("code")],
        |method| on(method, second_factor::remove),
    ),
    base(Method::POST, "/mfa/recovery-codes", Access::AccessToken, &[PASSWORD], |method| {
        on(method, second_factor::replace_recovery_codes)
    }),
    base(Method::POST, "/introspect", Access::ServiceKey(Scope::Introspect), &[], |method| {
        on(method, verifiers::introspect)
    }),
    base(Method::GET, "/revocations", Access::ServiceKey(Scope::Revocations), &[], |method| {
        on(method, verifiers::revocations)
    }),
    admin(Method::GET, "/users", Scope::UsersRead, &[], |method| on(method, users::list)),
    admin(Method::POST, "/users", Scope::UsersWrite, GIVEN_ACCOUNT, |method| {
        on(method, admin::create_user)
    }),
    admin(Method::GET, "/users/{id}", Scope::UsersRead, &[], |method| on(method, admin::user)),
    admin(Method::PATCH, "/users/{id}", Scope::UsersWrite, PROFILE, |method| {
        on(method, users::change)
    }),
    admin(Method::DELETE, "/users/{id}", Scope::UsersWrite, &[], |method| {
        on(method, admin::delete_user)
    }),
    admin(Method::PUT, "/users/{id}/roles", Scope::UsersWrite, ROLES, |method| {
        on(method, users::set_roles)
    }),
    admin(Method::POST, "/users/{id}/disable", Scope::UsersWrite, &[], |method| {
        on(method, users::disable)
    }),
    admin(Method::POST, "/users/{id}/enable", Scope::UsersWrite, &[], |method| {
        on(method, users::enable)
    }),
    Route {
        method: Method::POST,
        root: Root::Admin,
        path: "/users/{id}/sessions",
        access: Access::ServiceKey(Scope::SessionsWrite),
        fields: &[optional("ip"), optional("userAgent")],
        mount: |method| on(method, users::mint_session),
    },
    admin(Method::GET, "/users/{id}/sessions", Scope::SessionsRead, &[], |method| {
        on(method, admin::user_sessions)
    }),
    admin(Method::POST, "/users/{id}/revoke", Scope::SessionsWrite, &[], |method| {
        on(method, admin::revoke_user)
    }),
    admin(Method::DELETE, "/sessions/{id}", Scope::SessionsWrite, &[], |method| {
        on(method, admin::revoke_session)
    }),
    admin(Method::GET, "/audit", Scope::AuditRead, &[], |method| on(method, admin::audit)),
    admin(Method::GET, "/stats", Scope::StatsRead, &[], |method| {
        on(method, statistics::statistics)
    }),
    admin(Method::GET, "/keys", Scope::KeysWrite, &[], |method| on(method, keys::list)),
    admin(Method::POST, "/keys/rotate", Scope::KeysWrite, &[optional("purpose")], |method| {
        on(method, keys::rotate)
    }),
    root("/.well-known/jwks.json", |method| on(method, service_state::jwks)),
    root("/healthz", |method| on(method, service_state::healthz)),
    root("/readyz", |method| on(method, service_state::readyz)),
];

/// Mounts the table.
pub(super) fn mount(policy: &WebPolicy) -> Router<Arc<Web>> {
    ROUTES.iter().fold(Router::new(), |router, route| {
        let method = MethodFilter::try_from(route.method.clone())
            .expect("the table has methods of RFC 9110 only");
        router.route(&route.mounted_at(policy), (route.mount)(method))
    })
}
