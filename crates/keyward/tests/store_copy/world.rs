//! A file with something of everything, an empty database, and what can be asked of either.

use std::path::PathBuf;
use std::time::Duration;

use keyward::store::copy::{CopiedTable, CopyError, StoreCopy};
use keyward::store::postgres::fresh::FreshDatabase;
use keyward::store::{
    Account, AuditFilter, AuditOrder, HourCount, KeyRecord, PostgresStore, RevokedSubject,
    RotateOutcome, SessionFilter, SqliteStore, Store, StoreError, User, UserFilter, WhichSessions,
};
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind, RecordedEvent};
use keyward_core::id::SessionId;
use keyward_core::refresh_token::RefreshTokenHash;
use keyward_core::service_key::ServiceKeyRecord;
use keyward_core::session::{Device, Session, Swap};
use keyward_core::time::Timestamp;
use rusqlite::Connection;

/// A file with something of everything, and an empty database.
pub(crate) struct World {
    _dir: tempfile::TempDir,
    pub(crate) file: PathBuf,
    pub(crate) database: FreshDatabase,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::made_at(NOW).await
    }

    pub(crate) async fn made_at(now: Timestamp) -> Self {
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

    pub(crate) async fn begin(&self) -> Result<StoreCopy, CopyError> {
        StoreCopy::begin(&self.file, &self.database.settings(), NOW).await
    }

    pub(crate) async fn copy(&self) -> Result<Vec<CopiedTable>, CopyError> {
        let mut copy = self.begin().await?;
        copy.copy_ahead(|_| {}).await?;
        copy.finish(|| NOW, |_| {}).await
    }

    pub(crate) async fn open_target(&self) -> Result<PostgresStore, StoreError> {
        PostgresStore::open(&self.database.settings(), NOW).await
    }

    /// Changes the file behind the store's back.
    pub(crate) fn change(&self, sql: &str) {
        let connection = Connection::open(&self.file).expect("a database");
        connection.execute_batch(sql).expect("a change");
    }

    pub(crate) fn reopen(&self) {
        SqliteStore::reopen(&self.file, false, &context()).expect("reopened");
    }

    pub(crate) async fn assert_source_serves(&self) {
        let store = SqliteStore::open(&self.file, NOW).expect("a store");
        assert_eq!(store.record(vec![event()]).await, Ok(()));
    }

    pub(crate) async fn end_connections(&self) {
        self.database
            .run(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
    }
}

/// Whatever a store can be asked for. Too long to be printed where it differs.
#[derive(PartialEq)]
pub(crate) struct Everything {
    users: Vec<User>,
    accounts: Vec<Option<Account>>,
    sessions: Vec<Vec<Session>>,
    events: Vec<RecordedEvent>,
    keys: (Vec<KeyRecord>, Vec<ServiceKeyRecord>),
    revocations: Vec<(RevokedSubject, Timestamp)>,
    counts: (Option<Timestamp>, Vec<HourCount>),
}

pub(crate) async fn everything(store: &dyn Store) -> Everything {
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

pub(crate) async fn list_events(store: &dyn Store) -> Vec<RecordedEvent> {
    let order = AuditOrder::After(0);
    let filter = AuditFilter { order, limit: 1_000_000, ..AuditFilter::default() };
    store.list_audit(filter).await.expect("events")
}

/// Exchanges the first token of the first session; `false` where it is spent.
pub(crate) async fn rotate(store: &dyn Store) -> Result<bool, StoreError> {
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

pub(crate) fn first_session() -> SessionId {
    let mut id = [0; 16];
    id[15] = 1;
    SessionId::from_bytes(id)
}

pub(crate) fn event() -> (AuditEvent, AuditContext) {
    (AuditEvent::of_nobody(AuditKind::CsrfRejected { count: 1 }), context())
}

pub(crate) fn context() -> AuditContext {
    AuditContext { at: NOW, device: Device::default(), request_id: None, actor: None }
}

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// More than one piece of each.
pub(crate) const USERS: u64 = 6000;
pub(crate) const SESSIONS: u64 = 11_000;
pub(crate) const EVENTS: u64 = 12_000;

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
