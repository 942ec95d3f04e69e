//! The promise that a crash must not break: what a client has received was committed, and what was
//! spent stays spent.
//!
//! Clients refresh as fast as they can, the process is killed in the middle of it, and starts again
//! on the same store; ten times over. Half of the clients send an Idempotency-Key with each
//! rotation and present it again where the answer was lost. They are never signed out. The others
//! cannot prove that they are the ones who presented a token before: where their last answer was
//! lost, their line may end, but never split.

use std::sync::mpsc::{self, Sender};
use std::thread;

use crate::client::{Client, Tokens};
#[cfg(feature = "postgres")]
use crate::database::Database;
use crate::nodes::Nodes;
use crate::over::Over;
use crate::random::Random;

#[test]
fn a_kill_in_a_storm_of_refreshes_loses_nothing_and_revives_nothing() {
    check(&Nodes::on_sqlite());
}

#[cfg(feature = "postgres")]
#[test]
fn kills_of_either_node_lose_nothing_and_revive_nothing() {
    let database = Database::new();
    check(&Nodes::on_postgres(&database.service_url()));
}

fn check(nodes: &Nodes) {
    let mut random = Random::new(SEED);
    nodes.register(EMAIL);
    let mut lines: Vec<Line> = (0..LINES).map(|number| Line::new(nodes, number)).collect();
    let mut answers_lost = 0;
    for kill in 0..KILLS {
        let killed = kill % nodes.count();
        storm(nodes, killed, &mut lines, KILL_AFTER_MIN + random.below(KILL_AFTER_RANGE));
        nodes.restart(killed);
        for line in &mut lines {
            line.check(nodes);
            answers_lost += usize::from(line.has_ended);
            // Some lines live through several crashes, some end here and make room for new ones.
            if line.has_ended || random.below(2) == 0 {
                line.check_spent(nodes, &mut random);
                *line = Line::new(nodes, line.number);
            }
        }
    }
    for mut line in lines {
        line.check(nodes);
        line.check_spent(nodes, &mut random);
    }
    // Where no kill came between a commit and its answer, the hard cases were not met.
    assert!(answers_lost > 0);
    nodes.stop();
    nodes.assert_database_is_sound();
}

/// Lets every line refresh until a node is killed, which happens after so many answers.
fn storm(nodes: &Nodes, killed: usize, lines: &mut [Line], answers: usize) {
    let (answered, answers_seen) = mpsc::channel();
    let over = Over::default();
    thread::scope(|scope| {
        let _end = over.at_end();
        for line in lines {
            let (client, answered, over) = (nodes.connect(), answered.clone(), &over);
            scope.spawn(move || line.refresh_until_cut_off(client, &answered, over));
        }
        drop(answered);
        // Ends early, and fails, where the clients stop by themselves.
        assert_eq!(answers_seen.iter().take(answers).count(), answers);
        nodes.kill(killed);
    });
}

/// One session and what its client remembers of it.
struct Line {
    number: usize,
    is_keyed: bool,
    /// The last that arrived.
    tokens: Tokens,
    /// The key of the coming rotation; kept until its answer has arrived.
    key: String,
    keys_made: usize,
    /// Whether the current token was presented and no answer has arrived.
    is_in_doubt: bool,
    has_ended: bool,
    /// The tokens for which a successor has arrived.
    spent: Vec<Tokens>,
}

impl Line {
    fn new(nodes: &Nodes, number: usize) -> Self {
        let mut line = Self {
            number,
            is_keyed: number.is_multiple_of(2),
            tokens: nodes.login(EMAIL),
            key: String::new(),
            keys_made: 0,
            is_in_doubt: false,
            has_ended: false,
            spent: Vec::new(),
        };
        line.make_key();
        line
    }

    fn make_key(&mut self) {
        self.keys_made += 1;
        self.key = format!("line {} rotation {:08}", self.number, self.keys_made);
    }

    fn key(&self) -> Option<&str> {
        self.is_keyed.then_some(self.key.as_str())
    }

    fn refresh_until_cut_off(&mut self, mut client: Client, answered: &Sender<()>, over: &Over) {
        while !over.is_set() {
            let Ok(answer) = client.refresh(&self.tokens, self.key()) else {
                self.is_in_doubt = true;
                return;
            };
            assert_eq!(answer.outcome(), "200 -");
            self.advance(answer.tokens());
            // Nobody counts any more once the kill is on its way.
            let _ = answered.send(());
        }
    }

    fn advance(&mut self, successor: Tokens) {
        self.spent.push(std::mem::replace(&mut self.tokens, successor));
        self.make_key();
        self.is_in_doubt = false;
    }

    /// After the restart: the last token that arrived is good for one successor.
    fn check(&mut self, nodes: &Nodes) {
        let mut client = nodes.connect();
        let answer = client.refresh(&self.tokens, self.key()).expect("answered");
        match answer.outcome().as_str() {
            "200 -" => {}
            "401 REFRESH_TOKEN_REUSED" if self.is_in_doubt && !self.is_keyed => {
                self.has_ended = true;
                return;
            }
            outcome => panic!("line {}: {outcome}, {}", self.number, self.is_in_doubt),
        }
        let successor = answer.tokens();
        if self.is_keyed {
            // Once more, as if this answer had been lost too: the same line goes on.
            let again = client.refresh(&self.tokens, self.key()).expect("answered").tokens();
            assert_eq!(again.refresh, successor.refresh);
        }
        self.advance(successor);
    }

    /// No spent token is exchanged again: the first that comes back ends the line, and then nothing
    /// of it works, the last token included.
    fn check_spent(&self, nodes: &Nodes, random: &mut Random) {
        let mut client = nodes.connect();
        if !self.has_ended {
            let replayed = &self.spent[random.below(self.spent.len())];
            let answer = client.refresh(replayed, None).expect("answered");
            assert_eq!(answer.outcome(), "401 REFRESH_TOKEN_REUSED");
        }
        client.expect_revoked(&self.spent, &self.tokens);
    }
}

const SEED: u64 = 20;
const KILLS: usize = 10;
const LINES: usize = 8;

/// The kill comes after at least so many answers in all, and before so many more.
const KILL_AFTER_MIN: usize = 10;
const KILL_AFTER_RANGE: usize = 150;

const EMAIL: &str = "ada@example.org";
