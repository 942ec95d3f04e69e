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
        Ok(Self {
            client,
            email,
            access_token: answer.text("accessToken")?,
            refresh_token: refresh_cookie(&answer)?,
            csrf_token: answer.text("csrfToken")?,
            with_key,
            sent: 0,
        })
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
            Step::Me => me(&mut self.client, &self.access_token).await?,
            Step::Refresh => {
                let key = self.with_key.then_some(self.sent);
                let Self { client, refresh_token, csrf_token, .. } = self;
                let answer = refresh(client, refresh_token, csrf_token, key).await?;
                self.refresh_token = refresh_cookie(&answer)?;
                return Ok(());
            }
        };
        require_ok(&answer)
    }
}

/// Exchanges a refresh token; an answer other than 200 is an error. With `key`, a number of its own
/// for each exchange, the request carries an Idempotency-Key.
pub(crate) async fn refresh(
    client: &mut Client,
    refresh_token: &str,
    csrf_token: &str,
    key: Option<u64>,
) -> io::Result<Answer> {
    let mut headers = format!(
        "Cookie: refreshToken={refresh_token}; csrfToken={csrf_token}\r\n\
         X-CSRF-Token: {csrf_token}\r\n"
    );
    if let Some(number) = key {
        headers.push_str(&format!("Idempotency-Key: bench-key-{number:020}\r\n"));
    }
    let answer = client.send("POST", "/api/auth/refresh", &headers, "").await?;
    require_ok(&answer)?;
    Ok(answer)
}

/// Asks who the bearer of an access token is.
pub(crate) async fn me(client: &mut Client, access_token: &str) -> io::Result<Answer> {
    let headers = format!("Authorization: Bearer {access_token}\r\n");
    client.send("GET", "/api/auth/me", &headers, "").await
}

/// Ends the session of an access token.
pub(crate) async fn log_out(client: &mut Client, access_token: &str) -> io::Result<()> {
    let headers = format!("Authorization: Bearer {access_token}\r\n");
    require_ok(&client.send("POST", "/api/auth/logout", &headers, "").await?)
}

/// The refresh token that an answer hands out.
pub(crate) fn refresh_cookie(answer: &Answer) -> io::Result<String> {
    let cookie = answer.cookie("refreshToken").map(str::to_owned);
    cookie.ok_or_else(|| io::Error::other("no refresh cookie"))
}

fn require_ok(answer: &Answer) -> io::Result<()> {
    if answer.status == 200 {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&answer.body);
    Err(io::Error::other(format!("a request was answered {}: {body}", answer.status)))
}

const JSON: &str = "Content-Type: application/json\r\n";
const PASSWORD: &str = "zimtkringel im regen";
