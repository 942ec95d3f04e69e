//! What the rotation promises, over random histories of one session.
//!
//! The server is the real rules over one row. What it answers is judged after every step (see
//! `Server::refresh`): one line, monotone, constant storage, a retry yields the same successor.
//! The properties here add what the parties around it may count on.

#[path = "support/server.rs"]
mod server;
mod support;

use std::time::Duration;

use keyward_core::id::SessionId;
use keyward_core::refresh_token::{MacKey, MacKeys, RefreshToken, TagTrust};
use keyward_core::rotation::{Decision, RotationPolicy};
use keyward_core::session::{RevocationReason, SessionState};
use proptest::prelude::*;
use server::{Answer, SESSION_ID, Server};
use support::{DAY, HOUR};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Anyone presents any token ever issued, with any key, at any time.
    #[test]
    fn any_history_keeps_to_one_line(
        events in prop::collection::vec(any_event(), 1..60),
        race_window in race_window(),
    ) {
        let mut server = Server::new(RotationPolicy { race_window, ..RotationPolicy::default() });
        for event in events {
            match event {
                AnyEvent::Present { age, key } => {
                    let newest = usize::try_from(server.session.generation).expect("it is small");
                    let text = server.issued(newest.saturating_sub(age)).to_owned();
                    server.refresh(&text, key.map(|key| KEYS[key]));
                }
                AnyEvent::Step(millis) => step(&mut server, millis),
                AnyEvent::Revoke => {
                    server.revoke(RevocationReason::Admin);
                }
            }
        }
    }

    /// Two parties share a line once a token was copied. Whoever of them exchanges first: when
    /// the other one comes back, the session ends, and both hold nothing.
    #[test]
    fn theft_is_seen(
        script in prop::collection::vec(theft_event(), 0..40),
        race_window in race_window(),
    ) {
        let mut scene = Theft::new(race_window);
        for event in script {
            scene.play(event);
        }
        scene.assert_the_second_party_ends_it();
    }

    /// One client that keeps its part is never signed out, whatever the network does to it.
    #[test]
    fn no_honest_logout(
        script in prop::collection::vec(network_event(), 1..80),
        race_window in race_window(),
    ) {
        let mut scene = Network::new(race_window);
        for event in script {
            scene.play(&event);
        }
        scene.assert_the_client_gets_on();
    }

    /// Whoever has neither the key of the tags nor a token of this session cannot touch it.
    #[test]
    fn no_oracle_for_altered_tokens(
        position in 0..102_usize,
        replacement in "[A-Za-z0-9_.=-]{0,3}",
        generation in 0..4_usize,
    ) {
        let mut server = with_rotations(3);
        let token = server.issued(generation).to_owned();
        let altered = format!("{}{replacement}{}", &token[..position], &token[position + 1..]);
        if altered != token {
            assert_untouched(&mut server, &altered);
        }
    }

    #[test]
    fn no_oracle_for_arbitrary_text(
        text in prop_oneof![".{0,120}", "kwr_[A-Za-z0-9_-]{98}"],
    ) {
        assert_untouched(&mut with_rotations(3), &text);
    }

    #[test]
    fn no_oracle_for_tokens_of_other_keys_and_other_sessions(
        generation in prop_oneof![0..6_u64, any::<u64>()],
        secret in any::<[u8; 32]>(),
        mac_secret in any::<[u8; 32]>(),
        key_id in 0..4_u8,
        other in any::<[u8; 16]>(),
    ) {
        let mut server = with_rotations(3);
        let keys = |secret: &[u8; 32], id| {
            MacKeys::new(MacKey::new(id, secret, TagTrust::Sound), vec![])
        };
        let keys_of_a_stranger = keys(&mac_secret, key_id);
        let stranger = RefreshToken::issue(SESSION_ID, generation, &secret, &keys_of_a_stranger);
        assert_untouched(&mut server, stranger.expose());
        let elsewhere = SessionId::from_bytes(other);
        let neighbour = RefreshToken::issue(elsewhere, generation, &secret, &keys(&[2; 32], 2));
        assert_untouched(&mut server, neighbour.expose());
        let forged = server.forged(generation, &secret);
        assert_untouched(&mut server, &forged);
    }
}

#[test]
fn the_thief_first_and_the_owner_second_is_seen() {
    let mut server = with_rotations(1);
    let stolen = server.issued(1).to_owned();
    assert_eq!(server.refresh(&stolen, Some(KEYS[0])).decision, Decision::Rotate);
    assert_eq!(server.refresh(&stolen, Some(KEYS[1])).decision, Decision::Reuse);
    let thiefs = server.issued(2).to_owned();
    assert!(matches!(server.refresh(&thiefs, None).decision, Decision::Revoked(_)));
}

