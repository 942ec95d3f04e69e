//! Keys that are fetched, and tokens that wait for them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use keyward_verify::{Algorithm, Refusal, Verifier, VerifyPolicy, WhenStale};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::issuer::{Signer, fresh_claims, key_set, policy};
use crate::publisher::{Publisher, eventually};
use crate::{attacks, system_now};

#[tokio::test]
async fn a_new_key_is_fetched_once_for_all_who_wait() {
    let (before, after) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa));
    let service = Publisher::start(&[&before]).await;
    let verifier = Arc::new(Verifier::new(policy()));
    let story = async {
        eventually("it is current", || is_current(&verifier)).await;
        assert!(verifier.authenticate(&before.sign(&fresh_claims())).await.is_ok());
        assert_eq!(service.fetches(), 1);

        service.publish_keys(key_set(&[&before, &after]));
        let token = after.sign(&fresh_claims());
        let waiting = (0..100).map(|_| verifier.authenticate(&token));
        for verdict in join_all(waiting).await {
            assert!(verdict.is_ok(), "{verdict:?}");
        }
        assert_eq!(service.fetches(), 2);
        assert!(verifier.authenticate(&before.sign(&fresh_claims())).await.is_ok());
    };
    beside(&verifier, &service, story).await;
}

#[tokio::test]
async fn keys_that_nobody_has_do_not_hammer_the_service() {
    let (good, strange) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    let service = Publisher::start(&[&good]).await;
    let verifier = Verifier::new(policy());
    let story = async {
        eventually("it is current", || is_current(&verifier)).await;
        let token = strange.sign(&fresh_claims());
        let waiting = (0..100).map(|_| verifier.authenticate(&token));
        for verdict in join_all(waiting).await {
            assert_eq!(verdict, Err(Refusal::Invalid));
        }
        assert_eq!(service.fetches(), 2);
        // Known to be missing: nobody waits for it again.
        assert_eq!(verifier.authenticate(&token).await, Err(Refusal::Invalid));
        assert_eq!(service.fetches(), 2);
        // Ten others, one after the other, cost time but no more than one fetch for each cool-down.
        let began = tokio::time::Instant::now();
        for _ in 0..4 {
            let token = Signer::new(Algorithm::EdDsa).sign(&fresh_claims());
            assert_eq!(verifier.authenticate(&token).await, Err(Refusal::Invalid));
        }
        assert!(began.elapsed() >= Duration::from_millis(3 * 300));
        assert!(verifier.authenticate(&good.sign(&fresh_claims())).await.is_ok());
    };
    beside(&verifier, &service, story).await;
}

#[tokio::test]
async fn while_keys_cannot_be_fetched_an_unknown_one_is_no_verdict() {
    let (good, strange) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    let service = Publisher::start(&[&good]).await;
    let verifier = Verifier::new(policy());
    let story = async {
        eventually("it is current", || is_current(&verifier)).await;
        service.set_down(true);
        let token = strange.sign(&fresh_claims());
        assert_eq!(verifier.authenticate(&token).await, Err(Refusal::NotCurrent));
        assert!(verifier.authenticate(&good.sign(&fresh_claims())).await.is_ok());
        let trouble = verifier.status(system_now()).keys_trouble;
        assert!(trouble.as_deref().is_some_and(|why| why.contains("503")), "{trouble:?}");
        service.set_down(false);
        service.publish_keys(key_set(&[&good, &strange]));
        assert!(verifier.authenticate(&token).await.is_ok());
        assert_eq!(verifier.status(system_now()).keys_trouble, None);
    };
    beside(&verifier, &service, story).await;
}

#[tokio::test]
async fn a_set_that_is_none_of_ours_changes_nothing() {
    let (good, strange) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    let service = Publisher::start(&[&good]).await;
    let verifier = Verifier::new(policy());
    let story = async {
        eventually("it is current", || is_current(&verifier)).await;
        let mut mixed: Value = serde_json::from_slice(&key_set(&[&strange])).expect("JSON");
        mixed["keys"][0]["d"] = "AA".into();
        for bad in [b"<html>".to_vec(), vec![b' '; 100_000], mixed.to_string().into_bytes()] {
            service.publish_keys(bad);
            let token = strange.sign(&fresh_claims());
            assert_eq!(verifier.authenticate(&token).await, Err(Refusal::NotCurrent));
            assert!(verifier.authenticate(&good.sign(&fresh_claims())).await.is_ok());
        }
    };
    beside(&verifier, &service, story).await;
}

#[tokio::test]
async fn without_anybody_who_fetches_nobody_waits() {
    let (good, strange) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::Es256));
    let verifier = Verifier::new(lenient());
    verifier.take_up_keys(&key_set(&[&good]), system_now()).expect("a good set");
    assert!(verifier.authenticate(&good.sign(&fresh_claims())).await.is_ok());
    let token = strange.sign(&fresh_claims());
    assert_eq!(verifier.authenticate(&token).await, Err(Refusal::NotCurrent));
}

/// A stranger may make the verifier ask the service that it knows for its keys, and nobody else.
#[tokio::test]
async fn no_attack_makes_it_connect_anywhere() {
    let (es256, eddsa) = (Signer::new(Algorithm::Es256), Signer::new(Algorithm::EdDsa));
    let service = Publisher::start(&[&es256, &eddsa]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = listener.local_addr().expect("bound").to_string();
    let verifier = Verifier::new(lenient());
    let story = async {
        eventually("it is current", || is_current(&verifier)).await;
        let before = service.fetches();
        let attacks = attacks::all(&es256, &eddsa, &target);
        let verdicts = join_all(attacks.iter().map(|(_, token)| verifier.authenticate(token)));
        for (verdict, (name, _)) in verdicts.await.into_iter().zip(&attacks) {
            assert!(verdict.is_err(), "{name}");
        }
        assert!(service.fetches() - before <= 2, "{}", service.fetches());
    };
    tokio::select! {
        () = beside(&verifier, &service, story) => {}
        connection = listener.accept() => panic!("an attack was heard: {connection:?}"),
    }
}

async fn beside(verifier: &Verifier, service: &Publisher, story: impl Future<Output = ()>) {
    let source = service.source();
    tokio::select! {
        () = story => {}
        never = verifier.run(&source) => match never {},
    }
}

fn is_current(verifier: &Verifier) -> bool {
    let status = verifier.status(system_now());
    status.keys_age.is_some() && status.staleness.is_some()
}

fn lenient() -> VerifyPolicy {
    let mut policy = policy();
    policy.when_stale = WhenStale::AcceptUntilExpiry;
    policy
}
