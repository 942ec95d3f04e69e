//! A store that moves from a file to a server: the same on both sides, at no time two that serve,
//! and whatever goes wrong, nothing is lost.
#![cfg(feature = "postgres")]

use std::path::PathBuf;
use std::time::Duration;

use keyward::store::copy::{CopiedTable, CopyError, Progress, StoreCopy, Walk};
use keyward::store::postgres::fresh::FreshDatabase;
use keyward::store::{
    Account, AuditFilter, AuditOrder, HourCount, KeyRecord, PostgresStore, RevokedSubject,
    RotateOutcome, SessionFilter, SqliteStore, Store, StoreError, User, UserFilter, WhichSessions,
};
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind, RecordedEvent};
use keyward_core::id::SessionId;
use keyward_core::refresh_token::RefreshTokenHash;
use keyward_core::service_key::ServiceKeyRecord;
use keyward_core::session::{Device, RevocationReason, Session, Swap};
use keyward_core::time::Timestamp;
use rusqlite::Connection;

#[tokio::test]
async fn both_sides_are_the_same_and_one_of_them_serves() {
    let world = World::new().await;
    let before = SqliteStore::open(&world.file, NOW).expect("a store");
    let told = everything(&before).await;
    let mut seen = Vec::new();
    let mut copy = world.begin().await.expect("begun");
    copy.copy_ahead(|progress| seen.push(progress)).await.expect("copied");
    assert!(everything(&before).await == told, "it serves on");
    let tables = copy.finish(|| NOW, |progress| seen.push(progress)).await.expect("finished");

    let rows: Vec<_> = tables.iter().map(|table| (table.name, table.rows)).collect();
    let all = [("user", USERS), ("session", SESSIONS), ("audit_event", EVENTS)];
    let factors = [("sealing_key", 1), ("totp", 2), ("recovery_code", 2), ("mfa_challenge", 1)];
    let rest = [("service_key", 1), ("event_count", 2), ("one_time_token", 0), ("mail", 0)];
    let last = [("audit_checkpoint", 0), ("audit_salt", 0), ("revocation", 2)];
    assert_eq!(rows, [&all[..], &[("key", 2)], &factors, &rest, &last].concat());
    assert!(tables.iter().all(|table| table.written == table.rows), "{tables:?}");
    let last = Progress { walk: Walk::Locked, table: "revocation", done: 2, total: 2 };
    assert_eq!(seen.last(), Some(&last));

    let after = world.open_target().await.expect("a store");
    assert!(everything(&after).await == told);
    assert_eq!(rotate(&after).await, Ok(true));
    assert_eq!(rotate(&after).await, Ok(false), "the token is spent");
    let events = list_events(&after).await;
    assert_eq!(events.last().map(|event| event.id), Some(EVENTS as i64 + 1));
    assert_no_store_serves(&world, &before).await;
    let again = world.begin().await.expect_err("all is done");
    assert!(again.to_string().contains("if it is the one that they were moved to"), "{again}");
}

/// The months of the file can be dropped as a whole, as those to come.
#[tokio::test]
async fn old_months_get_their_partitions() {
    let world = World::new().await;
    world.copy().await.expect("copied");
    let rest = world.database.number("SELECT count(*) FROM keyward.audit_event_default").await;
    assert_eq!(rest, 0);
    let old = world.database.number("SELECT count(*) FROM keyward.audit_event_2023_11").await;
    assert!(old > 0);
}

