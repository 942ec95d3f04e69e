//! A key's life in one service: what it signs, and what it is good for afterwards.

mod checks;
mod common;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use checks::{assert_harmless, assert_refused_for_good, count_events, details, header};
use common::{Browser, PASSWORD, TestApp};
use keyward::entropy::danger_for_tests::SeededEntropy;
use keyward::policy::Policy;
use keyward::service::{KeyringError, Succession};
use keyward::store::KeyPurpose;
use keyward_core::access_token::Algorithm;
use keyward_core::audit::AuditContext;
use keyward_core::keys::KeyState;
use keyward_core::rotation::RotationPolicy;
use keyward_core::session::Device;
use serde_json::json;
use zeroize::Zeroizing;

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Makes a new key; answers its id.
async fn rotate(app: &TestApp, purpose: KeyPurpose, succession: Succession) -> String {
    let context = AuditContext {
        at: app.keyward.now(),
        device: Device::default(),
        request_id: None,
        actor: None,
    };
    app.keyward.rotate_key(purpose, succession, &context).await.expect("a new key").id
}

/// The published ids, the one that signs first.
async fn published(app: &TestApp) -> Vec<String> {
    let keys = app.browser().get("/.well-known/jwks.json").await.json();
    let ids = keys["keys"].as_array().expect("a list").iter();
    ids.map(|key| key["kid"].as_str().expect("an id").to_owned()).collect()
}

fn kid(browser: &Browser) -> String {
    let token = browser.access_token.as_deref().expect("a token");
    header(token)["kid"].as_str().expect("an id").to_owned()
}

async fn states(app: &TestApp, purpose: KeyPurpose) -> Vec<KeyState> {
    let keys = app.keyward.list_keys().await.expect("a store").into_iter();
    keys.filter(|key| key.purpose == purpose).map(|key| key.state).collect()
}

#[tokio::test]
async fn a_token_signed_before_a_rotation_is_good_until_it_expires() {
    let app = TestApp::new().await;
    let mut old = app.registered(ADA).await;
    let mut new = app.browser();
    let made = rotate(&app, KeyPurpose::AccessToken, Succession::AtOnce).await;
    new.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    assert_eq!(kid(&new), made);
    assert_eq!(published(&app).await, [made.clone(), kid(&old)]);

    app.advance(15 * MINUTE - 1);
    old.me().await.assert(StatusCode::OK, None);
    app.advance(1);
    old.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_EXPIRED"));
    // It may have lived for an hour under another configuration.
    app.advance(50 * MINUTE - 1);
    assert_eq!(published(&app).await, [made.clone(), kid(&old)]);
    app.advance(1);
    assert_eq!(published(&app).await, [made]);
    assert_eq!(states(&app, KeyPurpose::AccessToken).await, [KeyState::Gone, KeyState::Active]);
}

#[tokio::test]
async fn a_pending_key_is_published_and_does_not_sign() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let first = kid(&browser);
    let made = rotate(&app, KeyPurpose::AccessToken, Succession::AfterOverlap).await;
    app.advance(HOUR - 1);
    browser.refresh().await.assert(StatusCode::OK, None);
    assert_eq!(kid(&browser), first);
    assert_eq!(published(&app).await, [first.clone(), made.clone()]);
    app.advance(1);
    browser.refresh().await.assert(StatusCode::OK, None);
    assert_eq!(kid(&browser), made);
    assert_eq!(published(&app).await, [made, first]);
}

#[tokio::test]
async fn the_schedule_makes_one_key_of_each_purpose() {
    let app = TestApp::new().await;
    app.advance(90 * DAY - HOUR - 1);
    app.keyward.tend_keys().await.expect("a store");
    assert_eq!(count_events(&app, "key.rotated").await, 0);
    app.advance(1);
    for _ in 0..3 {
        app.keyward.tend_keys().await.expect("a store");
        assert_eq!(count_events(&app, "key.rotated").await, 3);
    }
    let rotating = || KeyPurpose::ALL.iter().filter(|purpose| !purpose.seals());
    for purpose in rotating() {
        assert_eq!(states(&app, *purpose).await, [KeyState::Active, KeyState::Pending]);
    }
    app.advance(HOUR);
    for purpose in rotating() {
        assert_eq!(states(&app, *purpose).await, [KeyState::Retired, KeyState::Active]);
    }
    // What it has sealed does not expire, and so it does not either.
    assert_eq!(states(&app, KeyPurpose::SecondFactor).await, [KeyState::Active]);
    // The gone ones leave when the next ones come. A session may have lived for 400 days.
    for _ in 0..10 {
        app.advance(90 * DAY);
        app.keyward.tend_keys().await.expect("a store");
    }
    let last = [KeyState::Active, KeyState::Pending];
    assert_eq!(states(&app, KeyPurpose::AccessToken).await, last);
    for purpose in [KeyPurpose::Csrf, KeyPurpose::RefreshToken] {
        assert_eq!(states(&app, purpose).await, [&[KeyState::Retired; 4][..], &last].concat());
    }
}

