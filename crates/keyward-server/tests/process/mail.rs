//! Mail as the operator sets it up, and what is sent for the command line.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::place::Place;

/// Whatever is wrong is said of what it is wrong about, and once.
#[test]
fn a_broken_template_is_a_fault_of_the_template() {
    let place = Place::new();
    place.serve().stop();
    fs::create_dir(place.file("mails")).expect("a folder");
    let text = "Subject: Hello\n\nOpen {{ lnik }}\n";
    fs::write(place.file("mails/reset_password.txt"), text).expect("written");
    let with_mail = |arguments: &[&str]| {
        let mut command = place.keyward(arguments);
        command.envs(MAIL).env("KEYWARD_MAIL__TEMPLATES", "mails").stderr(Stdio::piped());
        let output = command.output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        output
    };
    let flaw = "mails/reset_password.txt cannot be used (line 3: undefined value: lnik)";
    let findings = String::from_utf8(with_mail(&["check", "--json"]).stdout).expect("UTF-8");
    let findings = findings.lines().map(|line| serde_json::from_str(line).expect("an object"));
    let errors: Vec<Value> = findings.filter(|one: &Value| one["severity"] == "error").collect();
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!(error["key"], "mail.templates");
    assert!(error["finding"].as_str().is_some_and(|text| text.contains(flaw)), "{error}");
    let said = with_mail(&["serve", "--listen", "127.0.0.1:0"]).stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("mail.templates") && said.contains(flaw), "{said}");
}

/// The command seals the mail, and the service that runs sends it.
#[test]
fn a_second_factor_that_the_operator_removes_is_told_of_by_mail() {
    let place = Place::new();
    let service = place.serve_with(&MAIL);
    service.register("ada@example.org");
    place.enable_second_factor();
    let key = place.file("keyward.master-key");
    let away = place.file("away");
    fs::rename(&key, &away).expect("moved");
    let reset = || {
        let mut reset = place.keyward(&["user", "reset-mfa", "ada@example.org"]);
        reset.envs(MAIL).stderr(Stdio::piped()).output().expect("it runs")
    };
    let refused = String::from_utf8_lossy(&reset().stderr).into_owned();
    assert!(refused.contains("told by mail") && refused.contains("master-key"), "{refused}");
    let other = place.keyward(&["secret"]).output().expect("it runs").stdout;
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&key);
    file.as_mut().expect("a file").write_all(&other).expect("written");
    let refused = String::from_utf8_lossy(&reset().stderr).into_owned();
    assert!(refused.contains("could not open") && refused.contains("master-key"), "{refused}");
    fs::rename(&away, &key).expect("moved back");
    let done = reset();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.contains("is told so by mail"), "{said}");
    wait_for_mail(&place, "Subject: Signing in takes no second factor any more");
    service.stop();
}

/// Under the key of the services, or not at all: no password is asked for before.
#[test]
fn a_password_that_the_operator_sets_is_told_of_by_mail() {
    let place = Place::new();
    let service = place.serve_with(&MAIL);
    service.register("ada@example.org");
    fs::write(place.file("password"), "vier volle fässer tinte\n").expect("written");
    let set = |input: Stdio| {
        let mut set =
            place.keyward(&["user", "set-password", "ada@example.org", "--password-stdin"]);
        set.envs(MAIL).stdin(input).stderr(Stdio::piped()).output().expect("it runs")
    };
    let key = place.file("keyward.master-key");
    let away = place.file("away");
    fs::rename(&key, &away).expect("moved");
    let refused = String::from_utf8_lossy(&set(Stdio::null()).stderr).into_owned();
    assert!(refused.contains("told by mail") && refused.contains("master-key"), "{refused}");
    fs::rename(&away, &key).expect("moved back");
    let done = set(fs::File::open(place.file("password")).expect("a file").into());
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.contains("is told so by mail"), "{said}");
    wait_for_mail(&place, "Subject: Your password was changed");
    service.stop();
}

fn wait_for_mail(place: &Place, subject: &str) {
    let has_come = || {
        let mails = fs::read_dir(place.file("outbox")).expect("a folder");
        mails
            .flatten()
            .any(|mail| fs::read_to_string(mail.path()).is_ok_and(|mail| mail.contains(subject)))
    };
    for _ in 0..600 {
        if has_come() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("no mail came: {}", place.log());
}

const MAIL: [(&str, &str); 2] =
    [("KEYWARD_MAIL__URL", "file:outbox"), ("KEYWARD_MAIL__FROM", "no-reply@example.org")];
