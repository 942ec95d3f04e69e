//! Known devices: whom strangers' guesses keep out and whom not, and what is no known device.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use common::second_factor::Authenticator;
use common::{Answer, Browser, PASSWORD, TestApp};
use keyward::clock::ManualClock;
use keyward::entropy::danger_for_tests::SeededEntropy;
use keyward::http::PeerAddress;
use keyward::store::{MemoryStore, Store};
use keyward_core::email::Email;
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;
use serde_json::json;

const ADA: &str = "ada@example.org";
const EVE: &str = "eve@example.org";
const WRONG: &str = "zimtkringel im schnee";
const NEW: &str = "zimtkringel im nebel";
const DEVICE: &str = "__Secure-device";
const LOGIN: &str = "/api/auth/login";
const DAY: u64 = 24 * 60 * 60;

/// A sign-in of this browser from this address.
async fn login_from(browser: &mut Browser, peer: IpAddr, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    let mut request = browser.request(Method::POST, LOGIN, Some(body));
    request.extensions_mut().insert(PeerAddress(SocketAddr::new(peer, 50_000)));
    browser.send(request).await
}

/// A thousand strangers, each at an address and in a range of its own, guess the password.
async fn guess_from_everywhere(app: &TestApp, email: &str) {
    for number in 0..1000_u32 {
        login_from(&mut app.browser(), stranger(number), email, WRONG).await;
    }
}

fn stranger(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0001 + (number << 8)).into()
}

/// A browser that has nothing but the device cookie of this one.
fn device_of(browser: &Browser) -> Browser {
    let mut device = browser.app.browser();
    device.cookies.insert(DEVICE.to_owned(), browser.cookies[DEVICE].clone());
    device
}

/// Whether wrong passwords of this browser count as those of a known device, and not against others
/// at its address.
async fn is_known(mut browser: Browser, email: &str) -> bool {
    for _ in 0..5 {
        browser.login(email, WRONG).await;
    }
    limited(&browser.login(email, WRONG).await);
    let beside = browser.app.browser().login(email, WRONG).await;
    beside.status != StatusCode::TOO_MANY_REQUESTS
}

#[track_caller]
fn limited(answer: &Answer) {
    answer.assert(StatusCode::TOO_MANY_REQUESTS, Some("RATE_LIMITED"));
    assert!(answer.set_cookies().is_empty());
}

#[track_caller]
fn ok(answer: &Answer) {
    answer.assert(StatusCode::OK, None);
}

async fn user_id(app: &TestApp, email: &str) -> UserId {
    let email = Email::parse(email).expect("an address");
    let found = app.store.find_user_by_email(email.key()).await.expect("a store");
    found.expect("a user").user.id
}

