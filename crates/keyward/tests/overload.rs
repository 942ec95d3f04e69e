//! More sign-ins than the machine can hash passwords for: they are told so at once, and nobody else
//! notices.

mod common;

use axum::http::StatusCode;
use common::{Answer, PASSWORD, TestApp};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use keyward::policy::{HashingPolicy, Policy};
use serde_json::json;

const ADA: &str = "ada@example.org";
const WRONG: &str = "zimtkringel im schnee";

/// One thread and one place in its queue. Each hash takes far longer than any other step here.
fn narrow(policy: &mut Policy) {
    policy.hashing = HashingPolicy {
        concurrency_max: 1,
        queue_max: 1,
        memory_kib: 32 * 1024,
        passes: 4,
        lanes: 1,
    };
}

async fn login(app: &TestApp, password: &str) -> Answer {
    app.browser().login(ADA, password).await
}

/// Two sign-ins that keep the thread busy and its queue full until they are awaited and done.
fn crowd(app: &TestApp) -> impl Future<Output = Vec<Answer>> {
    let mut crowd = Vec::new();
    while crowd.len() < 2 {
        let app = app.clone();
        let mut next = Box::pin(async move { login(&app, WRONG).await });
        // There is no room for the second before the thread has taken the first.
        match (&mut next).now_or_never() {
            None => crowd.push(next),
            Some(shed) => shed.assert(StatusCode::SERVICE_UNAVAILABLE, Some("OVERLOADED")),
        }
    }
    join_all(crowd)
}

fn with(answers: &[Answer], status: StatusCode) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test]
async fn surplus_sign_ins_are_told_when_to_come_back() {
    let app = TestApp::with_policy(narrow).await;
    app.registered(ADA).await;
    let before = app.audit().await.len();
    let answers = join_all((0..10).map(|_| login(&app, PASSWORD))).await;
    let (ok, overloaded) =
        (with(&answers, StatusCode::OK), with(&answers, StatusCode::SERVICE_UNAVAILABLE));
    // One in work, one waiting, and one more where the first had begun by then.
    assert!((1..=3).contains(&ok) && ok + overloaded == 10, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != StatusCode::OK) {
        answer.assert(StatusCode::SERVICE_UNAVAILABLE, Some("OVERLOADED"));
        let secs: u64 = answer.header("retry-after").expect("one").parse().expect("whole seconds");
        assert!((1..60).contains(&secs) && answer.json()["retryAfter"] == secs);
        assert!(answer.set_cookies().is_empty());
    }
    // A sign-in and its session for each that got in, and nothing about the others.
    assert_eq!(app.audit().await.len(), before + 2 * ok);
}

#[tokio::test]
async fn whoever_is_signed_in_does_not_notice() {
    let app = TestApp::with_policy(narrow).await;
    let mut ada = app.registered(ADA).await;
    let crowd = crowd(&app);
    // Each of these is answered before the first of the hashes is done.
    for _ in 0..3 {
        ada.me().now_or_never().expect("at once").assert(StatusCode::OK, None);
        ada.refresh().now_or_never().expect("at once").assert(StatusCode::OK, None);
    }
    let surplus = login(&app, WRONG).now_or_never().expect("at once");
    surplus.assert(StatusCode::SERVICE_UNAVAILABLE, Some("OVERLOADED"));
    crowd.await;
}

#[tokio::test]
async fn what_overload_refuses_is_not_counted_as_a_failure() {
    let app = TestApp::with_policy(narrow).await;
    app.registered(ADA).await;
    let answers = join_all((0..40).map(|_| login(&app, WRONG))).await;
    let mut failures = with(&answers, StatusCode::UNAUTHORIZED);
    assert_eq!(failures + with(&answers, StatusCode::SERVICE_UNAVAILABLE), 40);
    assert!((1..5).contains(&failures));
    while failures < 5 {
        login(&app, WRONG).await.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
        failures += 1;
    }
    login(&app, WRONG).await.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
}

#[tokio::test]
async fn registrations_and_password_changes_are_shed_likewise() {
    let app = TestApp::with_policy(narrow).await;
    let mut ada = app.registered(ADA).await;
    let crowd = crowd(&app);

    let mut eve = app.browser();
    let refused = eve.register("eve@example.org", PASSWORD).now_or_never().expect("at once");
    refused.assert(StatusCode::SERVICE_UNAVAILABLE, Some("OVERLOADED"));
    let body = json!({ "currentPassword": PASSWORD, "newPassword": "regenschirm aus zimt" });
    let change = ada.post("/api/auth/password/change", Some(body));
    let refused = change.now_or_never().expect("at once");
    refused.assert(StatusCode::SERVICE_UNAVAILABLE, Some("OVERLOADED"));
    assert_eq!(app.users().await.len(), 1);

    crowd.await;
    ada.refresh().await.assert(StatusCode::OK, None);
    eve.register("eve@example.org", PASSWORD).await.assert(StatusCode::CREATED, None);
}

#[tokio::test]
async fn whoever_goes_away_makes_no_room_and_leaves_no_trace() {
    let app = TestApp::with_policy(|policy| {
        narrow(policy);
        policy.limits.login_account = None;
    })
    .await;
    app.registered(ADA).await;
    let crowd = crowd(&app);
    for _ in 0..50 {
        let shed = login(&app, PASSWORD).now_or_never().expect("no room was made");
        shed.assert(StatusCode::SERVICE_UNAVAILABLE, Some("OVERLOADED"));
    }
    crowd.await;
    // Polled once and dropped, in work or in the queue: so the server does when a client leaves.
    for _ in 0..50 {
        let _ = login(&app, PASSWORD).now_or_never();
    }
    while login(&app, PASSWORD).await.status == StatusCode::SERVICE_UNAVAILABLE {
        tokio::task::yield_now().await;
    }
    login(&app, PASSWORD).await.assert(StatusCode::OK, None);
}

/// The estimate of how soon a password is guessed takes seconds for the worst of inputs.
#[tokio::test]
async fn new_passwords_wait_their_turn_to_be_judged() {
    let app = TestApp::with_policy(narrow).await;
    app.registered(ADA).await;
    let crowd = crowd(&app);
    let mut eve = app.browser();
    let refused = eve.register("eve@example.org", "password1").now_or_never().expect("at once");
    refused.assert(StatusCode::SERVICE_UNAVAILABLE, Some("OVERLOADED"));
    crowd.await;
    let refused = eve.register("eve@example.org", "password1").await;
    refused.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
}
