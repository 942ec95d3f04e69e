//! What tests of sessions ask of answers, tokens and the audit log, and how they bend a request.

#![expect(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod faulty_store;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward::store::{KeyRotation, MemoryStore, NewSession, NewUser, SessionOfUser, Store};
use keyward_core::audit::{AuditContext, RegisteredBy};
use keyward_core::email::Email;
use keyward_core::id::SessionId;
use keyward_core::session::{Device, Session};
use serde_json::Value;

use crate::common::{Answer, Browser, TestApp};

/// The name of the refresh cookie.
pub(crate) const REFRESH_COOKIE: &str = "__Secure-refreshToken";

/// The name of the CSRF cookie.
pub(crate) const CSRF_COOKIE: &str = "__Host-csrfToken";

/// The name of the access cookie.
pub(crate) const ACCESS_COOKIE: &str = "__Host-accessToken";

/// A key that a client may send with a refresh; `n` tells one rotation's key from another's.
pub(crate) fn idempotency_key(n: u64) -> String {
    format!("a key of a rotation {n}")
}

/// That the answer neither sets nor clears a cookie.
#[track_caller]
pub(crate) fn assert_touches_no_cookie(answer: &Answer) {
    assert_eq!(answer.set_cookies(), [""; 0], "{answer:?}");
}

/// That the answer takes the refresh and CSRF cookies away, and touches no other.
#[track_caller]
pub(crate) fn assert_clears_cookies(answer: &Answer) {
    assert_touched(answer, &[&cleared(REFRESH_COOKIE), &cleared(CSRF_COOKIE)]);
}

/// That the answer takes all three cookies away.
#[track_caller]
pub(crate) fn assert_clears_three_cookies(answer: &Answer) {
    let names = [REFRESH_COOKIE, CSRF_COOKIE, ACCESS_COOKIE].map(cleared);
    assert_touched(answer, &names.each_ref().map(String::as_str));
}

/// Which cookies the answer touches: their names, in order, those cleared with `-` before them.
#[track_caller]
pub(crate) fn assert_touched(answer: &Answer, expected: &[&str]) {
    let touched: Vec<String> = answer
        .set_cookies()
        .iter()
        .map(|line| {
            let name = line.split('=').next().unwrap_or_default();
            if line.ends_with("Max-Age=0") { cleared(name) } else { name.to_owned() }
        })
        .collect();
    assert_eq!(touched, expected, "{answer:?}");
}

fn cleared(name: &str) -> String {
    format!("-{name}")
}

/// An answer of 401 with this code that takes the cookies away.
#[track_caller]
pub(crate) fn assert_refused_for_good(answer: &Answer, code: &str) {
    answer.assert(StatusCode::UNAUTHORIZED, Some(code));
    assert_clears_cookies(answer);
}

/// `SESSION_REVOKED` with this reason; the cookies go.
#[track_caller]
pub(crate) fn assert_revoked(answer: &Answer, reason: &str) {
    assert_refused_for_good(answer, "SESSION_REVOKED");
    assert_eq!(answer.text("reason"), reason);
}

/// An error that leaves every cookie as it is.
#[track_caller]
pub(crate) fn assert_harmless(answer: &Answer, status: StatusCode, code: &str) {
    answer.assert(status, Some(code));
    assert_touches_no_cookie(answer);
}

/// How often the audit log holds an event of this name.
pub(crate) async fn count_events(app: &TestApp, name: &str) -> usize {
    app.audit_names().await.iter().filter(|found| *found == name).count()
}

/// What the events of this name add, oldest first.
pub(crate) async fn details(app: &TestApp, name: &str) -> Vec<Value> {
    let events = app.audit().await.into_iter().filter(|event| event.name == name);
    events.map(|event| serde_json::from_str(&event.detail).expect("an object")).collect()
}

/// The claims of an access token, unverified.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The header of an access token.
pub(crate) fn header(token: &str) -> Value {
    part(token, 0)
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("three parts");
    serde_json::from_slice(&unbase64(part)).expect("a JSON object")
}

/// Bytes from base64url.
pub(crate) fn unbase64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// The session of the browser's access token.
pub(crate) fn session_id(browser: &Browser) -> SessionId {
    let token = browser.access_token.as_deref().expect("an access token");
    claims(token)["sid"].as_str().and_then(|sid| sid.parse().ok()).expect("a session id")
}

/// The browser's session as the store has it.
pub(crate) async fn stored(browser: &Browser) -> SessionOfUser {
    let found = browser.app.store.find_session(session_id(browser)).await;
    found.expect("the store works").expect("the session is there")
}

/// A refresh as the page would send it, not yet sent.
pub(crate) fn refresh_request(browser: &Browser) -> Request<Body> {
    browser.request(Method::POST, "/api/auth/refresh", None)
}

/// Sets a header of a request.
pub(crate) fn set(request: &mut Request<Body>, name: &'static str, value: &str) {
    let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
    request.headers_mut().insert(HeaderName::from_static(name), value);
}

/// Adds a second line of a header.
pub(crate) fn add(request: &mut Request<Body>, name: &'static str, value: &str) {
    let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header value");
    request.headers_mut().append(HeaderName::from_static(name), value);
}

/// Takes a header away.
pub(crate) fn unset(request: &mut Request<Body>, name: &'static str) {
    request.headers_mut().remove(name);
}

/// Replaces all cookies of a request.
pub(crate) fn set_cookies(request: &mut Request<Body>, cookies: &[(&str, &str)]) {
    let pairs: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    set(request, "cookie", &pairs.join("; "));
}

/// A service on a store of its own, which holds what a backup of the browser's session would have
/// kept at this moment: keys, account and session, the latter as `change` leaves it.
pub(crate) async fn restored(browser: &Browser, change: impl FnOnce(&mut Session)) -> TestApp {
    let app = &browser.app;
    let store = Arc::new(MemoryStore::new());
    copy_keys(app, store.as_ref()).await;
    let SessionOfUser { mut session, user } = stored(browser).await;
    change(&mut session);
    let account = app.store.find_user(user.id).await.expect("the store works");
    let user = NewUser {
        id: user.id,
        email: Email::parse(&user.email).expect("an address"),
        name: None,
        roles: Vec::new(),
        password_hash: account.expect("an account").password_hash,
        email_verified: false,
        by: RegisteredBy::User,
        verification: None,
    };
    let session = NewSession { session, supersedes: None, sessions_max: 100, notice: None };
    let inserted = store.insert_user(user, Some(session), &context(app)).await;
    inserted.expect("the store works");
    TestApp::on_store(store, |_| {}).await
}

/// Gives another store the keys of this one's.
pub(crate) async fn copy_keys(app: &TestApp, other: &dyn Store) {
    let context = context(app);
    for key in app.store.list_keys().await.expect("the store works") {
        let rotation = KeyRotation { key, replaces: None, compromised: false, gone: vec![] };
        assert_eq!(other.rotate_key(rotation, &context).await, Ok(true));
    }
}

/// A change that nobody asked for over the network.
pub(crate) fn context(app: &TestApp) -> AuditContext {
    AuditContext { at: app.keyward.now(), device: Device::default(), request_id: None, actor: None }
}