#[tokio::test]
async fn strangers_keep_no_known_device_out() {
    let app = TestApp::new().await;
    let ada = app.registered(ADA).await;
    guess_from_everywhere(&app, ADA).await;
    // A new device is limited, wherever it is, the right password or not.
    for password in [PASSWORD, WRONG] {
        let answer = login_from(&mut app.browser(), stranger(5000), ADA, password).await;
        limited(&answer);
        let policy = Some(r#""login_account_total";q=100;w=3600"#);
        assert_eq!(answer.header("ratelimit-policy"), policy);
        assert_eq!(answer.header("retry-after"), Some("36"));
    }
    // The known one signs in, also from where a stranger sits, and so does a new one of Eve's.
    ok(&device_of(&ada).login(ADA, PASSWORD).await);
    ok(&login_from(&mut device_of(&ada), stranger(1), ADA, PASSWORD).await);
    app.registered(EVE).await;
    ok(&login_from(&mut app.browser(), stranger(5000), EVE, PASSWORD).await);
}

#[tokio::test]
async fn a_distributed_guesser_gets_a_hundred_verdicts_an_hour() {
    let app = TestApp::new().await;
    app.registered(ADA).await;
    let mut verdicts = 0;
    for number in 0..500 {
        let answer = login_from(&mut app.browser(), stranger(number), ADA, WRONG).await;
        verdicts += u32::from(answer.status == StatusCode::UNAUTHORIZED);
    }
    assert_eq!(verdicts, 100);
    // It is no other for an address that has no account.
    let mut unknown = 0;
    for number in 0..500 {
        let answer = login_from(&mut app.browser(), stranger(number), EVE, WRONG).await;
        unknown += u32::from(answer.status == StatusCode::UNAUTHORIZED);
    }
    assert_eq!(unknown, verdicts);
}

#[tokio::test]
async fn a_known_device_has_five_tries_of_its_own() {
    let app = TestApp::new().await;
    let ada = app.registered(ADA).await;
    let mut device = device_of(&ada);
    for _ in 0..5 {
        let answer = device.login(ADA, WRONG).await;
        answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    }
    let answer = device.login(ADA, PASSWORD).await;
    limited(&answer);
    assert_eq!(answer.header("ratelimit-policy"), Some(r#""login_device";q=5;w=900"#));
    assert_eq!(answer.header("ratelimit"), Some(r#""login_device";r=0;t=180"#));
    assert!(app.audit_names().await.ends_with(&["login.rate_limited".to_owned()]));
    // They are not counted against the account or the address, and success gives one back.
    ok(&app.browser().login(ADA, PASSWORD).await);
    app.advance(900);
    for _ in 0..20 {
        ok(&device_of(&ada).login(ADA, PASSWORD).await);
    }
}

#[tokio::test]
async fn every_way_in_makes_a_device_known() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let first = ada.cookies[DEVICE].clone();
    assert!(is_known(device_of(&ada), ADA).await);
    let mut other = app.browser();
    ok(&other.login(ADA, PASSWORD).await);
    assert_ne!(other.cookies[DEVICE], first, "each sign-in has one of its own");
    assert!(is_known(device_of(&other), ADA).await);
    // A refresh and a sign-out leave it alone.
    let before = ada.cookies[DEVICE].clone();
    assert!(!ada.refresh().await.set_cookies().iter().any(|line| line.contains("device")));
    let body = json!({ "currentPassword": PASSWORD, "newPassword": NEW });
    ok(&ada.post("/api/auth/password/change", Some(body)).await);
    assert_ne!(ada.cookies[DEVICE], before);
    ok(&ada.post("/api/auth/logout", None).await);
    assert!(is_known(device_of(&ada), ADA).await);
    // The one that was signed in with the password before is none any more.
    app.advance(900);
    assert!(!is_known(device_of(&other), ADA).await);
}

#[tokio::test]
async fn a_device_outlives_changes_of_the_second_factor_that_it_makes() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let before = device_of(&ada);
    let authenticator = Authenticator::enable(&mut ada).await;
    assert!(!is_known(before, ADA).await);
    app.advance(900);
    assert!(is_known(device_of(&ada), ADA).await);
    app.advance(900);
    let token = ada.mfa_token(ADA).await;
    ok(&ada.give_code(&token, &authenticator.code(&app)).await);
    let answer = ada.remove_totp(PASSWORD, &authenticator.code_in(&app, 30)).await;
    answer.assert(StatusCode::NO_CONTENT, None);
    app.advance(900);
    assert!(is_known(device_of(&ada), ADA).await);
}

#[tokio::test]
async fn what_is_no_device_of_the_account_is_a_stranger() {
    let app = TestApp::new().await;
    let ada = app.registered(ADA).await;
    let eve = app.registered(EVE).await;
    let good = ada.cookies[DEVICE].clone();
    let tampered = format!("{}{}", if good.starts_with('A') { 'B' } else { 'A' }, &good[1..]);
    let forged = "A".repeat(good.len());
    for value in ["", "x", &tampered, &forged, &good[1..], &eve.cookies[DEVICE]] {
        let app = app.clone();
        app.advance(900);
        let mut browser = app.browser();
        browser.cookies.insert(DEVICE.to_owned(), value.to_owned());
        assert!(!is_known(browser, ADA).await, "{value}");
    }
    // Nobody is signed in by it, or refused for it.
    app.advance(900);
    let mut browser = device_of(&ada);
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("NO_TOKEN"));
    browser.refresh().await.assert(StatusCode::UNAUTHORIZED, Some("NO_REFRESH_TOKEN"));
    browser.cookies.insert(DEVICE.to_owned(), tampered);
    ok(&browser.login(ADA, PASSWORD).await);
}

#[tokio::test]
async fn a_device_is_forgotten_after_half_a_year() {
    let app = TestApp::new().await;
    let ada = app.registered(ADA).await;
    app.advance(180 * DAY - 1);
    assert!(is_known(device_of(&ada), ADA).await);
    app.advance(900);
    assert!(!is_known(device_of(&ada), ADA).await);
}

#[tokio::test]
async fn a_deleted_account_leaves_no_device() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    let kept = device_of(&ada);
    let body = json!({ "password": PASSWORD });
    ada.call(Method::DELETE, "/api/auth/me", Some(body)).await.assert(StatusCode::NO_CONTENT, None);
    assert!(!ada.cookies.contains_key(DEVICE));
    // Whoever kept it has no device of the next account with the address.
    assert!(!is_known(kept.clone(), ADA).await);
    app.advance(900);
    app.registered(ADA).await;
    assert!(!is_known(kept, ADA).await);
}

#[tokio::test]
async fn stale_devices_are_no_way_around_the_limits() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    // Whoever knew the password has made any number of devices with it.
    let mut devices = Vec::new();
    for _ in 0..30 {
        let mut thief = app.browser();
        ok(&thief.login(ADA, PASSWORD).await);
        devices.push(device_of(&thief));
    }
    let body = json!({ "currentPassword": PASSWORD, "newPassword": NEW });
    ok(&ada.post("/api/auth/password/change", Some(body)).await);
    let mut verdicts = 0;
    for device in &mut devices {
        for _ in 0..5 {
            let answer = device.login(ADA, WRONG).await;
            verdicts += u32::from(answer.status == StatusCode::UNAUTHORIZED);
        }
    }
    assert_eq!(verdicts, 5, "as many as one stranger at one address");
}

