//! A feed whose bytes are held back on the way: the verifier knows how late it is.

use std::time::Duration;

use keyward_verify::{Refusal, ServiceKey, Source, Verifier, WhenStale};

use crate::issuer::{Signer, fresh_claims, key_set, policy};
use crate::publisher::{Publisher, eventually};
use crate::system_now;
use crate::wire::Wire;

#[tokio::test]
async fn a_steady_delay_that_begins_later_makes_it_stale() {
    for when_stale in [WhenStale::FailClosed, WhenStale::AcceptUntilExpiry] {
        play(when_stale, async |story, verifier| {
            eventually("it is current", || story.verdict(verifier).is_ok()).await;
            // Later than counts as current, but words come as often as ever.
            story.wire.delay(STALENESS_MAX * 2);
            let trouble = || verifier.status(system_now()).feed_trouble;
            eventually("it says so", || trouble().is_some()).await;
            eventually("it is stale", || staleness(verifier) > Some(STALENESS_MAX)).await;
            let expected = match when_stale {
                WhenStale::FailClosed => Err(Refusal::NotCurrent),
                WhenStale::AcceptUntilExpiry => Ok(()),
            };
            assert_eq!(story.verdict(verifier), expected);
            // Another connection is as late, and does not pass for one that is not.
            let connections = story.service.cursors().len();
            eventually("it tries", || story.service.cursors().len() > connections + 1).await;
            assert_eq!(story.verdict(verifier), expected);
            story.wire.delay(Duration::ZERO);
            eventually("it has caught up", || trouble().is_none()).await;
            eventually("it is current", || story.verdict(verifier).is_ok()).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_delay_from_the_beginning_counts_from_the_question() {
    play(WhenStale::FailClosed, async |story, verifier| {
        let delay = STALENESS_MAX / 2;
        story.wire.delay(delay);
        for _ in 0..20 {
            eventually("it hears", || staleness(verifier).is_some()).await;
            assert!(staleness(verifier) >= Some(delay), "{:?}", staleness(verifier));
            tokio::time::sleep(BEAT).await;
        }
    })
    .await;
}

/// A service that tells the time, a verifier, and the wire between them.
struct Story {
    service: Publisher,
    wire: Wire,
    signer: Signer,
}

/// Plays a part while a verifier follows the service, which speaks all the time.
async fn play(when_stale: WhenStale, part: impl AsyncFnOnce(&Story, &Verifier)) {
    let signer = Signer::new(keyward_verify::Algorithm::EdDsa);
    let service = Publisher::start(&[&signer]).await;
    service.beat();
    let wire = Wire::to(service.address).await;
    let source = Source::at(&format!("http://{}", wire.address)).expect("a good origin");
    let source = source.service_key(&ServiceKey::issue(&[7; 32]));
    let mut policy = policy();
    (policy.staleness_max, policy.when_stale) = (STALENESS_MAX, when_stale);
    let verifier = Verifier::new(policy);
    verifier.take_up_keys(&key_set(&[&signer]), system_now()).expect("a good set");
    let story = Story { service, wire, signer };
    let speak = async {
        loop {
            tokio::time::sleep(BEAT).await;
            story.service.beat();
        }
    };
    tokio::select! {
        () = part(&story, &verifier) => {}
        () = speak => {}
        never = verifier.run(&source) => match never {},
    }
}

impl Story {
    fn verdict(&self, verifier: &Verifier) -> Result<(), Refusal> {
        verifier.verify(&self.signer.sign(&fresh_claims()), system_now()).map(drop)
    }
}

fn staleness(verifier: &Verifier) -> Option<Duration> {
    verifier.status(system_now()).staleness
}

const STALENESS_MAX: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_millis(50);
