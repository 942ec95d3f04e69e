//! The feed of revocations, followed over a network that fails in each way it can.

use std::time::Duration;

use futures_util::future::join_all;
use keyward_verify::{Algorithm, Refusal, SessionId, Source, Verifier, WhenStale};
use serde_json::{Value, json};

use crate::issuer::{Signer, USER, fresh_claims, fresh_claims_with, key_set, policy};
use crate::publisher::{Publisher, eventually};
use crate::system_now;

#[tokio::test]
async fn nothing_is_accepted_before_the_live_set_is_known() {
    let story = Story::begin().await;
    let (gone, kept) = (session(1), session(2));
    story.service.revoke(gone, story.exp());
    story.service.answer_once("event: revoked\ndata: {\"sid\":\"");
    story
        .play(async |verifier| {
            eventually("it is current", || staleness(verifier).is_some()).await;
            assert_eq!(story.verdict(verifier, gone), Err(Refusal::Revoked));
            assert_eq!(story.verdict(verifier, kept), Ok(()));
            // The half event of the first connection left nothing behind.
            assert_eq!(story.service.cursors(), [None, None]);
        })
        .await;
}

#[tokio::test]
async fn a_revocation_reaches_a_token_that_was_seen_before() {
    let story = Story::begin().await;
    story
        .play(async |verifier| {
            eventually("it is current", || staleness(verifier).is_some()).await;
            assert_eq!(story.verdict(verifier, session(1)), Ok(()));
            story.service.revoke(session(1), story.exp());
            eventually("it is refused", || story.verdict(verifier, session(1)).is_err()).await;
            assert_eq!(story.verdict(verifier, session(1)), Err(Refusal::Revoked));

            assert_eq!(story.verdict(verifier, session(2)), Ok(()));
            let other = story.signer.sign(&fresh_claims_with("sub", json!(session(3).to_string())));
            assert!(verifier.verify(&other, system_now()).is_ok());
            let revoked_at = story.began + 1;
            let user = json!({ "sub": USER, "exp": story.exp(), "revokedAt": revoked_at });
            story.service.publish(user.to_string());
            eventually("it is refused", || story.verdict(verifier, session(2)).is_err()).await;
            let later = fresh_claims_with("iat", json!(revoked_at));
            assert!(verifier.verify(&story.signer.sign(&later), system_now()).is_ok());
            assert!(verifier.verify(&other, system_now()).is_ok(), "it is somebody else's");
        })
        .await;
}

#[tokio::test]
async fn after_a_break_it_goes_on_at_its_cursor() {
    let story = Story::begin().await;
    story.service.revoke(session(1), story.exp());
    story
        .play(async |verifier| {
            eventually("it is current", || staleness(verifier).is_some()).await;
            story.service.revoke(session(2), story.exp());
            eventually("it is known", || verifier.revocations().len() == 2).await;
            story.service.cut();
            story.service.revoke(session(3), story.exp());
            eventually("it is known", || verifier.revocations().len() == 3).await;
            assert_eq!(story.service.cursors(), [None, Some("0.2".to_owned())]);
            // A service that knows the cursor no longer answers with the live set.
            story.service.restart();
            story.service.revoke(session(4), story.exp());
            eventually("it is known", || verifier.revocations().len() == 4).await;
            assert_eq!(story.service.cursors().last(), Some(&Some("0.3".to_owned())));
        })
        .await;
}

#[tokio::test]
async fn silence_makes_it_stale_and_words_make_it_current() {
    let mut story = Story::begin().await;
    story.staleness_max = Duration::from_millis(600);
    story
        .play(async |verifier| {
            eventually("it is current", || staleness(verifier).is_some()).await;
            eventually("it is stale", || story.verdict(verifier, session(1)).is_err()).await;
            assert_eq!(story.verdict(verifier, session(1)), Err(Refusal::NotCurrent));
            assert!(staleness(verifier) > Some(story.staleness_max));
            // It has not waited for longer than that on a connection that says nothing.
            eventually("it is current", || story.verdict(verifier, session(1)).is_ok()).await;
            assert!(story.service.cursors().len() > 1);

            story.service.set_down(true);
            story.service.cut();
            eventually("it is stale", || story.verdict(verifier, session(1)).is_err()).await;
            let trouble = || verifier.status(system_now()).feed_trouble.unwrap_or_default();
            eventually("it says why", || trouble().contains("503")).await;
            story.service.set_down(false);
            eventually("it is current", || story.verdict(verifier, session(1)).is_ok()).await;
            assert_eq!(verifier.status(system_now()).feed_trouble, None);
        })
        .await;
}

#[tokio::test]
async fn comments_keep_it_current() {
    let mut story = Story::begin().await;
    story.staleness_max = Duration::from_secs(2);
    story
        .play(async |verifier| {
            eventually("it is current", || staleness(verifier).is_some()).await;
            for _ in 0..30 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                story.service.say(":\n\n");
            }
            assert_eq!(story.service.cursors().len(), 1, "it stays on one connection");
            assert_eq!(story.verdict(verifier, session(1)), Ok(()));
        })
        .await;
}

#[tokio::test]
async fn what_it_cannot_read_it_does_not_count_as_current() {
    let garbage = [
        "event: revoked\ndata: garbage\nid: 0.9\n\n".to_owned(),
        "event: revoked\nid: 0.9\n\n".to_owned(),
        format!("data: {}\n\n", "x".repeat(100_000)),
        "y".repeat(1_000_000),
    ];
    join_all(garbage.iter().map(|garbage| hear_garbage(garbage))).await;
}