#[tokio::test]
async fn a_user_who_is_signed_in_is_not_held_up_by_strangers() {
    let app = TestApp::new().await;
    let mut ada = app.registered(ADA).await;
    guess_from_everywhere(&app, ADA).await;
    let body = json!({ "currentPassword": PASSWORD, "newPassword": NEW });
    ok(&ada.post("/api/auth/password/change", Some(body)).await);
    // With a wrong one as often as anybody at one address.
    let body = json!({ "currentPassword": WRONG, "newPassword": NEW });
    for _ in 0..5 {
        let answer = ada.post("/api/auth/password/change", Some(body.clone())).await;
        answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    }
    limited(&ada.post("/api/auth/password/change", Some(body)).await);
}

#[tokio::test]
async fn two_nodes_know_the_same_devices() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = TestApp::on_store(Arc::clone(&store), |_| {}).await;
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_790_000_000)));
    let entropy = Arc::new(SeededEntropy::new(7));
    let other = TestApp::start(store, clock, entropy, |_| {}).await;
    let ada = one.registered(ADA).await;
    guess_from_everywhere(&other, ADA).await;
    let mut there = Browser { app: other.clone(), ..device_of(&ada) };
    let answer = there.login(ADA, WRONG).await;
    answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_CREDENTIALS"));
    ok(&there.login(ADA, PASSWORD).await);
    limited(&login_from(&mut other.browser(), stranger(5000), ADA, PASSWORD).await);
}

#[tokio::test]
async fn an_unlocked_account_begins_anew() {
    let app = TestApp::new().await;
    let ada = app.registered(ADA).await;
    guess_from_everywhere(&app, ADA).await;
    for _ in 0..5 {
        device_of(&ada).login(ADA, WRONG).await;
    }
    let new_device = async || login_from(&mut app.browser(), stranger(1), ADA, PASSWORD).await;
    limited(&new_device().await);
    let id = user_id(&app, ADA).await;
    for _ in 0..2 {
        assert_eq!(app.store.unlock(id, &app.nobody()).await, Ok(true));
        app.keyward.read_unlocked().await.expect("a store");
        ok(&new_device().await);
        ok(&device_of(&ada).login(ADA, PASSWORD).await);
        // And is limited as ever.
        guess_from_everywhere(&app, ADA).await;
        limited(&new_device().await);
    }
    let names = app.audit_names().await;
    assert_eq!(names.iter().filter(|name| *name == "user.unlocked").count(), 2);
    // Long after, the counts of before are whole, and what is new is counted under the old name.
    app.advance(3600);
    app.keyward.read_unlocked().await.expect("a store");
    ok(&new_device().await);
    guess_from_everywhere(&app, ADA).await;
    limited(&new_device().await);
}

#[tokio::test]
async fn an_unlocked_account_has_its_tries_at_codes_again() {
    let app = TestApp::with_policy(|policy| policy.limits.mfa_challenge = None).await;
    let mut ada = app.registered(ADA).await;
    let authenticator = Authenticator::enable(&mut ada).await;
    app.advance(60);
    let token = ada.mfa_token(ADA).await;
    for _ in 0..20 {
        ada.give_code(&token, &authenticator.wrong_code(&app)).await;
    }
    limited(&ada.give_code(&token, &authenticator.code(&app)).await);
    let id = user_id(&app, ADA).await;
    assert_eq!(app.store.unlock(id, &app.nobody()).await, Ok(true));
    ok(&ada.give_code(&token, &authenticator.code(&app)).await);
}