#[tokio::test]
async fn what_changes_between_the_walks_arrives() {
    let world = World::new().await;
    let store = SqliteStore::open(&world.file, NOW).expect("a store");
    let mut copy = world.begin().await.expect("begun");
    copy.copy_ahead(|_| {}).await.expect("copied");
    assert_eq!(rotate(&store).await, Ok(true));
    world.change(
        "UPDATE user SET email_key = 'taken over' WHERE id = (SELECT max(id) FROM user);
         UPDATE user SET email_key = 'user 6000' WHERE id = (SELECT min(id) FROM user);
         DELETE FROM user WHERE email = 'user 500';
         DELETE FROM audit_event WHERE id % 3 = 0;
         INSERT INTO audit_event (id, at, name, detail) VALUES (99999, 5, 'late', '{}');
         DELETE FROM service_key",
    );
    let told = everything(&store).await;
    let tables = copy.finish(|| NOW, |_| {}).await.expect("finished");
    assert!(tables.iter().any(|table| (table.name, table.rows) == ("service_key", 0)));
    assert!(everything(&world.open_target().await.expect("a store")).await == told);
}

/// Whoever writes there, it is found and put right under the lock.
#[tokio::test]
async fn rows_that_were_changed_on_the_server_are_put_right() {
    let world = World::new().await;
    let mut copy = world.begin().await.expect("begun");
    copy.copy_ahead(|_| {}).await.expect("copied");
    world
        .database
        .run(
            "UPDATE keyward.incoming_session SET generation = generation + 1 \
             WHERE id = (SELECT id FROM keyward.incoming_session ORDER BY id LIMIT 1); \
             DELETE FROM keyward.incoming_key; \
             INSERT INTO keyward.incoming_audit_event (id, at, name, detail) \
             VALUES (1, 1, 'forged', '{}'), (777777, 1, 'forged', '{}')",
        )
        .await;
    let tables = copy.finish(|| NOW, |_| {}).await.expect("finished");
    let written = |name| tables.iter().find(|table| table.name == name).map(|table| table.written);
    assert_eq!(written("session"), Some(SESSIONS + 1));
    assert_eq!(written("key"), Some(4));
    let told = everything(&world.open_target().await.expect("a store")).await;
    world.reopen();
    assert!(everything(&SqliteStore::open(&world.file, NOW).expect("a store")).await == told);
}

/// A database that stores something else than it was given, as by a trigger of somebody's.
#[tokio::test]
async fn what_does_not_read_back_is_found() {
    let world = World::new().await;
    let mut copy = world.begin().await.expect("begun");
    copy.copy_ahead(|_| {}).await.expect("copied");
    world.database.run(&trigger("NEW.generation := 0; RETURN NEW;", "BEFORE INSERT", "")).await;
    world.change("UPDATE session SET generation = 7 WHERE id = (SELECT min(id) FROM session)");
    let failed = copy.finish(|| NOW, |_| {}).await;
    assert_eq!(failed, Err(CopyError::Unequal("session")));
    world.assert_source_serves().await;
}

#[tokio::test]
async fn a_copy_that_broke_off_serves_nobody_and_is_finished_later() {
    let world = World::new().await;
    let mut copy = world.begin().await.expect("begun");
    world.end_connections().await;
    let lost = copy.copy_ahead(|_| {}).await.expect_err("the connection is gone");
    assert!(matches!(&lost, CopyError::Target(StoreError::Unavailable(_))), "{lost}");
    let refused = world.open_target().await.expect_err("half a copy");
    assert!(refused.to_string().contains("is not finished"), "{refused}");
    world.assert_source_serves().await;

    let mut copy = world.begin().await.expect("begun again");
    copy.copy_ahead(|_| {}).await.expect("copied");
    world.end_connections().await;
    let lost = copy.finish(|| NOW, |_| {}).await.expect_err("the connection is gone");
    assert!(matches!(&lost, CopyError::Target(StoreError::Unavailable(_))), "{lost}");
    world.assert_source_serves().await;
    let tables = world.copy().await.expect("finished");
    assert!(tables.iter().map(|table| table.written).sum::<u64>() <= 2, "{tables:?}");
}

