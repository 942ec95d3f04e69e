//! Nothing that opens anything lies on the disk in clear, nor in the log at its most talkative.
//!
//! A service lives through everything that secrets travel in, and then every byte that it has left
//! behind is searched for each of them: while it runs, with its write-ahead log, and afterwards.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use keyward::clock::{Clock as _, SystemClock};
use keyward::store::{KeyPurpose, SqliteStore, Store as _};
use keyward_core::keys::MasterKey;
use serde_json::{Value, json};

use crate::client::{Client, Tokens};
use crate::place::{LOG, PASSWORD, Place, Running};

#[test]
fn no_secret_is_left_in_clear() {
    let place = Place::new();
    let service = place.serve_with(&[("KEYWARD_LOG", "trace")]);
    let mut secrets = Secrets::default();
    live_through_everything(&service, &mut secrets);
    call_by_service_key(&place, &service, &mut secrets);
    secrets.add_keys(&place);

    let running = remains(&place);
    assert!(running.iter().any(|(name, bytes)| name == "keyward.db-wal" && !bytes.is_empty()));
    secrets.check_absent(&running);
    let printed = service.stop();
    secrets.check_absent(&remains(&place));
    secrets.check_absent(&[("standard output".to_owned(), printed.into_bytes())]);
}

/// Every file of the place but the one that holds the master key, and what `audit` prints.
fn remains(place: &Place) -> Vec<(String, Vec<u8>)> {
    let mut remains = vec![("audit".to_owned(), place.prints(&AUDIT).into_bytes())];
    add_files(place.path(), &mut remains);
    check_something_is_found(&remains);
    remains
}

/// Mails are in a folder of their own.
fn add_files(folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            add_files(&path, files);
        } else if name != MASTER_KEY_FILE {
            files.push((name, fs::read(&path).expect("readable")));
        }
    }
}

/// A search that finds nothing proves something only where it would find what is there.
fn check_something_is_found(remains: &[(String, Vec<u8>)]) {
    for (place, text) in
        [("audit", "session.reuse_detected"), ("keyward.db", "SQLite format 3"), (LOG, "answered")]
    {
        let (_, bytes) = remains.iter().find(|(name, _)| name == place).expect("it is there");
        assert!(contains(bytes, text.as_bytes()), "{place}");
    }
    let is_stored = |(_, bytes): &(String, Vec<u8>)| contains(bytes, EMAIL.as_bytes());
    assert!(remains.iter().any(is_stored), "the address is stored in clear");
}

/// Sends every kind of secret in every way that is right, and in some that are wrong.
fn live_through_everything(service: &Running, secrets: &mut Secrets) {
    let mut client = service.connect();
    let registered = client.register(EMAIL, PASSWORD).expect("answered").tokens();
    let signed_in = client.login(EMAIL, PASSWORD).expect("answered").tokens();
    secrets.add("a password", PASSWORD);
    secrets.add_tokens(&registered);
    secrets.add_tokens(&signed_in);
    let refreshed = refresh_in_every_way(&mut client, &signed_in, secrets);
    send_what_is_wrong(&mut client, &refreshed, secrets);

    let changed = change_password(&mut client, &refreshed, secrets);
    let again = client.login(EMAIL, NEW_PASSWORD).expect("answered").tokens();
    secrets.add_tokens(&again);
    assert_eq!(client.logout(&again).expect("answered").status, 200);
    // Reuse: the spent token of a live session comes back.
    let successor = client.refresh(&changed, None).expect("answered").tokens();
    secrets.add_tokens(&successor);
    let reused = client.refresh(&changed, None).expect("answered");
    assert_eq!(reused.outcome(), "401 REFRESH_TOKEN_REUSED");
    delete_an_account(&mut client, secrets);
}

