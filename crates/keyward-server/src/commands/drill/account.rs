//! The account that is made for a drill, and deleted after it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use zeroize::Zeroizing;

use super::access::Administration;
use super::target::Request;
use crate::assembly;
use crate::failure::Failure;

/// An account that exists for the time of a drill.
pub(super) struct Account {
    pub(super) id: String,
    pub(super) email: String,
    pub(super) password: Zeroizing<String>,
}

impl Account {
    /// Makes the account.
    pub(super) async fn create(administration: &Administration<'_>) -> Result<Self, Failure> {
        let account = Self::nobody();
        let body = json!({
            "email": account.email,
            "password": account.password.as_str(),
            "emailVerified": true,
        });
        let request = Request::post("/users").json(body);
        let answer = administration.send(request).await.map_err(|failure| {
            // Whether it was made is not known.
            failure.with(account.left_behind())
        })?;
        let answer = administration.permitted(answer)?.require(201, "Making an account")?;
        let id = answer.body["user"]["id"].as_str().unwrap_or_default().to_owned();
        Ok(Self { id, ..account })
    }

    /// An account that there is not.
    pub(super) fn nobody() -> Self {
        Self {
            id: String::new(),
            // RFC 2606: no mail can ever be sent there.
            email: format!("drill-{}@drill.invalid", random_text().to_lowercase()),
            password: Self::fresh_password(),
        }
    }

    /// A password that nobody guesses.
    pub(super) fn fresh_password() -> Zeroizing<String> {
        Zeroizing::new(format!("{}{}", random_text(), random_text()))
    }

    /// Signs in.
    pub(super) fn login(&self) -> Request {
        let body = json!({ "email": self.email, "password": self.password.as_str() });
        Request::post("/login").json(body)
    }

    /// Deletes the account, its sessions and what is personal in its events.
    pub(super) async fn delete(self, administration: &Administration<'_>) -> Result<(), Failure> {
        let deleted = administration.send(Request::delete(format!("/users/{}", self.id))).await;
        let deleted = deleted.and_then(|answer| answer.require(204, "Deleting the account"));
        deleted.map(drop).map_err(|failure| failure.with(self.left_behind()))
    }

    fn left_behind(&self) -> Failure {
        let email = &self.email;
        Failure::new(format!(
            "The account {email} may be left behind; `keyward user delete {email}` deletes it."
        ))
    }
}

fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(assembly::random::<12>())
}
