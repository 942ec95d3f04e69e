//! The commands, through the binary as an operator runs it.

mod check;
mod place;

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use place::{Place, objects, text};
use serde_json::Value;

const GOOD_PASSWORD: &str = "zimtkringel im regen";

#[test]
fn init_overwrites_nothing() {
    let place = Place::new();
    let said = place.prints(&["init"]);
    assert!(said.contains("Wrote keyward.toml:"), "{said}");
    assert!(said.contains("Wrote keyward.master-key:"), "{said}");
    for name in ["keyward.toml", "keyward.master-key"] {
        let mode = fs::metadata(place.path().join(name)).expect("there").mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let key = fs::read(place.path().join("keyward.master-key")).expect("there");
    fs::write(place.path().join("keyward.toml"), "# mine\n").expect("written");
    assert!(place.fails(&["init"]).contains("keyward.toml"));
    assert_eq!(fs::read(place.path().join("keyward.toml")).expect("there"), b"# mine\n");

    fs::remove_file(place.path().join("keyward.toml")).expect("removed");
    assert!(place.prints(&["init"]).contains("Kept"));
    assert_eq!(fs::read(place.path().join("keyward.master-key")).expect("there"), key);
}

#[test]
fn the_description_needs_no_store_and_no_service() {
    let place = Place::new();
    let config = "[server]\npublic_url = 'https://auth.example.org'\nbase_path = '/auth'\n";
    fs::write(place.path().join("keyward.toml"), config).expect("written");
    let printed: Value = serde_json::from_str(&place.prints(&["openapi"])).expect("JSON");
    assert_eq!(printed["openapi"], "3.1.0");
    assert_eq!(printed["servers"][0]["url"], "https://auth.example.org");
    assert_eq!(printed["paths"]["/auth/login"]["post"]["operationId"], "login");
    assert!(!place.path().join("keyward.db").exists());
}

#[test]
fn keys_are_listed_and_rotated() {
    let place = Place::new();
    place.serve(&["--dev"]).stop();
    let states = |place: &Place| -> Vec<String> {
        let keys = objects(&place.prints(&["key", "list", "--json"]));
        keys.iter().map(|key| format!("{} {}", key["purpose"], key["state"])).collect()
    };
    let first = ["access_token", "csrf", "refresh_token", "second_factor"];
    let first = first.map(|purpose| format!(r#""{purpose}" "active""#));
    assert_eq!(states(&place), first);
    let said = place.prints(&["key", "rotate", "--pending"]);
    assert!(said.contains("in use from 2"), "{said}");
    assert_eq!(states(&place)[4], r#""access_token" "pending""#);
    place.prints(&["key", "compromise", "--purpose", "refresh_token"]);
    assert_eq!(
        states(&place)[2..],
        [
            r#""refresh_token" "compromised""#,
            r#""second_factor" "active""#,
            r#""access_token" "pending""#,
            r#""refresh_token" "active""#,
        ]
    );
    assert!(place.prints(&["key", "list"]).contains("SIGNS FROM"));

    fs::rename(place.path().join("keyward.master-key"), place.path().join("x")).expect("renamed");
    assert!(place.fails(&["key", "rotate"]).contains("put ./keyward.master-key back"));
    assert!(place.prints(&["key", "list"]).contains("compromised"), "needs no master key");
}

#[test]
fn secrets_are_fresh_and_fit_for_a_master_key() {
    let place = Place::new();
    let secret = place.prints(&["secret"]);
    assert_eq!(secret.trim_end().len(), 43);
    assert_ne!(secret, place.prints(&["secret"]));
    let output = place
        .command(&["check"])
        .env("KEYWARD_KEYS__MASTER_KEY", secret.trim_end())
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn users_are_made_listed_changed_and_deleted() {
    let place = Place::migrated();
    let created = place.create_user("ada@example.org", GOOD_PASSWORD, &["--role", "admin"]);
    assert_eq!(created.status.code(), Some(0), "{}", text(&created.stderr));
    let id = text(&created.stdout).trim_end().to_owned();

    let users = objects(&place.prints(&["user", "list", "--json"]));
    assert_eq!(users.len(), 1);
    assert_eq!(users[0]["id"], id.as_str());
    assert_eq!(users[0]["roles"], serde_json::json!(["admin"]));
    assert!(place.prints(&["user", "list"]).contains("ada@example.org"));

    place.prints(&["user", "set-roles", "ADA@example.org", "b", "a", "b"]);
    let many: Vec<String> = (0..17).map(|number| format!("role{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let refused = place.fails(&[&["user", "set-roles", &id], many.as_slice()].concat());
    assert!(refused.contains("at most 16 roles"), "{refused}");
    place.prints(&["user", "disable", &id]);
    let shown = objects(&place.prints(&["user", "show", &id, "--json"]));
    assert_eq!(shown[0]["roles"], serde_json::json!(["a", "b"]));
    assert!(shown[0]["disabledAt"].is_string());
    let named = shown[0]["events"].as_array().expect("a list").iter();
    let named: Vec<&str> = named.filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(named, ["user.registered", "user.roles_changed", "user.disabled"]);
    let read = place.prints(&["user", "show", &id]);
    assert!(read.contains("What happened last:") && read.contains("user.disabled"), "{read}");
    place.prints(&["user", "enable", &id]);
    place.prints(&["user", "delete", &id]);
    assert!(place.fails(&["user", "show", &id]).contains("keyward user list"));
    let steering = place.fails(&["user", "show", "\u{1b}[2J"]);
    assert!(steering.contains("There is no user \\u{1b}[2J;"), "{steering:?}");

    let types: Vec<Value> = objects(&place.prints(&["audit", "--json"]))
        .into_iter()
        .map(|event| event["type"].clone())
        .collect();
    let expected =
        ["user.registered", "user.roles_changed", "user.disabled", "user.enabled", "user.deleted"];
    assert_eq!(types, expected);
    let filtered = place.prints(&["audit", "--json", "--since", "1h", "--type", "user.disabled"]);
    assert_eq!(objects(&filtered).len(), 1);
    assert_eq!(objects(&place.prints(&["audit", "--json", "--limit", "2"])).len(), 2);
}

#[test]
fn accounts_that_cannot_be_made_say_why() {
    let place = Place::migrated();
    for (email, password) in [
        ("ada@example.org", "q7#kz"),
        ("ada@example.org", "password1"),
        ("ada@example.org", ""),
        ("no address", GOOD_PASSWORD),
    ] {
        let output = place.create_user(email, password, &[]);
        assert_eq!(output.status.code(), Some(1), "{email} {password}");
        assert!(password.is_empty() || !text(&output.stderr).contains(password));
    }
    assert_eq!(place.create_user("a@example.org", GOOD_PASSWORD, &[]).status.code(), Some(0));
    let again = place.create_user("A@example.org", GOOD_PASSWORD, &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("has an account already"));
}

#[test]
fn a_password_does_not_repeat_the_name_of_the_service() {
    let place = Place::migrated();
    let create = |config: &str| {
        fs::write(place.path().join("keyward.toml"), config).expect("written");
        place.create_user("ada@example.org", "kranichhof1", &[])
    };
    let refused = create("[server]\npublic_url = 'https://auth.kranichhof.example'\n");
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("anyone would guess"), "{said}");
    let elsewhere = create("[server]\npublic_url = 'https://auth.example.org'\n");
    assert_eq!(elsewhere.status.code(), Some(0), "{}", text(&elsewhere.stderr));
}

#[test]
fn service_keys_are_made_listed_and_revoked() {
    let place = Place::migrated();
    let create = |name, more: &[&str]| {
        let arguments = [&["service-key", "create", "--name", name], more].concat();
        place.prints(&arguments).trim_end().to_owned()
    };
    let first = create("drill", &["--scope", "users:write", "--scope", "audit:read"]);
    let second = create("backup", &["--scope", "audit:read", "--expires-in", "90d"]);
    assert_ne!(first, second);
    for key in [&first, &second] {
        assert!(key.starts_with("kwk_") && key.len() == 47 && !key.contains('\n'), "{key}");
    }

    let keys = objects(&place.prints(&["service-key", "list", "--json"]));
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0]["name"], "drill");
    assert_eq!(keys[0]["scopes"], serde_json::json!(["audit:read", "users:write"]));
    assert!(keys[0]["expiresAt"].is_null() && keys[1]["expiresAt"].is_string());
    let id = keys[0]["id"].as_str().expect("an id");
    assert!(place.prints(&["service-key", "revoke", id]).contains("(drill) is revoked"));
    place.prints(&["service-key", "revoke", id]);
    let keys = objects(&place.prints(&["service-key", "list", "--json"]));
    assert!(keys[0]["revokedAt"].is_string() && keys[1]["revokedAt"].is_null());
    for unknown in ["x", "0198c0de-7a8b-7c3d-8e4f-5a6b7c8d9e0f"] {
        let said = place.fails(&["service-key", "revoke", unknown]);
        assert!(said.contains("keyward service-key list"), "{said}");
    }

    let audit = place.prints(&["audit", "--json"]);
    let types: Vec<Value> = objects(&audit).iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["service_key.created", "service_key.created", "service_key.revoked"]);
    for said in [audit, place.prints(&["service-key", "list"])] {
        assert!(!said.contains(&first[4..]) && !said.contains(&second[4..]), "{said}");
    }
}

#[test]
fn a_wrong_folder_does_not_look_like_an_empty_installation() {
    let place = Place::new();
    for arguments in [
        &["user", "list"][..],
        &["session", "list"],
        &["key", "list"],
        &["key", "rotate"],
        &["service-key", "list"],
        &["service-key", "create", "--name", "x", "--scope", "audit:read"],
        &["user", "create", "--email", "ada@example.org", "--password-stdin"],
        &["user", "import", "-"],
        &["user", "set-password", "ada@example.org", "--password-stdin"],
        &["audit"],
    ] {
        let said = place.fails(arguments);
        assert!(said.contains(&format!("{}/keyward.db;", place.path().display())), "{said}");
        assert!(said.contains("--data-dir") && said.contains("keyward migrate"), "{said}");
    }
    assert!(!place.path().join("keyward.db").exists());
}

#[test]
fn an_operator_says_whether_an_address_is_the_users() {
    let place = Place::migrated();
    for (email, flags) in [("ada@example.org", &[][..]), ("eve@example.org", &["--email-verified"])]
    {
        place.create_user(email, GOOD_PASSWORD, flags);
        let shown = objects(&place.prints(&["user", "show", email, "--json"]));
        assert_eq!(shown[0]["emailVerified"], !flags.is_empty());
    }
}

#[test]
fn migrations_are_listed_before_and_after() {
    let place = Place::new();
    let before = objects(&place.prints(&["migrate", "--status", "--json"]));
    assert!(before.iter().all(|migration| migration["appliedAt"].is_null()), "{before:?}");
    assert!(!before.is_empty());
    place.prints(&["migrate"]);
    let after = objects(&place.prints(&["migrate", "--status", "--json"]));
    assert!(after.iter().all(|migration| migration["appliedAt"].is_string()), "{after:?}");
}

#[test]
fn a_service_starts_answers_and_drains() {
    let place = Place::new();
    let service = place.serve(&["--dev"]);
    let answer = service.exchange("GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let body = format!(r#"{{"email":"ada@example.org","password":"{GOOD_PASSWORD}"}}"#);
    let register = format!(
        "POST /api/auth/register HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = service.exchange(&register);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");

    // The command line reads and changes what the running service serves.
    let sessions =
        objects(&place.prints(&["session", "list", "--user", "ada@example.org", "--json"]));
    assert_eq!(sessions.len(), 1);
    let id = sessions[0]["id"].as_str().expect("an id").to_owned();
    assert!(place.prints(&["session", "revoke", &id]).contains("Ended 1 session"));
    let ended = objects(&place.prints(&["session", "list", "--ended", "--json"]));
    assert_eq!((&ended[0]["id"], &ended[0]["reason"]), (&sessions[0]["id"], &"admin".into()));
    let shown = place.prints(&["session", "show", &id]);
    assert!(shown.contains("session.created") && shown.contains("ended at"), "{shown}");
    let other = id.replace(|char: char| char.is_ascii_hexdigit(), "0");
    assert!(place.fails(&["session", "show", &other]).contains("keyward session list"));
    assert!(place.fails(&["session", "revoke", &id]).contains("no such live session"));
    assert!(place.prints(&["session", "revoke", "--all"]).contains("Ended 0 sessions"));
    service.stop();
}

#[test]
fn usage_errors_end_with_2_and_help_shows_examples() {
    let place = Place::new();
    for arguments in [
        &["nonsense"][..],
        &[],
        &["session", "revoke"],
        &["session", "revoke", "--all", "--user", "x"],
        &["key", "compromise"],
        &["key", "rotate", "--purpose", "nonsense"],
        &["key", "reseal"],
        &["audit", "--since", "yesterday"],
        &["audit", "--type", "nonsense"],
        &["user", "create", "--email", "a@b.example"],
        &["user", "set-roles", "a@b.example", "two words"],
        &["service-key", "create", "--name", "x"],
        &["service-key", "create", "--scope", "audit:read"],
        &["service-key", "create", "--name", "x", "--scope", "everything"],
        &["service-key", "create", "--name", "", "--scope", "audit:read"],
        &["service-key", "create", "--name", "x", "--scope", "audit:read", "--expires-in", "1y"],
    ] {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert!(place.prints(&["--help"]).contains("Examples:"));
    for command in ["serve", "check", "migrate", "audit"] {
        assert!(place.prints(&[command, "--help"]).contains("Examples:"), "{command}");
    }
    for command in ["init", "openapi", "secret"] {
        assert!(place.prints(&[command, "--help"]).contains("Example:"), "{command}");
    }
    for action in ["create", "list", "show", "set-roles", "disable", "enable", "delete"] {
        assert!(place.prints(&["user", action, "--help"]).contains("Example:"), "{action}");
    }
    for action in ["list", "rotate", "compromise", "reseal"] {
        assert!(place.prints(&["key", action, "--help"]).contains("Example"), "{action}");
    }
    for action in ["create", "list", "revoke"] {
        assert!(place.prints(&["service-key", action, "--help"]).contains("Example"), "{action}");
    }
    for action in ["list", "show", "revoke"] {
        assert!(place.prints(&["session", action, "--help"]).contains("Example"), "{action}");
    }
}

#[test]
fn development_refuses_to_listen_to_others() {
    let place = Place::new();
    let said = place.fails(&["serve", "--dev", "--listen", "0.0.0.0:0"]);
    assert!(said.contains("server.listen"), "{said}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = Place::new();
    let mut command = place.command(&["secret"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command.stdout(writer).output().expect("runs");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let place = Place::new();
    for level in ["keyward=loud", "loud"] {
        let mut command = place.command(&["serve", "--dev", "--listen", "127.0.0.1:0"]);
        let output = command.env("KEYWARD_LOG", level).output().expect("runs");
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("KEYWARD_LOG"), "{}", text(&output.stderr));
    }
}