/// The one moment in which the file is closed and the server is not open: nobody serves, and the
/// next run ends it.
#[tokio::test]
async fn a_lost_commit_leaves_no_store_that_serves_and_the_next_run_finishes() {
    let world = World::new().await;
    let before = SqliteStore::open(&world.file, NOW).expect("a store");
    let told = everything(&before).await;
    let mut copy = world.begin().await.expect("begun");
    copy.copy_ahead(|_| {}).await.expect("copied");
    let refuse = "RAISE EXCEPTION 'no';";
    let deferred = "DEFERRABLE INITIALLY DEFERRED";
    world.database.run(&trigger(refuse, "CONSTRAINT AFTER DELETE", deferred)).await;
    let failed = copy.finish(|| NOW, |_| {}).await.expect_err("the commit fails");
    assert!(matches!(failed, CopyError::Unsettled(_)), "{failed}");
    assert_no_store_serves(&world, &before).await;
    assert!(world.open_target().await.is_err());

    world.database.run("DROP TRIGGER test ON keyward.migration").await;
    world.copy().await.expect("finished");
    assert!(everything(&world.open_target().await.expect("a store")).await == told);
    assert_no_store_serves(&world, &before).await;
}

/// It was started on the empty database just before the copy, and knows nothing of it.
#[tokio::test]
async fn a_service_that_runs_on_the_target_writes_nothing() {
    let world = World::new().await;
    let early = world.open_target().await.expect("a store");
    early.list_keys().await.expect("none");
    let mut copy = world.begin().await.expect("begun");
    assert!(early.record(vec![event()]).await.is_err());
    copy.copy_ahead(|_| {}).await.expect("copied");
    assert!(early.list_keys().await.is_err());
    assert!(rotate(&early).await.is_err());
    copy.finish(|| NOW, |_| {}).await.expect("finished");
    // Now it is the store.
    assert_eq!(rotate(&early).await, Ok(true));
}

/// A copy that was begun elsewhere must not be ended once another one serves, not even by one that
/// has been at work all along.
#[tokio::test]
async fn a_file_is_moved_into_one_database() {
    let (world, other) = (World::new().await, FreshDatabase::create().await);
    other.run("SELECT").await;
    let mut at_work = StoreCopy::begin(&world.file, &other.settings(), NOW).await.expect("begun");
    at_work.copy_ahead(|_| {}).await.expect("copied");
    world.copy().await.expect("copied");
    let late = at_work.finish(|| NOW, |_| {}).await.expect_err("too late").to_string();
    assert!(late.contains("were moved to another database"), "{late}");
    let again = StoreCopy::begin(&world.file, &other.settings(), NOW).await;
    let again = again.expect_err("too late").to_string();
    assert!(again.contains("were moved to another database"), "{again}");
    assert!(PostgresStore::open(&other.settings(), NOW).await.is_err());
    assert_eq!(rotate(&world.open_target().await.expect("a store")).await, Ok(true));
}

#[tokio::test]
async fn a_database_that_holds_anything_else_is_refused() {
    let world = World::new().await;
    let store = world.open_target().await.expect("a store");
    store.record(vec![event()]).await.expect("recorded");
    let refused = world.copy().await.expect_err("not empty").to_string();
    assert!(refused.contains("holds data of Keyward already"), "{refused}");
    assert_eq!(list_events(&store).await.len(), 1);
    world.assert_source_serves().await;

    let (one, other) = (World::new().await, World::made_at(NOW.plus(Duration::from_secs(1))).await);
    drop(one.begin().await.expect("begun"));
    let other = StoreCopy::begin(&other.file, &one.database.settings(), NOW).await;
    let refused = other.expect_err("another file's").to_string();
    assert!(refused.contains("unfinished copy of another file"), "{refused}");
}

#[tokio::test]
async fn the_services_role_cannot_copy() {
    let world = World::new().await;
    let begun = StoreCopy::begin(&world.file, &world.database.service_settings(), NOW).await;
    let refused = begun.expect_err("the wrong role").to_string();
    assert!(refused.contains("copy as the role that does"), "{refused}");
}

