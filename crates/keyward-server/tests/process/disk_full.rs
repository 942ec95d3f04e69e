//! A disk that takes no more: nothing is half done, readers go on, and with room everything does.
//!
//! A limit on the size of files stands in for the disk: writing beyond it fails as well.

use std::process::Command;

use crate::client::{Answer, Tokens};
use crate::place::{BINARY, ENVIRONMENT, Place, Running, SERVE};

#[test]
fn without_room_writes_are_refused_and_nothing_is_lost() {
    let place = Place::new();
    let service = place.serve();
    let mut tokens = service.register("ada@example.org");
    service.stop();

    let service = serve_in_narrow_space(&place);
    let refused = refresh_until_refused(&service, &mut tokens);
    assert_eq!(refused.outcome(), "503 STORE_UNAVAILABLE");
    assert!(refused.header("retry-after").is_some());
    assert!(refused.set_cookies().is_empty(), "the client keeps what it has");
    let mut client = service.connect();
    for _ in 0..3 {
        let again = client.refresh(&tokens, None).expect("answered");
        assert_eq!(again.outcome(), "503 STORE_UNAVAILABLE");
    }
    // The probe writes a page, and the last few may have been too few for a rotation only.
    let mut is_ready = || client.send("GET", "/readyz", &[], "").expect("answered").status == 200;
    assert!((0..8).any(|_| !is_ready()));
    // What only reads goes on.
    assert_eq!(client.me(&tokens).expect("answered").status, 200);
    assert!(place.log().contains("the disk failed"), "{}", place.log());
    service.stop();

    let service = place.serve();
    let answer = service.connect().refresh(&tokens, None).expect("answered");
    assert_eq!(answer.outcome(), "200 -", "what was refused has not happened");
    service.stop();
    place.assert_database_is_sound();
}

/// Only there can the limit of a running process be lifted from outside.
#[cfg(target_os = "linux")]
#[test]
fn with_room_again_it_goes_on_without_a_restart() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let place = Place::new();
    let service = place.serve();
    let mut tokens = service.register("ada@example.org");
    service.stop();

    let service = serve_in_narrow_space(&place);
    let refused = refresh_until_refused(&service, &mut tokens);
    assert_eq!(refused.outcome(), "503 STORE_UNAVAILABLE");
    let process = i32::try_from(service.id()).ok().and_then(Pid::from_raw).expect("an id");
    let unlimited = Rlimit { current: None, maximum: None };
    prlimit(Some(process), Resource::Fsize, unlimited).expect("lifted");

    let mut client = service.connect();
    let ready = client.send("GET", "/readyz", &[], "").expect("answered");
    assert_eq!(ready.status, 200, "{}", ready.text());
    let answer = client.refresh(&tokens, None).expect("answered");
    assert_eq!(answer.outcome(), "200 -");
    service.stop();
    place.assert_database_is_sound();
}

/// The service where no file may grow beyond half a MiB. A write that fails for that reason also
/// raises a signal, which a full disk does not; it is ignored.
fn serve_in_narrow_space(place: &Place) -> Running {
    let mut command = Command::new("bash");
    let script = r#"trap '' XFSZ; ulimit -S -f 512; exec "$0" "$@""#;
    command.args(["-c", script, BINARY]).args(SERVE);
    command.envs(ENVIRONMENT).env("KEYWARD_LOG", "error");
    place.start(&mut command)
}

/// Rotates until there is no room for one more, and returns the refusal.
fn refresh_until_refused(service: &Running, tokens: &mut Tokens) -> Answer {
    let mut client = service.connect();
    for _ in 0..1000 {
        let answer = client.refresh(tokens, None).expect("answered");
        if answer.status != 200 {
            return answer;
        }
        *tokens = answer.tokens();
    }
    panic!("a thousand rotations fit");
}