#[tokio::test]
async fn without_a_schedule_no_key_is_made() {
    let app = TestApp::with_policy(|policy| policy.keys.rotate_every = None).await;
    app.advance(1000 * DAY);
    app.keyward.tend_keys().await.expect("a store");
    assert_eq!(count_events(&app, "key.rotated").await, 0);
}

#[tokio::test]
async fn a_rotation_signs_nobody_out_and_hides_no_reuse() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let idle = app.registered("idle@example.org").await;
    let first = browser.clone();
    for purpose in KeyPurpose::ALL {
        rotate(&app, *purpose, Succession::AtOnce).await;
    }
    for _ in 0..3 {
        app.advance(6 * DAY);
        browser.refresh().await.assert(StatusCode::OK, None);
    }
    // The retired key still vouches for what it tagged.
    let replayed = first.clone().refresh().await;
    assert_refused_for_good(&replayed, "REFRESH_TOKEN_REUSED");
    assert_refused_for_good(&browser.refresh().await, "SESSION_REVOKED");
    assert_refused_for_good(&idle.clone().refresh().await, "SESSION_EXPIRED");
    // For as long as a session can have lived, and no longer.
    app.advance((400 - 18) * DAY);
    assert_refused_for_good(&first.clone().refresh().await, "SESSION_REVOKED");
    app.advance(5 * MINUTE);
    assert_refused_for_good(&first.clone().refresh().await, "INVALID_REFRESH_TOKEN");
}

#[tokio::test]
async fn a_compromised_signing_key_is_refused_and_unpublished_at_once() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    browser.me().await.assert(StatusCode::OK, None);
    let made = rotate(&app, KeyPurpose::AccessToken, Succession::Compromise).await;
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("INVALID_TOKEN"));
    assert_eq!(published(&app).await, [made]);
    browser.refresh().await.assert(StatusCode::OK, None);
    browser.me().await.assert(StatusCode::OK, None);
    let rotated = details(&app, "key.rotated").await;
    assert_eq!(rotated[0]["compromised"], true);
}

#[tokio::test]
async fn the_tag_of_a_compromised_key_ends_no_session() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let spent = browser.clone();
    for _ in 0..2 {
        browser.refresh().await.assert(StatusCode::OK, None);
    }
    rotate(&app, KeyPurpose::RefreshToken, Succession::Compromise).await;

    assert_refused_for_good(&spent.clone().refresh().await, "INVALID_REFRESH_TOKEN");
    assert_harmless(
        &forged(&spent).get("/api/auth/csrf").await,
        StatusCode::UNAUTHORIZED,
        "INVALID_REFRESH_TOKEN",
    );
    forged(&spent).post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    forged(&spent).register("eve@example.org", PASSWORD).await.assert(StatusCode::CREATED, None);

    // The token that the session knows goes on, under the new key.
    browser.get("/api/auth/csrf").await.assert(StatusCode::OK, None);
    browser.refresh().await.assert(StatusCode::OK, None);
    assert_eq!(count_events(&app, "session.revoked").await, 0);
    let replayed = spent.clone().refresh().await;
    assert_refused_for_good(&replayed, "INVALID_REFRESH_TOKEN");
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_theft_right_before_its_key_was_compromised_is_seen() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    rotate(&app, KeyPurpose::RefreshToken, Succession::Compromise).await;
    let mut thief = browser.clone();
    thief.refresh().await.assert(StatusCode::OK, None);
    assert_refused_for_good(&browser.refresh().await, "REFRESH_TOKEN_REUSED");
    assert_refused_for_good(&thief.refresh().await, "SESSION_REVOKED");
}

/// A browser that holds a token whose session has left it behind, and knows the session's CSRF
/// token, but has no access token.
fn forged(spent: &Browser) -> Browser {
    Browser { access_token: None, ..spent.clone() }
}

#[tokio::test]
async fn a_compromised_token_that_the_session_knows_signs_out() {
    let app = TestApp::new().await;
    let browser = app.registered(ADA).await;
    rotate(&app, KeyPurpose::RefreshToken, Succession::Compromise).await;
    forged(&browser).post("/api/auth/logout", None).await.assert(StatusCode::OK, None);
    assert_eq!(details(&app, "session.revoked").await, [json!({ "reason": "logout" })]);
}