#[tokio::test]
async fn a_file_of_another_version_is_refused() {
    for (change, sentence) in [
        (
            "DELETE FROM migration WHERE version = (SELECT max(version) FROM migration)",
            "run `keyward migrate` on it",
        ),
        ("INSERT INTO migration VALUES (99, 'later', x'00', 0)", "of a newer version of Keyward"),
    ] {
        let world = World::new().await;
        world.change(change);
        let refused = world.copy().await.expect_err("another version").to_string();
        assert!(refused.contains(sentence), "{refused}");
    }
    let world = World::new().await;
    let missing = world.file.with_file_name("missing.db");
    let refused = StoreCopy::begin(&missing, &world.database.settings(), NOW).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("no such file")));
    assert!(!missing.exists());
}

#[tokio::test]
async fn rows_that_the_server_could_not_hold_are_named() {
    for (change, place) in [
        ("UPDATE user SET name = 'a' || char(0) || 'b' WHERE email = 'user 7'", "user.name"),
        ("UPDATE user SET roles = '[1]' WHERE email = 'user 7'", "user.roles"),
    ] {
        let world = World::new().await;
        world.change(change);
        assert_eq!(world.copy().await, Err(CopyError::Source(StoreError::Inconsistent(place))));
    }
}

#[tokio::test]
async fn a_file_that_is_taken_back_has_no_live_session() {
    let world = World::new().await;
    world.copy().await.expect("copied");
    let reopened = SqliteStore::reopen(&world.file, true, &context()).expect("reopened");
    assert_eq!(reopened.moved_at, NOW);
    let store = SqliteStore::open(&world.file, NOW).expect("a store");
    let live = SessionFilter { user_id: None, which: WhichSessions::Live, now: NOW, limit: 9 };
    assert_eq!(store.list_sessions(live).await, Ok(Vec::new()));
    let found = store.find_session(first_session()).await.expect("an answer").expect("a session");
    let reason = found.session.revoked.map(|revocation| revocation.reason);
    assert_eq!(reason, Some(RevocationReason::StoreRollback));
    assert!(reopened.sessions_ended > 0);
    let again = SqliteStore::reopen(&world.file, true, &context());
    assert!(again.is_err_and(|error| error.to_string().contains("nothing to take back")));
}

/// A file with something of everything, and an empty database.
struct World {
    _dir: tempfile::TempDir,
    file: PathBuf,
    database: FreshDatabase,
}

impl World {
    async fn new() -> Self {
        Self::made_at(NOW).await
    }

    async fn made_at(now: Timestamp) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("test.db");
        SqliteStore::open(&file, now).expect("a store").close();
        let database = FreshDatabase::create().await;
        // Half a copy is nothing for the next test.
        database.run("SELECT").await;
        let world = Self { _dir: dir, file, database };
        world.change(FILL);
        world
    }

    async fn begin(&self) -> Result<StoreCopy, CopyError> {
        StoreCopy::begin(&self.file, &self.database.settings(), NOW).await
    }

    async fn copy(&self) -> Result<Vec<CopiedTable>, CopyError> {
        let mut copy = self.begin().await?;
        copy.copy_ahead(|_| {}).await?;
        copy.finish(|| NOW, |_| {}).await
    }

    async fn open_target(&self) -> Result<PostgresStore, StoreError> {
        PostgresStore::open(&self.database.settings(), NOW).await
    }

    /// Changes the file behind the store's back.
    fn change(&self, sql: &str) {
        let connection = Connection::open(&self.file).expect("a database");
        connection.execute_batch(sql).expect("a change");
    }

    fn reopen(&self) {
        SqliteStore::reopen(&self.file, false, &context()).expect("reopened");
    }

    async fn assert_source_serves(&self) {
        let store = SqliteStore::open(&self.file, NOW).expect("a store");
        assert_eq!(store.record(vec![event()]).await, Ok(()));
    }

    async fn end_connections(&self) {
        self.database
            .run(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
    }
}

