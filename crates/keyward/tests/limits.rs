//! Limits on trying: who is refused, who is not, and what each is told.

mod common;

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use common::{Answer, PASSWORD, TestApp};
use futures_util::future::join_all;
use keyward::http::PeerAddress;
use keyward::policy::LimitPolicy;
use serde_json::json;

const ADA: &str = "ada@example.org";
const WRONG: &str = "zimtkringel im schnee";
const HOME: &str = "192.0.2.1";

/// A request of a browser at `peer`.
fn from(app: &TestApp, peer: &str, path: &str, email: &str, password: &str) -> Request<Body> {
    let body = json!({ "email": email, "password": password });
    let mut request = app.browser().request(Method::POST, path, Some(body));
    let peer: IpAddr = peer.parse().expect("an address");
    request.extensions_mut().insert(PeerAddress(SocketAddr::new(peer, 50_000)));
    request
}

async fn login(app: &TestApp, peer: &str, email: &str, password: &str) -> Answer {
    app.send(from(app, peer, "/api/auth/login", email, password)).await
}

/// A wrong password from behind a proxy at `peer`.
async fn fail_behind(app: &TestApp, peer: &str, header: &'static str, value: &str) -> Answer {
    let mut request = from(app, peer, "/api/auth/login", ADA, WRONG);
    request.headers_mut().insert(header, value.parse().expect("a value"));
    app.send(request).await
}

#[track_caller]
fn failed(answer: &Answer) {
    answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
}

#[track_caller]
fn limited(answer: &Answer) {
    answer.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
}

async fn fail_times(app: &TestApp, times: u32, peer: &str, email: &str) {
    for _ in 0..times {
        failed(&login(app, peer, email, WRONG).await);
    }
}

#[tokio::test]
async fn the_sixth_failure_is_refused_whatever_the_password() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    fail_times(&app, 5, HOME, ADA).await;
    let before = app.audit_names().await.len();
    for password in [WRONG, PASSWORD] {
        let answer = login(&app, HOME, ADA, password).await;
        limited(&answer);
        assert_eq!(answer.header("retry-after"), Some("180"));
        assert_eq!(answer.json()["retryAfter"], 180);
        assert_eq!(answer.header("ratelimit-policy"), Some(r#""login_account";q=5;w=900"#));
        assert_eq!(answer.header("ratelimit"), Some(r#""login_account";r=0;t=180"#));
        assert!(answer.set_cookies().is_empty());
    }
    // Refused before any password work: no verdict, and no failed sign-in recorded.
    assert_eq!(app.audit_names().await[before..], ["login.rate_limited", "login.rate_limited"]);
}

#[tokio::test]
async fn whoever_comes_back_when_told_is_let_in() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    fail_times(&app, 5, HOME, ADA).await;
    app.advance(179);
    limited(&login(&app, HOME, ADA, PASSWORD).await);
    app.advance(1);
    login(&app, HOME, ADA, PASSWORD).await.assert(StatusCode::OK, None);
    // After the whole window all five are back.
    app.advance(900);
    fail_times(&app, 5, HOME, ADA).await;
    limited(&login(&app, HOME, ADA, WRONG).await);
}

#[tokio::test]
async fn another_address_and_another_account_are_not_held_up() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    app.registered("eve@example.org").await;
    fail_times(&app, 5, HOME, ADA).await;
    limited(&login(&app, HOME, ADA, PASSWORD).await);
    login(&app, "192.0.2.2", ADA, PASSWORD).await.assert(StatusCode::OK, None);
    login(&app, HOME, "eve@example.org", PASSWORD).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn the_case_of_an_address_makes_no_other_account() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    for email in ["ADA@example.org", "ada@EXAMPLE.org", "Ada@example.org", "aDa@example.org", ADA] {
        failed(&login(&app, HOME, email, WRONG).await);
    }
    limited(&login(&app, HOME, "adA@example.org", WRONG).await);
}

#[tokio::test]
async fn success_is_not_counted() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    fail_times(&app, 4, HOME, ADA).await;
    for _ in 0..120 {
        login(&app, HOME, ADA, PASSWORD).await.assert(StatusCode::OK, None);
    }
    fail_times(&app, 1, HOME, ADA).await;
    limited(&login(&app, HOME, ADA, PASSWORD).await);
}

