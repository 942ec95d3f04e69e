//! `POST /login`: who gets in, what others learn, and which sessions end by it.

mod common;

use axum::http::{HeaderMap, Method, StatusCode};
use common::{Answer, Browser, PASSWORD, PUBLIC_URL, TestApp};
use keyward::store::{AuditFilter, User};
use keyward_core::audit::RecordedEvent;
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const PATH: &str = "/api/auth/login";
const WRONG: &str = "zimtkringel im schnee";

async fn login(app: &TestApp, email: &str, password: &str) -> Answer {
    app.browser().login(email, password).await
}

/// What the operator's command line does.
async fn disable(app: &TestApp, disabled: bool) -> User {
    app.set_disabled(app.users().await[0].id, disabled).await
}

async fn failures(app: &TestApp) -> Vec<RecordedEvent> {
    let name = Some("login.failed".to_owned());
    let filter = AuditFilter { name, limit: 100, ..AuditFilter::default() };
    app.store.list_audit(filter).await.expect("a list")
}

/// That the session of `browser` has ended for this reason; `None`: that it lives.
async fn check_end(browser: &mut Browser, reason: Option<&str>) {
    let answer = browser.refresh().await;
    match reason {
        None => answer.assert(StatusCode::OK, None),
        Some(reason) => {
            answer.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
            assert_eq!(answer.text("reason"), reason);
        }
    }
}

#[tokio::test]
async fn answers_what_register_answers_but_200() {
    let app = TestApp::new().await;
    let mut first = app.browser();
    let registered = first.register(ADA, PASSWORD).await;
    app.advance(60);
    let answer = login(&app, ADA, PASSWORD).await;
    answer.assert(StatusCode::OK, None);
    let (old, new) = (registered.json(), answer.json());
    let members = |value: &Value| Vec::from_iter(value.as_object().expect("one").keys().cloned());
    assert_eq!(members(&new), members(&old));
    assert_eq!((&new["user"], &new["tokenType"]), (&old["user"], &json!("Bearer")));
    assert_eq!(new["expiresIn"], 900);

    let attributes = |answer: &Answer| -> Vec<String> {
        let lines = answer.set_cookies().into_iter();
        lines.map(|line| line.split_once(';').expect("attributes").1.to_owned()).collect()
    };
    assert_eq!(attributes(&answer), attributes(&registered));
    // Another sign-in is another session, with a CSRF token of its own.
    assert_ne!(new["csrfToken"], old["csrfToken"]);
    check_end(&mut first, None).await;
}

#[tokio::test]
async fn is_recorded_with_its_session() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    let answer = login(&app, ADA, PASSWORD).await;
    let events = app.audit().await;
    let [.., succeeded, created] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&succeeded.name[..], &created.name[..]), ("login.succeeded", "session.created"));
    for event in [succeeded, created] {
        assert_eq!(event.request_id.as_deref(), answer.header("x-request-id"));
        assert!(event.user_id.is_some() && event.session_id == created.session_id);
    }
    let user = &app.users().await[0];
    assert_eq!(user.last_login_at, Some(app.keyward.now()));
}

#[tokio::test]
async fn the_address_may_be_written_in_any_case() {
    let app = TestApp::new().await;
    app.registered("Ada@Example.org").await;
    for email in ["ada@example.org", "ADA@EXAMPLE.ORG", "Ada@Example.org"] {
        let answer = login(&app, email, PASSWORD).await;
        answer.assert(StatusCode::OK, None);
        assert_eq!(answer.json()["user"]["email"], "Ada@Example.org");
    }
}

