//! A client that keeps its part: two tabs over one cookie jar and one pending key. They abort
//! requests, give up waiting for answers, and send again with the key that is pending; the network
//! brings requests twice.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use crate::client::{Answer, Client, Tokens};
use crate::nodes::Nodes;
use crate::over::Over;
use crate::random::Random;

/// What came of one try at a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The successor has arrived.
    Exchanged,
    /// The store was not there, and the client was told to come back.
    Refused,
    /// The tab did not wait for the answer.
    GivenUp,
}

/// Browsers whose tabs refresh as fast as they can.
pub(crate) struct Storm {
    turns: Receiver<Turn>,
}

impl Storm {
    /// Lets the tabs of all browsers refresh until `work` has ended.
    pub(crate) fn rage(nodes: &Nodes, browsers: &[Mutex<Browser>], work: impl FnOnce(&Self)) {
        let (told, turns) = mpsc::channel();
        let over = Over::default();
        thread::scope(|scope| {
            let _end = over.at_end();
            for browser in browsers {
                for _ in 0..TABS {
                    let (told, over) = (told.clone(), &over);
                    scope.spawn(move || browse(browser, nodes, &told, over));
                }
            }
            drop(told);
            work(&Self { turns });
        });
    }

    /// Waits until this has come of so many more tries. Fails where the tabs stop by themselves.
    pub(crate) fn wait_for(&self, turn: Turn, count: usize) {
        let matching = self.turns.iter().filter(|seen| *seen == turn);
        assert_eq!(matching.take(count).count(), count, "the tabs have stopped");
    }
}

/// The life of a tab. Holding the mutex, it is the one tab of its browser that may touch cookies.
fn browse(browser: &Mutex<Browser>, nodes: &Nodes, told: &Sender<Turn>, over: &Over) {
    while !over.is_set() {
        // A tab that failed has said why; its neighbour ends, too.
        let Ok(mut held) = browser.lock() else { return };
        let turn = held.refresh(nodes);
        drop(held);
        match turn {
            // Nobody counts any more once the storm is over.
            Ok(turn) => drop(told.send(turn)),
            // There is no node any more.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return,
            // The node was killed before it answered; the balancer knows another one.
            Err(_) => {}
        }
        // Lets the other tab take its turn.
        thread::yield_now();
    }
}

/// What the tabs of a browser share.
pub(crate) struct Browser {
    number: usize,
    /// The cookie jar.
    tokens: Tokens,
    /// The key of the rotation that has begun, stored before the request leaves.
    pending_key: Option<String>,
    /// Whether it has left with a request.
    pub(crate) has_sent_key: bool,
    keys_made: usize,
    /// What was handed out for each token, by whichever answer.
    successors: HashMap<String, String>,
    spent: Vec<Tokens>,
    /// Requests that the service may still be working on, though no tab waits for them.
    strays: VecDeque<Stray>,
    random: Random,
    pub(crate) given_up: usize,
    pub(crate) read_late: usize,
    /// How often the store was not there.
    pub(crate) refused: usize,
}

/// A request whose answer will not reach the jar.
struct Stray {
    client: Client,
    presented: String,
    /// How many tokens were spent when it was sent.
    sent_at: usize,
}

impl Browser {
    /// Signs in to the account of [`EMAIL`].
    pub(crate) fn new(nodes: &Nodes, number: usize) -> Self {
        Self {
            number,
            tokens: nodes.login(EMAIL),
            pending_key: None,
            has_sent_key: false,
            keys_made: 0,
            successors: HashMap::new(),
            spent: Vec::new(),
            strays: VecDeque::new(),
            random: Random::new(SEED + number as u64),
            given_up: 0,
            read_late: 0,
            refused: 0,
        }
    }

    /// One try at a rotation. Fails where the node is killed before it answers.
    fn refresh(&mut self, nodes: &Nodes) -> io::Result<Turn> {
        // A request must reach the service before eight more rotations have pushed its proof out.
        while self.strays.front().is_some_and(|stray| self.spent.len() - stray.sent_at >= 6) {
            self.read_stray();
        }
        let key = self.key();
        let mut client = self.present(nodes, &key)?;
        self.has_sent_key = true;
        match self.random.below(10) {
            0 | 1 => {
                client.abort()?;
                self.stray(client);
                return Ok(Turn::GivenUp);
            }
            2 => {
                self.stray(client);
                return Ok(Turn::GivenUp);
            }
            3 | 4 => {
                let twin = self.present(nodes, &key)?;
                self.stray(twin);
            }
            _ => {}
        }
        let answer = client.answer()?;
        if is_refused(&answer) {
            self.refused += 1;
            return Ok(Turn::Refused);
        }
        self.advance(&answer);
        Ok(Turn::Exchanged)
    }

    fn present(&self, nodes: &Nodes, key: &str) -> io::Result<Client> {
        let mut client = nodes.try_connect()?;
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
            Ok(answer) if is_refused(&answer) => self.refused += 1,
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

    /// The browser goes on from what it holds, and so it would if this answer were lost as well.
    pub(crate) fn come_back(&mut self, nodes: &Nodes) {
        let mut client = nodes.connect();
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
    pub(crate) fn expect_spent_tokens_dead(&self, nodes: &Nodes, random: &mut Random) {
        let mut client = nodes.connect();
        let replayed = &self.spent[random.below(self.spent.len())];
        let answer = client.refresh(replayed, None).expect("answered");
        assert_eq!(answer.outcome(), "401 REFRESH_TOKEN_REUSED");
        client.expect_revoked(&self.spent, &self.tokens);
    }
}

/// Whether the store was not there: the client keeps what it has and is told when to come back.
fn is_refused(answer: &Answer) -> bool {
    let is_refused = answer.outcome() == "503 STORE_UNAVAILABLE";
    if is_refused {
        assert!(answer.header("retry-after").is_some() && answer.set_cookies().is_empty());
    }
    is_refused
}

/// So many browsers, signed in to the account of [`EMAIL`], which is made for them.
pub(crate) fn browsers(nodes: &Nodes, count: usize) -> Vec<Mutex<Browser>> {
    nodes.register(EMAIL);
    (0..count).map(|number| Mutex::new(Browser::new(nodes, number))).collect()
}

/// Each browser by itself, once the storm is over.
pub(crate) fn each(browsers: &[Mutex<Browser>]) -> impl Iterator<Item = MutexGuard<'_, Browser>> {
    browsers.iter().map(|browser| browser.lock().expect("no tab has panicked"))
}

const SEED: u64 = 1789;
const TABS: usize = 2;
pub(crate) const EMAIL: &str = "ada@example.org";