#[test]
fn a_thief_without_the_key_gets_no_successor() {
    let mut server = with_rotations(0);
    let first = server.issued(0).to_owned();
    let successor = server.refresh(&first, Some(KEYS[0])).token;
    let retried = server.refresh(&first, Some(KEYS[0]));
    assert_eq!(retried, Answer { decision: Decision::Retry, token: successor });
    let stolen = server.refresh(&first, Some(KEYS[1]));
    assert_eq!(stolen, Answer { decision: Decision::Reuse, token: None });
}

/// A browser: the token in its cookie jar, and the key of the exchange that it has begun.
struct Party {
    jar: String,
    pending: Option<String>,
    name: &'static str,
    keys_made: u32,
}

impl Party {
    fn new(name: &'static str, jar: String) -> Self {
        Self { jar, pending: None, name, keys_made: 0 }
    }

    /// The key to send: the one that is pending, or a fresh one that is stored first.
    fn key(&mut self) -> String {
        if self.pending.is_none() {
            self.keys_made += 1;
            self.pending = Some(format!("{} {:032}", self.name, self.keys_made));
        }
        self.pending.clone().expect("it was just made")
    }

    /// Applies an answer. The key is forgotten on 200, 401 and 409 only.
    fn apply(&mut self, answer: &Answer) {
        self.pending = None;
        if let Some(token) = &answer.token {
            self.jar.clone_from(token);
        }
    }
}

/// An owner and a thief of one session.
struct Theft {
    server: Server,
    parties: [Party; 2],
    /// Who exchanged last. The other one has to be seen at the next refresh that arrives.
    last: Option<usize>,
    /// Who has exchanged a token at all.
    exchanged: [bool; 2],
}

impl Theft {
    fn new(race_window: Duration) -> Self {
        let server = Server::new(RotationPolicy { race_window, ..RotationPolicy::default() });
        let first = server.issued(0).to_owned();
        let parties = [Party::new("owner", first.clone()), Party::new("thief", first)];
        Self { server, parties, last: None, exchanged: [false; 2] }
    }

    fn play(&mut self, event: TheftEvent) {
        match event {
            TheftEvent::Refresh { party, answered } => self.refresh(party, answered),
            // The thief copies the cookie jar, not the key: that lies elsewhere, or nowhere yet.
            TheftEvent::Steal => self.parties[1].jar = self.parties[0].jar.clone(),
            TheftEvent::Step(millis) => step(&mut self.server, millis),
        }
    }

    /// One refresh, with the second try that a 409 asks for.
    fn refresh(&mut self, party: usize, answered: bool) {
        let must_be_seen = self.exchanged == [true; 2]
            && self.last != Some(party)
            && self.server.session.state(self.server.now) == SessionState::Live
            && self.is_past_race_window();
        for _ in 0..2 {
            let key = self.parties[party].key();
            let answer = self.server.refresh(&self.parties[party].jar, Some(&key));
            if answer.decision == Decision::Rotate {
                self.exchanged[party] = true;
                self.last = Some(party);
            }
            let conflict = matches!(answer.decision, Decision::Late | Decision::Race);
            if answered || conflict {
                self.parties[party].apply(&answer);
            }
            if !conflict {
                break;
            }
        }
        if must_be_seen {
            assert!(self.server.session.revoked.is_some(), "theft went unseen");
        }
    }

    fn is_past_race_window(&self) -> bool {
        let since = self.server.now.distance(self.server.session.rotated_at);
        since >= self.server.policy.race_window
    }

    /// Forces the promise at the end of any script, so that no script proves nothing.
    fn assert_the_second_party_ends_it(mut self) {
        if self.server.session.state(self.server.now) != SessionState::Live {
            return;
        }
        // Whoever is current goes first; the other one has to be caught.
        let first = self.last.unwrap_or(0);
        self.refresh(first, true);
        self.server.now = self.server.session.rotated_at.plus(self.server.policy.race_window);
        self.refresh(1 - first, true);
        assert!(self.server.session.revoked.is_some(), "theft went unseen");
        for party in 0..2 {
            self.refresh(party, true);
            let answer = self.server.refresh(&self.parties[party].jar, None);
            assert!(matches!(answer.decision, Decision::Revoked(_)), "both hold nothing");
        }
    }
}

/// One client and the requests that it ever sent, each of which may arrive at any time, any number
/// of times.
struct Network {
    server: Server,
    client: Party,
    sent: Vec<(String, String)>,
    /// The request whose answer the client still waits for.
    awaited: Option<usize>,
}

impl Network {
    fn new(race_window: Duration) -> Self {
        let server = Server::new(RotationPolicy { race_window, ..RotationPolicy::default() });
        let client = Party::new("client", server.issued(0).to_owned());
        Self { server, client, sent: Vec::new(), awaited: None }
    }

    fn play(&mut self, event: &NetworkEvent) {
        match *event {
            NetworkEvent::Send => self.send(),
            // Giving up means aborting: the answer no longer reaches the cookie jar.
            NetworkEvent::GiveUp => self.awaited = None,
            NetworkEvent::Arrive { age, answered } => {
                if let Some(request) = self.sent.len().checked_sub(age + 1) {
                    self.arrive(request, answered);
                }
            }
            NetworkEvent::Step(millis) => step(&mut self.server, millis),
        }
    }

