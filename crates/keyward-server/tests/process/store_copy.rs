//! Moving to PostgreSQL while people are signed in: nobody is signed out and nothing is lost, also
//! where the copy is killed again and again; and the same command ends it.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use keyward::store::postgres::fresh::FreshDatabase;
use keyward::store::{SqliteStore, Store as _};
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind};
use keyward_core::session::Device;
use keyward_core::time::Timestamp;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::client::{Client, Tokens};
use crate::over::Over;
use crate::place::{Place, Running};
use crate::random::Random;

#[test]
fn a_move_in_a_storm_of_refreshes_signs_nobody_out() {
    let world = World::new();
    let service = world.place.serve();
    service.register(EMAIL);
    let lines: Vec<Line> = (0..LINES).map(|number| Line::new(&service, number)).collect();
    let stage = Stage::at(service.address);
    let lines: Vec<Line> = thread::scope(|scope| {
        let end = stage.over.at_end();
        let browsing: Vec<_> =
            lines.into_iter().map(|line| scope.spawn(|| line.refresh_until_told(&stage))).collect();
        stage.wait_for_answers(20 * LINES);
        let copied = world.copy();
        assert_eq!(copied.status.code(), Some(0), "{}", said(&copied));
        stage.wait_for_refusals(LINES);
        // As an operator does it: the new store in the configuration, and a restart.
        let moved = world.serve();
        service.stop();
        stage.move_to(moved.address);
        stage.wait_for_answers(20 * LINES);
        drop(end);
        let lines = browsing.into_iter().map(|line| line.join().expect("it kept its session"));
        let lines = lines.collect();
        moved.stop();
        lines
    });
    let service = world.serve();
    for line in &lines {
        line.expect_spent_tokens_dead(&service);
    }
    service.stop();
}

/// An exchange whose answer was lost on the old store, and a theft on it, come up on the new one.
#[test]
fn what_began_on_the_old_store_goes_on_on_the_new_one() {
    let world = World::new();
    let service = world.place.serve();
    let victim = service.register(EMAIL);
    let spent = service.connect().refresh(&victim, None).expect("answered").tokens();
    let honest = service.login(EMAIL);
    let lost = service.connect().refresh(&honest, Some(KEY)).expect("answered").tokens();
    let copied = world.copy();
    assert_eq!(copied.status.code(), Some(0), "{}", said(&copied));

    let mut client = service.connect();
    assert_eq!(client.send("GET", "/readyz", &[], "").expect("answered").status, 503);
    for refused in [
        client.refresh(&lost, None).expect("answered"),
        client.me(&lost).expect("answered"),
        client.login(EMAIL, crate::place::PASSWORD).expect("answered"),
    ] {
        assert_eq!(refused.outcome(), "503 STORE_UNAVAILABLE");
        assert!(refused.header("retry-after").is_some());
        assert!(refused.set_cookies().is_empty());
    }
    service.stop();
    for command in [&["user", "list"][..], &["serve", "--dev"], &["check"]] {
        let refused =
            world.place.keyward(command).stderr(Stdio::piped()).output().expect("it runs");
        let told = format!("{}{}", said(&refused), String::from_utf8_lossy(&refused.stdout));
        assert!(told.contains("were moved to PostgreSQL at 20"), "{command:?}: {told}");
        assert_eq!(refused.status.code(), Some(1));
    }

    let service = world.serve();
    let mut client = service.connect();
    let retried = client.refresh(&honest, Some(KEY)).expect("answered");
    assert_eq!(retried.tokens().refresh, lost.refresh);
    assert_eq!(client.me(&lost).expect("answered").status, 200, "the signing key came along");
    let replayed = client.refresh(&victim, None).expect("answered");
    assert_eq!(replayed.outcome(), "401 REFRESH_TOKEN_REUSED");
    client.expect_revoked(&[victim], &spent);
    service.stop();
}

#[test]
fn a_copy_that_is_killed_again_and_again_is_finished_by_the_last() {
    let world = World::new();
    let service = world.place.serve();
    let mut tokens = service.register(EMAIL);
    world.record_events();
    let mut random = Random::new(SEED);
    let mut cut_short = 0;
    for kill in 1..=KILLS {
        let mut copy = world.command(&COPY).spawn().expect("it starts");
        // A quick machine is done soon: the first ones come early.
        let within = KILL_WITHIN_MILLIS * kill / KILLS;
        thread::sleep(Duration::from_millis(random.below(within) as u64));
        copy.kill().expect("it is ours");
        if copy.wait().expect("it ends").success() {
            break;
        }
        cut_short += 1;
        // The lock ends with its process.
        let answer = service.connect().refresh(&tokens, None).expect("answered");
        if answer.outcome() == "503 STORE_UNAVAILABLE" {
            // Killed between the end of the file and that of the copy.
            break;
        }
        assert_eq!(answer.outcome(), "200 -");
        tokens = answer.tokens();
    }
    assert!(cut_short > 0);
    let finished = world.copy();
    if finished.status.code() == Some(0) {
        expect_tables(&finished);
    } else {
        // The last one was killed when all was done, or was quicker than the kill.
        assert!(said(&finished).contains("all is done"), "{}", said(&finished));
    }
    service.stop();
    let service = world.serve();
    let answer = service.connect().refresh(&tokens, None).expect("answered");
    assert_eq!(answer.outcome(), "200 -");
    service.stop();
}

