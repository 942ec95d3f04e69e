//! What travels: requests as a browser makes them, and what is read from their answers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_core::id::SessionId;
use keyward_core::time::Timestamp;
use serde_json::{Value, json};

use crate::common::{Answer, PUBLIC_URL};
use crate::machine::{EMAIL, PASSWORDS};

/// A request. The network may carry it late, twice or not at all.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: u64,
    pub(crate) from: Party,
    pub(crate) act: Act,
    /// The refresh token in its cookie.
    pub(crate) token: Option<Token>,
    /// The Idempotency-Key.
    pub(crate) key: Option<String>,
    /// The sessions that it may end.
    pub(crate) carried: Vec<SessionId>,
    headers: Vec<(&'static str, String)>,
    body: Option<Value>,
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    /// A browser by number.
    Browser(usize),
    /// Somebody with a copy of a browser's cookie jar.
    Thief,
    /// Somebody with nothing.
    Stranger,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Refresh,
    Csrf,
    Login { password: usize },
    Logout,
    LogoutAll,
    ChangePassword { current: usize },
    Me,
}

impl Message {
    /// A request with all that this jar and page hold.
    pub(crate) fn new(id: u64, from: Party, act: Act, jar: &Jar, key: Option<String>) -> Self {
        let mut headers = vec![("origin", PUBLIC_URL.to_owned())];
        let token = jar.token();
        if !jar.cookies.is_empty() {
            headers.push(("cookie", jar.line()));
        }
        if let Some(csrf) = jar.value(CSRF_COOKIE) {
            headers.push(("x-csrf-token", csrf.to_owned()));
        }
        if let (Some(key), Act::Refresh) = (&key, act) {
            headers.push(("idempotency-key", key.clone()));
        }
        let mut carried: Vec<SessionId> = token.iter().map(|token| token.session).collect();
        if let Some((text, session)) = &jar.access_token {
            headers.push(("authorization", format!("Bearer {text}")));
            carried.push(*session);
        }
        let body = act.body();
        if body.is_some() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        Self { id, from, act, token, key, carried, headers, body }
    }

    /// The request for the router.
    pub(crate) fn request(&self) -> Request<Body> {
        let (method, path) = self.act.route();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = self.body.as_ref().map_or_else(Body::empty, |body| body.to_string().into());
        request.body(body).expect("a request")
    }
}

impl Act {
    fn route(self) -> (Method, &'static str) {
        match self {
            Self::Refresh => (Method::POST, "/api/auth/refresh"),
            Self::Csrf => (Method::GET, "/api/auth/csrf"),
            Self::Login { .. } => (Method::POST, "/api/auth/login"),
            Self::Logout => (Method::POST, "/api/auth/logout"),
            Self::LogoutAll => (Method::POST, "/api/auth/logout-all"),
            Self::ChangePassword { .. } => (Method::POST, "/api/auth/password/change"),
            Self::Me => (Method::GET, "/api/auth/me"),
        }
    }

    fn body(self) -> Option<Value> {
        match self {
            Self::Login { password } => {
                Some(json!({ "email": EMAIL, "password": PASSWORDS[password] }))
            }
            Self::ChangePassword { current } => {
                let (current, new) = (PASSWORDS[current], PASSWORDS[1 - current]);
                Some(json!({ "currentPassword": current, "newPassword": new }))
            }
            Self::Refresh | Self::Csrf | Self::Logout | Self::LogoutAll | Self::Me => None,
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {} of {:?}: {:?}", self.id, self.from, self.act)?;
        if let Some(token) = &self.token {
            write!(f, " with {token}")?;
        }
        if let (Some(key), Act::Refresh) = (&self.key, self.act) {
            write!(f, " under key {key:?}")?;
        }
        Ok(())
    }
}

/// A refresh token, read without the keys of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) session: SessionId,
    pub(crate) generation: u64,
}