#[tokio::test]
async fn the_password_must_be_exact() {
    let app = TestApp::with_policy(|policy| policy.limits.login_account = None).await;
    let right: String =
        "zimtkringel im regen, und dann kuchen. ".repeat(3).chars().take(90).collect();
    let mut browser = app.browser();
    browser.register(ADA, &right).await.assert(StatusCode::CREATED, None);
    let changed = |at: usize| {
        let mut chars: Vec<char> = right.chars().collect();
        chars[at] = if chars[at] == 'x' { 'y' } else { 'x' };
        String::from_iter(chars)
    };
    for wrong in [
        right.to_uppercase(),
        format!("{right} "),
        format!(" {right}"),
        format!("{right}\n"),
        String::new(),
        right[..89].to_owned(),
        right[..72].to_owned(),
        changed(0),
        // The 73rd: where bcrypt stops to look.
        changed(72),
        changed(89),
        right.replace(',', "\u{201a}"),
    ] {
        let answer = login(&app, ADA, &wrong).await;
        answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    }
    login(&app, ADA, &right).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn unknown_and_known_accounts_are_refused_alike() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    let known = login(&app, ADA, WRONG).await;
    let unknown = login(&app, "eve@example.org", WRONG).await;
    for answer in [&known, &unknown] {
        answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
        assert!(answer.header("www-authenticate").is_none() && answer.set_cookies().is_empty());
    }
    let body = |answer: &Answer| {
        let mut body = answer.json();
        body["requestId"].take();
        body
    };
    let headers = |answer: &Answer| {
        let headers: HeaderMap = answer.headers.clone();
        let names = headers.keys().map(|name| name.as_str().to_owned());
        names.filter(|name| name != "content-length").collect::<Vec<_>>()
    };
    assert_eq!(body(&known), body(&unknown));
    assert_eq!(headers(&known), headers(&unknown));

    let told: Vec<_> = failures(&app).await;
    let told: Vec<_> =
        told.iter().map(|event| (&event.detail[..], event.user_id.is_some())).collect();
    let (wrong, nobody) = (r#"{"reason":"wrong_password"}"#, r#"{"reason":"unknown_account"}"#);
    assert_eq!(told, [(nobody, false), (wrong, true)]);
}

#[tokio::test]
async fn unknown_and_known_accounts_are_limited_alike() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    for email in [ADA, "eve@example.org"] {
        for _ in 0..5 {
            let answer = login(&app, email, WRONG).await;
            answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
        }
        let answer = login(&app, email, WRONG).await;
        answer.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
    }
}

#[tokio::test]
async fn that_an_account_is_disabled_is_told_to_its_owner_only() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    disable(&app, true).await;
    let stranger = login(&app, ADA, WRONG).await;
    stranger.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    let owner = login(&app, ADA, PASSWORD).await;
    owner.assert(StatusCode::FORBIDDEN, Some("ACCOUNT_DISABLED"));
    assert!(owner.set_cookies().is_empty());
    assert_eq!(failures(&app).await[0].detail, r#"{"reason":"account_disabled"}"#);
    disable(&app, false).await;
    login(&app, ADA, PASSWORD).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_sign_in_to_a_disabled_account_is_a_failed_one() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    disable(&app, true).await;
    for _ in 0..5 {
        let answer = login(&app, ADA, PASSWORD).await;
        answer.assert(StatusCode::FORBIDDEN, Some("ACCOUNT_DISABLED"));
    }
    let answer = login(&app, ADA, PASSWORD).await;
    answer.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
    assert_eq!(failures(&app).await.len(), 5);
}

