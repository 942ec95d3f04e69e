//! `POST /password/change`: the new password counts, and nobody but this device stays signed in.

mod common;

use axum::http::{Method, StatusCode};
use common::{Answer, Browser, PASSWORD, TestApp};
use serde_json::{Value, json};

const ADA: &str = "ada@example.org";
const NEW: &str = "regenschirm aus zimt";
const WRONG: &str = "zimtkringel im schnee";
const PATH: &str = "/api/auth/password/change";

async fn change(browser: &mut Browser, current: &str, new: &str) -> Answer {
    let body = json!({ "currentPassword": current, "newPassword": new });
    browser.post(PATH, Some(body)).await
}

async fn signed_in(app: &TestApp) -> Browser {
    let mut browser = app.browser();
    browser.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    browser
}

/// Which of the two passwords signs in.
async fn check_password(app: &TestApp, right: &str, wrong: &str) {
    let refused = app.browser().login(ADA, wrong).await;
    refused.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    app.browser().login(ADA, right).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn answers_what_login_answers() {
    let app = TestApp::new().await;
    let mut ada = app.browser();
    ada.register(ADA, PASSWORD).await.assert(StatusCode::CREATED, None);
    let login = ada.login(ADA, PASSWORD).await;
    let answer = change(&mut ada, PASSWORD, NEW).await;
    answer.assert(StatusCode::OK, None);
    let members = |value: Value| Vec::from_iter(value.as_object().expect("one").keys().cloned());
    assert_eq!(members(answer.json()), members(login.json()));
    assert_eq!(answer.json()["user"], login.json()["user"]);
    let attributes = |answer: &Answer| -> Vec<String> {
        let lines = answer.set_cookies().into_iter();
        lines.map(|line| line.split_once(';').expect("attributes").1.to_owned()).collect()
    };
    assert_eq!(attributes(&answer), attributes(&login));
    check_password(&app, NEW, PASSWORD).await;
}

#[tokio::test]
async fn this_device_goes_on_in_a_new_session() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let mut old = ada.clone();
    let session = ada.me().await.json()["session"]["id"].clone();
    change(&mut ada, PASSWORD, NEW).await.assert(StatusCode::OK, None);

    old.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    let me = ada.me().await;
    me.assert(StatusCode::OK, None);
    assert_ne!(me.json()["session"]["id"], session);
    assert_ne!(ada.csrf_token(), old.csrf_token());
    ada.refresh().await.assert(StatusCode::OK, None);
    let ended = ada.get("/api/auth/sessions").await.json()["ended"].clone();
    assert_eq!((&ended[0]["id"], &ended[0]["reason"]), (&session, &json!("password_changed")));
}

#[tokio::test]
async fn every_earlier_session_ends() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let here = ada.clone();
    let elsewhere = [signed_in(&app).await, signed_in(&app).await];
    let mut eve = app.registered("eve@example.org").await;
    change(&mut ada, PASSWORD, NEW).await.assert(StatusCode::OK, None);
    for mut browser in elsewhere.into_iter().chain([here]) {
        browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
        let told = browser.refresh().await;
        told.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
        assert_eq!(told.text("reason"), "password_changed");
    }
    eve.refresh().await.assert(StatusCode::OK, None);
    ada.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn is_recorded_with_what_it_ended() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    signed_in(&app).await;
    let before = app.audit().await.len();
    let answer = change(&mut ada, PASSWORD, NEW).await;
    let events = &app.audit().await[before..];
    let mut names: Vec<&str> = events.iter().map(|event| &event.name[..]).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["password.changed", "session.created", "session.revoked", "session.revoked"]
    );
    for event in events {
        assert_eq!(event.request_id.as_deref(), answer.header("x-request-id"));
        assert!(
            event.name != "session.revoked" || event.detail == r#"{"reason":"password_changed"}"#
        );
    }
}