/// A service key in its place, where it may not go, and where it does not belong.
fn call_by_service_key(place: &Place, service: &Running, secrets: &mut Secrets) {
    let create = ["service-key", "create", "--name", "backup", "--scope", "audit:read"];
    let printed = place.prints(&create);
    let key = printed.trim_end();
    secrets.add("a service key", key);
    let text = key.strip_prefix("kwk_").expect("the prefix");
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
    secrets.add_bytes("the secret of a service key", &bytes);

    let mut client = service.connect();
    let bearer = format!("Bearer {key}");
    let headers = [("Authorization", bearer.as_str())];
    for (path, outcome) in [
        ("/api/admin/audit", "200 -"),
        (&format!("/api/admin/audit?key={key}"), "400 INVALID_REQUEST"),
        (&format!("/api/admin/users/{key}"), "403 INSUFFICIENT_PERMISSIONS"),
        ("/api/auth/me", "401 INVALID_TOKEN"),
    ] {
        let answer = client.send("GET", path, &headers, "").expect("answered");
        assert_eq!(answer.outcome(), outcome, "{path}");
    }
    let listed = place.prints(&["service-key", "list", "--json"]);
    secrets.check_absent(&[("the list of keys".to_owned(), listed.clone().into_bytes())]);
    let listed: Value = serde_json::from_str(&listed).expect("one object");
    place.prints(&["service-key", "revoke", listed["id"].as_str().expect("an id")]);
    let refused = client.send("GET", "/api/admin/audit", &headers, "").expect("answered");
    assert_eq!(refused.outcome(), "401 INVALID_TOKEN");
}

/// With a key, once more with it, and then without.
fn refresh_in_every_way(client: &mut Client, tokens: &Tokens, secrets: &mut Secrets) -> Tokens {
    secrets.add("an Idempotency-Key", IDEMPOTENCY_KEY);
    let first = client.refresh(tokens, Some(IDEMPOTENCY_KEY)).expect("answered").tokens();
    let retried = client.refresh(tokens, Some(IDEMPOTENCY_KEY)).expect("answered").tokens();
    assert_eq!(retried.refresh, first.refresh);
    let last = client.refresh(&first, None).expect("answered").tokens();
    for tokens in [&first, &retried, &last] {
        secrets.add_tokens(tokens);
    }
    last
}