#[tokio::test]
async fn csrf_tokens_of_a_compromised_key_are_refused_until_fetched_anew() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    rotate(&app, KeyPurpose::Csrf, Succession::AtOnce).await;
    browser.refresh().await.assert(StatusCode::OK, None);
    rotate(&app, KeyPurpose::Csrf, Succession::Compromise).await;
    assert_harmless(&browser.refresh().await, StatusCode::FORBIDDEN, "CSRF_FAILED");
    browser.get("/api/auth/csrf").await.assert(StatusCode::OK, None);
    browser.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_configured_secret_is_rotated_by_configuration_only() {
    let app = TestApp::with_policy(|policy| {
        policy.access_token.algorithm = Algorithm::Hs256;
        policy.access_token.hmac_secret = Some(Zeroizing::new(vec![7; 32]));
    })
    .await;
    let context = AuditContext {
        at: app.keyward.now(),
        device: Device::default(),
        request_id: None,
        actor: None,
    };
    for succession in [Succession::AtOnce, Succession::Compromise] {
        let refused = app.keyward.rotate_key(KeyPurpose::AccessToken, succession, &context).await;
        assert_eq!(refused, Err(KeyringError::Configured));
    }
    app.advance(90 * DAY);
    app.keyward.tend_keys().await.expect("a store");
    assert_eq!(count_events(&app, "key.rotated").await, 2, "refresh and CSRF keys");
}

#[tokio::test]
async fn verifiers_forget_the_set_before_an_overlap_has_passed() {
    let app = TestApp::with_policy(|policy| {
        policy.keys.overlap = Duration::from_secs(2 * MINUTE);
    })
    .await;
    let request = app.browser().request(Method::GET, "/.well-known/jwks.json", None);
    let answer = app.send(request).await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
}

/// Whoever lowers a lifetime has promised the longer one to tokens that are out there.
#[tokio::test]
async fn a_signing_key_outlives_tokens_that_lived_longer() {
    let before = TestApp::with_policy(|policy| {
        policy.access_token.ttl = Duration::from_secs(HOUR);
    })
    .await;
    let old = before.registered(ADA).await;
    let app = started_again(&before, |policy| {
        policy.access_token.ttl = Duration::from_secs(MINUTE);
    })
    .await;
    let mut old = Browser { app: app.clone(), ..old };
    rotate(&app, KeyPurpose::AccessToken, Succession::AtOnce).await;
    app.advance(HOUR - 1);
    // This one takes what is gone away.
    let made = rotate(&app, KeyPurpose::AccessToken, Succession::AtOnce).await;
    let published = published(&app).await;
    assert!(published[0] == made && published.contains(&kid(&old)), "{published:?}");
    old.me().await.assert(StatusCode::OK, None);
    app.advance(1);
    old.me().await.assert(StatusCode::UNAUTHORIZED, Some("TOKEN_EXPIRED"));
}

#[tokio::test]
async fn the_keys_of_sessions_outlive_those_that_lived_longer() {
    let long = |policy: &mut Policy| {
        policy.rotation.absolute_ttl = RotationPolicy::ABSOLUTE_TTL_MAX;
        policy.rotation.idle_ttl = RotationPolicy::ABSOLUTE_TTL_MAX;
    };
    let before = TestApp::with_policy(long).await;
    let (honest, stolen) = (before.registered(ADA).await, before.registered(BOB).await);
    let app = started_again(&before, |policy| {
        policy.rotation.absolute_ttl = Duration::from_secs(HOUR);
        policy.rotation.idle_ttl = Duration::from_secs(HOUR);
    })
    .await;
    let [mut honest, mut stolen] =
        [honest, stolen].map(|browser| Browser { app: app.clone(), ..browser });
    for purpose in KeyPurpose::ALL {
        rotate(&app, *purpose, Succession::AtOnce).await;
    }
    app.advance(399 * DAY);
    // These take what is gone away.
    for purpose in KeyPurpose::ALL {
        rotate(&app, *purpose, Succession::AtOnce).await;
    }
    // Neither tag nor CSRF token is called junk: nobody is signed out, and a theft is seen.
    honest.refresh().await.assert(StatusCode::OK, None);
    let thief = stolen.clone();
    stolen.refresh().await.assert(StatusCode::OK, None);
    assert_refused_for_good(&thief.clone().refresh().await, "REFRESH_TOKEN_REUSED");
    app.advance(2 * DAY);
    assert_eq!(states(&app, KeyPurpose::RefreshToken).await[0], KeyState::Gone);
}

/// Nobody shall have to trust a leaked key for what was configured once.
#[tokio::test]
async fn a_leaked_key_goes_as_soon_as_is_configured() {
    let app = TestApp::new().await;
    for purpose in [KeyPurpose::AccessToken, KeyPurpose::RefreshToken] {
        rotate(&app, purpose, Succession::Compromise).await;
        assert_eq!(states(&app, purpose).await[0], KeyState::Compromised);
    }
    app.advance(20 * MINUTE);
    assert_eq!(states(&app, KeyPurpose::AccessToken).await[0], KeyState::Gone);
    app.advance(30 * DAY);
    assert_eq!(states(&app, KeyPurpose::RefreshToken).await[0], KeyState::Gone);
}

