//! Every route, in one table: the router, the tests that walk all routes, and whoever wants to
//! describe the interface read the same lines.

mod accounts;
mod admin;
mod mail;
mod openapi;
pub(super) mod operations;
mod second_factor;
mod service_state;
mod sessions;
mod verifiers;

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use keyward_core::email::EMAIL_BYTES_MAX;
use keyward_core::password::PASSWORD_BYTES_MAX;
use keyward_core::service_key::Scope;
use keyward_core::text::NAME_CHARS_MAX;

use self::operations::Operation;
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
    pub(super) operation: Operation,
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
    /// What its text is, by the names of JSON Schema.
    pub format: Option<&'static str>,
    /// How many characters its text may have at the most. It may be refused for other reasons.
    pub chars_max: Option<usize>,
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
    Field { required: true, ..optional(name) }
}

const fn optional(name: &'static str) -> Field {
    Field { name, required: false, kind: FieldKind::Text, format: None, chars_max: None }
}

const fn base(
    method: Method,
    path: &'static str,
    access: Access,
    fields: &'static [Field],
    operation: Operation,
    mount: fn(MethodFilter) -> MethodRouter<Arc<Web>>,
) -> Route {
    Route { method, root: Root::Base, path, access, fields, operation, mount }
}

const fn admin(
    method: Method,
    path: &'static str,
    scope: Scope,
    fields: &'static [Field],
    operation: Operation,
    mount: fn(MethodFilter) -> MethodRouter<Arc<Web>>,
) -> Route {
    let access = Access::Admin(scope);
    Route { method, root: Root::Admin, path, access, fields, operation, mount }
}

const fn root(
    path: &'static str,
    operation: Operation,
    mount: fn(MethodFilter) -> MethodRouter<Arc<Web>>,
) -> Route {
    let (method, access) = (Method::GET, Access::Anyone);
    Route { method, root: Root::Service, path, access, fields: &[], operation, mount }
}

/// A password, whether it is right or acceptable or not.
const fn password(field: Field) -> Field {
    Field { format: Some("password"), chars_max: Some(PASSWORD_BYTES_MAX), ..field }
}

/// An address of e-mail.
const fn email(field: Field) -> Field {
    Field { format: Some("email"), chars_max: Some(EMAIL_BYTES_MAX), ..field }
}

const EMAIL: Field = email(required("email"));
const PASSWORD: Field = password(required("password"));
const NEW_PASSWORD: Field = password(required("newPassword"));
const TOKEN: Field = required("token");
const NAME: Field = Field { chars_max: Some(NAME_CHARS_MAX), ..optional("name") };

const ROLES: &[Field] = &[Field { kind: FieldKind::Texts, ..required("roles") }];

const PROFILE: &[Field] = &[
    email(optional("email")),
    NAME,
    Field { kind: FieldKind::Boolean, ..optional("emailVerified") },
    Field { kind: FieldKind::Object, ..optional("claims") },
];

const GIVEN_ACCOUNT: &[Field] = &[
    EMAIL,
    password(optional("password")),
    optional("passwordHash"),
    NAME,
    Field { kind: FieldKind::Texts, ..optional("roles") },
    Field { kind: FieldKind::Boolean, ..optional("emailVerified") },
];

