//! The client's part against a service that is killed again and again: whoever keeps it is never
//! signed out.
//!
//! Each browser has two tabs over one cookie jar and one pending key. Tabs abort requests, give up
//! waiting for answers, and send again with the key that is pending; the network brings requests
//! twice; the process is killed in the middle of all that. Every answer to one token, whoever reads
//! it and whenever, holds the same successor, and none signs the browser out.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread;

use crate::client::{Answer, Client, Tokens};
use crate::place::{Place, Running};
use crate::random::Random;

#[test]
fn lost_answers_and_kills_sign_no_honest_client_out() {
    let place = Place::new();
    let mut random = Random::new(SEED);
    let mut service = place.serve();
    service.register(EMAIL);
    let mut browsers: Vec<_> =
        (0..BROWSERS).map(|number| Mutex::new(Browser::new(&service, number))).collect();
    let mut sent_in_vain = 0;
    for _ in 0..KILLS {
        storm(service, &browsers, KILL_AFTER_MIN + random.below(KILL_AFTER_RANGE));
        service = place.serve();
        for browser in &mut browsers {
            let browser = browser.get_mut().expect("no tab has panicked");
            sent_in_vain += usize::from(browser.has_sent_key);
            browser.come_back(&service);
        }
    }
    let (mut given_up, mut read_late) = (0, 0);
    for browser in browsers {
        let browser = browser.into_inner().expect("no tab has panicked");
        browser.expect_spent_tokens_dead(&service, &mut random);
        given_up += browser.given_up;
        read_late += browser.read_late;
    }
    service.stop();
    place.assert_database_is_sound();
    // Otherwise the hard cases were not met.
    assert!(sent_in_vain > 0, "each kill came between two requests");
    assert!(given_up > 0 && read_late > 0, "{given_up} were given up, {read_late} read late");
    // Each browser repeats itself once after each kill; the others are answers that were lost.
    let retried = place.prints(&["audit", "--type", "refresh.retried", "--json"]);
    assert!(retried.lines().count() > KILLS * BROWSERS);
}

/// Lets the tabs of all browsers refresh until the service is killed, after so many answers.
fn storm(service: Running, browsers: &[Mutex<Browser>], answers: usize) {
    let (answered, answers_seen) = mpsc::channel();
    thread::scope(|scope| {
        for browser in browsers {
            for _ in 0..TABS {
                let (address, answered) = (service.address, answered.clone());
                scope.spawn(move || browse(browser, address, &answered));
            }
        }
        drop(answered);
        // Ends early, and fails, where the tabs stop by themselves.
        assert_eq!(answers_seen.iter().take(answers).count(), answers);
        service.kill();
    });
}

/// The life of a tab. Holding the mutex, it is the one tab of its browser that may touch cookies.
fn browse(browser: &Mutex<Browser>, address: SocketAddr, answered: &Sender<()>) {
    loop {
        // A tab that failed has said why; its neighbour ends, too.
        let Ok(mut held) = browser.lock() else { return };
        let refreshed = held.refresh(address);
        drop(held);
        match refreshed {
            // Nobody counts any more once the kill is on its way.
            Ok(true) => drop(answered.send(())),
            Ok(false) => {}
            Err(_) => return,
        }
        // Lets the other tab take its turn.
        thread::yield_now();
    }
}

/// What the tabs of a browser share.
struct Browser {
    number: usize,
    /// The cookie jar.
    tokens: Tokens,
    /// The key of the rotation that has begun, stored before the request leaves.
    pending_key: Option<String>,
    /// Whether it has left with a request.
    has_sent_key: bool,
    keys_made: usize,
    /// What was handed out for each token, by whichever answer.
    successors: HashMap<String, String>,
    spent: Vec<Tokens>,
    /// Requests that the service may still be working on, though no tab waits for them.
    strays: VecDeque<Stray>,
    random: Random,
    given_up: usize,
    read_late: usize,
}

/// A request whose answer will not reach the jar.
struct Stray {
    client: Client,
    presented: String,
    /// How many tokens were spent when it was sent.
    sent_at: usize,
}

impl Browser {
    fn new(service: &Running, number: usize) -> Self {
        Self {
            number,
            tokens: service.login(EMAIL),
            pending_key: None,
            has_sent_key: false,
            keys_made: 0,
            successors: HashMap::new(),
            spent: Vec::new(),
            strays: VecDeque::new(),
            random: Random::new(SEED + number as u64),
            given_up: 0,
            read_late: 0,
        }
    }

