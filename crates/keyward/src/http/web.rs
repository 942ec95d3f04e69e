//! What every handler shares: the service, the cookies' names and attributes.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};
use keyward_core::device_token::DeviceToken;
use keyward_core::rotation::Decision;
use keyward_core::time::Timestamp;

use super::openapi::Description;
use super::views::{SignedInView, TokensView, UserView};
use super::{ApiError, CookieNames, InvalidCookiePolicy};
use crate::policy::Delivery;
use crate::service::{Keyward, Tokens};

/// The state of the router.
#[derive(Debug)]
pub(super) struct Web {
    pub(super) keyward: Arc<Keyward>,
    pub(super) cookies: CookieNames,
    description: OnceLock<Description>,
}

impl Web {
    pub(super) fn new(keyward: Arc<Keyward>) -> Result<Self, InvalidCookiePolicy> {
        let policy = keyward.policy();
        let cookies = CookieNames::new(&policy.cookies, &policy.web.base_path)?;
        Ok(Self { keyward, cookies, description: OnceLock::new() })
    }

    /// The description of the interface, written when it is first asked for.
    pub(super) fn description(&self) -> &Description {
        let describe = || Description::new(self.keyward.policy(), &self.cookies);
        self.description.get_or_init(describe)
    }

    /// Whether access tokens travel in a cookie.
    pub(super) fn delivers_by_cookie(&self) -> bool {
        self.keyward.policy().access_token.delivery == Delivery::Cookie
    }

    /// The answer of a refresh.
    pub(super) fn refreshed(&self, tokens: &Tokens) -> Response {
        let mut response = Json(self.tokens_view(tokens)).into_response();
        self.hand_out(tokens, &mut response);
        response
    }

    /// The answer of everything that opens a session.
    pub(super) fn signed_in(&self, status: StatusCode, tokens: &Tokens) -> Response {
        let view =
            SignedInView { user: UserView::from(&tokens.user), tokens: self.tokens_view(tokens) };
        let mut response = (status, Json(view)).into_response();
        self.hand_out(tokens, &mut response);
        response
    }

    /// A refusal. Clears the cookies only where the presented token can never be exchanged again:
    /// clearing them on anything else would take away what another tab has just been given.
    pub(super) fn refuse(&self, error: ApiError) -> Response {
        let is_final = error.decision().is_some_and(Decision::is_final);
        let response = error.into_response();
        if is_final { self.clear_cookies(response) } else { response }
    }

    /// Sets the CSRF cookie for as long as the session can live without a refresh.
    pub(super) fn set_csrf(&self, token: &str, until: Timestamp, response: &mut Response) {
        let max_age = until.since(self.keyward.now());
        append(response, self.cookies.set_csrf(token, max_age));
    }

    /// Sets the device cookie.
    pub(super) fn remember_device(
        &self,
        token: Option<DeviceToken>,
        mut response: Response,
    ) -> Response {
        if let Some(token) = token {
            append(&mut response, self.cookies.set_device(&token));
        }
        response
    }

    /// Takes the device cookie away, which a mere sign-out leaves.
    pub(super) fn forget_device(&self, mut response: Response) -> Response {
        append(&mut response, self.cookies.clear_device());
        response
    }

    /// Takes every cookie of a sign-in away.
    pub(super) fn clear_cookies(&self, mut response: Response) -> Response {
        append(&mut response, self.cookies.clear_refresh());
        append(&mut response, self.cookies.clear_csrf());
        if self.delivers_by_cookie() {
            append(&mut response, self.cookies.clear_access());
        }
        response
    }

    fn tokens_view<'a>(&self, tokens: &'a Tokens) -> TokensView<'a> {
        let in_body = !self.delivers_by_cookie();
        TokensView {
            access_token: in_body.then(|| tokens.access_token.expose()),
            token_type: in_body.then_some("Bearer"),
            expires_in: tokens.expires_in.as_secs(),
            csrf_token: &tokens.csrf_token,
        }
    }

    fn hand_out(&self, tokens: &Tokens, response: &mut Response) {
        let until = tokens.session.idle_expires_at;
        let max_age = until.since(self.keyward.now());
        append(response, self.cookies.set_refresh(tokens.refresh_token.expose(), max_age));
        append(response, self.cookies.set_csrf(&tokens.csrf_token, max_age));
        if self.delivers_by_cookie() {
            let token = tokens.access_token.expose();
            append(response, self.cookies.set_access(token, tokens.expires_in));
        }
        if let Some(token) = &tokens.device_token {
            append(response, self.cookies.set_device(token));
        }
    }
}

/// The answer of what is told by mail.
pub(super) fn accepted(message: &str) -> Response {
    (StatusCode::ACCEPTED, Json(serde_json::json!({ "message": message }))).into_response()
}

fn append(response: &mut Response, cookie: HeaderValue) {
    response.headers_mut().append(SET_COOKIE, cookie);
}
