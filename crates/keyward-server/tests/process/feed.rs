//! The feed of revocations of a service that runs.

use std::io;
use std::net::SocketAddr;
#[cfg(feature = "postgres")]
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::client::Client;
#[cfg(feature = "postgres")]
use crate::cluster::Cluster;
#[cfg(feature = "postgres")]
use crate::nodes::Nodes;
use crate::place::{Place, Running};

#[test]
fn what_the_command_line_revokes_is_told_by_a_service_that_runs() {
    let place = Place::new();
    let service = place.serve();
    let mut feed = Feed::follow(&service, &key(&place));
    let tokens = service.register("ada@example.org");
    place.prints(&["session", "revoke", &tokens.session_id()]);
    feed.expect(&tokens.session_id());
    let tokens = service.login("ada@example.org");
    assert_eq!(service.connect().logout(&tokens).expect("answered").status, 200);
    feed.expect(&tokens.session_id());
    place.prints(&["user", "disable", "ada@example.org"]);
    feed.expect("\"sub\"");
    service.stop();
}

#[test]
fn the_end_of_a_service_ends_its_feeds_at_once() {
    let place = Place::new();
    let service = place.serve_with(&[("KEYWARD_SERVER__SHUTDOWN_TIMEOUT", "10m")]);
    let mut feed = Feed::follow(&service, &key(&place));
    service.ask_to_stop();
    feed.expect_end();
    service.ended_within(Duration::from_secs(30));
    assert!(!place.log().contains("cutting some off"), "{}", place.log());
}

/// A server of which one process is killed recovers without being started anew, and gives ids of
/// transactions again that left nothing behind.
#[cfg(feature = "postgres")]
#[test]
fn nothing_is_missed_where_ids_of_transactions_come_again() {
    // What nobody waits for is not written to the log meanwhile, as in the last moment before a
    // crash.
    let cluster = Cluster::start_with(&[
        "wal_writer_delay=10s",
        "wal_writer_flush_after=1GB",
        "wal_level=minimal",
        "max_wal_senders=0",
    ]);
    let nodes = Nodes::on_postgres(&Cluster::url(&[&cluster]));
    let key = key_in(&nodes.prints(&KEY));
    let tokens = nodes.register("ada@example.org");
    Feed::follow_with(nodes.address(0), &key, "event: synced");
    let first = next_id(&cluster);
    let mut client = cluster.psql("keyward", "keyward", LOSE_IDS);
    let mut client = client.stderr(Stdio::null()).spawn().expect("it starts");
    until("the ids are taken", || next_id(&cluster) >= first + 2000);
    // The node looks several times a second at what is there, and then not until all is over.
    std::thread::sleep(Duration::from_secs(1));
    crate::place::send("-STOP", nodes.id(0));

    let victim = "SELECT pid FROM pg_stat_activity WHERE application_name = 'keyward' LIMIT 1";
    crate::place::send("-KILL", cluster.sql("postgres", victim).parse().expect("an id"));
    client.wait().expect("it ends with the server");
    until("it has recovered", || cluster.try_sql("postgres", "SELECT 1").status.success());
    // The first one was that of a transaction which the node knows to have been open.
    for _ in 0..3 {
        cluster.sql("keyward", "SELECT pg_current_xact_id()");
    }
    let signed_out = || nodes.connect_to(1).logout(&tokens).expect("answered").status == 200;
    until("the other node has come back to it", signed_out);
    assert!(next_id(&cluster) < first + 2000, "no id comes again: this proves nothing");
    crate::place::send("-CONT", nodes.id(0));
    // A node that was away for long has ended its streams.
    Feed::follow_with(nodes.address(0), &key, &tokens.session_id());
    nodes.stop();
}

/// Waits for other processes, each of which `is_so` asks.
#[cfg(feature = "postgres")]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it never comes: {what}");
    }
}

/// The id that the next transaction gets.
#[cfg(feature = "postgres")]
fn next_id(cluster: &Cluster) -> u64 {
    let found = cluster.sql("postgres", "SELECT pg_snapshot_xmax(pg_current_snapshot())");
    found.parse().expect("a number")
}

fn key(place: &Place) -> String {
    key_in(&place.prints(&KEY))
}

/// The key in what its making prints.
pub(crate) fn key_in(printed: &str) -> String {
    let mut words = printed.split_whitespace();
    words.find(|word| word.starts_with("kwk_")).expect("a key").to_owned()
}

/// A client that follows.
pub(crate) struct Feed(Client);

impl Feed {
    /// Follows from here on. A service that has just started may not have read anything yet.
    pub(crate) fn follow(service: &Running, key: &str) -> Self {
        Self::follow_with(service.address, key, "event: synced")
    }

    /// As [`Feed::follow`], until a line holds this text.
    fn follow_with(address: SocketAddr, key: &str, text: &str) -> Self {
        let began = now();
        loop {
            let mut client = Client::connect(address).expect("it accepts connections");
            let bearer = format!("Bearer {key}");
            let headers = [("Authorization", bearer.as_str())];
            client.begin("GET", "/api/auth/revocations", &headers, 0).expect("sent");
            let answer = client.answer().expect("answered");
            if answer.status == 200 {
                let mut feed = Self(client);
                feed.expect(text);
                return feed;
            }
            assert_eq!(answer.outcome(), "503 STORE_UNAVAILABLE");
            assert!(began.elapsed() < PATIENCE, "it never reads");
        }
    }

    /// Reads on to a line that holds this text.
    pub(crate) fn expect(&mut self, text: &str) {
        self.read_until(text, |line| line.as_ref().expect("it goes on").contains(text));
    }

    fn expect_end(&mut self) {
        self.read_until("an end", Result::is_err);
    }

    /// A comment comes every few seconds, so that no wait for a line is long.
    fn read_until(&mut self, what: &str, is_met: impl Fn(&io::Result<String>) -> bool) {
        let began = now();
        while !is_met(&self.0.line()) {
            assert!(began.elapsed() < PATIENCE, "{what} never comes");
        }
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "bounds the wait for another process")]
    Instant::now()
}

/// Takes two thousand ids that are undone at once, and ends no transaction that would be logged.
#[cfg(feature = "postgres")]
const LOSE_IDS: &str = "DO $$ BEGIN CREATE TEMP TABLE lost (a int); FOR i IN 1..2000 LOOP \
     BEGIN INSERT INTO lost VALUES (1); RAISE 'undone'; EXCEPTION WHEN OTHERS THEN NULL; END; \
     END LOOP; PERFORM pg_sleep(600); END $$";

const KEY: [&str; 6] = ["service-key", "create", "--name", "verifier", "--scope", "revocations"];

const PATIENCE: Duration = Duration::from_secs(60);
