//! The accounts of others.

use std::sync::Arc;

use axum::extract::{FromRequestParts as _, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use keyward_core::id::UserId;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::http::extract::{PathId, Permitted, UsersRead, UsersWrite};
use crate::http::views::AdminUserView;
use crate::http::web::Web;
use crate::http::{ApiError, Json, Query, fields};
use crate::service::GivenAccount;
use crate::store::{ProfileChange, User, UserFilter, UserOrder};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UsersQuery {
    email: Option<String>,
    role: Option<String>,
    disabled: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Accounts in the order in which they were made, or by address.
pub(in crate::http) async fn list(
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

/// One account.
pub(in crate::http) async fn user(
    State(web): State<Arc<Web>>,
    _: Permitted<UsersRead>,
    PathId(id): PathId<UserId>,
) -> Result<Response, ApiError> {
    Ok(one(&web.keyward.user(id).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::http) struct CreateUserBody {
    email: String,
    password: Option<String>,
    password_hash: Option<String>,
    name: Option<String>,
    roles: Option<Vec<String>>,
    email_verified: Option<bool>,
}

/// Makes an account. Who is calling is asked twice: before the work of a hash, which strangers
/// could cause otherwise, and after it, since a role or a key may be taken away while it waits.
pub(in crate::http) async fn create_user(
    State(web): State<Arc<Web>>,
    mut caller: Parts,
    _: Permitted<UsersWrite>,
    Json(body): Json<CreateUserBody>,
) -> Result<Response, ApiError> {
    let email = fields::email("email", &body.email)?;
    let credential = fields::credential(body.password, body.password_hash)?;
    let name = fields::name("name", body.name)?;
    let roles = fields::roles("roles", body.roles)?;
    let password_hash = web.keyward.hash_given(credential, &email, name.as_deref()).await?;

    let Permitted { admin, .. }: Permitted<UsersWrite> =
        Permitted::from_request_parts(&mut caller, &web).await?;
    let email_verified = body.email_verified.unwrap_or(false);
    let account = GivenAccount { email, password_hash, name, roles, email_verified };
    let user = web.keyward.create_user(account, &admin).await?;
    Ok((StatusCode::CREATED, axum::Json(OneUser { user: (&user).into() })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::http) struct ChangeBody {
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
pub(in crate::http) async fn change(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    PathId(id): PathId<UserId>,
    Json(body): Json<ChangeBody>,
) -> Result<Response, ApiError> {
    let email = body.email.map(|text| fields::email("email", &text)).transpose()?;
    let name = body.name.map(|name| fields::name("name", name)).transpose()?;
    let claims = fields::claims("claims", body.claims)?;
    let email_verified = body.email_verified;
    let change = ProfileChange { email, name, email_verified, claims, ..ProfileChange::default() };
    Ok(one(&web.keyward.change_profile(id, change, &admin).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RolesBody {
    roles: Vec<String>,
}

/// Sets an account's roles, all at once.
pub(in crate::http) async fn set_roles(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    PathId(id): PathId<UserId>,
    Json(body): Json<RolesBody>,
) -> Result<Response, ApiError> {
    let roles = fields::roles("roles", Some(body.roles))?;
    Ok(one(&web.keyward.set_roles(id, roles, &admin).await?))
}

/// Keeps a user from signing in, and ends their sessions.
pub(in crate::http) async fn disable(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    PathId(id): PathId<UserId>,
) -> Result<Response, ApiError> {
    Ok(one(&web.keyward.disable_user(id, &admin).await?))
}

/// Lets a user sign in again.
pub(in crate::http) async fn enable(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    PathId(id): PathId<UserId>,
) -> Result<Response, ApiError> {
    Ok(one(&web.keyward.enable_user(id, &admin).await?))
}

/// Deletes an account.
pub(in crate::http) async fn delete_user(
    State(web): State<Arc<Web>>,
    Permitted { admin, .. }: Permitted<UsersWrite>,
    PathId(id): PathId<UserId>,
) -> Result<StatusCode, ApiError> {
    web.keyward.delete_user(id, &admin).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn one(user: &User) -> Response {
    axum::Json(OneUser { user: user.into() }).into_response()
}

#[derive(Serialize)]
struct OneUser<'a> {
    user: AdminUserView<'a>,
}
