//! Keys are rotated, given up and sealed anew beside a service that runs, without a restart and
//! without signing anybody out.

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::client::Tokens;
use crate::place::{Place, Running};

#[test]
fn clients_refresh_through_rotations_of_every_key() {
    let place = Place::new();
    let service = place.serve();
    service.register("ada@example.org");
    let lines: Vec<Tokens> = (0..4).map(|_| service.login("ada@example.org")).collect();
    let over = AtomicBool::new(false);
    let last: Vec<Tokens> = thread::scope(|scope| {
        let refreshing = |tokens| scope.spawn(|| refresh_until(&service, tokens, &over));
        let threads: Vec<_> = lines.iter().cloned().map(refreshing).collect();
        for _ in 0..3 {
            place.prints(&["key", "rotate", "--purpose", "all"]);
            make_it_read(&service, &lines[0]);
        }
        over.store(true, Ordering::SeqCst);
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });

    let active = keys(&place, "active");
    assert_eq!(active.len(), 4, "{active:?}");
    let signing = active.iter().find(|key| key["purpose"] == "access_token").expect("one");
    for tokens in last {
        let tokens = service.connect().refresh(&tokens, None).expect("answered").tokens();
        assert!(jwks(&service).contains(signing["id"].as_str().expect("an id")));
        assert_eq!(service.connect().me(&tokens).expect("answered").status, 200);
    }
    service.stop();
}

#[test]
fn what_a_leaked_key_signed_is_refused_and_users_go_on() {
    let place = Place::new();
    let service = place.serve();
    let tokens = service.register("ada@example.org");
    let leaked = jwks(&service);
    let said = place.prints(&["key", "compromise", "--purpose", "access_token"]);
    assert!(said.contains("clients refresh"), "{said}");
    make_it_read(&service, &tokens);

    let mut client = service.connect();
    assert_eq!(client.me(&tokens).expect("answered").outcome(), "401 INVALID_TOKEN");
    let tokens = client.refresh(&tokens, None).expect("answered").tokens();
    assert_eq!(client.me(&tokens).expect("answered").status, 200);
    let left = keys(&place, "compromised");
    let id = left[0]["id"].as_str().expect("an id");
    assert!(leaked.contains(id) && !jwks(&service).contains(id), "{left:?}");
    let events = place.prints(&["audit", "--json", "--type", "key.rotated"]);
    assert!(events.contains(r#""compromised":true"#), "{events}");
    service.stop();
}

#[test]
fn a_service_outlives_its_master_key() {
    let place = Place::new();
    let service = place.serve();
    let tokens = service.register("ada@example.org");
    new_master_key(&place, "second");
    let said = place.prints(&["key", "reseal", "--new-master-key-file", "second"]);
    assert!(said.contains("start every service again"), "{said}");
    make_it_read(&service, &tokens);
    let tokens = service.connect().refresh(&tokens, None).expect("answered").tokens();
    assert!(place.log().contains("sealed with another master key"), "{}", place.log());
    service.stop();

    let service = place.serve_with(&[("KEYWARD_KEYS__MASTER_KEY_FILE", "second")]);
    let mut client = service.connect();
    assert_eq!(client.me(&tokens).expect("answered").status, 200);
    assert_eq!(client.refresh(&tokens, None).expect("answered").status, 200);
    service.stop();
}

#[test]
fn a_key_that_nobody_replaced_is_told_of_and_replaced_at_the_next_start() {
    let place = Place::new();
    place.serve().stop();
    place.age_keys("csrf");
    let said = place.prints(&["check"]);
    assert!(said.contains("keyward key rotate --purpose csrf"), "{said}");
    assert_eq!(said.matches("keys.rotate_every").count(), 1, "{said}");

    let service = place.serve();
    let tokens = service.register("ada@example.org");
    // The first round of the background makes the key; each of these waits for a read of its own.
    let is_made = |_| {
        make_it_read(&service, &tokens);
        keys(&place, "pending").len() == 1
    };
    assert!((0..40).any(is_made), "{}", place.log());
    assert!(!place.prints(&["check"]).contains("keys.rotate_every"));
    service.stop();
}

/// Wherever the kill comes, one master key opens everything and the other one nothing.
#[test]
fn a_kill_in_the_middle_leaves_all_seals_old_or_all_new() {
    let place = Place::new();
    place.serve().stop();
    fs::rename(place.file("keyward.master-key"), place.file("0")).expect("renamed");
    let mut current = 0;
    for attempt in 1..=KILLS {
        new_master_key(&place, &attempt.to_string());
        let (from, to) = (current.to_string(), attempt.to_string());
        let mut command = place.keyward(&["key", "reseal", "--new-master-key-file", &to]);
        command.env("KEYWARD_KEYS__MASTER_KEY_FILE", &from).stderr(Stdio::null());
        let mut process = command.spawn().expect("it starts");
        // Some turns of the scheduler later each time; any moment will do.
        for _ in 0..attempt * TURNS {
            process.try_wait().expect("it is there");
            thread::yield_now();
        }
        // Fails where it has ended already.
        let _ = process.kill();
        process.wait().expect("it ends");
        let (old, new) = (opens(&place, &from), opens(&place, &to));
        assert_ne!(old, new, "attempt {attempt}");
        current = if new { attempt } else { current };
    }
    let mut command = place.keyward(&["key", "reseal", "--new-master-key-file", "last"]);
    new_master_key(&place, "last");
    command.env("KEYWARD_KEYS__MASTER_KEY_FILE", current.to_string());
    assert!(command.status().expect("it runs").success());
    assert!(opens(&place, "last"));
    place.assert_database_is_sound();
}

fn refresh_until(service: &Running, mut tokens: Tokens, over: &AtomicBool) -> Tokens {
    let mut client = service.connect();
    while !over.load(Ordering::SeqCst) {
        let answer = client.refresh(&tokens, None).expect("answered");
        assert_eq!(answer.outcome(), "200 -");
        tokens = answer.tokens();
    }
    tokens
}

/// A token that names a key which the service does not know makes it read the keys now, and not
/// some seconds later. The first byte is the number of the key, here 255.
fn make_it_read(service: &Running, tokens: &Tokens) {
    let (_, rest) = tokens.refresh.split_at("kwr_AQ".len());
    let unknown = Tokens { refresh: format!("kwr__w{rest}"), ..tokens.clone() };
    let refused = service.connect().refresh(&unknown, None).expect("answered");
    assert_eq!(refused.outcome(), "401 INVALID_REFRESH_TOKEN");
}

fn keys(place: &Place, state: &str) -> Vec<Value> {
    let lines = place.prints(&["key", "list", "--json"]);
    let keys = lines.lines().map(|line| serde_json::from_str(line).expect("an object"));
    keys.filter(|key: &Value| key["state"] == state).collect()
}

fn jwks(service: &Running) -> String {
    service.connect().send("GET", "/.well-known/jwks.json", &[], "").expect("answered").text()
}

fn new_master_key(place: &Place, name: &str) {
    place.write_secret(name, &place.prints(&["secret"]));
}

/// Whether the master key in this file opens the keys of the store.
fn opens(place: &Place, master_key: &str) -> bool {
    let mut command = place.keyward(&["check"]);
    command.env("KEYWARD_KEYS__MASTER_KEY_FILE", master_key);
    command.output().expect("it runs").status.success()
}

const KILLS: u64 = 12;
const TURNS: u64 = 300;