/// Neither to whoever opens the file now, nor to whoever has had it open all along.
async fn assert_no_store_serves(world: &World, before: &SqliteStore) {
    let opened = SqliteStore::open(&world.file, NOW).expect_err("moved").to_string();
    assert!(opened.contains("were moved to PostgreSQL at 2027-01-15T08:00:00.000Z"), "{opened}");
    assert!(SqliteStore::migrations(&world.file).is_err());
    let gone = Err(StoreError::Unavailable(
        "a table is gone, as where the data were moved to PostgreSQL; `keyward check` says more"
            .to_owned(),
    ));
    assert_eq!(rotate(before).await.map(drop), gone);
    assert_eq!(before.record(vec![event()]).await, gone);
    assert_eq!(before.ping().await.map(drop), gone);
    assert_eq!(before.find_session(first_session()).await.map(drop), gone);
}

/// Whatever a store can be asked for. Too long to be printed where it differs.
#[derive(PartialEq)]
struct Everything {
    users: Vec<User>,
    accounts: Vec<Option<Account>>,
    sessions: Vec<Vec<Session>>,
    events: Vec<RecordedEvent>,
    keys: (Vec<KeyRecord>, Vec<ServiceKeyRecord>),
    revocations: Vec<(RevokedSubject, Timestamp)>,
    counts: (Option<Timestamp>, Vec<HourCount>),
}

async fn everything(store: &dyn Store) -> Everything {
    let users = store.list_users(UserFilter::every(None, u32::MAX)).await.expect("users");
    let mut accounts = Vec::new();
    for user in users.iter().step_by(40) {
        accounts.push(store.find_user(user.id).await.expect("an answer"));
    }
    let mut sessions = Vec::new();
    for which in [WhichSessions::Live, WhichSessions::EndedSince(Timestamp::from_secs(0))] {
        let filter = SessionFilter { user_id: None, which, now: NOW, limit: 1_000_000 };
        sessions.push(store.list_sessions(filter).await.expect("sessions"));
    }
    let keys = store.list_keys().await.expect("keys");
    let keys = (keys, store.list_service_keys().await.expect("service keys"));
    let revocations = store.list_revocations(None, 1_000_000).await.expect("revocations");
    let revocations = revocations.revocations.iter().map(|it| (it.subject, it.at)).collect();
    let events = list_events(store).await;
    let last = store.last_counted_hour().await.expect("an answer");
    let counts = store.list_counts(Timestamp::from_secs(0), NOW).await.expect("counts");
    let counts = (last, counts);
    Everything { users, accounts, sessions, events, keys, revocations, counts }
}

async fn list_events(store: &dyn Store) -> Vec<RecordedEvent> {
    let order = AuditOrder::After(0);
    let filter = AuditFilter { order, limit: 1_000_000, ..AuditFilter::default() };
    store.list_audit(filter).await.expect("events")
}

/// Exchanges the first token of the first session; `false` where it is spent.
async fn rotate(store: &dyn Store) -> Result<bool, StoreError> {
    let swap = Swap {
        session_id: first_session(),
        presented_hash: RefreshTokenHash::from_bytes([1; 32]),
        successor_hash: RefreshTokenHash::from_bytes([2; 32]),
        generation: 2,
        retry: None,
        at: NOW,
        idle_expires_at: NOW.plus(Duration::from_secs(60)),
        device: Device::default(),
    };
    let outcome = store.rotate(swap, &context()).await?;
    Ok(matches!(outcome, RotateOutcome::Swapped(_)))
}

fn first_session() -> SessionId {
    let mut id = [0; 16];
    id[15] = 1;
    SessionId::from_bytes(id)
}

fn event() -> (AuditEvent, AuditContext) {
    (AuditEvent::of_nobody(AuditKind::CsrfRejected { count: 1 }), context())
}

fn context() -> AuditContext {
    AuditContext { at: NOW, device: Device::default(), request_id: None, actor: None }
}

