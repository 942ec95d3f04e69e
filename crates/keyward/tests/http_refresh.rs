//! `POST /refresh`: what passes, what is refused in which order, and which answers touch cookies.

mod checks;
mod common;

use std::sync::Arc;

use axum::http::StatusCode;
use checks::{
    CSRF_COOKIE, REFRESH_COOKIE, add, assert_harmless, assert_refused_for_good, assert_revoked,
    assert_touched, count_events, details, refresh_request, session_id, set, set_cookies, stored,
    unset,
};
use common::TestApp;
use keyward::store::MemoryStore;
use keyward_core::rotation::OnReuse;
use serde_json::json;

#[tokio::test]
async fn a_current_token_is_exchanged_for_new_tokens() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let before = browser.clone();
    app.advance(60);

    let answer = browser.refresh().await;
    answer.assert(StatusCode::OK, None);
    let body = answer.json();
    let names: Vec<&str> =
        body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(names, ["accessToken", "csrfToken", "expiresIn", "tokenType"]);
    assert_eq!((&body["tokenType"], &body["expiresIn"]), (&json!("Bearer"), &json!(900)));
    assert_touched(&answer, &[REFRESH_COOKIE, CSRF_COOKIE]);

    assert_ne!(browser.refresh_token(), before.refresh_token());
    assert_ne!(browser.access_token, before.access_token);
    assert_eq!(session_id(&browser), session_id(&before));
    assert_eq!(stored(&browser).await.session.generation, 1);
    assert_eq!(details(&app, "session.refreshed").await, [json!({ "generation": 1 })]);
    browser.me().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn the_refresh_token_is_in_no_body() {
    let app = TestApp::new().await;
    let mut browser = app.browser();
    let registered = browser.register("ada@example.org", common::PASSWORD).await;
    let refreshed = browser.refresh().await;
    for answer in [registered, refreshed] {
        assert!(!String::from_utf8_lossy(&answer.body).contains("kwr_"), "{answer:?}");
        assert!(answer.set_cookies()[0].contains("=kwr_"), "{answer:?}");
    }
}

#[tokio::test]
async fn cookies_have_the_attributes_of_the_contract_and_the_sessions_life() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let answer = browser.refresh().await;
    let lines = answer.set_cookies();
    let (refresh, csrf) = (lines[0].split_once("; "), lines[1].split_once("; "));
    let week = 7 * 24 * 60 * 60;
    assert_eq!(
        refresh.expect("attributes").1,
        format!("Path=/api/auth; Secure; HttpOnly; SameSite=Strict; Priority=High; Max-Age={week}")
    );
    assert_eq!(
        csrf.expect("attributes").1,
        format!("Path=/; Secure; SameSite=Strict; Priority=High; Max-Age={week}")
    );
}

#[tokio::test]
async fn the_refresh_cookie_goes_to_the_base_path_only() {
    let app = TestApp::with_policy(|policy| policy.web.base_path = "/auth".to_owned()).await;
    let mut browser = app.browser();
    let body = json!({ "email": "ada@example.org", "password": common::PASSWORD });
    let answer = browser.post("/auth/register", Some(body)).await;
    answer.assert(StatusCode::CREATED, None);
    assert!(answer.set_cookies()[0].contains("; Path=/auth; "), "{answer:?}");
    browser.post("/auth/refresh", None).await.assert(StatusCode::OK, None);
    browser.refresh().await.assert(StatusCode::NOT_FOUND, Some("NOT_FOUND"));
}

#[tokio::test]
async fn the_csrf_token_stays_the_same_over_refreshes_and_changes_at_login() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let first = browser.csrf_token().expect("a CSRF cookie").to_owned();
    browser.refresh().await.assert(StatusCode::OK, None);
    assert_eq!(browser.csrf_token(), Some(first.as_str()));
    browser.login("ada@example.org", common::PASSWORD).await.assert(StatusCode::OK, None);
    assert_ne!(browser.csrf_token(), Some(first.as_str()));
}

#[tokio::test]
async fn a_client_without_browser_headers_may_refresh() {
    let app = TestApp::new().await;
    let mut client = app.registered("ada@example.org").await;
    let mut request = refresh_request(&client);
    unset(&mut request, "origin");
    client.send(request).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn the_origin_is_judged_before_all_else() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    for cookies in [&[][..], &[(REFRESH_COOKIE, "junk")], &[(REFRESH_COOKIE, "a"); 2]] {
        let mut request = refresh_request(&browser);
        set(&mut request, "origin", "https://evil.example");
        set_cookies(&mut request, cookies);
        assert_harmless(&browser.send(request).await, StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED");
    }
    assert_eq!(count_events(&app, "csrf.rejected").await, 3);
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn without_a_refresh_cookie_nothing_is_touched() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    browser.cookies.remove(REFRESH_COOKIE);
    let answer = browser.refresh().await;
    assert_harmless(&answer, StatusCode::UNAUTHORIZED, "NO_REFRESH_TOKEN");

    let mut stranger = app.browser();
    let answer = stranger.refresh().await;
    assert_harmless(&answer, StatusCode::UNAUTHORIZED, "NO_REFRESH_TOKEN");
}

/// Row 1: refused before the CSRF check, without a look at the store.
#[tokio::test]
async fn row_1_junk_is_refused_for_good_and_ends_no_session() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let token = browser.refresh_token().expect("a token").to_owned();
    let last = if token.ends_with('A') { "Q" } else { "A" };
    let junk = [
        String::new(),
        "kwr_".to_owned(),
        format!("{}{last}", &token[..token.len() - 1]),
        token[..token.len() - 1].to_owned(),
        format!("{token}A"),
        format!("{token}="),
        token.replace("kwr_", "KWR_"),
        format!("\"{token}\""),
    ];
    for (n, junk) in junk.iter().enumerate() {
        let mut request = refresh_request(&browser);
        set_cookies(&mut request, &[(REFRESH_COOKIE, junk)]);
        let answer = app.send(request).await;
        assert_refused_for_good(&answer, "INVALID_REFRESH_TOKEN");
        let expected = json!({ "reason": "junk", "count": 1 });
        assert_eq!(details(&app, "refresh.rejected").await[n], expected, "{junk}");
    }
    browser.refresh().await.assert(StatusCode::OK, None);
}

