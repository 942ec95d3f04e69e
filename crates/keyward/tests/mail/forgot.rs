//! Forgotten passwords.

use std::os::unix::fs::PermissionsExt as _;

use axum::http::{Method, StatusCode};
use futures_util::future::join_all;
use keyward::store::AuditFilter;
use serde_json::json;

use crate::common::PASSWORD;
use crate::post::{ADA, Post};

const NEW: &str = "ein anderes geheimnis";

#[tokio::test]
async fn a_forgotten_password_is_set_anew() {
    let post = Post::new().await;
    let mut ada = post.registered(ADA).await;
    post.forgot("Ada@Example.ORG").await.assert(StatusCode::ACCEPTED, None);
    let mail = post.receive_one().await;
    assert_eq!(
        (mail.to.as_str(), mail.subject.as_str()),
        (ADA, "Set a new password for auth.example.org")
    );
    assert!(mail.headers.iter().any(|name| name == "Auto-Submitted"), "{:?}", mail.headers);

    let answer = post.reset(&mail.token(), NEW).await;
    answer.assert(StatusCode::OK, None);
    // It opens no session.
    let [cookie] = answer.set_cookies()[..] else { panic!("{answer:?}") };
    assert!(cookie.starts_with("__Secure-device="), "{cookie}");
    ada.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_REVOKED"));
    let refused = ada.refresh().await;
    refused.assert(StatusCode::UNAUTHORIZED, Some("SESSION_REVOKED"));
    assert_eq!(refused.text("reason"), "password_reset");
    let mut browser = post.app.browser();
    browser
        .login(ADA, PASSWORD)
        .await
        .assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    let answer = browser.login(ADA, NEW).await;
    answer.assert(StatusCode::OK, None);
    assert_eq!(answer.json()["user"]["emailVerified"], json!(true));

    let mut received = post.receive().await;
    received.sort_by(|a, b| b.subject.cmp(&a.subject));
    let [notice, sign_in] = &received[..] else { panic!("{received:?}") };
    assert_eq!(notice.subject, "Your password was changed");
    assert_eq!(sign_in.subject, "A new sign-in to your account");
    assert!(!notice.text.contains("token=") && !notice.html.contains("token="));
    let names = post.app.audit_names().await;
    for name in ["password.reset_requested", "password.reset", "email.verified"] {
        assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{names:?}");
    }
}

/// Neither answers nor what the store is asked for before them differ.
#[tokio::test]
async fn the_answer_tells_nobody_who_has_an_account() {
    let post = Post::new().await;
    post.registered(ADA).await;
    post.app.advance(3600);
    let before = post.app.audit().await.len();
    let mut bodies = Vec::new();
    for email in [ADA, "nobody@example.org"] {
        for status in [202, 202, 202, 429] {
            let answer = post.forgot(email).await;
            assert_eq!(answer.status.as_u16(), status);
            let mut body = answer.json();
            body["requestId"] = json!(null);
            bodies.push(body);
        }
    }
    assert_eq!(bodies[..4], bodies[4..]);
    // Nothing was written for either before its answer, and for one alone afterwards.
    let filter = || AuditFilter { limit: 100, ..AuditFilter::default() };
    let written = post.app.store.list_audit(filter()).await.expect("the store works");
    assert_eq!(written.len(), before);
    assert_eq!(post.app.audit().await.len(), before + 3);
    let received = post.receive().await;
    assert!(received.iter().all(|mail| mail.to == ADA), "{received:?}");
    // Those before the newest are dead, and are not sent.
    assert_eq!(received.len(), 1);
}

#[tokio::test]
async fn a_link_is_good_once_for_thirty_minutes_and_until_a_newer_one() {
    let post = Post::new().await;
    post.registered(ADA).await;
    post.app.advance(3600);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
        tokens.push(post.receive_one().await.token());
    }
    let refused = post.reset(&tokens[0], NEW).await;
    refused.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    assert!(refused.json()["fields"]["token"].is_string());
    post.app.advance(30 * 60 - 1);
    // A refused password costs nobody the link.
    let weak = post.reset(&tokens[1], "password1").await;
    weak.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    assert!(weak.json()["fields"]["newPassword"].is_string());
    post.reset(&tokens[1], NEW).await.assert(StatusCode::OK, None);
    let spent = post.reset(&tokens[1], NEW).await;
    spent.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));

    post.receive_one().await;
    post.app.advance(3600);
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let late = post.receive_one().await.token();
    post.app.advance(30 * 60);
    post.reset(&late, NEW).await.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
}