fn send_what_is_wrong(client: &mut Client, tokens: &Tokens, secrets: &mut Secrets) {
    secrets.add("a wrong password", WRONG_PASSWORD);
    let refused = client.login(EMAIL, WRONG_PASSWORD).expect("answered");
    assert_eq!(refused.outcome(), "401 INVALID_CREDENTIALS");
    let broken = format!(r#"{{"email":"{EMAIL}","password":"{WRONG_PASSWORD}","#);
    let headers = [("Content-Type", "application/json")];
    let refused = client.send("POST", "/api/auth/login", &headers, &broken).expect("answered");
    assert_eq!(refused.outcome(), "400 INVALID_REQUEST");
    let misplaced = json!({ "email": WRONG_PASSWORD, "password": EMAIL, WRONG_PASSWORD: 1 });
    let refused = client.post("/api/auth/login", &[], &misplaced).expect("answered");
    assert_eq!(refused.outcome(), "400 INVALID_REQUEST");

    let swapped = Tokens {
        access: tokens.refresh.clone(),
        refresh: tokens.access.clone(),
        csrf: tokens.csrf.clone(),
    };
    assert_eq!(client.me(&swapped).expect("answered").outcome(), "401 INVALID_TOKEN");
    let refused = client.refresh(&swapped, None).expect("answered");
    assert_eq!(refused.outcome(), "401 INVALID_REFRESH_TOKEN");
    let path = format!("/api/auth/sessions/{}?token={}", tokens.refresh, tokens.access);
    let refused = client.send("DELETE", &path, &[("Authorization", &tokens.bearer())], "");
    assert_eq!(refused.expect("answered").outcome(), "404 NOT_FOUND");
}

fn change_password(client: &mut Client, tokens: &Tokens, secrets: &mut Secrets) -> Tokens {
    secrets.add("a new password", NEW_PASSWORD);
    let body = json!({ "currentPassword": PASSWORD, "newPassword": NEW_PASSWORD });
    let headers = [("Authorization", tokens.bearer())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = client.post("/api/auth/password/change", &headers, &body).expect("answered");
    assert_eq!(answer.outcome(), "200 -");
    let changed = answer.tokens();
    secrets.add_tokens(&changed);
    changed
}

fn delete_an_account(client: &mut Client, secrets: &mut Secrets) {
    let tokens = client.register("bob@example.org", OTHER_PASSWORD).expect("answered").tokens();
    secrets.add("another password", OTHER_PASSWORD);
    secrets.add_tokens(&tokens);
    let bearer = tokens.bearer();
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = json!({ "password": OTHER_PASSWORD }).to_string();
    let answer = client.send("DELETE", "/api/auth/me", &headers, &body).expect("answered");
    assert_eq!(answer.status, 204);
}

/// What must not be found, each with what it is.
#[derive(Default)]
struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    fn add(&mut self, what: &'static str, text: &str) {
        self.0.push((what, text.as_bytes().to_vec()));
    }

    /// Bytes, and the texts that they are commonly written as.
    fn add_bytes(&mut self, what: &'static str, bytes: &[u8]) {
        self.0.push((what, bytes.to_vec()));
        self.add(what, &URL_SAFE_NO_PAD.encode(bytes));
        self.add(what, &STANDARD_NO_PAD.encode(bytes));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.add(what, &hex);
        self.add(what, &hex.to_uppercase());
        // As `Debug` writes a slice.
        self.add(what, &format!("{bytes:?}"));
    }

    fn add_tokens(&mut self, tokens: &Tokens) {
        self.add("an access token", &tokens.access);
        let signature = tokens.access.rsplit('.').next().expect("three parts");
        self.add("the signature of an access token", signature);
        self.add("a CSRF token", &tokens.csrf);
        self.add("a refresh token", &tokens.refresh);
        let text = tokens.refresh.strip_prefix("kwr_").expect("the prefix");
        self.add("a refresh token without its prefix", text);
        let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
        self.add_bytes("a decoded refresh token", &bytes);
        self.add_bytes("the secret of a refresh token", &bytes[REFRESH_SECRET]);
    }

    /// The master key, and every key that it opens.
    fn add_keys(&mut self, place: &Place) {
        let text = fs::read_to_string(place.file(MASTER_KEY_FILE)).expect("a master key");
        let text = text.trim_end();
        self.add_bytes("the master key", &URL_SAFE_NO_PAD.decode(text).expect("base64url"));
        let master_key = MasterKey::parse(text).expect("a master key");
        let store = SqliteStore::open(&place.file("keyward.db"), SystemClock.now()).expect("opens");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let records = runtime.block_on(store.list_keys()).expect("listed");
        assert_eq!(records.len(), 4);
        for record in records {
            let row = format!("key/{}/{}", record.purpose.as_str(), record.id);
            let secret = master_key.open(&record.sealed, &row).expect("it opens");
            self.add_bytes("a sealed key", &secret);
            if record.purpose == KeyPurpose::AccessToken {
                self.add_bytes("the scalar of the signing key", scalar(&secret));
            }
        }
    }

    #[track_caller]
    fn check_absent(&self, remains: &[(String, Vec<u8>)]) {
        for (name, bytes) in remains {
            for (what, secret) in &self.0 {
                assert!(!contains(bytes, secret), "{what} stands in {name}");
            }
        }
    }
}

/// The number that makes a P-256 key secret, within its PKCS#8 (RFC 5915, section 3).
fn scalar(pkcs8: &[u8]) -> &[u8] {
    let version_and_length = [0x02, 0x01, 0x01, 0x04, 0x20];
    let at = pkcs8.windows(5).position(|window| window == version_and_length);
    let at = at.expect("an EC private key") + 5;
    &pkcs8[at..at + 32]
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == needle[0])
        .any(|(at, _)| bytes[at..].starts_with(needle))
}

const AUDIT: [&str; 4] = ["audit", "--json", "--limit", "1000"];
const MASTER_KEY_FILE: &str = "keyward.master-key";

/// After the key's id, the session's id and the generation, before the tag.
const REFRESH_SECRET: std::ops::Range<usize> = 25..57;

const EMAIL: &str = "ada@example.org";
const WRONG_PASSWORD: &str = "falsches kennwort 4711";
const NEW_PASSWORD: &str = "apfelkuchen am morgen";
const OTHER_PASSWORD: &str = "birnen unterm birnbaum";
const IDEMPOTENCY_KEY: &str = "a-key-that-nobody-else-may-know-91";