    /// One try at a rotation; `false` where the tab gives up on it. Fails once the service is gone.
    fn refresh(&mut self, address: SocketAddr) -> io::Result<bool> {
        // A request must reach the service before eight more rotations have pushed its proof out.
        while self.strays.front().is_some_and(|stray| self.spent.len() - stray.sent_at >= 6) {
            self.read_stray();
        }
        let key = self.key();
        let mut client = self.present(address, &key)?;
        self.has_sent_key = true;
        match self.random.below(10) {
            0 | 1 => {
                client.abort()?;
                self.stray(client);
                return Ok(false);
            }
            2 => {
                self.stray(client);
                return Ok(false);
            }
            3 | 4 => {
                let twin = self.present(address, &key)?;
                self.stray(twin);
            }
            _ => {}
        }
        let answer = client.answer()?;
        self.advance(&answer);
        Ok(true)
    }

    fn present(&self, address: SocketAddr, key: &str) -> io::Result<Client> {
        let mut client = Client::connect(address)?;
        client.present(&self.tokens, Some(key))?;
        Ok(client)
    }

    fn stray(&mut self, client: Client) {
        self.given_up += 1;
        let (presented, sent_at) = (self.tokens.refresh.clone(), self.spent.len());
        self.strays.push_back(Stray { client, presented, sent_at });
    }

    /// Waits for the end of the oldest stray. An aborted one may never be answered; one that came
    /// after later rotations is told so, and neither is harmful.
    fn read_stray(&mut self) {
        let Some(mut stray) = self.strays.pop_front() else { return };
        match stray.client.answer() {
            Ok(answer) if answer.outcome() == "409 REFRESH_RACE" => {
                assert!(answer.set_cookies().is_empty());
            }
            Ok(answer) => {
                self.note_successor(&stray.presented, &answer);
                self.read_late += 1;
            }
            // Whether the service is gone, too, the next request will tell.
            Err(_) => {}
        }
    }

    /// Reads the pending key, or makes and stores one.
    fn key(&mut self) -> String {
        if self.pending_key.is_none() {
            self.keys_made += 1;
            let (number, made) = (self.number, self.keys_made);
            self.pending_key = Some(format!("browser {number} rotation {made:08}"));
        }
        self.pending_key.clone().expect("it was just stored")
    }

    /// An answer reaches the jar; the key has served.
    fn advance(&mut self, answer: &Answer) {
        let presented = self.tokens.refresh.clone();
        self.note_successor(&presented, answer);
        self.spent.push(std::mem::replace(&mut self.tokens, answer.tokens()));
        self.pending_key = None;
        self.has_sent_key = false;
    }

    /// Every answer to one token is the same token.
    fn note_successor(&mut self, presented: &str, answer: &Answer) {
        assert_eq!(answer.outcome(), "200 -", "browser {}", self.number);
        let successor = answer.tokens().refresh;
        let first = self.successors.entry(presented.to_owned()).or_insert(successor.clone());
        assert_eq!(*first, successor, "browser {}", self.number);
    }

    /// After the restart: the browser goes on from what it holds, and so it would if this answer
    /// were lost as well.
    fn come_back(&mut self, service: &Running) {
        // What the killed process had not begun by then it will never do.
        self.strays.clear();
        let mut client = service.connect();
        let key = self.key();
        let lost = client.refresh(&self.tokens, Some(&key)).expect("answered");
        let presented = self.tokens.refresh.clone();
        self.note_successor(&presented, &lost);
        let answer = client.refresh(&self.tokens, Some(&key)).expect("answered");
        self.advance(&answer);
        let me = client.me(&self.tokens).expect("answered");
        assert_eq!(me.outcome(), "200 -", "browser {}", self.number);
    }

    /// A spent token is not exchanged again: it ends its line, the current token included.
    fn expect_spent_tokens_dead(&self, service: &Running, random: &mut Random) {
        let mut client = service.connect();
        let replayed = &self.spent[random.below(self.spent.len())];
        let answer = client.refresh(replayed, None).expect("answered");
        assert_eq!(answer.outcome(), "401 REFRESH_TOKEN_REUSED");
        client.expect_revoked(&self.spent, &self.tokens);
    }
}

const SEED: u64 = 1789;
const KILLS: usize = 10;
const BROWSERS: usize = 6;
const TABS: usize = 2;

/// The kill comes after at least so many answers in all, and before so many more.
const KILL_AFTER_MIN: usize = 20;
const KILL_AFTER_RANGE: usize = 150;

const EMAIL: &str = "ada@example.org";