/// Nothing but garbage comes for a while: a verifier that was current becomes stale over it.
async fn hear_garbage(garbage: &str) {
    let mut story = Story::begin().await;
    story.staleness_max = Duration::from_millis(600);
    story.service.revoke(session(1), story.exp());
    story
        .play(async |verifier| {
            eventually("it is current", || staleness(verifier).is_some()).await;
            let heard_before = system_now();
            story.service.set_garbage(Some(garbage));
            let is_stale = || {
                let now = system_now();
                let heard_at = now.minus(staleness(verifier).expect("it was heard"));
                assert!(heard_at <= heard_before, "garbage is no word");
                story.verdict(verifier, session(2)) == Err(Refusal::NotCurrent)
            };
            eventually("it is stale", is_stale).await;
            let cursors = || story.service.cursors();
            eventually("it tries again", || is_stale() && cursors().len() > 2).await;
            assert!(cursors().iter().all(Option::is_none), "it asks for the live set");

            story.service.set_garbage(None);
            story.service.revoke(session(3), story.exp());
            eventually("it is known", || verifier.revocations().len() == 2).await;
            let is_current = || story.verdict(verifier, session(2)).is_ok();
            eventually("it is current", is_current).await;
        })
        .await;
}

#[tokio::test]
async fn an_answer_that_is_no_feed_changes_nothing() {
    let story = Story::begin().await;
    let wrong_key = Source::at(&format!("http://{}", story.service.address));
    let wrong_key = wrong_key.expect("a good origin");
    let wrong_key = wrong_key.service_key(&keyward_verify::ServiceKey::issue(&[8; 32]));
    let verifier = Verifier::new(policy());
    let trouble = || verifier.status(system_now()).feed_trouble.unwrap_or_default();
    tokio::select! {
        () = eventually("it says why", || trouble().contains("401")) => {}
        never = verifier.run(&wrong_key) => match never {},
    }
    assert_eq!(staleness(&verifier), None);
}

/// Cuts at any byte, replays, garbage, restarts, down-times: whatever happens, in the end exactly
/// what was revoked is refused, and at no time is anything refused that was not.
#[tokio::test]
async fn no_revocation_is_missed_and_none_invented() {
    let story = Story::begin().await;
    story
        .play(async |verifier| {
            let mut random = Random(story.exp().unsigned_abs() | 1);
            let mut revoked = 0;
            for _ in 0..150 {
                match random.below(8) {
                    0 => story.service.cut(),
                    1 => story.service.restart(),
                    2 => story.service.say(&whole_event(session(0))[..random.below(80)]),
                    3 => story.service.say("event: revoked\ndata: {}\n\n"),
                    4 => story.service.say(format!("{}{}", ":\n", whole_event(session(0)))),
                    5 => {
                        let whole = format!("event: synced\n\n{}", whole_event(session(0)));
                        let length = 15 + random.below(whole.len() - 15);
                        story.service.answer_once(&whole[..length]);
                        story.service.cut();
                    }
                    _ => {
                        for _ in 0..random.below(20) {
                            revoked += 1;
                            story.service.revoke(session(revoked), story.exp());
                        }
                    }
                }
                if random.below(4) == 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                assert_ne!(story.verdict(verifier, session(10_000)), Err(Refusal::Revoked));
            }
            let all_known =
                || (1..=revoked).all(|number| story.is_refused(verifier, session(number)));
            eventually("all are known", all_known).await;
            eventually("it is current", || staleness(verifier).is_some()).await;
            assert_eq!(story.verdict(verifier, session(10_000)), Ok(()));
        })
        .await;
}

/// A service, a key, and what tokens are expected to be.
struct Story {
    service: Publisher,
    signer: Signer,
    staleness_max: Duration,
    began: i64,
}

impl Story {
    async fn begin() -> Self {
        let signer = Signer::new(Algorithm::EdDsa);
        let service = Publisher::start(&[&signer]).await;
        let began = system_now().secs();
        Self { service, signer, staleness_max: Duration::from_secs(60), began }
    }

    /// Plays a part while a verifier follows the service.
    async fn play(&self, part: impl AsyncFnOnce(&Verifier)) {
        let mut policy = policy();
        policy.staleness_max = self.staleness_max;
        assert_eq!(policy.when_stale, WhenStale::FailClosed);
        let verifier = Verifier::new(policy);
        verifier.take_up_keys(&key_set(&[&self.signer]), system_now()).expect("a good set");
        assert_eq!(self.verdict(&verifier, session(1)), Err(Refusal::NotCurrent));
        let source = self.service.source();
        tokio::select! {
            () = part(&verifier) => {}
            never = verifier.run(&source) => match never {},
        }
    }

    fn verdict(&self, verifier: &Verifier, session: SessionId) -> Result<(), Refusal> {
        verifier.verify(&self.signer.sign(&self.claims(session)), system_now()).map(drop)
    }

    fn is_refused(&self, verifier: &Verifier, session: SessionId) -> bool {
        self.verdict(verifier, session) == Err(Refusal::Revoked)
    }

    fn claims(&self, session: SessionId) -> Value {
        let mut claims = fresh_claims();
        claims["iat"] = json!(self.began);
        claims["sid"] = json!(session.to_string());
        claims
    }

    fn exp(&self) -> i64 {
        self.began + 900
    }
}

fn session(number: u64) -> SessionId {
    let mut bytes = [2; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    SessionId::from_bytes(bytes)
}

fn whole_event(session: SessionId) -> String {
    let exp = system_now().secs() + 900;
    format!("event: revoked\ndata: {{\"sid\":\"{session}\",\"exp\":{exp}}}\n\n")
}

fn staleness(verifier: &Verifier) -> Option<Duration> {
    verifier.status(system_now()).staleness
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }
}
