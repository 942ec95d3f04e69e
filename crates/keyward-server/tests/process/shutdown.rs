//! An end in order: running requests are answered, nothing that was begun is half done, and the
//! same files serve the next start.

use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::client::{Client, Tokens};
use crate::place::{PASSWORD, Place, Running};

#[test]
fn a_running_request_is_answered_while_idle_connections_are_closed() {
    let place = Place::new();
    let service = place.serve();
    let tokens = service.register("ada@example.org");
    let mut idle = service.connect();
    assert_eq!(idle.me(&tokens).expect("answered").status, 200);
    let mut silent = service.connect();
    let body = json!({ "email": "bob@example.org", "password": PASSWORD }).to_string();
    let mut running = begin_register(&service, body.len());

    service.ask_to_stop();
    assert!(idle.is_closed() && silent.is_closed());
    // Who comes now is told at once, and can go elsewhere.
    assert!(TcpStream::connect(service.address).is_err());
    running.write(&body).expect("sent");
    let answer = running.answer().expect("answered");
    assert_eq!(answer.outcome(), "201 -");
    assert_eq!(answer.header("connection"), Some("close"));
    let registered = answer.tokens();
    service.ended();
    assert!(place.log().contains("stopped"), "{}", place.log());

    let service = place.serve();
    for tokens in [&tokens, &registered] {
        let answer = service.connect().refresh(tokens, None).expect("answered");
        assert_eq!(answer.outcome(), "200 -");
    }
    service.login("bob@example.org");
    service.stop();
    place.assert_database_is_sound();
}

#[test]
fn a_request_that_does_not_end_is_cut_off_at_the_timeout() {
    let place = Place::new();
    let service = place.serve_with(&[SLOW_REQUESTS, ("KEYWARD_SERVER__SHUTDOWN_TIMEOUT", "1s")]);
    let mut running = begin_register(&service, 100);
    service.ask_to_stop();
    service.ended_within(LONG_AFTER);
    assert!(running.is_closed());
    assert!(place.log().contains("cutting some off"), "{}", place.log());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let place = Place::new();
    let service = place.serve_with(&[SLOW_REQUESTS, ("KEYWARD_SERVER__SHUTDOWN_TIMEOUT", "10m")]);
    let mut idle = service.connect();
    let mut running = begin_register(&service, 100);
    service.ask_to_stop();
    // Two signals that come together count as one.
    assert!(idle.is_closed());
    service.ask_to_stop();
    service.ended_within(LONG_AFTER);
    assert!(running.is_closed());
    assert!(place.log().contains("cutting some off"), "{}", place.log());
}

#[test]
fn a_stop_in_a_storm_of_refreshes_answers_whatever_it_exchanges() {
    let place = Place::new();
    let service = place.serve();
    service.register("ada@example.org");
    let (answered, answers) = mpsc::channel();
    let lines: Vec<Tokens> = thread::scope(|scope| {
        let line = || {
            let (client, tokens) = (service.connect(), service.login("ada@example.org"));
            let answered = answered.clone();
            scope.spawn(move || refresh_until_closed(client, tokens, &answered))
        };
        let lines: Vec<_> = (0..4).map(|_| line()).collect();
        assert_eq!(answers.iter().take(100).count(), 100);
        service.ask_to_stop();
        lines.into_iter().map(|line| line.join().expect("it goes well")).collect()
    });
    service.ended();

    // No answer was lost: without a key, a token that had been exchanged would end its session.
    let service = place.serve();
    for tokens in &lines {
        let answer = service.connect().refresh(tokens, None).expect("answered");
        assert_eq!(answer.outcome(), "200 -");
    }
    service.stop();
}

/// A request that the service has begun to work on: it has asked for the body.
fn begin_register(service: &Running, length: usize) -> Client {
    let mut client = service.connect();
    let headers = [("Content-Type", "application/json"), ("Expect", "100-continue")];
    client.begin("POST", "/api/auth/register", &headers, length).expect("sent");
    assert_eq!(client.answer().expect("answered").status, 100);
    client
}

/// The last tokens that arrived.
fn refresh_until_closed(
    mut client: Client,
    mut tokens: Tokens,
    answered: &mpsc::Sender<()>,
) -> Tokens {
    while let Ok(answer) = client.refresh(&tokens, None) {
        assert_eq!(answer.outcome(), "200 -");
        tokens = answer.tokens();
        // Nobody counts any more once the signal is on its way.
        let _ = answered.send(());
    }
    tokens
}

/// So that the end of the service alone ends a request whose body does not come.
const SLOW_REQUESTS: (&str, &str) = ("KEYWARD_SERVER__REQUEST_TIMEOUT", "5m");

/// Far more than an end takes that was not waited for.
const LONG_AFTER: Duration = Duration::from_secs(30);

#[test]
fn no_fresh_master_key_is_made_beside_keys_that_another_one_sealed() {
    let place = Place::new();
    place.serve().stop();
    let (key, away) = (place.file("keyward.master-key"), place.file("away"));
    std::fs::rename(&key, &away).expect("moved away");
    let output = place
        .keyward(&["serve", "--dev", "--listen", "127.0.0.1:0"])
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("The master key is missing"), "{said}");
    assert!(!key.exists(), "a key that opens nothing was made");
    std::fs::rename(&away, &key).expect("put back");
    place.serve().stop();
}
