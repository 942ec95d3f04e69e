//! Registration, sign-in, and the user's own record.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::http::error::password_refused;
use crate::http::extract::{Caller, Carrying, Client, SameOrigin};
use crate::http::views::{ChallengeView, SessionView, UserView};
use crate::http::web::{Web, accepted};
use crate::http::{ApiError, Json, fields};
use crate::service::{Failure, NewAccount, Profile, Registered, SignIn};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterBody {
    email: String,
    password: String,
    name: Option<String>,
}

/// Makes an account and signs its user in.
pub(super) async fn register(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    _: SameOrigin,
    Carrying(carried): Carrying,
    Json(body): Json<RegisterBody>,
) -> Result<Response, ApiError> {
    let account = NewAccount {
        email: fields::email("email", &body.email)?,
        password: fields::password("password", body.password)?,
        name: fields::name("name", body.name)?,
    };
    match web.keyward.register(account, &carried, &client).await? {
        Registered::SignedIn(tokens) => Ok(web.signed_in(StatusCode::CREATED, &tokens)),
        Registered::ByMail => Ok(accepted("We have sent a mail to this address.")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginBody {
    email: String,
    password: String,
}

/// Signs a user in.
pub(super) async fn login(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    _: SameOrigin,
    Carrying(carried): Carrying,
    Json(body): Json<LoginBody>,
) -> Result<Response, ApiError> {
    let email = fields::email("email", &body.email)?;
    let password = fields::password("password", body.password)?;
    match web.keyward.login(&email, password, &carried, &client).await? {
        SignIn::Opened(tokens) => Ok(web.signed_in(StatusCode::OK, &tokens)),
        SignIn::Challenged(challenge) => {
            Ok(axum::Json(ChallengeView::from(&challenge)).into_response())
        }
    }
}

/// Who the caller is.
pub(super) async fn me(Caller(caller): Caller) -> Response {
    let user = UserView::from(&caller.user);
    let session = SessionView::new(&caller.session, caller.session.id);
    axum::Json(MeView { user, session }).into_response()
}

#[derive(serde::Serialize)]
struct MeView<'a> {
    user: UserView<'a>,
    session: SessionView<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateBody {
    /// Absent: leave it as it is. `null`: remove it.
    #[serde(default, deserialize_with = "present")]
    name: Option<Option<String>>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Changes the user's own record.
pub(super) async fn update_me(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    Caller(caller): Caller,
    Json(body): Json<UpdateBody>,
) -> Result<Response, ApiError> {
    let name = match body.name {
        Some(name) => fields::name("name", name)?,
        None => caller.user.name.clone(),
    };
    let user = web.keyward.update_profile(caller, Profile { name }, &client).await?;
    Ok(axum::Json(json!({ "user": UserView::from(&user) })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteBody {
    password: String,
}

/// Deletes the account.
pub(super) async fn delete_me(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    Caller(caller): Caller,
    Json(body): Json<DeleteBody>,
) -> Result<Response, ApiError> {
    let password = fields::password("password", body.password)?;
    web.keyward.delete_account(&caller, password, &client).await?;
    Ok(web.forget_device(web.clear_cookies(StatusCode::NO_CONTENT.into_response())))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ChangePasswordBody {
    current_password: String,
    new_password: String,
}

/// Changes the password; this device gets a new session, all others end.
pub(super) async fn change_password(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    Caller(caller): Caller,
    Json(body): Json<ChangePasswordBody>,
) -> Result<Response, ApiError> {
    let current = fields::password("currentPassword", body.current_password)?;
    let new = fields::password("newPassword", body.new_password)?;
    let changed = web.keyward.change_password(&caller, current, new, &client).await;
    let tokens = changed.map_err(|failure| match failure {
        Failure::PasswordRefused(refusal) => password_refused("newPassword", refusal),
        failure => failure.into(),
    })?;
    Ok(web.signed_in(StatusCode::OK, &tokens))
}