#[tokio::test]
async fn of_many_at_once_one_sets_the_password() {
    let post = Post::new().await;
    post.registered(ADA).await;
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let token = post.receive_one().await.token();
    let answers = join_all((0..20).map(|_| post.reset(&token, NEW))).await;
    let set = answers.iter().filter(|answer| answer.status == StatusCode::OK);
    assert_eq!(set.count(), 1);
}

#[tokio::test]
async fn a_change_of_the_password_ends_the_link_and_is_told_by_mail() {
    let post = Post::new().await;
    let mut ada = post.app.registered(ADA).await;
    let link = post.receive_one().await.token();
    post.verify(&link).await.assert(StatusCode::OK, None);
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let token = post.receive_one().await.token();
    let body = json!({ "currentPassword": PASSWORD, "newPassword": NEW });
    ada.post("/api/auth/password/change", Some(body)).await.assert(StatusCode::OK, None);
    assert_eq!(post.receive_one().await.subject, "Your password was changed");
    let refused = post.reset(&token, PASSWORD).await;
    refused.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
}

#[tokio::test]
async fn junk_is_a_link_that_is_not_good() {
    let post = Post::new().await;
    post.registered(ADA).await;
    post.forgot(ADA).await.assert(StatusCode::ACCEPTED, None);
    let token = post.receive_one().await.token();
    for junk in ["", "kwo_", &token[..token.len() - 1], &format!("{token}A"), &token.to_uppercase()]
    {
        for answer in [post.reset(junk, NEW).await, post.verify(junk).await] {
            answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
            assert!(answer.json()["fields"]["token"].is_string());
        }
    }
    // A link that sets a password verifies nothing by itself.
    post.verify(&token).await.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    post.reset(&token, NEW).await.assert(StatusCode::OK, None);
}

/// No page of another site makes a visitor's browser spend a token.
#[tokio::test]
async fn pages_of_other_sites_spend_no_token() {
    let post = Post::new().await;
    for path in ["password/forgot", "password/reset", "email/verify"] {
        let body = json!({ "email": ADA, "token": "kwo_", "newPassword": NEW });
        let mut request =
            post.app.browser().request(Method::POST, &format!("/api/auth/{path}"), Some(body));
        let foreign = "https://evil.example".parse().expect("a header");
        request.headers_mut().insert("origin", foreign);
        let answer = post.app.send(request).await;
        answer.assert(StatusCode::FORBIDDEN, Some("ORIGIN_NOT_ALLOWED"));
    }
}

/// Whatever host the request names, the link leads to the configured one.
#[tokio::test]
async fn no_header_leads_the_link_elsewhere() {
    let post = Post::new().await;
    post.registered(ADA).await;
    let body = json!({ "email": ADA });
    let path = "/api/auth/password/forgot";
    let mut request = post.app.browser().request(Method::POST, path, Some(body));
    for name in ["host", "x-forwarded-host", "forwarded", "x-original-host"] {
        let evil = if name == "forwarded" { "host=evil.example" } else { "evil.example" };
        request.headers_mut().insert(name, evil.parse().expect("a header"));
    }
    post.app.send(request).await.assert(StatusCode::ACCEPTED, None);
    let mail = post.receive_one().await;
    assert!(!mail.text.contains("evil") && !mail.html.contains("evil"));
    post.reset(&mail.token(), NEW).await.assert(StatusCode::OK, None);
}

/// For their owner alone: a token is in them.
#[tokio::test]
async fn files_are_for_their_owner_alone() {
    let post = Post::new().await;
    post.app.registered(ADA).await;
    post.app.keyward.deliver_mail().await.expect("the store works");
    let outbox = post.folder.path().join("outbox");
    let mode =
        |path: &std::path::Path| path.metadata().expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(&outbox), 0o700);
    let files: Vec<_> = std::fs::read_dir(&outbox).expect("a folder").collect();
    assert_eq!(files.len(), 1);
    for file in files {
        let path = file.expect("a file").path();
        assert_eq!((mode(&path), path.extension()), (0o600, Some("eml".as_ref())));
    }
}
