//! Accounts, as administrators and other services find and change them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use keyward_core::id::UserId;
use keyward_core::session::Device;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::admin::OneUser;
use crate::http::extract::{
    PathId, Permitted, PermittedKey, SessionsWrite, Superseded, UsersRead, UsersWrite,
};
use crate::http::views::AdminUserView;
use crate::http::web::Web;
use crate::http::{ApiError, Json, Query, fields};
use crate::store::{ProfileChange, User, UserFilter, UserOrder};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsersQuery {
    email: Option<String>,
    role: Option<String>,
    disabled: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Accounts in the order in which they were made, or by address.
pub(super) async fn list(
    State(web): State<Arc<Web>>,
    _: Permitted<UsersRead>,
    Query(query): Query<UsersQuery>,
) -> Result<Response, ApiError> {
    let order = match query.email {
        Some(prefix) => UserOrder::ByEmail {
            prefix: fields::email_prefix("email", &prefix)?,
            after: fields::address_cursor("cursor", query.cursor)?,
        },
        None => UserOrder::ById { after: fields::cursor("cursor", query.cursor)? },
    };
    let filter = UserFilter {
        order,
        role: fields::role("role", query.role)?,
        disabled: fields::flag("disabled", query.disabled)?,
        limit: fields::limit("limit", query.limit)?,
    };
    let page = web.keyward.list_users(filter).await?;
    let users = page.users.iter().map(AdminUserView::from).collect();
    Ok(axum::Json(Users { users, next_cursor: page.next.and_then(cursor) }).into_response())
}

fn cursor(next: UserOrder) -> Option<String> {
    match next {
        UserOrder::ByEmail { after, .. } => after.as_deref().map(fields::cursor_of_address),
        UserOrder::ById { after } => after.map(|id| id.to_string()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Users<'a> {
    users: Vec<AdminUserView<'a>>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ChangeBody {
    email: Option<String>,
    /// Absent: leave it as it is. `null`: remove it.
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
    email_verified: Option<bool>,
    claims: Option<Map<String, Value>>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Changes an account's record.
pub(super) async fn change(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    PathId(id): PathId<UserId>,
    Json(body): Json<ChangeBody>,
) -> Result<Response, ApiError> {
    let email = body.email.map(|text| fields::email("email", &text)).transpose()?;
    let name = body.name.map(|name| fields::name("name", name)).transpose()?;
    let claims = fields::claims("claims", body.claims)?;
    let change = ProfileChange { email, name, email_verified: body.email_verified, claims };
    Ok(one(&web.keyward.change_profile(id, change, &admin).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RolesBody {
    roles: Vec<String>,
}

/// Sets an account's roles, all at once.
pub(super) async fn set_roles(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    PathId(id): PathId<UserId>,
    Json(body): Json<RolesBody>,
) -> Result<Response, ApiError> {
    let roles = fields::roles("roles", Some(body.roles))?;
    Ok(one(&web.keyward.set_roles(id, roles, &admin).await?))
}

/// Keeps a user from signing in, and ends their sessions.
pub(super) async fn disable(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    PathId(id): PathId<UserId>,
) -> Result<Response, ApiError> {
    Ok(one(&web.keyward.disable_user(id, &admin).await?))
}

/// Lets a user sign in again.
pub(super) async fn enable(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    PathId(id): PathId<UserId>,
) -> Result<Response, ApiError> {
    Ok(one(&web.keyward.enable_user(id, &admin).await?))
}

fn one(user: &User) -> Response {
    axum::Json(OneUser { user: user.into() }).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct OpenSessionBody {
    ip: Option<String>,
    user_agent: Option<String>,
}

/// Opens a session for a user whom the calling app has signed in. The answer is a sign-in's, whose
/// cookies the app hands on to the browser.
pub(super) async fn open_session(
    State(web): State<Arc<Web>>,
    PermittedKey { admin, .. }: PermittedKey<SessionsWrite>,
    PathId(id): PathId<UserId>,
    Superseded(supersedes): Superseded,
    Json(body): Json<OpenSessionBody>,
) -> Result<Response, ApiError> {
    let device = Device {
        ip: fields::address("ip", body.ip)?,
        user_agent: fields::user_agent("userAgent", body.user_agent)?,
    };
    let supersedes = supersedes.as_ref();
    let tokens = web.keyward.open_session_of(id, &device, supersedes, &admin).await?;
    Ok(web.signed_in(StatusCode::CREATED, &tokens))
}
