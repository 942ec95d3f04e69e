//! Shared state as an operator meets it: configured by URL and password file, tried by `check`,
//! shown by `/readyz`.

use std::thread;
use std::time::Duration;

use crate::place::{Place, Running};

#[test]
fn a_service_says_whether_it_is_in_touch_with_the_others() {
    let (place, url) = place(None);
    let environment = [("KEYWARD_SHARED__URL", url.as_str()), PASSWORD_FILE];
    assert!(!check(&place, &environment).contains("shared."));
    let service = place.serve_with(&environment);
    wait_until_shown(&service, "reachable");
    service.register("ada@example.org");
    service.login("ada@example.org");
    service.stop();
    assert!(place.log().contains("the shared state is reachable"), "{}", place.log());
}

#[test]
fn a_service_serves_without_what_it_should_share() {
    let (place, url) = place(Some("hush"));
    let environment = [("KEYWARD_SHARED__URL", url.as_str()), PASSWORD_FILE];
    let found = check(&place, &environment);
    assert!(found.contains("shared.url does not work") && !found.contains("error"), "{found}");
    let service = place.serve_with(&environment);
    service.register("ada@example.org");
    wait_until_shown(&service, "unreachable");
    service.login("ada@example.org");
    service.stop();
    let log = place.log();
    assert_eq!(log.matches("the shared state is unreachable").count(), 1, "{log}");
    assert!(!log.contains("hush"), "{log}");
}

/// A folder with the server's password in a file, or another one; and its URL without any.
fn place(password: Option<&str>) -> (Place, String) {
    #[expect(clippy::disallowed_methods, reason = "tests are told by it where the server is")]
    let url = std::env::var("TEST_REDIS_URL");
    let url = url.expect("TEST_REDIS_URL names no server; CONTRIBUTING.md says how to set it");
    let (right, server) = url
        .strip_prefix("redis://:")
        .and_then(|rest| rest.split_once('@'))
        .expect("a URL with a password and no user");
    let place = Place::new();
    place.write_secret("password", password.unwrap_or(right));
    (place, format!("redis://{server}"))
}

/// What `check` finds, by an exit of 0.
fn check(place: &Place, environment: &[(&str, &str)]) -> String {
    let output = place.keyward(&["check"]).envs(environment.iter().copied()).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn wait_until_shown(service: &Running, shared: &str) {
    let mut client = service.connect();
    for _ in 0..1000 {
        let answer = client.send("GET", "/readyz", &[], "").expect("answered");
        assert_eq!(answer.status, 200, "{}", answer.text());
        if answer.json()["shared"] == shared {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("it never says that the shared state is {shared}");
}

const PASSWORD_FILE: (&str, &str) = ("KEYWARD_SHARED__PASSWORD_FILE", "password");
