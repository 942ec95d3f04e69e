//! The feed of revocations of a service that runs.

use std::io;
use std::time::{Duration, Instant};

use crate::client::Client;
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

fn key(place: &Place) -> String {
    key_in(&place.prints(&[
        "service-key",
        "create",
        "--name",
        "verifier",
        "--scope",
        "revocations",
    ]))
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
        let began = now();
        loop {
            let mut client = service.connect();
            let bearer = format!("Bearer {key}");
            let headers = [("Authorization", bearer.as_str())];
            client.begin("GET", "/api/auth/revocations", &headers, 0).expect("sent");
            let answer = client.answer().expect("answered");
            if answer.status == 200 {
                let mut feed = Self(client);
                feed.expect("event: synced");
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

const PATIENCE: Duration = Duration::from_secs(60);