#[tokio::test]
async fn a_wrong_current_password_changes_nothing() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let before = app.audit().await.len();
    let answer = change(&mut ada, WRONG, NEW).await;
    answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    assert!(answer.header("www-authenticate").is_none() && answer.set_cookies().is_empty());
    let events = &app.audit().await[before..];
    let told: Vec<_> = events.iter().map(|event| (&event.name[..], &event.detail[..])).collect();
    assert_eq!(told, [("login.failed", r#"{"reason":"wrong_password"}"#)]);
    ada.refresh().await.assert(StatusCode::OK, None);
    check_password(&app, PASSWORD, NEW).await;
}

#[tokio::test]
async fn a_stolen_access_token_is_no_way_around_the_limits() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    for _ in 0..3 {
        change(&mut ada, WRONG, NEW).await.assert_error_form();
    }
    let body = Some(json!({ "password": WRONG }));
    ada.call(Method::DELETE, "/api/auth/me", body).await.assert_error_form();
    app.browser().login(ADA, WRONG).await.assert_error_form();
    // Five failures, wherever they were made: now not even the right password is looked at.
    let limited = change(&mut ada, PASSWORD, NEW).await;
    limited.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
    let limited = app.browser().login(ADA, PASSWORD).await;
    limited.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
    ada.me().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn the_new_password_is_judged_like_any_other() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let before = app.audit().await;
    let long = "x7 ".repeat(342);
    for new in ["", "q7#kzPw", "password1", ADA, "a\0 zimtkringel im regen", &long] {
        let answer = change(&mut ada, PASSWORD, new).await;
        answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
        let fields = answer.json()["fields"].clone();
        assert_eq!(Vec::from_iter(fields.as_object().expect("one").keys()), ["newPassword"]);
    }
    assert_eq!(app.audit().await, before);
    ada.refresh().await.assert(StatusCode::OK, None);
    check_password(&app, PASSWORD, "password1").await;
}

#[tokio::test]
async fn whoever_does_not_know_the_password_learns_nothing_of_the_new_one() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let answer = change(&mut ada, WRONG, "short").await;
    answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
}

#[tokio::test]
async fn needs_an_access_token() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    ada.access_token = None;
    let answer = change(&mut ada, PASSWORD, NEW).await;
    answer.assert(StatusCode::UNAUTHORIZED, Some("NO_TOKEN"));
    check_password(&app, PASSWORD, NEW).await;
}

#[tokio::test]
async fn in_cookie_delivery_needs_both_csrf_checks() {
    let app = TestApp::with_cookie_delivery().await;
    let mut ada = app.registered(ADA).await;
    let body = json!({ "currentPassword": PASSWORD, "newPassword": NEW });
    for (header, value, code) in [
        ("origin", "https://evil.example", "ORIGIN_NOT_ALLOWED"),
        ("x-csrf-token", "another", "CSRF_FAILED"),
    ] {
        let mut request = ada.request(Method::POST, PATH, Some(body.clone()));
        request.headers_mut().insert(header, value.parse().expect("a value"));
        let answer = app.send(request).await;
        answer.assert(StatusCode::FORBIDDEN, Some(code));
        assert!(answer.set_cookies().is_empty());
    }
    ada.post(PATH, Some(body)).await.assert(StatusCode::OK, None);
    ada.me().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn of_parallel_changes_one_succeeds() {
    let app = TestApp::new().await;
    let ada = app.registered(ADA).await;
    let changes = (0..4).map(|number| {
        let mut browser = ada.clone();
        async move { change(&mut browser, PASSWORD, &format!("{NEW} {number}")).await }
    });
    let answers = futures_util::future::join_all(changes).await;
    let succeeded = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    let refused = answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED).count();
    assert_eq!((succeeded, refused), (1, 3), "{answers:?}");
    let names = app.audit_names().await;
    assert_eq!(names.iter().filter(|name| *name == "password.changed").count(), 1);
}
