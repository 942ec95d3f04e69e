//! Two processes on one file: what the command line decides holds at once in the service beside it,
//! and what it finds in a file that another version has written.

use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::Duration;

use crate::client::{Client, Tokens};
use crate::place::{PASSWORD, Place, Running, SERVE};

#[test]
fn a_disabled_user_is_out_at_once_and_back_when_enabled() {
    let place = Place::new();
    let service = place.serve();
    let tokens = service.register("ada@example.org");
    let bystander = service.register("bob@example.org");
    assert_eq!(service.connect().me(&tokens).expect("answered").status, 200);

    place.prints(&["user", "disable", "ada@example.org"]);
    check_ended(&service, &tokens, "user_disabled");
    let mut client = service.connect();
    let refused = client.login("ada@example.org", PASSWORD).expect("answered");
    assert_eq!(refused.outcome(), "403 ACCOUNT_DISABLED");
    assert_eq!(client.me(&bystander).expect("answered").status, 200);

    place.prints(&["user", "enable", "ada@example.org"]);
    service.login("ada@example.org");
    check_ended(&service, &tokens, "user_disabled");
    service.stop();
}

#[test]
fn an_ended_session_is_out_at_once_and_its_siblings_stay() {
    let place = Place::new();
    let service = place.serve();
    let ended = service.register("ada@example.org");
    let sibling = service.login("ada@example.org");

    place.prints(&["session", "revoke", &ended.session_id()]);
    check_ended(&service, &ended, "admin");
    assert_eq!(service.connect().me(&sibling).expect("answered").status, 200);

    place.prints(&["session", "revoke", "--user", "ada@example.org"]);
    check_ended(&service, &sibling, "admin");
    service.stop();
}

#[test]
fn a_deleted_user_is_out_at_once() {
    let place = Place::new();
    let service = place.serve();
    let tokens = service.register("ada@example.org");
    place.prints(&["user", "delete", "ada@example.org"]);
    let mut client = service.connect();
    assert_eq!(client.me(&tokens).expect("answered").outcome(), "401 TOKEN_REVOKED");
    assert_eq!(client.refresh(&tokens, None).expect("answered").status, 401);
    let refused = client.login("ada@example.org", PASSWORD).expect("answered");
    assert_eq!(refused.outcome(), "401 INVALID_CREDENTIALS");
    service.stop();
}

#[test]
fn an_unlocked_user_can_try_again_soon() {
    let place = Place::new();
    let service = place.serve();
    service.register("ada@example.org");
    let mut client = service.connect();
    let wrong =
        |client: &mut Client<_>| client.login("ada@example.org", "not the one").expect("answered");
    for _ in 0..5 {
        assert_eq!(wrong(&mut client).outcome(), "401 INVALID_CREDENTIALS");
    }
    assert_eq!(wrong(&mut client).outcome(), "429 RATE_LIMITED");

    let printed = place.prints(&["user", "unlock", "ada@example.org"]);
    assert!(printed.ends_with(" can try again within five seconds.\n"), "{printed}");
    let unlocked = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        client.login("ada@example.org", PASSWORD).expect("answered").status == 200
    });
    assert!(unlocked, "not within ten seconds");
    let events = place.prints(&["audit", "--user", "ada@example.org"]);
    assert!(events.contains("user.unlocked"), "{events}");

    let refused = place.keyward(&["user", "unlock", "bob@example.org"]).output().expect("run");
    assert_eq!(refused.status.code(), Some(1));
    service.stop();
}

#[test]
fn a_file_is_served_by_one_process_at_a_time() {
    let place = Place::new();
    let service = place.serve();
    let tokens = service.register("ada@example.org");
    symlink(place.file("keyward.db"), place.file("other.db")).expect("a link");
    for file in ["keyward.db", "other.db"] {
        let store = format!("sqlite:{file}");
        let mut second = place.keyward(&[&SERVE[..], &["--store", &store]].concat());
        let output = second.stderr(Stdio::piped()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        let expected = format!("Another process serves {};", place.file(file).display());
        assert!(said.contains(&expected), "{said}");
    }
    assert_eq!(service.connect().me(&tokens).expect("answered").status, 200);
    // Nothing of it outlives the process.
    service.kill();
    place.serve().stop();
}

#[test]
fn check_tells_of_migrations_to_come_and_applies_none() {
    let place = Place::new();
    place.prints(&["migrate"]);
    assert!(!place.prints(&["check"]).contains("migration"));
    place.forget_a_migration();
    for _ in 0..2 {
        let findings = place.prints(&["check", "--json"]);
        assert!(findings.contains("lacks 1 migration(s)"), "{findings}");
    }
}

/// Neither token of the session works any more, and the answer says why.
fn check_ended(service: &Running, tokens: &Tokens, reason: &str) {
    let mut client = service.connect();
    assert_eq!(client.me(tokens).expect("answered").outcome(), "401 TOKEN_REVOKED");
    let refused = client.refresh(tokens, None).expect("answered");
    assert_eq!(refused.outcome(), "401 SESSION_REVOKED");
    assert_eq!(refused.json()["reason"], reason);
}
