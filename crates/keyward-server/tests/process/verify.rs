//! Another service that verifies tokens by itself, beside a service that runs, rotates its keys,
//! revokes, and is killed.

use std::future::Future;
use std::time::{Duration, SystemTime};

use keyward_verify::{Refusal, ServiceKey, Source, Timestamp, Verifier, VerifyPolicy};

use crate::client::Tokens;
use crate::place::{ENVIRONMENT, Place, Running};

#[test]
fn a_revocation_reaches_the_verifiers_of_tokens_at_once() {
    let place = Place::new();
    let service = place.serve();
    let (ada, eve) = (service.register("ada@example.org"), service.register("eve@example.org"));
    let verifier = verifier();
    beside(&verifier, &source(&place, &service), async {
        accepted(&verifier, &ada).await;
        accepted(&verifier, &eve).await;
        service.connect().logout(&ada).expect("answered");
        refused(&verifier, &ada, Refusal::Revoked).await;
        // By hand, on the command line of another process.
        place.prints(&["session", "revoke", "--user", "eve@example.org"]);
        refused(&verifier, &eve, Refusal::Revoked).await;
        accepted(&verifier, &service.login("eve@example.org")).await;
    });
    service.stop();
}

/// Mostly within one second, as tokens count time.
#[test]
fn whoever_is_enabled_again_is_accepted_by_the_verifiers_too() {
    let place = Place::new();
    let service = place.serve();
    let mut before = service.register("ada@example.org");
    let verifier = verifier();
    beside(&verifier, &source(&place, &service), async {
        accepted(&verifier, &before).await;
        for _ in 0..3 {
            place.prints(&["user", "disable", "ada@example.org"]);
            place.prints(&["user", "enable", "ada@example.org"]);
            let after = service.login("ada@example.org");
            refused(&verifier, &before, Refusal::Revoked).await;
            // The end of this one is told of after all that was told of before.
            let last = service.login("ada@example.org");
            service.connect().logout(&last).expect("answered");
            refused(&verifier, &last, Refusal::Revoked).await;
            assert_eq!(verdict(&verifier, &after).await, Ok(()));
            before = after;
        }
    });
    service.stop();
}

#[test]
fn tokens_of_a_new_key_are_accepted_and_those_of_a_leaked_one_are_not() {
    let place = Place::new();
    let service = place.serve();
    let before = service.register("ada@example.org");
    let verifier = verifier();
    beside(&verifier, &source(&place, &service), async {
        accepted(&verifier, &before).await;
        place.prints(&["key", "compromise", "--purpose", "access_token"]);
        let mut logins = (0..LOGINS_MAX).map(|_| service.login("ada@example.org"));
        let after = logins.find(|tokens| key(tokens) != key(&before)).expect("a new key");
        accepted(&verifier, &after).await;
        refused(&verifier, &before, Refusal::Invalid).await;
    });
    service.stop();
}

#[test]
fn a_verifier_goes_on_through_the_end_of_a_service_and_catches_up() {
    let place = Place::new();
    let service = place.serve();
    let (ada, eve) = (service.register("ada@example.org"), service.register("eve@example.org"));
    let port = service.address.port();
    let verifier = verifier();
    let source = source(&place, &service);
    beside(&verifier, &source, async {
        accepted(&verifier, &ada).await;
        service.kill();
        // While nobody serves, the command line revokes.
        place.prints(&["session", "revoke", "--user", "ada@example.org"]);
        assert!(verdict(&verifier, &ada).await.is_ok(), "nobody has told it yet");
        let listen = format!("127.0.0.1:{port}");
        let mut command = place.keyward(&["serve", "--dev", "--listen", &listen]);
        let again = place.start(command.envs(ENVIRONMENT));
        refused(&verifier, &ada, Refusal::Revoked).await;
        accepted(&verifier, &eve).await;
        again.stop();
    });
}

/// For the issuer and the audience that [`Place::serve`] has.
fn verifier() -> Verifier {
    let (_, public_url) = ENVIRONMENT[1];
    Verifier::new(VerifyPolicy::new(public_url, public_url))
}

fn source(place: &Place, service: &Running) -> Source {
    let key =
        place.prints(&["service-key", "create", "--name", "reports", "--scope", "revocations"]);
    let key = ServiceKey::parse(key.trim()).expect("it prints a key");
    let origin = format!("http://{}", service.address);
    Source::at(&origin).expect("a good origin").service_key(&key)
}

/// Tells a story while the verifier follows the service, on another thread: the story waits for
/// processes.
fn beside(verifier: &Verifier, source: &Source, story: impl Future<Output = ()>) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (over, told) = tokio::sync::oneshot::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            runtime().expect("a runtime").block_on(async {
                tokio::select! {
                    never = verifier.run(source) => match never {},
                    _ = told => {}
                }
            });
        });
        // Ends the thread, too, where the story fails.
        let _over = over;
        runtime().expect("a runtime").block_on(story);
    });
}

async fn accepted(verifier: &Verifier, tokens: &Tokens) {
    until(verifier, tokens, Ok(())).await;
}

async fn refused(verifier: &Verifier, tokens: &Tokens, refusal: Refusal) {
    until(verifier, tokens, Err(refusal)).await;
}

async fn until(verifier: &Verifier, tokens: &Tokens, expected: Result<(), Refusal>) {
    for _ in 0..6000 {
        if verdict(verifier, tokens).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let status = verifier.status(now());
    panic!("{expected:?} never came: {:?}, {status:?}", verdict(verifier, tokens).await);
}

async fn verdict(verifier: &Verifier, tokens: &Tokens) -> Result<(), Refusal> {
    verifier.authenticate(&tokens.access).await.map(drop)
}

/// The header of a token, which names its key.
fn key(tokens: &Tokens) -> &str {
    tokens.access.split('.').next().expect("a first part")
}

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the service beside has this clock")]
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::from_secs(0).plus(since_epoch.expect("after 1970"))
}

/// A node reads the keys every ten seconds; a sign-in takes some milliseconds at least.
const LOGINS_MAX: usize = 10_000;
