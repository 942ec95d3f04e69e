//! Keys are rotated while clients refresh, and every token is verified the moment it is issued: by
//! our verifier, and by those of other makes. None is ever refused.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use keyward_verify::{ServiceKey, Source, Verifier, VerifyPolicy};

use crate::client::Tokens;
use crate::interop::Peers;
use crate::nodes::Nodes;
use crate::place::ENVIRONMENT;

/// The new key signs before anybody can have fetched it: whoever verifies has to ask again.
#[test]
fn no_token_is_refused_while_keys_that_sign_at_once_take_turns() {
    let world = World::new(Nodes::on_sqlite(), "0");
    world.under_load(|| {
        for _ in 0..ROTATIONS {
            let before = world.keys();
            world.nodes.prints(&["key", "rotate"]);
            world.wait_for("a new key signs", || world.keys() > before);
        }
    });
}

/// As they come, other makes do not fetch keys again within half a minute. What a schedule does in
/// months is done in a minute here: the old key is made old, and the new one's time moved near.
#[test]
fn no_token_is_refused_while_keys_of_the_schedule_take_turns() {
    let world = World::new(Nodes::on_sqlite(), "30");
    world.under_load(|| {
        let before = world.keys();
        world.nodes.age_keys("access_token");
        world.wait_for("a new key is published", || world.published(0) > before);
        thread::sleep(COOL_DOWN);
        assert_eq!(world.keys(), before, "it waits for its time");
        world.nodes.hasten_keys();
        world.wait_for("the new key signs", || world.keys() > before);
    });
}

/// The verifiers know one of two nodes, and are brought the tokens of both.
#[cfg(feature = "postgres")]
#[test]
fn no_token_of_another_node_is_refused_while_keys_take_turns() {
    let database = crate::database::Database::new();
    // With the rights to make keys, as the command line needs them.
    let world = World::new(Nodes::on_postgres(&database.url()), "0");
    world.under_load(|| {
        for _ in 0..ROTATIONS {
            let before = world.keys();
            world.nodes.prints(&["key", "rotate"]);
            world.wait_for("a new key signs", || world.keys() > before);
        }
    });
}

/// Nodes, clients that refresh at them, and everybody who verifies what they get.
struct World {
    nodes: Nodes,
    lines: Vec<Tokens>,
    peers: Peers,
    ours: Verifier,
    source: Source,
    /// The header of every token that was verified.
    headers: Mutex<BTreeSet<String>>,
    is_over: AtomicBool,
}

impl World {
    /// Every verifier knows the first node alone.
    fn new(nodes: Nodes, cool_down_secs: &str) -> Self {
        nodes.register("ada@example.org");
        let lines = (0..CLIENTS).map(|_| nodes.login("ada@example.org")).collect();
        let address = nodes.address(0);
        let key =
            nodes.prints(&["service-key", "create", "--name", "reports", "--scope", "revocations"]);
        let key = ServiceKey::parse(key.trim()).expect("it prints a key");
        let source = Source::at(&format!("http://{address}")).expect("a good origin");
        let (_, public_url) = ENVIRONMENT[1];
        Self {
            nodes,
            lines,
            peers: Peers::start(address, cool_down_secs),
            ours: Verifier::new(VerifyPolicy::new(public_url, public_url)),
            source: source.service_key(&key).cool_down(Duration::from_secs(1)),
            headers: Mutex::default(),
            is_over: AtomicBool::default(),
        }
    }

    /// Tells a story while every client refreshes and every token is verified.
    fn under_load(&self, story: impl FnOnce()) {
        let (over, told) = tokio::sync::oneshot::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(|| {
                runtime().block_on(async {
                    tokio::select! {
                        never = self.ours.run(&self.source) => match never {},
                        _ = told => {}
                    }
                });
            });
            // Ends the threads, too, where the story or one of them fails.
            let _over = (over, Over(&self.is_over));
            let clients: Vec<_> = self
                .lines
                .iter()
                .map(|tokens| {
                    scope.spawn(|| {
                        let _over = Over(&self.is_over);
                        self.refresh(tokens.clone());
                    })
                })
                .collect();
            self.wait_for("every verifier has begun", || self.keys() == 1);
            story();
            self.is_over.store(true, Ordering::SeqCst);
            for client in clients {
                client.join().expect("no token was refused");
            }
        });
        self.nodes.stop();
    }

    fn refresh(&self, mut tokens: Tokens) {
        let runtime = runtime();
        runtime.block_on(self.until_current(&tokens));
        while !self.is_over.load(Ordering::SeqCst) {
            let answer = self.nodes.connect().refresh(&tokens, None).expect("answered");
            assert_eq!(answer.outcome(), "200 -");
            tokens = answer.tokens();
            let verdict = runtime.block_on(self.ours.authenticate(&tokens.access));
            assert_eq!(verdict.map(drop), Ok(()), "{}", tokens.access);
            self.peers.accept(&tokens);
            let (header, _) = tokens.access.split_once('.').expect("three parts");
            self.headers.lock().expect("no panic").insert(header.to_owned());
        }
    }

    /// Before it has heard of the service ours accepts nothing.
    async fn until_current(&self, tokens: &Tokens) {
        while self.ours.authenticate(&tokens.access).await.is_err() {
            assert!(!self.is_over.load(Ordering::SeqCst), "it never got current");
            tokio::time::sleep(POLL).await;
        }
    }

    fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..POLLS_MAX {
            assert!(!self.is_over.load(Ordering::SeqCst), "a token was refused before {what}");
            if is_so() {
                return;
            }
            thread::sleep(POLL);
            // Whoever is asked for the keys looks what the store has.
            for node in 0..self.nodes.count() {
                self.published(node);
            }
        }
        panic!("it never came: {what}");
    }

    /// How many keys have signed a token that everybody accepted.
    fn keys(&self) -> usize {
        self.headers.lock().expect("no panic").len()
    }

    /// How many keys a node publishes.
    fn published(&self, node: usize) -> usize {
        let mut client = self.nodes.connect_to(node);
        let keys = client.send("GET", "/.well-known/jwks.json", &[], "").expect("answered").json();
        keys["keys"].as_array().expect("keys").len()
    }
}

/// Says that it is over, however that came.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

const CLIENTS: usize = 4;
const ROTATIONS: usize = 4;

/// A little longer than other makes go on with the keys that they have.
const COOL_DOWN: Duration = Duration::from_secs(32);

const POLL: Duration = Duration::from_millis(20);
const POLLS_MAX: usize = 6000;
