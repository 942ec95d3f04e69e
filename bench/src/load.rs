//! What one virtual user does, again and again.

use std::io;
use std::net::SocketAddr;

use crate::client::{Answer, Client};

/// One signed-in session on one connection.
#[derive(Debug)]
pub(crate) struct User {
    client: Client,
    email: String,
    access_token: String,
    refresh_token: String,
    csrf_token: String,
    with_key: bool,
    sent: u64,
}

/// A request that a virtual user repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Login,
    Me,
    Refresh,
}

impl User {
    /// Registers a fresh account. With `with_key` its refreshes carry an Idempotency-Key, as the
    /// browser client's do.
    pub(crate) async fn register(
        host: SocketAddr,
        number: u64,
        with_key: bool,
    ) -> io::Result<Self> {
        let mut client = Client::connect(host).await?;
        let email = format!("user{number}@example.org");
        let body = format!(r#"{{"email":"{email}","password":"{PASSWORD}"}}"#);
        let answer = client.send("POST", "/api/auth/register", JSON, &body).await?;
        let mut user = Self {
            client,
            email,
            access_token: answer.text("accessToken")?,
            refresh_token: String::new(),
            csrf_token: answer.text("csrfToken")?,
            with_key,
            sent: 0,
        };
        user.keep_cookie(&answer)?;
        Ok(user)
    }

    /// Opens a fresh connection: the server closes those that were idle for some seconds.
    pub(crate) async fn reconnect(&mut self) -> io::Result<()> {
        self.client = Client::connect(self.client.host()).await?;
        Ok(())
    }

    /// Does one step; an answer other than 200 is an error.
    pub(crate) async fn step(&mut self, step: Step) -> io::Result<()> {
        self.sent += 1;
        let answer = match step {
            Step::Login => {
                let email = &self.email;
                let body = format!(r#"{{"email":"{email}","password":"{PASSWORD}"}}"#);
                self.client.send("POST", "/api/auth/login", JSON, &body).await?
            }
            Step::Me => {
                let headers = format!("Authorization: Bearer {}\r\n", self.access_token);
                self.client.send("GET", "/api/auth/me", &headers, "").await?
            }
            Step::Refresh => {
                let headers = self.refresh_headers();
                self.client.send("POST", "/api/auth/refresh", &headers, "").await?
            }
        };
        if answer.status != 200 {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(io::Error::other(format!(
                "{step:?} was answered {}: {body}",
                answer.status
            )));
        }
        if step == Step::Refresh {
            self.keep_cookie(&answer)?;
        }
        Ok(())
    }

    fn refresh_headers(&self) -> String {
        let Self { refresh_token, csrf_token, sent, .. } = self;
        let mut headers = format!(
            "Cookie: refreshToken={refresh_token}; csrfToken={csrf_token}\r\n\
             X-CSRF-Token: {csrf_token}\r\n"
        );
        if self.with_key {
            headers.push_str(&format!("Idempotency-Key: bench-key-{sent:020}\r\n"));
        }
        headers
    }

    fn keep_cookie(&mut self, answer: &Answer) -> io::Result<()> {
        let cookie = answer.cookie("refreshToken");
        cookie
            .ok_or_else(|| io::Error::other("no refresh cookie"))?
            .clone_into(&mut self.refresh_token);
        Ok(())
    }
}

const JSON: &str = "Content-Type: application/json\r\n";
const PASSWORD: &str = "zimtkringel im regen";