/// The table.
pub const ROUTES: &[Route] = &[
    base(
        Method::POST,
        "/register",
        Access::SameOrigin,
        &[EMAIL, PASSWORD, NAME],
        operations::REGISTER,
        |method| on(method, accounts::register),
    ),
    base(
        Method::POST,
        "/login",
        Access::SameOrigin,
        &[EMAIL, PASSWORD],
        operations::LOGIN,
        |method| on(method, accounts::login),
    ),
    base(
        Method::POST,
        "/login/mfa",
        Access::SameOrigin,
        &[required("mfaToken"), optional("code"), optional("recoveryCode")],
        operations::LOGIN_MFA,
        |method| on(method, second_factor::login),
    ),
    base(Method::POST, "/refresh", Access::RefreshCookie, &[], operations::REFRESH, |method| {
        on(method, sessions::refresh)
    }),
    base(Method::POST, "/logout", Access::AnyToken, &[], operations::LOGOUT, |method| {
        on(method, sessions::logout)
    }),
    base(Method::POST, "/logout-all", Access::AccessToken, &[], operations::LOGOUT_ALL, |method| {
        on(method, sessions::logout_all)
    }),
    base(Method::GET, "/csrf", Access::RefreshCookie, &[], operations::CSRF, |method| {
        on(method, sessions::csrf)
    }),
    base(Method::GET, "/me", Access::AccessToken, &[], operations::ME, |method| {
        on(method, accounts::me)
    }),
    base(Method::PATCH, "/me", Access::AccessToken, &[NAME], operations::UPDATE_ME, |method| {
        on(method, accounts::update_me)
    }),
    base(
        Method::DELETE,
        "/me",
        Access::AccessToken,
        &[PASSWORD],
        operations::DELETE_ME,
        |method| on(method, accounts::delete_me),
    ),
    base(Method::GET, "/sessions", Access::AccessToken, &[], operations::SESSIONS, |method| {
        on(method, sessions::list)
    }),
    base(
        Method::DELETE,
        "/sessions/{id}",
        Access::AccessToken,
        &[],
        operations::END_SESSION,
        |method| on(method, sessions::end),
    ),
    base(
        Method::POST,
        "/password/change",
        Access::AccessToken,
        &[password(required("currentPassword")), NEW_PASSWORD],
        operations::CHANGE_PASSWORD,
        |method| on(method, accounts::change_password),
    ),
    base(
        Method::POST,
        "/password/forgot",
        Access::SameOrigin,
        &[EMAIL],
        operations::FORGOT_PASSWORD,
        |method| on(method, mail::forgot_password),
    ),
    base(
        Method::POST,
        "/password/reset",
        Access::SameOrigin,
        &[TOKEN, NEW_PASSWORD],
        operations::RESET_PASSWORD,
        |method| on(method, mail::reset_password),
    ),
    base(
        Method::POST,
        "/email/verify",
        Access::SameOrigin,
        &[TOKEN],
        operations::VERIFY_EMAIL,
        |method| on(method, mail::verify_email),
    ),
    base(
        Method::POST,
        "/email/verification",
        Access::AccessToken,
        &[],
        operations::SEND_VERIFICATION,
        |method| on(method, mail::send_verification),
    ),
    base(
        Method::POST,
        "/mfa/totp",
        Access::AccessToken,
        &[PASSWORD],
        operations::BEGIN_TOTP,
        |method| on(method, second_factor::begin),
    ),
    base(
        Method::POST,
        "/mfa/totp/confirm",
        Access::AccessToken,
        &[required("code")],
        operations::CONFIRM_TOTP,
        |method| on(method, second_factor::confirm),
    ),
    base(
        Method::DELETE,
        "/mfa/totp",
        Access::AccessToken,
        &[PASSWORD, required("code")],
        operations::REMOVE_TOTP,
        |method| on(method, second_factor::remove),
    ),
    base(
        Method::POST,
        "/mfa/recovery-codes",
        Access::AccessToken,
        &[PASSWORD],
        operations::REPLACE_RECOVERY_CODES,
        |method| on(method, second_factor::replace_recovery_codes),
    ),
    base(
        Method::POST,
        "/introspect",
        Access::ServiceKey(Scope::Introspect),
        &[],
        operations::INTROSPECT,
        |method| on(method, verifiers::introspect),
    ),
    base(
        Method::GET,
        "/revocations",
        Access::ServiceKey(Scope::Revocations),
        &[],
        operations::REVOCATIONS,
        |method| on(method, verifiers::revocations),
    ),
    admin(Method::GET, "/users", Scope::UsersRead, &[], operations::ADMIN_USERS, |method| {
        on(method, admin::accounts::list)
    }),
    admin(
        Method::POST,
        "/users",
        Scope::UsersWrite,
        GIVEN_ACCOUNT,
        operations::ADMIN_CREATE_USER,
        |method| on(method, admin::accounts::create_user),
    ),
    admin(Method::GET, "/users/{id}", Scope::UsersRead, &[], operations::ADMIN_USER, |method| {
        on(method, admin::accounts::user)
    }),
    admin(
        Method::PATCH,
        "/users/{id}",
        Scope::UsersWrite,
        PROFILE,
        operations::ADMIN_CHANGE_USER,
        |method| on(method, admin::accounts::change),
    ),
    admin(
        Method::DELETE,
        "/users/{id}",
        Scope::UsersWrite,
        &[],
        operations::ADMIN_DELETE_USER,
        |method| on(method, admin::accounts::delete_user),
    ),
    admin(
        Method::PUT,
        "/users/{id}/roles",
        Scope::UsersWrite,
        ROLES,
        operations::ADMIN_SET_ROLES,
        |method| on(method, admin::accounts::set_roles),
    ),
    admin(
        Method::POST,
        "/users/{id}/disable",
        Scope::UsersWrite,
        &[],
        operations::ADMIN_DISABLE_USER,
        |method| on(method, admin::accounts::disable),
    ),
    admin(
        Method::POST,
        "/users/{id}/enable",
        Scope::UsersWrite,
        &[],
        operations::ADMIN_ENABLE_USER,
        |method| on(method, admin::accounts::enable),
    ),
    Route {
        method: Method::POST,
        root: Root::Admin,
        path: "/users/{id}/sessions",
        access: Access::ServiceKey(Scope::SessionsWrite),
        fields: &[optional("ip"), optional("userAgent")],
        operation: operations::ADMIN_OPEN_SESSION,
        mount: |method| on(method, admin::sessions::open_session),
    },
    admin(
        Method::GET,
        "/users/{id}/sessions",
        Scope::SessionsRead,
        &[],
        operations::ADMIN_USER_SESSIONS,
        |method| on(method, admin::sessions::user_sessions),
    ),
    admin(
        Method::POST,
        "/users/{id}/revoke",
        Scope::SessionsWrite,
        &[],
        operations::ADMIN_REVOKE_USER,
        |method| on(method, admin::sessions::revoke_user),
    ),
    admin(
        Method::DELETE,
        "/sessions/{id}",
        Scope::SessionsWrite,
        &[],
        operations::ADMIN_REVOKE_SESSION,
        |method| on(method, admin::sessions::revoke_session),
    ),
    admin(Method::GET, "/audit", Scope::AuditRead, &[], operations::ADMIN_AUDIT, |method| {
        on(method, admin::log::audit)
    }),
    admin(Method::GET, "/stats", Scope::StatsRead, &[], operations::ADMIN_STATISTICS, |method| {
        on(method, admin::statistics::statistics)
    }),
    admin(Method::GET, "/keys", Scope::KeysWrite, &[], operations::ADMIN_KEYS, |method| {
        on(method, admin::keys::list)
    }),
    admin(
        Method::POST,
        "/keys/rotate",
        Scope::KeysWrite,
        &[optional("purpose")],
        operations::ADMIN_ROTATE_KEY,
        |method| on(method, admin::keys::rotate),
    ),
    root("/.well-known/jwks.json", operations::JWKS, |method| on(method, service_state::jwks)),
    root("/healthz", operations::HEALTHZ, |method| on(method, service_state::healthz)),
    root("/openapi.json", operations::OPENAPI, |method| on(method, openapi::openapi)),
    root("/readyz", operations::READYZ, |method| on(method, service_state::readyz)),
];

/// Mounts the table.
pub(super) fn mount(policy: &WebPolicy) -> Router<Arc<Web>> {
    ROUTES.iter().fold(Router::new(), |router, route| {
        let method = MethodFilter::try_from(route.method.clone())
            .expect("the table has methods of RFC 9110 only");
        router.route(&route.mounted_at(policy), (route.mount)(method))
    })
}