/// A trigger of somebody's: on sessions before an insert, else on migrations.
fn trigger(body: &str, when: &str, how: &str) -> String {
    let (kind, when) = match when.strip_prefix("CONSTRAINT ") {
        Some(when) => ("CONSTRAINT TRIGGER", when),
        None => ("TRIGGER", when),
    };
    let table = if when == "BEFORE INSERT" { "incoming_session" } else { "migration" };
    format!(
        "CREATE FUNCTION test() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$; \
         CREATE {kind} test {when} ON keyward.{table} {how} \
         FOR EACH ROW EXECUTE FUNCTION test()"
    )
}

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// More than one piece of each.
const USERS: u64 = 6000;
const SESSIONS: u64 = 11_000;
const EVENTS: u64 = 12_000;

/// Whatever a column can hold, in every combination that matters.
const FILL: &str = r#"
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
    INSERT INTO user SELECT unhex(printf('%032X', i * 7)), 'user ' || i, 'user ' || i,
        iif(i % 2, NULL, 'Zoë 🦊 ' || i), iif(i % 5, '[]', '["admin","a \"b\\","ünï,{}"]'),
        i % 2, iif(i % 3, '{}', '{ "plan" : "a\u0000b",  "n":1.50 }'), 'hash ' || i, i % 4,
        1700000000000 + i, iif(i % 7, NULL, 1), iif(i % 6, NULL, -5), iif(i % 8, NULL, 3),
        iif(i % 9, NULL, 4), iif(i % 10, NULL, 5)
        FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 11000)
    INSERT INTO session SELECT unhex(printf('%032X', i)), unhex(printf('%032X', i % 6000 * 7)),
        i % 9, randomblob(32), iif(i % 2, NULL, randomblob(32)), iif(i % 3, NULL, randomblob(80)),
        iif(i % 9, randomblob(24 * (i % 9)), x''), i, i, i, 1900000000000 - i, 1900000000000,
        iif(i % 4, NULL, 1700000000000 + i), iif(i % 4, NULL, 'logout'),
        iif(i % 5, NULL, '2001:db8::1'), iif(i % 5, NULL, 'Brow"ser, {7}'), i, '["pwd"]' FROM n;
    UPDATE session SET refresh_token_hash =
            x'0101010101010101010101010101010101010101010101010101010101010101'
        WHERE id = (SELECT min(id) FROM session);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
    INSERT INTO audit_event SELECT i, 1700000000000 + i * 7200000, 'session.refreshed',
        iif(i % 2, NULL, unhex(printf('%032X', i))), iif(i % 3, NULL, unhex(printf('%032X', i))),
        iif(i % 5, NULL, '192.0.2.1'), iif(i % 5, NULL, 'a browser'), iif(i % 7, NULL, 'r' || i),
        '{"n":  ' || i || '}' FROM n;
    INSERT INTO key VALUES ('csrf', 'a', 'HS256', x'00ff', 1, 2, NULL),
        ('refresh_token', 'B', 'HS256', x'', 1, 2, 3);
    INSERT INTO sealing_key VALUES ('second_factor', '1', 'AES-256-GCM-SIV', x'01ff', 1, 2, NULL);
    INSERT INTO totp VALUES (randomblob(16), randomblob(51), 5, NULL, NULL, NULL),
        (randomblob(16), randomblob(51), 5, 6, 59666666, 1700000000000);
    INSERT INTO recovery_code VALUES (x'07070707070707070707070707070707', randomblob(32)),
        (x'07070707070707070707070707070707', randomblob(32));
    INSERT INTO mfa_challenge VALUES (randomblob(32), randomblob(16), 3, 5, 1700000000000);
    INSERT INTO service_key VALUES (randomblob(16), 'name', randomblob(32), '["users:read"]', 1,
        NULL, 5);
    INSERT INTO revocation VALUES (7, 1700000000001, randomblob(16), NULL),
        (9, 1700000000002, NULL, randomblob(16));
    INSERT INTO event_count VALUES (1699999200000, '', 0), (1699999200000, 'login.failed', 7);
"#;
