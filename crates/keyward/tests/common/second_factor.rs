//! A user's authenticator app, and what the user wrote down.

use axum::http::{Method, StatusCode};
use keyward_core::second_factor::TotpSecret;
use serde_json::{Value, json};

use super::{Answer, Browser, PASSWORD, TestApp};

/// The app with its secret.
pub(crate) struct Authenticator {
    secret: TotpSecret,
    pub(crate) recovery_codes: Vec<String>,
}

impl Authenticator {
    /// Begins a set-up in this browser.
    pub(crate) async fn begin(browser: &mut Browser) -> Self {
        Self::begin_with(browser, PASSWORD).await
    }

    /// Begins a set-up with this password.
    pub(crate) async fn begin_with(browser: &mut Browser, password: &str) -> Self {
        let answer = browser.begin_totp(password).await;
        answer.assert(StatusCode::OK, None);
        Self { secret: secret(&answer.text("secret")), recovery_codes: Vec::new() }
    }

    /// Sets the app up in this browser.
    pub(crate) async fn enable(browser: &mut Browser) -> Self {
        Self::begin(browser).await.confirmed(browser).await
    }

    /// Finishes the set-up that was begun.
    pub(crate) async fn confirmed(mut self, browser: &mut Browser) -> Self {
        let answer = browser.confirm_totp(&self.code(&browser.app)).await;
        answer.assert(StatusCode::OK, None);
        self.recovery_codes = texts(&answer.json()["recoveryCodes"]);
        self
    }

    /// What it shows now.
    pub(crate) fn code(&self, app: &TestApp) -> String {
        self.secret.code_at(app.keyward.now()).expose()
    }

    /// What it shows so many seconds from now, or before.
    pub(crate) fn code_in(&self, app: &TestApp, secs: i64) -> String {
        let at = keyward_core::time::Timestamp::from_secs(app.keyward.now().secs() + secs);
        self.secret.code_at(at).expose()
    }

    /// Six digits that it shows neither now nor a step before or after.
    pub(crate) fn wrong_code(&self, app: &TestApp) -> String {
        let right = [-30, 0, 30].map(|secs| self.code_in(app, secs));
        let mut codes = (0..1_000_000).map(|number| format!("{number:06}"));
        codes.find(|code| !right.contains(code)).unwrap()
    }
}

impl Browser {
    pub(crate) async fn begin_totp(&mut self, password: &str) -> Answer {
        self.post("/api/auth/mfa/totp", Some(json!({ "password": password }))).await
    }

    pub(crate) async fn confirm_totp(&mut self, code: &str) -> Answer {
        self.post("/api/auth/mfa/totp/confirm", Some(json!({ "code": code }))).await
    }

    pub(crate) async fn remove_totp(&mut self, password: &str, code: &str) -> Answer {
        let body = json!({ "password": password, "code": code });
        self.call(Method::DELETE, "/api/auth/mfa/totp", Some(body)).await
    }

    pub(crate) async fn new_recovery_codes(&mut self, password: &str) -> Answer {
        self.post("/api/auth/mfa/recovery-codes", Some(json!({ "password": password }))).await
    }

    /// The first step of a sign-in: the token of its challenge.
    pub(crate) async fn mfa_token(&mut self, email: &str) -> String {
        let answer = self.login(email, PASSWORD).await;
        answer.assert(StatusCode::OK, None);
        answer.text("mfaToken")
    }

    /// The second step.
    pub(crate) async fn give_code(&mut self, token: &str, code: &str) -> Answer {
        let body = json!({ "mfaToken": token, "code": code });
        self.post("/api/auth/login/mfa", Some(body)).await
    }

    /// The second step without the app.
    pub(crate) async fn give_recovery_code(&mut self, token: &str, code: &str) -> Answer {
        let body = json!({ "mfaToken": token, "recoveryCode": code });
        self.post("/api/auth/login/mfa", Some(body)).await
    }
}

/// A list of texts.
pub(crate) fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Reads base32.
fn secret(text: &str) -> TotpSecret {
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for char in text.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|own| *own == char);
        held = (held << 5 | u32::try_from(value.unwrap()).unwrap()) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).unwrap());
        }
    }
    TotpSecret::new(bytes.try_into().unwrap())
}