    /// One request on its way per browser, and a key that is stored before it leaves.
    fn send(&mut self) {
        if self.awaited.is_none() {
            let key = self.client.key();
            self.awaited = Some(self.sent.len());
            self.sent.push((self.client.jar.clone(), key));
        }
    }

    fn arrive(&mut self, request: usize, answered: bool) {
        let (text, key) = self.sent[request].clone();
        if !self.proof_is_kept(&text) {
            return;
        }
        let answer = self.server.refresh(&text, Some(&key));
        assert_eq!(self.server.session.revoked, None, "{:?}", answer.decision);
        if answered && self.awaited == Some(request) {
            assert!(answer.token.is_some(), "{:?}", answer.decision);
            self.awaited = None;
            self.client.apply(&answer);
        }
    }

    /// The bound of the promise: a request arrives before its proof has left the last eight.
    fn proof_is_kept(&self, text: &str) -> bool {
        let generation = self.server.session.generation;
        (generation.saturating_sub(8)..=generation)
            .any(|kept| self.server.issued(usize::try_from(kept).expect("it is small")) == text)
    }

    fn assert_the_client_gets_on(mut self) {
        self.play(&NetworkEvent::GiveUp);
        for _ in 0..2 {
            self.send();
            let before = self.client.jar.clone();
            self.arrive(self.sent.len() - 1, true);
            assert_ne!(self.client.jar, before);
        }
    }
}

fn with_rotations(count: usize) -> Server {
    let mut server = Server::new(RotationPolicy::default());
    for generation in 0..count {
        let text = server.issued(generation).to_owned();
        assert_eq!(server.refresh(&text, Some(KEYS[2])).decision, Decision::Rotate);
    }
    server
}

/// The text is refused as unknown, with a key and without, and changes nothing.
fn assert_untouched(server: &mut Server, text: &str) {
    let before = server.session.clone();
    for key in [None, Some(KEYS[2])] {
        let answer = server.refresh(text, key);
        assert_eq!(answer, Answer { decision: Decision::Invalid, token: None }, "{text}");
        assert_eq!(server.session, before);
    }
}

fn step(server: &mut Server, millis: i64) {
    let duration = Duration::from_millis(millis.unsigned_abs());
    let now = server.now;
    server.now = if millis < 0 { now.minus(duration) } else { now.plus(duration) };
}

#[derive(Debug, Clone)]
enum AnyEvent {
    Present { age: usize, key: Option<usize> },
    Step(i64),
    Revoke,
}

fn any_event() -> impl Strategy<Value = AnyEvent> {
    let age = prop_oneof![6 => Just(0), 3 => Just(1), 1 => 2..12_usize];
    prop_oneof![
        20 => (age, prop::option::of(0..2_usize))
            .prop_map(|(age, key)| AnyEvent::Present { age, key }),
        6 => clock_step(3 * DAY).prop_map(AnyEvent::Step),
        1 => Just(AnyEvent::Revoke),
    ]
}

#[derive(Debug, Clone)]
enum TheftEvent {
    Refresh { party: usize, answered: bool },
    Steal,
    Step(i64),
}

fn theft_event() -> impl Strategy<Value = TheftEvent> {
    prop_oneof![
        6 => any::<bool>().prop_map(|answered| TheftEvent::Refresh { party: 0, answered }),
        1 => any::<bool>().prop_map(|answered| TheftEvent::Refresh { party: 1, answered }),
        3 => Just(TheftEvent::Steal),
        3 => clock_step(HOUR).prop_map(TheftEvent::Step),
    ]
}

#[derive(Debug, Clone)]
enum NetworkEvent {
    Send,
    GiveUp,
    Arrive { age: usize, answered: bool },
    Step(i64),
}

fn network_event() -> impl Strategy<Value = NetworkEvent> {
    prop_oneof![
        4 => Just(NetworkEvent::Send),
        2 => Just(NetworkEvent::GiveUp),
        6 => (prop_oneof![4 => Just(0), 2 => 0..20_usize], any::<bool>())
            .prop_map(|(age, answered)| NetworkEvent::Arrive { age, answered }),
        2 => clock_step(HOUR / 8).prop_map(NetworkEvent::Step),
    ]
}

/// A step of the clock in milliseconds, forwards or back, often a very small one.
fn clock_step(max: Duration) -> impl Strategy<Value = i64> {
    let max = i64::try_from(max.as_millis()).expect("a few days");
    prop_oneof![-3..=3_i64, -6_000..=6_000_i64, -max..=max]
}

fn race_window() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), Just(Duration::from_secs(5))]
}

const KEYS: [&str; 3] = ["first idempotency", "other idempotency", "third idempotency"];
