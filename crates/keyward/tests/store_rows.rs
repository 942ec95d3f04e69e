//! Rows that no code of ours wrote: whatever stands in them, the service answers and nothing
//! panics.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::{Method, StatusCode};
use common::{Browser, PASSWORD, TestApp};
use keyward::store::SqliteStore;
use keyward_core::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rusqlite::types::Value;
use rusqlite::{Connection, params};
use serde_json::json;

#[test]
fn no_row_makes_anything_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("test.db");
    let (current, spent) = runtime.block_on(signed_in(&path));
    let rows = Rows::open(&path);
    PanicCount::begin();
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() };
    proptest!(config, |(changes in vec(any_change(), 1..4))| {
        rows.restore();
        for (table, column, value) in &changes {
            rows.set(table, column, value);
        }
        runtime.block_on(ask_everything(&current, &spent));
        prop_assert_eq!(PanicCount::so_far(), 0, "{:?}", changes);
    });
}

/// Two browsers with tokens of one session, the second one's replaced by a retryable refresh.
async fn signed_in(path: &Path) -> (Browser, Browser) {
    let store = SqliteStore::open(path, Timestamp::from_secs(1)).expect("a store");
    let mut app = TestApp::on_store(Arc::new(store), |policy| {
        policy.limits.refresh_session = None;
        policy.limits.login_account = None;
        policy.limits.login_address = None;
    })
    .await;
    // What stands in a row is answered as it stands there.
    app.description = None;
    let mut current = app.registered("ada@example.org").await;
    let spent = current.clone();
    current.refresh_with_key(KEY).await.assert(StatusCode::OK, None);
    (current, spent)
}

/// Every way in which the service reads a session or a user. Each begins with what the browser held
/// before the rows were changed.
async fn ask_everything(current: &Browser, spent: &Browser) {
    let login = json!({ "email": "ada@example.org", "password": PASSWORD });
    let read = [
        (Method::GET, "/api/auth/me", None),
        (Method::GET, "/api/auth/sessions", None),
        (Method::GET, "/api/auth/csrf", None),
        (Method::POST, "/api/auth/login", Some(login)),
    ];
    for (method, path, body) in read {
        check(current.clone().call(method, path, body).await);
    }
    check(spent.clone().refresh_with_key(KEY).await);
    check(current.clone().refresh().await);
    check(spent.clone().refresh().await);
    check(current.clone().post("/api/auth/logout-all", None).await);
}

/// What is wrong with a row is the operator's to read, not the client's.
fn check(answer: common::Answer) {
    if answer.status.is_client_error() || answer.status.is_server_error() {
        answer.assert_error_form();
    }
}

/// The database behind the store's back.
struct Rows(Connection);

impl Rows {
    fn open(path: &Path) -> Self {
        let connection = Connection::open(path).expect("the database");
        let keep = "PRAGMA ignore_check_constraints = true; \
             CREATE TEMP TABLE kept_session AS SELECT * FROM session; \
             CREATE TEMP TABLE kept_user AS SELECT * FROM user";
        connection.execute_batch(keep).expect("copies");
        Self(connection)
    }

    fn restore(&self) {
        let restore = "BEGIN IMMEDIATE; DELETE FROM session; DELETE FROM user; \
             INSERT INTO session SELECT * FROM kept_session; \
             INSERT INTO user SELECT * FROM kept_user; COMMIT";
        self.0.execute_batch(restore).expect("the rows as they were");
    }

    /// Changes one column of every row, where the types of the table allow it.
    fn set(&self, table: &str, column: &str, value: &Value) {
        let change = format!("UPDATE {table} SET {column} = ?1");
        let _refused = self.0.execute(&change, params![value]);
    }
}

type Change = (&'static str, &'static str, Value);

fn any_change() -> impl Strategy<Value = Change> {
    let columns: Vec<_> = [("session", SESSION), ("user", USER)]
        .into_iter()
        .flat_map(|(table, columns)| columns.iter().map(move |column| (table, *column)))
        .collect();
    (select(columns), any_value()).prop_map(|((table, column), value)| (table, column, value))
}

fn any_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>(),
        select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX]),
        // About the test's present, in milliseconds.
        1_789_000_000_000..1_791_000_000_000_i64,
    ];
    let text = prop_oneof![
        ".{0,40}",
        select(vec!["[]", "[\"pwd\"]", "[1]", "{}", "{\"sub\":1}", "{\"a\":[1.5]}", "logout", ""])
            .prop_map(str::to_owned),
        // What costs much is slow; what costs too much is refused.
        "\\$argon2(id|i|d)\\$v=19\\$m=(8|99|9{7}),t=[0-9]{1,2},p=[0-9]\\$[0-9A-Z$+/]{0,70}",
    ];
    let length = prop_oneof![0..256_usize, select(vec![16, 24, 32, 192])];
    let blob = length.prop_flat_map(|length| vec(any::<u8>(), length));
    prop_oneof![
        1 => Just(Value::Null),
        4 => number.prop_map(Value::Integer),
        3 => text.prop_map(Value::Text),
        3 => blob.prop_map(Value::Blob),
    ]
}

/// Counts panics on every thread. A request's own is caught and answered, and would else pass for a
/// row that was refused.
struct PanicCount;

static PANICS: AtomicU32 = AtomicU32::new(0);

impl PanicCount {
    fn begin() {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            before(info);
        }));
    }

    fn so_far() -> u32 {
        PANICS.load(Ordering::SeqCst)
    }
}

const KEY: &str = "0123456789abcdef";

const SESSION: &[&str] = &[
    "id",
    "user_id",
    "generation",
    "refresh_token_hash",
    "previous_token_hash",
    "sealed_successor",
    "retry_proofs",
    "rotated_at",
    "created_at",
    "last_used_at",
    "idle_expires_at",
    "expires_at",
    "revoked_at",
    "revoked_reason",
    "ip",
    "user_agent",
    "auth_time",
    "amr",
];

const USER: &[&str] = &[
    "id",
    "email",
    "email_key",
    "name",
    "roles",
    "email_verified",
    "claims",
    "password_hash",
    "credential_version",
    "created_at",
    "disabled_at",
    "last_login_at",
    "last_logout_at",
];