#[tokio::test]
async fn a_page_of_another_site_signs_nobody_in() {
    let app = TestApp::new().await;
    let mut visitor = app.registered(ADA).await;
    app.registered("eve@example.org").await;
    let before = failures(&app).await;
    for headers in [
        [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
        [("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
        [("origin", PUBLIC_URL), ("sec-fetch-site", "cross-site")],
        [("referer", "https://evil.example/"), ("sec-fetch-site", "same-site")],
    ] {
        let body = json!({ "email": "eve@example.org", "password": PASSWORD });
        let mut request = visitor.request(Method::POST, PATH, Some(body));
        request.headers_mut().remove("origin");
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let answer = app.send(request).await;
        answer.assert(StatusCode::FORBIDDEN, Some("ORIGIN_NOT_ALLOWED"));
        assert!(answer.set_cookies().is_empty());
    }
    assert_eq!(failures(&app).await, before);
    check_end(&mut visitor, None).await;
    let names = app.audit_names().await;
    assert_eq!(names.iter().filter(|name| *name == "csrf.rejected").count(), 4);
}

#[tokio::test]
async fn leaves_the_session_that_the_browser_carried() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let mut old = browser.clone();
    let mut elsewhere = app.browser();
    elsewhere.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    check_end(&mut old, Some("superseded")).await;
    old.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    check_end(&mut elsewhere, None).await;
    check_end(&mut browser, None).await;
}

#[tokio::test]
async fn leaves_it_by_a_spent_cookie_and_as_another_user_too() {
    let app = TestApp::new().await;
    app.registered("eve@example.org").await;
    let mut line = app.registered(ADA).await;
    let mut browser = line.clone();
    line.refresh().await.assert(StatusCode::OK, None);
    line.refresh().await.assert(StatusCode::OK, None);
    browser.login("eve@example.org", PASSWORD).await.assert(StatusCode::OK, None);
    check_end(&mut line, Some("superseded")).await;
    // Leaving by a spent cookie is no theft.
    let names = app.audit_names().await;
    assert!(!names.iter().any(|name| name == "session.reuse_detected"), "{names:?}");
}

#[tokio::test]
async fn a_refused_sign_in_leaves_the_carried_session_alone() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let refused = browser.login(ADA, WRONG).await;
    refused.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    assert!(refused.set_cookies().is_empty());
    check_end(&mut browser, None).await;
}

#[tokio::test]
async fn a_junk_cookie_does_not_keep_anyone_from_signing_in() {
    let app = TestApp::new().await;
    let good = app.registered(ADA).await;
    let token = good.refresh_token().expect("a cookie").to_owned();
    let before = app.audit_names().await.len();
    let cut = &token[..token.len() - 1];
    for junk in ["", "kwr_", "junk", cut, &token.replace("kwr_", "kwr-"), &"x".repeat(4000)] {
        let mut browser = app.browser();
        browser.cookies.insert("__Secure-refreshToken".to_owned(), junk.to_owned());
        browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
        check_end(&mut browser, None).await;
    }
    check_end(&mut good.clone(), None).await;
    // For each a login.succeeded, a session.created and a session.refreshed; and the last one.
    assert_eq!(app.audit_names().await.len(), before + 6 * 3 + 1);
}

#[tokio::test]
async fn two_refresh_cookies_are_refused() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let body = json!({ "email": ADA, "password": PASSWORD });
    let mut request = browser.request(Method::POST, PATH, Some(body));
    let tossed = "__Secure-refreshToken=kwr_tossed".parse().expect("a value");
    request.headers_mut().append("cookie", tossed);
    let answer = app.send(request).await;
    answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    let told = "`__Secure-refreshToken` came twice: delete this site's cookies and sign in.";
    assert_eq!(answer.json()["fields"], json!({ "Cookie": told }));
    assert!(answer.set_cookies().is_empty());
    check_end(&mut browser, None).await;
}

#[tokio::test]
async fn takes_two_members_and_no_more() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    let before = app.audit().await;
    for field in ["roles", "sessionId", "sid", "name", "remember", "Password", "amr"] {
        let mut body = json!({ "email": ADA, "password": PASSWORD });
        body[field] = json!("x");
        let answer = app.browser().post(PATH, Some(body)).await;
        answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
        assert!(answer.json()["fields"][field].is_string(), "{field}");
    }
    assert_eq!(app.audit().await, before);
}

#[tokio::test]
async fn the_session_longest_unused_makes_room() {
    let app = TestApp::with_policy(|policy| policy.accounts.sessions_max = 3).await;
    let mut browsers = vec![app.registered(ADA).await];
    for _ in 0..2 {
        app.advance(10);
        let mut browser = app.browser();
        browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
        browsers.push(browser);
    }
    app.advance(10);
    check_end(&mut browsers[0], None).await;
    app.advance(10);
    login(&app, ADA, PASSWORD).await.assert(StatusCode::OK, None);
    check_end(&mut browsers[1], Some("too_many")).await;
    check_end(&mut browsers[0], None).await;
    check_end(&mut browsers[2], None).await;
}

#[tokio::test]
async fn by_default_a_user_has_a_hundred_sessions() {
    let app = TestApp::new().await;
    let mut first = app.registered(ADA).await;
    for _ in 0..99 {
        app.advance(1);
        login(&app, ADA, PASSWORD).await.assert(StatusCode::OK, None);
    }
    let mut others = first.clone();
    assert_eq!(
        others.get("/api/auth/sessions").await.json()["sessions"].as_array().map(Vec::len),
        Some(100)
    );
    login(&app, ADA, PASSWORD).await.assert(StatusCode::OK, None);
    check_end(&mut first, Some("too_many")).await;
}
