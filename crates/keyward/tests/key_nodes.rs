//! Several services on one store: what one of them, or the command line, does with a key holds in
//! the others without a restart, and nobody is signed out by it.

mod checks;
mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use checks::faulty_store::{Call, Fault, FaultyStore};
use checks::{REFRESH_COOKIE, assert_harmless, context, count_events, header, set_cookies};
use common::{Browser, TestApp};
use futures_util::future::join_all;
use keyward::clock::{Clock as _, ManualClock, SystemClock};
use keyward::entropy::SystemEntropy;
use keyward::entropy::danger_for_tests::SeededEntropy;
use keyward::service::{KeyringError, Keyward, Parts, Resealing, Succession, reseal};
use keyward::store::{KeyPurpose, MemoryStore, Store};
use keyward_core::keys::MasterKey;
use keyward_verify::{Refusal, Source, Verifier, VerifyPolicy, WhenStale};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";

/// Two services on one store.
async fn nodes() -> (TestApp, TestApp) {
    let one = TestApp::new().await;
    let other = TestApp::on_store(Arc::clone(&one.store), |_| {}).await;
    (one, other)
}

/// The same browser, as its next requests reach another service.
fn moved(browser: &Browser, app: &TestApp) -> Browser {
    Browser { app: app.clone(), ..browser.clone() }
}

async fn rotate_all(app: &TestApp) {
    for purpose in KeyPurpose::ALL {
        rotate(app, *purpose).await;
    }
}

async fn rotate(app: &TestApp, purpose: KeyPurpose) {
    let made = app.keyward.rotate_key(purpose, Succession::AtOnce, &context(app)).await;
    made.expect("a new key");
}

#[tokio::test]
async fn a_service_takes_up_keys_as_soon_as_it_meets_their_tokens() {
    let (one, other) = nodes().await;
    rotate_all(&one).await;
    let browser = one.registered(ADA).await;
    moved(&browser, &other).me().await.assert(StatusCode::OK, None);

    let (one, other) = nodes().await;
    rotate_all(&one).await;
    let browser = one.registered(ADA).await;
    moved(&browser, &other).refresh().await.assert(StatusCode::OK, None);
}