#[tokio::test]
async fn malformed_requests_are_not_counted() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    for _ in 0..20 {
        let answer = login(&app, HOME, ADA, "a\0b").await;
        answer.assert(StatusCode::BAD_REQUEST, Some("INVALID_REQUEST"));
    }
    login(&app, HOME, ADA, PASSWORD).await.assert(StatusCode::OK, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parallel_burst_gets_no_more_verdicts() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    let answers = join_all((0..50).map(|_| login(&app, HOME, ADA, WRONG))).await;
    let verdicts = answers.iter().filter(|answer| answer.status == StatusCode::UNAUTHORIZED);
    assert_eq!(verdicts.count(), 5);
    let refused = answers.iter().filter(|answer| answer.status == StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.count(), 45);
}

#[tokio::test]
async fn one_address_fails_a_hundred_times_over_any_accounts() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    for number in 0..100 {
        failed(&login(&app, HOME, &format!("user{number}@example.org"), WRONG).await);
    }
    let answer = login(&app, HOME, ADA, PASSWORD).await;
    limited(&answer);
    assert_eq!(answer.header("ratelimit-policy"), Some(r#""login_address";q=100;w=900"#));
    assert_eq!(answer.header("retry-after"), Some("9"));
    login(&app, "192.0.2.2", ADA, PASSWORD).await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn what_one_limit_refuses_the_other_does_not_count() {
    let app = TestApp::new().await;
    for _ in 0..95 {
        login(&app, HOME, ADA, WRONG).await;
    }
    // Five of these were failures; so the address has 95 left.
    for number in 0..95 {
        failed(&login(&app, HOME, &format!("user{number}@example.org"), WRONG).await);
    }
    limited(&login(&app, HOME, "last@example.org", WRONG).await);
}

#[tokio::test]
async fn one_ipv6_subscriber_is_one_address() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    for host in 1..=5 {
        failed(&login(&app, &format!("2001:db8:1:2::{host}"), ADA, WRONG).await);
    }
    limited(&login(&app, "2001:db8:1:2:ffff:ffff:ffff:ffff", ADA, PASSWORD).await);
    login(&app, "2001:db8:1:3::1", ADA, PASSWORD).await.assert(StatusCode::OK, None);
    // An IPv4 address in IPv6's clothes is the IPv4 address.
    fail_times(&app, 5, "192.0.2.9", ADA).await;
    limited(&login(&app, "::ffff:192.0.2.9", ADA, PASSWORD).await);
}

#[tokio::test]
async fn one_site_fails_a_thousand_times_from_any_of_its_addresses() {
    for range in ["203.0.113.", "2001:db8:1:"] {
        let app = TestApp::new().await;
        app.registered(ADA).await;
        let host = |number: u32| match range {
            "203.0.113." => format!("{range}{}", number % 250),
            _ => format!("{range}{number:x}::1"),
        };
        for number in 0..1000 {
            let email = format!("user{number}@example.org");
            failed(&login(&app, &host(number), &email, WRONG).await);
        }
        let answer = login(&app, &host(251), ADA, PASSWORD).await;
        limited(&answer);
        assert_eq!(answer.header("ratelimit-policy"), Some(r#""login_range";q=1000;w=900"#));
        for elsewhere in ["203.0.112.1", "2001:db8:2::1"] {
            login(&app, elsewhere, ADA, PASSWORD).await.assert(StatusCode::OK, None);
        }
    }
}

#[tokio::test]
async fn one_address_asks_for_twenty_mails_an_hour() {
    let app = TestApp::new().await;
    let forgot = async |peer: &str, number: u32| {
        let email = format!("user{number}@example.org");
        let mut request = from(&app, peer, "/api/auth/password/forgot", &email, PASSWORD);
        *request.body_mut() = Body::from(json!({ "email": email }).to_string());
        app.send(request).await
    };
    for number in 0..20 {
        forgot(HOME, number).await.assert(StatusCode::ACCEPTED, None);
    }
    let answer = forgot(HOME, 20).await;
    limited(&answer);
    assert_eq!(answer.header("ratelimit-policy"), Some(r#""mail_address";q=20;w=3600"#));
    forgot("192.0.2.2", 20).await.assert(StatusCode::ACCEPTED, None);
}

#[tokio::test]
async fn a_stranger_s_word_about_addresses_does_not_count() {
    let app = TestApp::new().await;
    for (number, header) in
        ["x-forwarded-for", "x-real-ip", "cf-connecting-ip", "true-client-ip", "x-client-ip"]
            .into_iter()
            .enumerate()
    {
        failed(&fail_behind(&app, HOME, header, &format!("198.51.100.{number}")).await);
    }
    limited(&fail_behind(&app, HOME, "x-forwarded-for", "198.51.100.99").await);
    limited(&fail_behind(&app, HOME, "forwarded", "for=198.51.100.98").await);
}

#[tokio::test]
async fn a_trusted_proxy_s_word_counts() {
    let app = TestApp::with_policy(|policy| {
        policy.web.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a net")];
    })
    .await;
    let header = "x-forwarded-for";
    for made_up in 0..5 {
        // What the client itself put before the proxy's own entry is not looked at.
        let value = format!("203.0.113.{made_up}, 198.51.100.1");
        failed(&fail_behind(&app, "10.0.0.1", header, &value).await);
    }
    limited(&fail_behind(&app, "10.0.0.2", header, "198.51.100.1").await);
    limited(&fail_behind(&app, "10.0.0.1", "forwarded", "for=198.51.100.1;proto=https").await);
    failed(&fail_behind(&app, "10.0.0.1", header, "198.51.100.2").await);
    // And from elsewhere the same header is a stranger's.
    failed(&fail_behind(&app, HOME, header, "198.51.100.1").await);
    let recorded = app.audit().await;
    assert_eq!(recorded[0].device.ip.as_deref(), Some("198.51.100.1"));
}

#[tokio::test]
async fn one_address_registers_twenty_times_an_hour() {
    let app = TestApp::new().await;
    let register = async |peer: &str, number: u32| {
        let email = format!("user{number}@example.org");
        app.send(from(&app, peer, "/api/auth/register", &email, PASSWORD)).await
    };
    for number in 0..20 {
        register(HOME, number).await.assert(StatusCode::CREATED, None);
    }
    let before = app.audit().await.len();
    let answer = register(HOME, 20).await;
    limited(&answer);
    assert_eq!(answer.header("ratelimit-policy"), Some(r#""register_address";q=20;w=3600"#));
    assert_eq!(answer.header("retry-after"), Some("180"));
    assert_eq!(app.audit().await.len(), before);
    assert_eq!(app.users().await.len(), 20);
    register("192.0.2.2", 21).await.assert(StatusCode::CREATED, None);
    app.advance(180);
    register(HOME, 22).await.assert(StatusCode::CREATED, None);
}

#[tokio::test]
async fn taken_addresses_count_as_registrations() {
    let app = TestApp::new().await;
    for _ in 0..20 {
        app.send(from(&app, HOME, "/api/auth/register", ADA, PASSWORD)).await;
    }
    limited(&app.send(from(&app, HOME, "/api/auth/register", ADA, PASSWORD)).await);
}

#[tokio::test]
async fn a_limit_can_be_turned_off() {
    let app = TestApp::with_policy(|policy| {
        policy.limits = LimitPolicy {
            login_account: None,
            login_account_total: None,
            login_address: None,
            register_address: None,
            ..LimitPolicy::default()
        };
    })
    .await;
    for number in 0..30 {
        let email = format!("user{number}@example.org");
        let answer = app.send(from(&app, HOME, "/api/auth/register", &email, PASSWORD)).await;
        answer.assert(StatusCode::CREATED, None);
    }
    fail_times(&app, 150, HOME, ADA).await;
}

#[tokio::test]
async fn refusals_are_recorded_ten_a_minute_and_the_rest_counted() {
    let app = TestApp::new().await;
    fail_times(&app, 5, HOME, ADA).await;
    let before = app.audit().await.len();
    for _ in 0..100 {
        limited(&login(&app, HOME, ADA, WRONG).await);
    }
    let events = app.audit().await;
    let refused: Vec<_> = events[before..].iter().map(|event| &event.detail[..]).collect();
    let mut expected = vec![r#"{"count":1}"#; 10];
    expected.push(r#"{"count":90}"#);
    assert_eq!(refused, expected);
    assert!(events[before..].iter().all(|event| event.name == "login.rate_limited"));
    assert!(events[before..].iter().all(|event| event.device.ip.as_deref() == Some(HOME)));
}
