//! PostgreSQL as an operator meets it: a role that owns the schema, another that runs the service,
//! two nodes, the command line beside them.

use std::fs;
use std::process::{Output, Stdio};

use keyward::store::postgres::fresh::{SERVICE_PASSWORD, SERVICE_ROLE};

use crate::database::Database;
use crate::feed::Feed;
use crate::place::{Place, Running, SERVE};

#[test]
fn the_services_role_waits_for_the_owner_to_migrate() {
    let world = World::new();
    world.database.run("DROP SCHEMA keyward CASCADE");
    let place = world.place();
    let refused = world.run(&place, &SERVE);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("keyward migrate --grant-to"), "{told}");
    assert!(is_pending(&world.prints(&place, &["migrate", "--status"])));
    let owner = world.database.url();
    world.refuses_to_check(&place);
    world.prints(&place, &["check", "--store", &owner]);

    let migrate = ["migrate", "--store", &owner, "--grant-to", SERVICE_ROLE];
    let told = world.prints(&place, &migrate);
    assert!(told.ends_with(&format!("{SERVICE_ROLE} its rights.\n")), "{told}");
    assert!(!is_pending(&world.prints(&place, &["migrate", "--status"])));
    let findings = world.prints(&place, &["check"]);
    assert!(!findings.contains("error") && !findings.contains("audit log"), "{findings}");
    let of_owner = world.prints(&place, &["check", "--store", &owner]);
    assert!(of_owner.contains("rewrite the audit log"), "{of_owner}");
    place.serve_with(&world.environment()).stop();
    let newest = "(SELECT max(version) FROM keyward.migration)";
    world.database.run(&format!("DELETE FROM keyward.migration WHERE version = {newest}"));
    world.refuses_to_check(&place);
}

#[test]
fn the_command_line_and_the_feed_are_of_all_nodes() {
    let world = World::new();
    let (first, second) = (world.place(), world.place());
    let one = first.serve_with(&world.environment());
    // The second node brings no key of its own: what the first one has sealed would not open.
    fs::copy(first.file(KEY), second.file(KEY)).expect("a copy");
    let two = second.serve_with(&world.environment());

    one.register("ada@example.org");
    assert!(world.prints(&second, &["user", "list"]).contains("ada@example.org"));
    let audit = world.prints(&second, &["audit"]);
    assert!(audit.contains("user.registered"), "{audit}");
    feed_tells_of_other_nodes(&world, &first, [&one, &two]);
    one.stop();
    two.stop();
    for place in [first, second] {
        assert!(!place.log().contains(SERVICE_PASSWORD));
    }
}

/// The feed of one node tells of what another one and the command line did.
fn feed_tells_of_other_nodes(world: &World, place: &Place, [one, two]: [&Running; 2]) {
    let create = ["service-key", "create", "--name", "verifier", "--scope", "revocations"];
    let key = crate::feed::key_in(&world.prints(place, &create));
    let mut feed = Feed::follow(two, &key);
    let tokens = one.register("bob@example.org");
    assert_eq!(one.connect().logout(&tokens).expect("answered").status, 200);
    feed.expect(&tokens.session_id());
    let tokens = one.login("bob@example.org");
    world.prints(place, &["session", "revoke", &tokens.session_id()]);
    feed.expect(&tokens.session_id());
}

#[test]
fn a_database_without_keyward_is_named_and_its_password_is_not() {
    let world = World::new();
    world.database.run("DROP SCHEMA keyward CASCADE");
    let place = world.place();
    let missing = world.run(&place, &["audit", "--store", &world.database.service_url()]);
    let told = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(told.starts_with("keyward: There is no database of Keyward at postgres://"), "{told}");
    assert!(!told.contains(SERVICE_PASSWORD), "{told}");
}

/// As after an upgrade without it.
#[test]
fn check_names_the_rights_that_the_role_was_not_granted() {
    let world = World::new();
    let place = world.place();
    assert!(!world.prints(&place, &["check"]).contains("rights"));
    let revoke = |right| world.database.run(&format!("REVOKE {right} FROM {SERVICE_ROLE}"));
    let hint =
        format!("run `keyward migrate --grant-to {SERVICE_ROLE}` as the owner of the schema");
    revoke("EXECUTE ON FUNCTION keyward.add_audit_partitions()");
    let found = world.prints(&place, &["check"]);
    let of_upkeep = "(EXECUTE on FUNCTION keyward.add_audit_partitions())";
    assert!(found.contains(of_upkeep) && found.contains(&hint), "{found}");

    revoke("DELETE ON keyward.event_count");
    revoke("UPDATE (due_at) ON keyward.mail");
    let found = world.refuses_to_check(&place);
    let lacking = "(DELETE on keyward.event_count, UPDATE (due_at) on keyward.mail)";
    assert!(found.contains(lacking) && found.contains(&hint), "{found}");
    assert!(found.contains(of_upkeep), "{found}");
    // Its own role is not the owner's.
    let granted = world.run(&place, &["migrate", "--grant-to", SERVICE_ROLE]);
    let told = String::from_utf8_lossy(&granted.stderr);
    assert_eq!(granted.status.code(), Some(1), "{told}");
    assert!(told.contains("does not own the schema") && told.contains("--store"), "{told}");
}

/// Without it each sign-in is answered 503.
#[test]
fn check_fails_where_the_role_may_not_record_events() {
    let world = World::new();
    let columns = "at, name, user_id, session_id, ip, user_agent, request_id, detail";
    let right = format!("INSERT ({columns}) ON keyward.audit_event");
    world.database.run(&format!("REVOKE {right} FROM {SERVICE_ROLE}"));
    let found = world.refuses_to_check(&world.place());
    assert!(found.contains("INSERT (user_id) on keyward.audit_event"), "{found}");
}

/// Whether the list of migrations shows one that is not applied.
fn is_pending(listed: &str) -> bool {
    listed.lines().any(|line| line.trim_end().ends_with(" -"))
}

/// A database, and how the service is told of it.
struct World {
    database: Database,
    url: String,
}

impl World {
    fn new() -> Self {
        let database = Database::new();
        let url = database.service_url().replace(&format!(":{SERVICE_PASSWORD}@"), "@");
        Self { database, url }
    }

    /// A folder of a node, with the password in a file.
    fn place(&self) -> Place {
        let place = Place::new();
        place.write_secret("password", SERVICE_PASSWORD);
        place
    }

    fn environment(&self) -> [(&str, &str); 2] {
        [("KEYWARD_STORE__URL", &self.url), ("KEYWARD_STORE__PASSWORD_FILE", "password")]
    }

    fn run(&self, place: &Place, arguments: &[&str]) -> Output {
        let mut command = place.keyward(arguments);
        command.envs(self.environment()).stderr(Stdio::piped());
        command.output().expect("it runs")
    }

    /// `check` finds what would keep the service from its work, and says what to do.
    fn refuses_to_check(&self, place: &Place) -> String {
        let output = self.run(place, &["check"]);
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{found}");
        assert!(found.contains("error") && found.contains("migrate --grant-to"), "{found}");
        found
    }

    fn prints(&self, place: &Place, arguments: &[&str]) -> String {
        let output = self.run(place, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(!printed.contains(SERVICE_PASSWORD), "{printed}");
        printed
    }
}

const KEY: &str = "keyward.master-key";
