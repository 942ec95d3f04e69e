//! The second factor: a sign-in's second step, and what a user does with the factor itself.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use keyward_core::second_factor::RecoveryCode;
use serde::Deserialize;
use serde_json::json;

use crate::http::extract::{Caller, Carrying, Client, SameOrigin};
use crate::http::web::Web;
use crate::http::{ApiError, Json, fields, qr_code};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct AnswerBody {
    mfa_token: String,
    code: Option<String>,
    recovery_code: Option<String>,
}

/// Signs a user in whose password was right.
pub(super) async fn login(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    _: SameOrigin,
    Carrying(carried): Carrying,
    Json(body): Json<AnswerBody>,
) -> Result<Response, ApiError> {
    let token = &fields::code("mfaToken", body.mfa_token)?;
    let code = body.code.map(|code| fields::code("code", code)).transpose()?;
    let recovery_code = body.recovery_code.map(|code| fields::code("recoveryCode", code));
    let keyward = &web.keyward;
    let tokens = match (code, recovery_code.transpose()?) {
        (Some(code), None) => keyward.login_with_code(token, &code, &carried, &client).await?,
        (None, Some(code)) => {
            keyward.login_with_recovery_code(token, &code, &carried, &client).await?
        }
        _ => return Err(ApiError::invalid_field("code", "Give this or a `recoveryCode`.")),
    };
    Ok(web.signed_in(StatusCode::OK, &tokens))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordBody {
    password: String,
}

/// Begins to set up an authenticator app.
pub(super) async fn begin(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    Caller(caller): Caller,
    Json(body): Json<PasswordBody>,
) -> Result<Response, ApiError> {
    let password = fields::password("password", body.password)?;
    let offer = web.keyward.begin_totp(&caller, password, &client).await?;
    let picture = qr_code::svg(&offer.uri);
    let view = json!({ "secret": *offer.secret, "otpauthUri": *offer.uri, "qrSvg": picture });
    Ok(axum::Json(view).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmBody {
    code: String,
}

/// Enables the authenticator app.
pub(super) async fn confirm(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    Caller(caller): Caller,
    Json(body): Json<ConfirmBody>,
) -> Result<Response, ApiError> {
    let code = fields::code("code", body.code)?;
    let codes = web.keyward.confirm_totp(&caller, &code, &client).await?;
    Ok(web.remember_device(web.keyward.renewed_device(&caller).await, recovery_codes(&codes)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoveBody {
    password: String,
    code: String,
}

/// Removes the authenticator app.
pub(super) async fn remove(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    Caller(caller): Caller,
    Json(body): Json<RemoveBody>,
) -> Result<Response, ApiError> {
    let password = fields::password("password", body.password)?;
    let code = fields::code("code", body.code)?;
    web.keyward.remove_totp(&caller, password, &code, &client).await?;
    let answer = StatusCode::NO_CONTENT.into_response();
    Ok(web.remember_device(web.keyward.renewed_device(&caller).await, answer))
}

/// Hands out new recovery codes.
pub(super) async fn replace_recovery_codes(
    State(web): State<Arc<Web>>,
    Client(client): Client,
    Caller(caller): Caller,
    Json(body): Json<PasswordBody>,
) -> Result<Response, ApiError> {
    let password = fields::password("password", body.password)?;
    Ok(recovery_codes(&web.keyward.replace_recovery_codes(&caller, password, &client).await?))
}

fn recovery_codes(codes: &[RecoveryCode]) -> Response {
    let texts: Vec<_> = codes.iter().map(RecoveryCode::expose).collect();
    let texts: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
    axum::Json(json!({ "recoveryCodes": texts })).into_response()
}