/// A verifier of another make asks for the keys where it likes, and once.
#[tokio::test]
async fn every_node_publishes_what_any_node_signs_with() {
    let (one, other) = nodes().await;
    for _ in 0..3 {
        rotate_all(&one).await;
        for keys in join_all((0..20).map(|_| published(&other))).await {
            assert_eq!(keys, one.keyward.jwks());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_store_does_not_answer_publishes_what_it_knows() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let known = app.keyward.jwks();
    store.fail(Call::ListKeys, Fault::Down);
    assert_eq!(published(&app).await, known);
    store.heal();
    store.meanwhile(Call::ListKeys, std::future::pending());
    assert_eq!(published(&app).await, known);
}

async fn published(app: &TestApp) -> String {
    let answer = app.browser().get("/.well-known/jwks.json").await;
    answer.assert(StatusCode::OK, None);
    String::from_utf8(answer.body.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn a_service_takes_up_keys_in_the_background() {
    let (one, other) = nodes().await;
    rotate_all(&one).await;
    other.keyward.tend_keys().await.expect("a store");
    assert_eq!(one.keyward.jwks(), other.keyward.jwks());
    // The other one signs with the new key too.
    let browser = other.registered(ADA).await;
    let kid = header(browser.access_token.as_deref().expect("a token"))["kid"].clone();
    let keys: serde_json::Value = serde_json::from_str(&one.keyward.jwks()).expect("JSON");
    assert_eq!(keys["keys"][0]["kid"], kid);
}

#[tokio::test]
async fn a_lost_answer_is_given_again_by_a_service_that_missed_the_new_key() {
    let (one, other) = nodes().await;
    let browser = one.registered(ADA).await;
    rotate_all(&one).await;
    let key = checks::idempotency_key(1);
    let lost = browser.clone().refresh_with_key(&key).await;
    let mut browser = moved(&browser, &other);
    let again = browser.refresh_with_key(&key).await;
    again.assert(StatusCode::OK, None);
    assert_eq!(lost.set_cookies()[0], again.set_cookies()[0]);
}

#[tokio::test]
async fn of_services_that_rotate_at_once_one_makes_the_key() {
    let (one, other) = nodes().await;
    for app in [&one, &other] {
        app.advance(90 * 24 * 60 * 60);
    }
    let (first, second) =
        futures_util::future::join(one.keyward.tend_keys(), other.keyward.tend_keys()).await;
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(one.store.list_keys().await.map(|keys| keys.len()), Ok(7));
    assert_eq!(count_events(&one, "key.rotated").await, 3);
}

#[tokio::test]
async fn what_is_compromised_elsewhere_is_refused_after_the_next_round() {
    let (one, other) = nodes().await;
    let browser = one.registered(ADA).await;
    moved(&browser, &other).me().await.assert(StatusCode::OK, None);
    let purpose = KeyPurpose::AccessToken;
    let made = one.keyward.rotate_key(purpose, Succession::Compromise, &context(&one)).await;
    made.expect("a new key");
    other.keyward.tend_keys().await.expect("a store");
    let mut browser = moved(&browser, &other);
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("INVALID_TOKEN"));
    browser.refresh().await.assert(StatusCode::OK, None);
    browser.me().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn junk_of_unknown_keys_cannot_hammer_the_store() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let browser = app.registered(ADA).await;
    let token = browser.refresh_token().expect("a token");
    // The first byte is the number of the key: "AQ" begins with 1, "-w" with 251.
    let junk = token.replacen("kwr_AQ", "kwr_-w", 1);
    assert_ne!(junk, token);
    let before = store.key_reads();
    let answers = join_all((0..50).map(|_| async {
        let mut request = browser.request(Method::GET, "/api/auth/csrf", None);
        set_cookies(&mut request, &[(REFRESH_COOKIE, &junk)]);
        app.send(request).await
    }));
    for answer in answers.await {
        answer.assert(StatusCode::UNAUTHORIZED, Some("INVALID_REFRESH_TOKEN"));
    }
    assert!(store.key_reads() - before <= 2, "{}", store.key_reads() - before);
}

/// Everybody comes with such tokens then, and nobody shall wait for a read.
#[tokio::test]
async fn tokens_of_a_compromised_key_cause_no_reads() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut browser = app.registered(ADA).await;
    for purpose in [KeyPurpose::AccessToken, KeyPurpose::Csrf] {
        let made = app.keyward.rotate_key(purpose, Succession::Compromise, &context(&app)).await;
        made.expect("a new key");
    }
    let before = store.key_reads();
    browser.me().await.assert(StatusCode::UNAUTHORIZED, Some("INVALID_TOKEN"));
    browser.refresh().await.assert(StatusCode::FORBIDDEN, Some("CSRF_FAILED"));
    assert_eq!(store.key_reads(), before);
}

#[tokio::test]
async fn a_store_that_is_down_signs_nobody_out() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let other = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut early = app.registered(ADA).await;
    rotate_all(&other).await;
    let mut late = early.clone();
    late.app = other.clone();
    late.refresh().await.assert(StatusCode::OK, None);

    store.fail(Call::ListKeys, Fault::Down);
    let mut late = moved(&late, &app);
    let refused = late.refresh().await;
    assert_harmless(&refused, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE");
    let refused = late.me().await;
    refused.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    assert!(matches!(app.keyward.tend_keys().await, Err(KeyringError::Store(_))));
    // The keys that are held go on.
    early.me().await.assert(StatusCode::OK, None);
    store.heal();
    late.me().await.assert(StatusCode::OK, None);
    late.refresh().await.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn who_goes_away_in_the_middle_of_a_read_fails_nobody_else() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let other = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    app.keyward.tend_keys().await.expect("nothing is due");
    rotate_all(&other).await;
    let (stranger, honest) = (other.registered(BOB).await, other.registered(ADA).await);
    let (mut stranger, mut honest) = (moved(&stranger, &app), moved(&honest, &app));

    // Both wait for the time of the next read, which never comes back to the one who begins it.
    let (is_stuck, stuck) = tokio::sync::oneshot::channel();
    store.meanwhile(Call::ListKeys, async {
        is_stuck.send(()).expect("the test waits");
        std::future::pending::<()>().await;
    });
    let leaving = async {
        tokio::select! {
            answer = stranger.me() => panic!("{answer:?}"),
            begun = stuck => begun.expect("a read"),
        }
    };
    let ((), answer) = futures_util::future::join(leaving, honest.me()).await;
    answer.assert(StatusCode::OK, None);
}

#[tokio::test]
async fn a_service_with_the_old_master_key_goes_on_with_what_it_holds() {
    let app = TestApp::new().await;
    let mut browser = app.registered(ADA).await;
    let (old, new) = (MasterKey::new(&[7; 32]), MasterKey::new(&[8; 32]));
    let sealed = reseal(&*app.store, &old, &new, &SystemEntropy::new(), &context(&app)).await;
    assert_eq!(sealed, Ok(Resealing { keys: 4, is_chain_handed_over: true }));
    let again = reseal(&*app.store, &old, &new, &SystemEntropy::new(), &context(&app)).await;
    assert!(matches!(again, Err(KeyringError::Sealed { .. })), "{again:?}");

    app.keyward.tend_keys().await.expect("nothing is due");
    browser.me().await.assert(StatusCode::OK, None);
    browser.refresh().await.assert(StatusCode::OK, None);
    // Nodes are restarted one by one, and those whose turn has not come serve meanwhile.
    app.browser().get("/readyz").await.assert(StatusCode::OK, None);
    // It makes no key that nobody else could open.
    let purpose = KeyPurpose::RefreshToken;
    let refused = app.keyward.rotate_key(purpose, Succession::AtOnce, &context(&app)).await;
    assert!(matches!(refused, Err(KeyringError::Sealed { .. })), "{refused:?}");

    let successor = started(&app, new).await.expect("the new master key opens all");
    let made = successor.keyward.rotate_key(purpose, Succession::AtOnce, &context(&app)).await;
    let made = made.expect("a new key");
    app.keyward.tend_keys().await.expect("nothing is due");
    assert_not_ready(&app).await;
    browser.refresh().await.assert(StatusCode::OK, None);
    // A token of the key that cannot be read here is not called junk.
    let mut request = browser.request(Method::POST, "/api/auth/refresh", None);
    let token = browser.refresh_token().expect("a token");
    assert_eq!((made.id.as_str(), &token[..6]), ("2", "kwr_AQ"));
    set_cookies(&mut request, &[(REFRESH_COOKIE, &token.replacen("kwr_AQ", "kwr_Ag", 1))]);
    let answer = app.send(request).await;
    assert_harmless(&answer, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE");
    assert!(started(&app, old).await.is_err());

    // Without a key that may sign it says what to do about it.
    let made = successor.keyward.rotate_key(purpose, Succession::Compromise, &context(&app)).await;
    made.expect("a new key");
    let stuck = app.keyward.tend_keys().await;
    assert!(matches!(stuck, Err(KeyringError::Sealed { .. })), "{stuck:?}");
    assert_not_ready(&app).await;
}

#[tokio::test]
async fn a_node_with_the_old_master_key_publishes_all_keys_or_none() {
    let old = TestApp::new().await;
    let new = resealed(&old).await;
    let mut early = old.registered(ADA).await;
    assert_eq!(published(&old).await, published(&new).await);

    // Keys that no verifier is told of.
    for purpose in [KeyPurpose::Csrf, KeyPurpose::RefreshToken] {
        rotate(&new, purpose).await;
    }
    assert_eq!(published(&old).await, published(&new).await);
    assert_not_ready(&old).await;

    let purpose = KeyPurpose::AccessToken;
    rotate(&new, purpose).await;
    let mut late = moved(&new.registered(BOB).await, &old);
    assert_not_published(&old).await;
    assert_not_ready(&old).await;
    let refused = late.me().await;
    refused.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    early.me().await.assert(StatusCode::OK, None);

    let made = new.keyward.rotate_key(purpose, Succession::Compromise, &context(&new)).await;
    made.expect("a new key");
    assert_not_published(&old).await;
    // The same node after its restart.
    let again = started(&old, MasterKey::new(&[8; 32])).await.expect("it opens all");
    assert_eq!(published(&again).await, published(&new).await);
    again.browser().get("/readyz").await.assert(StatusCode::OK, None);
}

/// What was read once and could not be taken up is not forgotten with the next read that fails.
#[tokio::test]
async fn a_store_that_goes_down_makes_no_stuck_node_publish() {
    let store = FaultyStore::new();
    let old = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let new = resealed(&old).await;
    let purpose = KeyPurpose::AccessToken;
    let made = new.keyward.rotate_key(purpose, Succession::Compromise, &context(&new)).await;
    made.expect("a new key");
    assert!(matches!(old.keyward.tend_keys().await, Err(KeyringError::Sealed { .. })));
    store.fail(Call::ListKeys, Fault::Down);
    assert!(matches!(old.keyward.tend_keys().await, Err(KeyringError::Store(_))));
    assert_not_published(&old).await;
    assert_not_ready(&old).await;
}

/// It says "not now" and never "not good", so that nothing is remembered as missing.
#[tokio::test]
async fn a_verifier_that_follows_the_old_node_calls_no_good_token_junk() {
    let (store, clock) = (Arc::new(MemoryStore::new()), ManualClock::new(SystemClock.now()));
    let entropy = Arc::new(SeededEntropy::new(42));
    let old = TestApp::start(store, Arc::new(clock), entropy, |_| {}).await;
    let new = resealed(&old).await;
    let (behind, address, server) = served(&old).await;
    let source = Source::at(&format!("http://{address}")).expect("a good origin");
    let source = source.cool_down(Duration::from_millis(100));
    let mut policy = VerifyPolicy::new(common::PUBLIC_URL, common::PUBLIC_URL);
    policy.when_stale = WhenStale::AcceptUntilExpiry;
    let verifier = Verifier::new(policy);
    let story = async {
        let early = old.registered(ADA).await.access_token.expect("a token");
        fetched(&verifier).await;
        assert!(verifier.authenticate(&early).await.is_ok());
        rotate(&new, KeyPurpose::AccessToken).await;
        let late = new.registered(BOB).await.access_token.expect("a token");
        for _ in 0..3 {
            let verdict = verifier.authenticate(&late).await;
            assert_eq!(verdict.map(drop), Err(Refusal::NotCurrent));
            assert!(verifier.authenticate(&early).await.is_ok());
        }
        let restarted = started(&old, MasterKey::new(&[8; 32])).await.expect("it opens all");
        *behind.lock().expect("no panic") = restarted.router;
        for token in [&late, &early] {
            assert!(verifier.authenticate(token).await.is_ok());
        }
    };
    tokio::select! {
        () = story => {}
        ended = server => panic!("{ended:?}"),
        never = verifier.run(&source) => match never {},
    }
}

/// Seals the keys anew, and starts a node with the new master key beside the one that runs.
async fn resealed(app: &TestApp) -> TestApp {
    let (old, new) = (MasterKey::new(&[7; 32]), MasterKey::new(&[8; 32]));
    let sealed = reseal(&*app.store, &old, &new, &SystemEntropy::new(), &context(app)).await;
    sealed.expect("the old master key opens all");
    app.keyward.tend_keys().await.expect("nothing is due");
    started(app, new).await.expect("the new master key opens all")
}

/// Another service on the store, at the same time.
async fn started(
    app: &TestApp,
    master_key: MasterKey,
) -> Result<TestApp, keyward::service::StartError> {
    let parts = Parts {
        policy: app.keyward.policy().clone(),
        store: Arc::clone(&app.store),
        master_key,
        clock: Arc::clone(&app.clock) as _,
        entropy: Arc::new(SystemEntropy::new()),
        shared: None,
        mailing: None,
    };
    let keyward = Arc::new(Keyward::start(parts).await?);
    let router = keyward::http::router(Arc::clone(&keyward)).expect("as the other one's");
    Ok(TestApp { router, keyward, ..app.clone() })
}

/// A service behind a port, where another one may take its place.
async fn served(
    app: &TestApp,
) -> (Arc<Mutex<Router>>, SocketAddr, impl Future<Output = io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let behind = Arc::new(Mutex::new(app.router.clone()));
    let current = Arc::clone(&behind);
    let pass_on = move |request: Request| {
        let router = current.lock().expect("no panic").clone();
        router.oneshot(request)
    };
    let server = axum::serve(listener, Router::new().fallback(pass_on)).into_future();
    (behind, address, server)
}

/// Waits until the verifier has the first keys. Only a test that fails takes long.
async fn fetched(verifier: &Verifier) {
    let waiting = async {
        while verifier.status(SystemClock.now()).keys_age.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("a set of keys");
}

async fn assert_not_ready(app: &TestApp) {
    let answer = app.browser().get("/readyz").await;
    answer.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
}

async fn assert_not_published(app: &TestApp) {
    let answer = app.browser().get("/.well-known/jwks.json").await;
    answer.assert(StatusCode::SERVICE_UNAVAILABLE, Some("STORE_UNAVAILABLE"));
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

#[tokio::test]
async fn a_service_of_another_algorithm_signs_with_a_key_of_its_own() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut kids = Vec::new();
    for algorithm in ["ES256", "EdDSA", "ES256"] {
        let app = TestApp::on_store(Arc::clone(&store), |policy| {
            policy.access_token.algorithm =
                keyward_core::access_token::Algorithm::from_name(algorithm).expect("known");
        })
        .await;
        let keys: serde_json::Value = serde_json::from_str(&app.keyward.jwks()).expect("JSON");
        assert_eq!(keys["keys"][0]["alg"], algorithm);
        kids.push(keys["keys"][0]["kid"].clone());
    }
    // A key is not taken up again: when its tokens have expired could not be told any more.
    assert_ne!(kids[0], kids[2]);
}
