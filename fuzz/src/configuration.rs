//! The server's configuration: a TOML file, and the environment over it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use keyward::policy::{AllowedOrigins, Policy, Registration};
use keyward_core::access_token::Algorithm;
use keyward_core::limits::Quota;
use keyward_core::password::PasswordPolicy;
use keyward_core::text::misleads;
use keyward_server::danger_for_tests::{Finding, read_configuration};
use tempfile::TempDir;

use crate::app::{App, EMAIL, PASSWORD};
use crate::input::first_line;

/// A key of [`SHOWN`] in the first line and behind it a value; or else a whole file and, behind a
/// line `%%`, the environment as lines of `NAME=value`.
///
/// What is refused names its key; what is accepted is fit to start a service with.
pub(crate) fn configuration(data: &[u8]) {
    let (line, value) = first_line(data);
    let shown = SHOWN.iter().find(|(key, _)| key.as_bytes() == line);
    FOLDER.with(|folder| match (shown, std::str::from_utf8(value)) {
        (Some((key, show)), Ok(value)) => check_value(folder.path(), key, *show, value),
        _ => {
            let (file, environment) = split(data);
            let variables = environment.split(|byte| *byte == b'\n').filter_map(variable);
            check_reading(&read(folder.path(), file, variables));
        }
    });
}

/// What stops the start, or a policy with which it succeeds.
fn check_reading(reading: &Result<Policy, Vec<Finding>>) {
    match reading {
        Ok(policy) => {
            let access = &policy.access_token;
            let is_plain = |text: &String| !text.contains(char::is_control);
            assert!(
                [&access.issuer, &access.audience, &access.client_id].into_iter().all(is_plain)
            );
            let mut policy = policy.clone();
            // Making a key of another algorithm is slow, and nothing of the configuration's.
            policy.access_token.algorithm = Algorithm::Hs256;
            policy.accounts.registration = Registration::Open;
            policy.password = PasswordPolicy::default();
            let app = App::with_policy(policy);
            let tokens = app.register(EMAIL, PASSWORD);
            assert!(app.accepts(&tokens), "it signs nobody in");
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                let sentence = problem.to_string();
                assert!(!sentence.chars().any(misleads), "it steers a terminal: {sentence:?}");
                let is_plain = !problem.key.chars().any(misleads);
                assert!(!is_plain || sentence.contains(&problem.key), "whose? {sentence}");
                assert!(sentence.ends_with('.'), "no sentence: {sentence}");
            }
        }
    }
}

/// A value means the same in the file and in the environment, and so does what it was taken for.
fn check_value(folder: &Path, key: &str, show: fn(&Policy) -> String, value: &str) {
    let (section, name) = key.split_once('.').expect("a key is in a section");
    let file = |value: &str| format!("[{section}]\n{name} = {}\n", quoted(value));
    let in_file = read(folder, file(value).as_bytes(), []);
    let variable = format!("KEYWARD_{section}__{}", name.replace('.', "__")).to_uppercase();
    let in_environment = read(folder, b"", [(variable.into(), value.into())]);
    check_reading(&in_file);
    match (in_file, in_environment) {
        (Ok(policy), Ok(same)) => {
            let shown = show(&policy);
            assert_eq!(shown, show(&same), "{key} = {value:?}");
            let again = read(folder, file(&shown).as_bytes(), []);
            let again = again.unwrap_or_else(|why| panic!("{key} = {shown:?}: {why:?}"));
            assert_eq!(show(&again), shown, "{key} = {value:?}");
        }
        (Err(problems), Err(same)) => {
            let told = |problems: &[Finding]| -> Vec<_> {
                problems.iter().map(|it| (it.key.clone(), it.complaint.clone())).collect()
            };
            assert_eq!(told(&problems), told(&same));
            // A value may also make another key's wrong, as a domain does to the public URL.
            let is_named = problems.iter().any(|problem| key.starts_with(&problem.key));
            assert!(is_named, "{key} = {value:?}: {problems:?}");
        }
        (Ok(_), Err(problems)) | (Err(problems), Ok(_)) => {
            panic!("{key} = {value:?} depends on where it is set: {problems:?}")
        }
    }
}

fn read(
    folder: &Path,
    text: &[u8],
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Policy, Vec<Finding>> {
    let file = folder.join("keyward.toml");
    std::fs::write(&file, text).expect("the folder can be written to");
    read_configuration(&file, folder, environment)
}

/// The file, and the environment behind the first line `%%`.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.windows(4).position(|window| window == b"\n%%\n");
    at.map_or((data, b""), |at| (&data[..at], &data[at + 4..]))
}

fn variable(line: &[u8]) -> Option<(OsString, OsString)> {
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    Some((text(&line[..equals]), text(&line[equals + 1..])))
}

/// A basic string of TOML.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for char in value.chars() {
        match char {
            '"' | '\\' => text.extend(['\\', char]),
            char if char.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => text.push(char),
        }
    }
    text + "\""
}

fn secs(duration: std::time::Duration) -> String {
    format!("{}s", duration.as_secs())
}

fn quota(quota: Option<Quota>) -> String {
    quota
        .map_or("off".to_owned(), |quota| format!("{} per {}", quota.count(), secs(quota.window())))
}

fn origins(origins: &AllowedOrigins) -> String {
    match origins {
        AllowedOrigins::Listed(listed) => listed.join(","),
        AllowedOrigins::AnyLoopback => panic!("that is for development"),
    }
}

/// Keys, and how what they were taken for is written.
type Shown = (&'static str, fn(&Policy) -> String);

const SHOWN: &[Shown] = &[
    ("access_token.audience", |policy| policy.access_token.audience.clone()),
    ("access_token.issuer", |policy| policy.access_token.issuer.clone()),
    ("access_token.ttl", |policy| secs(policy.access_token.ttl)),
    ("accounts.sessions_max", |policy| policy.accounts.sessions_max.to_string()),
    ("cookies.csrf_name", |policy| policy.cookies.csrf_name.clone()),
    ("cookies.refresh_name", |policy| policy.cookies.refresh_name.clone()),
    ("cookies.secure", |policy| policy.cookies.secure.to_string()),
    ("cors.allowed_origins", |policy| origins(&policy.web.allowed_origins)),
    ("limits.login_account", |policy| quota(policy.limits.login_account)),
    ("limits.refresh_session", |policy| quota(policy.limits.refresh_session)),
    ("password.argon2.memory", |policy| format!("{}KiB", policy.hashing.memory_kib)),
    ("password.min_length", |policy| policy.password.min_length.to_string()),
    ("refresh_token.idle_ttl", |policy| secs(policy.rotation.idle_ttl)),
    ("refresh_token.retry_window", |policy| secs(policy.rotation.retry_window)),
    ("server.base_path", |policy| policy.web.base_path.clone()),
    ("server.public_url", |policy| policy.web.public_url.clone()),
    ("server.request_timeout", |policy| secs(policy.web.request_timeout)),
    ("server.trusted_proxies", |policy| {
        policy.web.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }),
];

thread_local! {
    static FOLDER: TempDir = tempfile::tempdir().expect("a folder");
}
