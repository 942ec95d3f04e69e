//! What users do by mail: forgotten passwords, and addresses that are to be verified.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use crate::http::error::password_refused;
use crate::http::extract::{Caller, Client, SameOrigin};
use crate::http::views::UserView;
use crate::http::web::{Web, accepted};
use crate::http::{ApiError, Json, fields};
use crate::service::Failure;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForgotPasswordBody {
    email: String,
}

/// Mails a link that sets a new password, to whom it is of use.
pub(super) async fn forgot_password(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    _: SameOrigin,
    Json(body): Json<ForgotPasswordBody>,
) -> Result<Response, ApiError> {
    let email = fields::email("email", &body.email)?;
    web.keyward.forgot_password(email, &client).await?;
    Ok(accepted("If there is an account with this address, we have sent it a mail."))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ResetPasswordBody {
    token: String,
    new_password: String,
}

/// Sets a new password by a mailed token.
pub(super) async fn reset_password(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    _: SameOrigin,
    Json(body): Json<ResetPasswordBody>,
) -> Result<Response, ApiError> {
    let new = fields::password("newPassword", body.new_password)?;
    let token = fields::one_time_token(body.token)?;
    let reset = web.keyward.reset_password(&token, new, &client).await;
    let device = reset.map_err(|failure| match failure {
        Failure::PasswordRefused(refusal) => password_refused("newPassword", refusal),
        failure => failure.into(),
    })?;
    let answer = axum::Json(json!({ "message": "Sign in with your new password." }));
    Ok(web.remember_device(device, answer.into_response()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyEmailBody {
    token: String,
}

/// Marks an address as verified by a mailed token.
pub(super) async fn verify_email(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    _: SameOrigin,
    Json(body): Json<VerifyEmailBody>,
) -> Result<Response, ApiError> {
    let token = fields::one_time_token(body.token)?;
    let user = web.keyward.verify_email(&token, &client).await?;
    Ok(axum::Json(json!({ "user": UserView::from(&user) })).into_response())
}

/// Mails the link that verifies the caller's address once more.
pub(super) async fn send_verification(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    Caller(caller): Caller,
) -> Result<Response, ApiError> {
    web.keyward.send_verification(&caller, &client).await?;
    Ok(accepted("We have sent a mail to your address."))
}