/// Somebody has rotated until every number was taken. A leaked key is still replaced.
#[tokio::test]
async fn a_compromise_finds_a_number_where_all_are_taken() {
    let app = TestApp::new().await;
    let mut honest = app.registered(ADA).await;
    app.advance(HOUR);
    let second = rotate(&app, KeyPurpose::RefreshToken, Succession::AtOnce).await;
    let mut late = app.registered(BOB).await;
    let spent = late.clone();
    for purpose in [KeyPurpose::RefreshToken, KeyPurpose::Csrf] {
        for _ in states(&app, purpose).await.len()..255 {
            rotate(&app, purpose, Succession::AtOnce).await;
        }
        let refused = app.keyward.rotate_key(purpose, Succession::AtOnce, &context(&app)).await;
        assert_eq!(refused, Err(KeyringError::NumbersTaken { purpose: purpose.as_str() }));
    }
    late.refresh().await.assert(StatusCode::OK, None);
    let other_node = started_again(&app, |_| {}).await;

    // The one that signed for an hour is spared.
    let made = rotate(&app, KeyPurpose::RefreshToken, Succession::Compromise).await;
    assert_eq!(made, second);
    rotate(&app, KeyPurpose::Csrf, Succession::Compromise).await;
    for purpose in [KeyPurpose::RefreshToken, KeyPurpose::Csrf] {
        let states = states(&app, purpose).await;
        assert_eq!((states.len(), states[254]), (255, KeyState::Active));
        assert!(states[..254].iter().all(|state| *state == KeyState::Compromised), "{states:?}");
    }
    // A token of the key that gave its number is junk, and nobody's theft.
    assert_refused_for_good(&spent.clone().refresh().await, "INVALID_REFRESH_TOKEN");
    assert_eq!(count_events(&app, "session.revoked").await, 0);
    for browser in [&mut honest, &mut late] {
        browser.get("/api/auth/csrf").await.assert(StatusCode::OK, None);
        browser.refresh().await.assert(StatusCode::OK, None);
    }
    // A node that still holds the old key of this number looks before it refuses the new one's.
    let mut elsewhere = Browser { app: other_node, ..honest };
    elsewhere.refresh().await.assert(StatusCode::OK, None);
    for _ in 0..3 {
        rotate(&app, KeyPurpose::RefreshToken, Succession::Compromise).await;
    }
    assert_eq!(states(&app, KeyPurpose::RefreshToken).await.len(), 255);
}

/// A rotation a day. Nothing is lost that is configured to live.
#[tokio::test]
async fn a_rotation_takes_the_number_of_a_key_that_is_over_as_is_configured() {
    let app = TestApp::new().await;
    for _ in 0..254 {
        app.advance(DAY);
        rotate(&app, KeyPurpose::RefreshToken, Succession::AtOnce).await;
    }
    let mut browser = app.registered(ADA).await;
    for number in ["1", "2", "3"] {
        app.advance(DAY);
        let made = rotate(&app, KeyPurpose::RefreshToken, Succession::AtOnce).await;
        assert_eq!(made, number);
    }
    browser.refresh().await.assert(StatusCode::OK, None);
    app.advance(405 * DAY);
    rotate(&app, KeyPurpose::RefreshToken, Succession::AtOnce).await;
    assert!(states(&app, KeyPurpose::RefreshToken).await.len() < 9, "the gone ones have left");
}

fn context(app: &TestApp) -> AuditContext {
    AuditContext { at: app.keyward.now(), device: Device::default(), request_id: None, actor: None }
}

/// Another configuration over the same store, at the same time.
async fn started_again(app: &TestApp, change: impl FnOnce(&mut Policy)) -> TestApp {
    let (store, clock) = (Arc::clone(&app.store), Arc::clone(&app.clock));
    TestApp::start(store, clock, Arc::new(SeededEntropy::new(43)), change).await
}

#[tokio::test]
async fn a_clock_that_is_set_back_finds_its_keys() {
    let app = TestApp::new().await;
    let start = app.keyward.now();
    let mut first = app.registered(ADA).await;
    app.advance(HOUR);
    rotate(&app, KeyPurpose::AccessToken, Succession::AtOnce).await;
    let mut second = app.browser();
    second.login(ADA, PASSWORD).await.assert(StatusCode::OK, None);
    app.clock.set(start);
    assert_eq!(published(&app).await, [kid(&first), kid(&second)]);
    first.me().await.assert(StatusCode::OK, None);
}