/// One object for each table, in their order.
fn expect_tables(finished: &Output) {
    let tables: Vec<Value> = String::from_utf8_lossy(&finished.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    let names: Vec<_> = tables.iter().filter_map(|table| table["table"].as_str()).collect();
    let accounts = ["user", "session", "audit_event", "key"];
    let factors = ["sealing_key", "totp", "recovery_code", "mfa_challenge"];
    let rest = ["service_key", "event_count", "one_time_token", "mail"];
    let last = ["audit_checkpoint", "audit_salt", "revocation"];
    assert_eq!(names, [&accounts[..], &factors, &rest, &last].concat());
    assert!(tables[2]["rows"].as_u64() > Some(EVENTS as u64));
    assert_eq!(tables[2]["sha256"].as_str().map(str::len), Some(64));
}

#[test]
fn a_password_in_the_command_is_refused_and_not_repeated() {
    let world = World::new();
    let to = "--to=postgres://keyward:hush@127.0.0.1/keyward";
    let refused = world.run(&["store", "copy", "--from", "sqlite:keyward.db", to]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("KEYWARD_STORE__PASSWORD_FILE"), "{}", said(&refused));
    assert!(!said(&refused).contains("hush"));
}

#[test]
fn a_target_that_is_none_is_blamed_on_its_option() {
    let to = ["store", "copy", "--from", "sqlite:keyward.db", "--to", "mysql://a@b/c"];
    let refused = Place::new().keyward(&to).stderr(Stdio::piped()).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(1));
    let told = said(&refused);
    assert!(told.contains("--to names the store \"mysql\""), "{told}");
}

#[test]
fn a_file_is_taken_back_by_name() {
    let (world, tokens) = World::moved_with_a_user();
    let told = world.place.prints(&["store", "reopen"]);
    assert!(told.contains("Ended 1 session"), "{told}");
    let service = world.place.serve();
    let refused = service.connect().refresh(&tokens, None).expect("answered");
    assert_eq!(refused.outcome(), "401 SESSION_REVOKED");
    service.stop();
}