/// Row 2: a token with a good tag of a session that the store does not have.
#[tokio::test]
async fn row_2_a_token_of_no_session_is_refused_for_good() {
    let app = TestApp::new().await;
    let browser = app.registered("ada@example.org").await;
    let without_rows = emptied(&app).await;
    let answer = without_rows.send(refresh_request(&browser)).await;
    assert_refused_for_good(&answer, "INVALID_REFRESH_TOKEN");
    let expected = json!({ "reason": "unknown_session", "count": 1 });
    assert_eq!(details(&without_rows, "refresh.rejected").await, [expected]);
}

#[tokio::test]
async fn the_csrf_token_is_judged_after_the_tag_and_before_the_session() {
    let app = TestApp::new().await;
    let browser = app.registered("ada@example.org").await;
    let without_rows = emptied(&app).await;
    let mut request = refresh_request(&browser);
    unset(&mut request, "x-csrf-token");
    assert_harmless(&without_rows.send(request).await, StatusCode::FORBIDDEN, "CSRF_FAILED");
}

#[tokio::test]
async fn two_refresh_cookies_are_refused_and_touch_nothing() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let token = browser.refresh_token().expect("a token").to_owned();
    for other in ["tossed", "", token.as_str()] {
        let mut request = refresh_request(&browser);
        add(&mut request, "cookie", &format!("{REFRESH_COOKIE}={other}"));
        let answer = browser.send(request).await;
        assert_harmless(&answer, StatusCode::BAD_REQUEST, "INVALID_REQUEST");
    }
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn row_3_a_revoked_session_refuses_every_token_and_says_why() {
    let app = TestApp::new().await;
    let mut browser = app.registered("ada@example.org").await;
    let mut spent = browser.clone();
    browser.refresh().await.assert(StatusCode::OK, None);
    browser.clone().post("/api/auth/logout", None).await.assert(StatusCode::OK, None);

    assert_revoked(&browser.clone().refresh().await, "logout");
    assert_revoked(&spent.refresh().await, "logout");
    let expected = json!({ "reason": "logout" });
    assert_eq!(details(&app, "refresh.after_revocation").await, [expected.clone(), expected]);
}

#[tokio::test]
async fn row_9_a_spent_token_ends_the_session_and_takes_the_cookies() {
    let app = TestApp::new().await;
    let mut victim = app.registered("ada@example.org").await;
    let mut thief = victim.clone();
    for _ in 0..3 {
        victim.refresh().await.assert(StatusCode::OK, None);
    }
    assert_refused_for_good(&thief.refresh().await, "REFRESH_TOKEN_REUSED");
    let expected = json!({ "generation": 0, "currentGeneration": 3 });
    assert_eq!(details(&app, "session.reuse_detected").await, [expected]);
    assert_eq!(count_events(&app, "session.revoked").await, 0);
    assert_revoked(&victim.refresh().await, "reuse_detected");
}

#[tokio::test]
async fn reuse_ends_only_its_own_session_by_default() {
    let app = TestApp::new().await;
    let mut victim = app.registered("ada@example.org").await;
    let mut phone = app.browser();
    phone.login("ada@example.org", common::PASSWORD).await.assert(StatusCode::OK, None);
    let mut thief = victim.clone();
    victim.refresh().await.assert(StatusCode::OK, None);
    assert_refused_for_good(&thief.refresh().await, "REFRESH_TOKEN_REUSED");
    phone.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn reuse_ends_every_session_of_the_user_where_the_policy_says_so() {
    let app = TestApp::with_policy(|policy| policy.rotation.on_reuse = OnReuse::User).await;
    let mut victim = app.registered("ada@example.org").await;
    let mut phone = app.browser();
    phone.login("ada@example.org", common::PASSWORD).await.assert(StatusCode::OK, None);
    let mut other_user = app.registered("bob@example.org").await;
    let mut thief = victim.clone();
    victim.refresh().await.assert(StatusCode::OK, None);

    assert_refused_for_good(&thief.refresh().await, "REFRESH_TOKEN_REUSED");
    assert_revoked(&phone.refresh().await, "reuse_detected");
    phone.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    let expected = json!({ "reason": "reuse_detected" });
    assert_eq!(details(&app, "session.revoked").await, [expected]);
    assert_eq!(count_events(&app, "session.reuse_detected").await, 1);
    other_user.refresh().await.assert(StatusCode::OK, None);
}

/// A second service that has the keys of the first one and nothing else.
async fn emptied(app: &TestApp) -> TestApp {
    let store = Arc::new(MemoryStore::new());
    checks::copy_keys(app, store.as_ref()).await;
    TestApp::on_store(store, |_| {}).await
}
