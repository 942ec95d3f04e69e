//! What one party holds: the cookies and the access token, to be used or stolen.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::refresh_token;

use super::target::{Answer, Request};

/// One party's cookies and access token. Whoever clones it has stolen them.
///
/// Cookies are told apart by what is in them, since their names are the operator's to choose. A
/// party keeps what it once had: being told to forget a cookie binds no thief.
#[derive(Clone, Default)]
pub(super) struct Browser {
    refresh: Cookie,
    csrf: Cookie,
    access: String,
}

#[derive(Clone, Default)]
struct Cookie {
    name: String,
    value: String,
}

impl Browser {
    /// Takes up the tokens that an answer hands out.
    pub(super) fn take_up(&mut self, answer: &Answer) {
        if let Some(token) = answer.text("accessToken") {
            token.clone_into(&mut self.access);
        }
        let csrf_token = answer.text("csrfToken");
        for (name, value) in &answer.cookies {
            let cookie = || Cookie { name: name.clone(), value: value.clone() };
            if value.starts_with(refresh_token::PREFIX) {
                self.refresh = cookie();
            } else if Some(value.as_str()) == csrf_token {
                self.csrf = cookie();
            } else if value.split('.').count() == 3 {
                value.clone_into(&mut self.access);
            }
        }
    }

    /// Whether a sign-in left it with all that it needs.
    pub(super) fn is_signed_in(&self) -> bool {
        [&self.refresh.value, &self.csrf.value, &self.access].iter().all(|text| !text.is_empty())
    }

    /// Presents the refresh token as a page of the service would.
    pub(super) fn refresh(&self) -> Request {
        self.by_cookie("/refresh")
    }

    /// Signs out.
    pub(super) fn logout(&self) -> Request {
        self.by_cookie("/logout")
    }

    /// Asks who the bearer of the access token is.
    pub(super) fn me(&self) -> Request {
        Request::get("/me").bearer(&self.access)
    }

    /// A request by access token.
    pub(super) fn post(&self, route: &str) -> Request {
        Request::post(route).bearer(&self.access)
    }

    /// The same party with other bytes in its refresh token.
    pub(super) fn with_altered_refresh_token(&self, alter: impl FnOnce(&mut [u8])) -> Self {
        let mut altered = self.clone();
        let encoded = self.refresh.value.strip_prefix(refresh_token::PREFIX).unwrap_or_default();
        let mut bytes = URL_SAFE_NO_PAD.decode(encoded).unwrap_or_default();
        alter(&mut bytes);
        altered.refresh.value =
            format!("{}{}", refresh_token::PREFIX, URL_SAFE_NO_PAD.encode(bytes));
        altered
    }

    /// The same party with another access token, made from header, claims and signature.
    pub(super) fn with_altered_access_token(
        &self,
        alter: impl FnOnce([&str; 3]) -> [String; 3],
    ) -> Self {
        let mut parts = self.access.split('.');
        let parts = [(); 3].map(|()| parts.next().unwrap_or_default());
        Self { access: alter(parts).join("."), ..self.clone() }
    }

    /// The `Cookie` header with another refresh cookie beside its own, as a sibling host tosses it.
    pub(super) fn cookies_with_tossed(&self, tossed: &Self) -> String {
        let Cookie { name, value } = &tossed.refresh;
        format!("{}; {name}={value}", self.cookies())
    }

    fn by_cookie(&self, route: &str) -> Request {
        Request::post(route)
            .header(COOKIE, self.cookies())
            .header(CSRF_HEADER, self.csrf.value.as_str())
    }

    fn cookies(&self) -> String {
        let Self { refresh, csrf, .. } = self;
        format!("{}={}; {}={}", refresh.name, refresh.value, csrf.name, csrf.value)
    }
}

/// Carries the cookies.
pub(super) const COOKIE: &str = "cookie";

/// Repeats the CSRF token.
pub(super) const CSRF_HEADER: &str = "x-csrf-token";