/// The configuration names the new store by then, with all that is said of a server.
#[test]
fn a_file_is_taken_back_beside_the_configuration_of_the_new_store() {
    let (world, tokens) = World::moved_with_a_user();
    let on_file = |arguments: &[&str]| {
        let named = [arguments, &["--store", "sqlite:keyward.db"]].concat();
        let mut command = world.command(&named);
        let output = command.envs(SERVER_KEYS).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{named:?}: {}", said(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let told = on_file(&["store", "reopen", "--keep-sessions"]);
    assert!(told.contains("Ended 0 sessions"), "{told}");
    assert!(on_file(&["user", "list"]).contains(EMAIL));
    let service = world.place.serve();
    let answer = service.connect().refresh(&tokens, None).expect("answered");
    assert_eq!(answer.outcome(), "200 -");
    service.stop();
}

/// Whoever names only where to says with the target's password nothing about the configured file.
#[test]
fn a_configured_file_is_moved_with_the_password_of_the_target() {
    let world = World::new();
    world.place.prints(&["migrate"]);
    let [(_, url), password] = world.environment();
    let to = ["store", "copy", "--to", &url, "--json"];
    let copied = world.place.keyward(&to).envs([password]).stderr(Stdio::piped()).output();
    let copied = copied.expect("it runs");
    assert_eq!(copied.status.code(), Some(0), "{}", said(&copied));
}

/// A folder with a service on SQLite, and an empty database.
struct World {
    place: Place,
    runtime: Runtime,
    database: FreshDatabase,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let database = runtime.block_on(FreshDatabase::create());
        // Half a copy is nothing for the next test.
        runtime.block_on(database.run("SELECT"));
        let place = Place::new();
        let password = database.url();
        let password = password.split([':', '@']).nth(2).expect("a password");
        place.write_secret("password", password);
        Self { place, runtime, database }
    }

    /// One who has signed in before the move; the file is closed.
    fn moved_with_a_user() -> (Self, Tokens) {
        let world = Self::new();
        let service = world.place.serve();
        let tokens = service.register(EMAIL);
        service.stop();
        let copied = world.copy();
        assert_eq!(copied.status.code(), Some(0), "{}", said(&copied));
        (world, tokens)
    }

    /// The command with the new store in its environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.keyward(arguments);
        command.envs(self.environment().iter().map(|(name, value)| (*name, value.as_str())));
        command.stderr(Stdio::piped());
        command
    }

    fn environment(&self) -> [(&'static str, String); 2] {
        let url = self.database.url();
        let (role, place) = url.rsplit_once('@').expect("a role");
        let role = role.rsplit_once(':').map_or(role, |(role, _)| role);
        [
            ("KEYWARD_STORE__URL", format!("{role}@{place}")),
            ("KEYWARD_STORE__PASSWORD_FILE", "password".to_owned()),
        ]
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    fn copy(&self) -> Output {
        self.run(&COPY)
    }

    /// A service on the new store.
    fn serve(&self) -> Running {
        let environment = self.environment();
        let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.place.serve_with(&environment)
    }

    /// So much that the copy takes a while.
    fn record_events(&self) {
        let now = Timestamp::from_secs(1_790_000_000);
        let context =
            AuditContext { at: now, device: Device::default(), request_id: None, actor: None };
        let event = AuditEvent::of_nobody(AuditKind::CsrfRejected { count: 1 });
        let events = vec![(event, context); EVENTS];
        let store = SqliteStore::open(&self.place.file("keyward.db"), now).expect("a store");
        self.runtime.block_on(store.record(events)).expect("recorded");
    }
}

/// Where the service is, and what its clients have met.
struct Stage {
    address: Mutex<SocketAddr>,
    answers: AtomicUsize,
    refusals: AtomicUsize,
    over: Over,
}

impl Stage {
    fn at(address: SocketAddr) -> Self {
        Self {
            address: Mutex::new(address),
            answers: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            over: Over::default(),
        }
    }

    fn connect(&self) -> Option<Client> {
        Client::connect(*self.address.lock().expect("no panic")).ok()
    }

    fn move_to(&self, address: SocketAddr) {
        *self.address.lock().expect("no panic") = address;
    }

    fn wait_for_answers(&self, count: usize) {
        let goal = self.answers.load(Ordering::Relaxed) + count;
        wait_until(|| self.answers.load(Ordering::Relaxed) >= goal);
    }

    fn wait_for_refusals(&self, count: usize) {
        wait_until(|| self.refusals.load(Ordering::Relaxed) >= count);
    }
}

/// The test would end by itself where it never comes true: what is waited for is a client's answer,
/// and a client that gets another one panics.
fn wait_until(is_true: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if is_true() {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("it never came true");
}

/// One session whose client keeps its part: a key for each rotation, kept until it is answered.
struct Line {
    number: usize,
    tokens: Tokens,
    spent: Vec<Tokens>,
}

impl Line {
    fn new(service: &Running, number: usize) -> Self {
        Self { number, tokens: service.login(EMAIL), spent: Vec::new() }
    }

    fn refresh_until_told(mut self, stage: &Stage) -> Self {
        while !stage.over.is_set() {
            let Some(mut client) = stage.connect() else {
                // Between two services nobody listens.
                thread::sleep(PAUSE);
                continue;
            };
            let key = format!("line {} rotation {:08}", self.number, self.spent.len());
            // Gone in between: the next try brings the same key.
            let Ok(answer) = client.refresh(&self.tokens, Some(&key)) else { continue };
            match answer.outcome().as_str() {
                "200 -" => {
                    self.spent.push(std::mem::replace(&mut self.tokens, answer.tokens()));
                    stage.answers.fetch_add(1, Ordering::Relaxed);
                }
                "503 STORE_UNAVAILABLE" => {
                    assert!(answer.header("retry-after").is_some());
                    assert!(answer.set_cookies().is_empty());
                    stage.refusals.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(PAUSE);
                }
                outcome => panic!("line {}: {outcome}", self.number),
            }
        }
        self
    }

    fn expect_spent_tokens_dead(&self, service: &Running) {
        let mut client = service.connect();
        let answer = client.refresh(&self.spent[0], None).expect("answered");
        assert_eq!(answer.outcome(), "401 REFRESH_TOKEN_REUSED");
        client.expect_revoked(&self.spent, &self.tokens);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const COPY: [&str; 5] = ["store", "copy", "--from", "sqlite:keyward.db", "--json"];
/// What else may be said of the new store.
const SERVER_KEYS: [(&str, &str); 3] = [
    ("KEYWARD_STORE__MAX_CONNECTIONS", "5"),
    ("KEYWARD_STORE__PREPARED_STATEMENTS", "true"),
    ("KEYWARD_STORE__SHARE_COMMITS", "false"),
];
const EMAIL: &str = "ada@example.org";
const KEY: &str = "0123456789abcdefghijkl";
const LINES: usize = 6;
const EVENTS: usize = 40_000;
const SEED: u64 = 11;
const PAUSE: Duration = Duration::from_millis(20);
const KILLS: usize = 8;
const KILL_WITHIN_MILLIS: usize = 1500;