impl Token {
    /// `None` for what has not the form of one.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix("kwr_")?).ok()?;
        let session = SessionId::from_bytes(bytes.get(1..17)?.try_into().ok()?);
        let generation = u64::from_be_bytes(bytes.get(17..25)?.try_into().ok()?);
        Some(Self { text: text.to_owned(), session, generation })
    }

    /// This token with one of its bytes changed.
    pub(crate) fn altered(&self, at: usize) -> String {
        let mut bytes = URL_SAFE_NO_PAD.decode(&self.text["kwr_".len()..]).expect("a token");
        let at = at % bytes.len();
        bytes[at] ^= 1;
        format!("kwr_{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "generation {} of {}", self.generation, short(self.session))
    }
}

/// The end of a session's id: its beginning is the time.
pub(crate) fn short(session: SessionId) -> String {
    let text = session.to_string();
    text[text.len() - 4..].to_owned()
}

/// The cookies of a browser, and the access token of its pages.
#[derive(Debug, Clone, Default)]
pub(crate) struct Jar {
    cookies: BTreeMap<String, (String, Timestamp)>,
    access_token: Option<(String, SessionId)>,
}

impl Jar {
    /// Keeps what an answer sets and drops what it clears.
    pub(crate) fn keep(&mut self, answer: &Answer, now: Timestamp) {
        for line in answer.set_cookies() {
            let (name, value, max_age) = cookie(line);
            if max_age.is_zero() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), (value.to_owned(), now.plus(max_age)));
            }
        }
        if let (Some(text), Some(token)) = (answer.json()["accessToken"].as_str(), self.token()) {
            self.access_token = Some((text.to_owned(), token.session));
        }
    }

    /// Drops what is too old.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        self.cookies.retain(|_, (_, expires)| *expires > now);
    }

    /// The refresh token, where there is a CSRF token to present it with. Their cookies may expire
    /// one shortly after the other, where an answer has been long on its way.
    pub(crate) fn usable_token(&self) -> Option<Token> {
        self.value(CSRF_COOKIE).and_then(|_| self.token())
    }

    /// The refresh token that every request carries.
    pub(crate) fn token(&self) -> Option<Token> {
        Token::read(self.value(REFRESH_COOKIE)?)
    }

    /// Puts another text into the refresh cookie.
    pub(crate) fn forge(&mut self, text: String) {
        if let Some((value, _)) = self.cookies.get_mut(REFRESH_COOKIE) {
            *value = text;
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(|(value, _)| value.as_str())
    }

    fn line(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, (value, _))| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }
}

/// What an answer says, read once.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) code: String,
    pub(crate) reason: String,
    /// The refresh token that it hands out.
    pub(crate) token: Option<Token>,
    pub(crate) clears: bool,
}

impl Said {
    pub(crate) fn in_answer(answer: &Answer) -> Self {
        let body = answer.json();
        let text = |name: &str| body[name].as_str().unwrap_or("-").to_owned();
        let cookies: Vec<_> = answer.set_cookies().into_iter().map(cookie).collect();
        let refresh = cookies.iter().find(|(name, ..)| *name == REFRESH_COOKIE);
        Self {
            status: answer.status,
            code: text("code"),
            reason: text("reason"),
            token: refresh.and_then(|(_, value, _)| Token::read(value)),
            clears: cookies.iter().any(|(.., max_age)| max_age.is_zero()),
        }
    }

    pub(crate) fn touches_cookies(&self) -> bool {
        self.clears || self.token.is_some()
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code)?;
        if self.reason != "-" {
            write!(f, " ({})", self.reason)?;
        }
        if let Some(token) = &self.token {
            write!(f, ", hands out {token}")?;
        }
        if self.clears { write!(f, ", clears cookies") } else { Ok(()) }
    }
}

/// Name, value and age of a `Set-Cookie` line.
fn cookie(line: &str) -> (&str, &str, Duration) {
    let (name, rest) = line.split_once('=').expect("a cookie");
    let value = rest.split(';').next().unwrap_or_default();
    let max_age = line.rsplit("Max-Age=").next().and_then(|secs| secs.parse().ok());
    (name, value, Duration::from_secs(max_age.expect("an age")))
}

const REFRESH_COOKIE: &str = "__Secure-refreshToken";
const CSRF_COOKIE: &str = "__Host-csrfToken";
