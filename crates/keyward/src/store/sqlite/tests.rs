//! What SQLite alone must do: a sound file, failures that lose nothing, rows that are not trusted.

use keyward_core::audit::AuditKind;
use keyward_core::refresh_token::RefreshTokenHash;
use keyward_core::session::Device;
use rusqlite::Connection;

use super::*;
use crate::store::{AuditOrder, WhichSessions};

/// A connection to a fresh database with every migration.
pub(super) fn migrated() -> (Connection, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("test.db");
    connection::create_file(&path).expect("a file");
    let mut connection = connection::open_writer(&path).expect("a database");
    migrations::apply(&mut connection, NOW).expect("a schema");
    (connection, dir)
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let (store, dir) = fresh();
    assert_eq!(store.record(events(1)).await, Ok(()));
    let mut files = 0;
    for file in std::fs::read_dir(dir.path()).expect("a folder") {
        let file = file.expect("a file");
        let mode = file.metadata().expect("its mode").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file:?}");
        files += 1;
    }
    assert_eq!(files, 3);
}

#[test]
fn what_is_no_database_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("test.db");
    assert!(matches!(SqliteStore::open(dir.path(), NOW), Err(StoreError::Unavailable(_))));
    std::fs::write(&path, "no database at all, though long enough to be looked at".repeat(99))
        .expect("a file");
    assert!(matches!(SqliteStore::open(&path, NOW), Err(StoreError::Unavailable(_))));
    let nowhere = dir.path().join("missing/test.db");
    assert!(matches!(SqliteStore::open(&nowhere, NOW), Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_passes() {
    let (store, _dir) = fresh();
    assert_eq!(store.record(events(3)).await, Ok(()));
    run(&store, "PRAGMA max_page_count = 1").await;
    assert_eq!(
        store.record(events(5000)).await,
        Err(connection::unavailable("the disk is full; make room for the database"))
    );
    assert_eq!(count_events(&store).await, 3);
    run(&store, "PRAGMA max_page_count = 1000000").await;
    assert_eq!(store.record(events(5000)).await, Ok(()));
    assert_eq!(count_events(&store).await, 5003);
}

#[tokio::test]
async fn a_read_only_file_is_unavailable_and_recovers() {
    let (store, _dir) = fresh();
    run(&store, "PRAGMA query_only = true").await;
    let outcome = store.ping().await;
    let Err(StoreError::Unavailable(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.starts_with("the database is read-only"), "{why}");
    assert_eq!(store.ping().await, Ok(None));
    assert_eq!(store.record(events(1)).await, Ok(()));
}

#[tokio::test]
async fn a_locked_file_is_unavailable_and_recovers() {
    let (store, dir) = fresh();
    run(&store, "PRAGMA busy_timeout = 0").await;
    let other = Connection::open(dir.path().join("test.db")).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    let locked =
        connection::unavailable("another process keeps the database locked; stop it or try again");
    for _ in 0..3 {
        assert_eq!(store.record(events(1)).await, Err(locked.clone()));
    }
    other.execute_batch("ROLLBACK").expect("no lock");
    assert_eq!(store.record(events(1)).await, Ok(()));
    assert_eq!(count_events(&store).await, 1);
}

#[tokio::test]
async fn opened_again_it_holds_everything() {
    let (store, dir) = fresh();
    let path = dir.path().join("test.db");
    assert_eq!(store.record(events(7)).await, Ok(()));
    store.close();
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.list_keys().await, Err(StoreError::Unavailable(_))));
    // Closed in order: everything is in the one file.
    assert!(!dir.path().join("test.db-wal").exists());
    let again = SqliteStore::open(&path, NOW).expect("a store");
    assert_eq!(count_events(&again).await, 7);
}

#[tokio::test]
async fn a_commit_that_was_answered_survives_a_crash() {
    let (store, dir) = fresh();
    assert_eq!(store.record(events(7)).await, Ok(()));
    // The files as a crash at this moment would leave them, but for the index, which is rebuilt.
    let crashed = tempfile::tempdir().expect("a folder");
    for name in ["test.db", "test.db-wal"] {
        std::fs::copy(dir.path().join(name), crashed.path().join(name)).expect("a copy");
    }
    let again = SqliteStore::open(&crashed.path().join("test.db"), NOW).expect("a store");
    assert_eq!(count_events(&again).await, 7);
}

#[tokio::test]
async fn what_is_recorded_between_looking_and_deleting_is_forgotten_too() {
    let (store, _dir) = fresh();
    let id = UserId::from_bytes([1; 16]);
    run(&store, USER).await;
    let device = Device { ip: Some("192.0.2.1".to_owned()), user_agent: None };
    let login = || {
        let context = AuditContext { device: device.clone(), ..context() };
        vec![(AuditEvent::of_user(AuditKind::LoginSucceeded {}, id), context)]
    };
    assert_eq!(store.record(login()).await, Ok(()));
    let trace = store.readers.read(move |connection| users::trace(connection, id)).await;
    let trace = trace.expect("a trace").expect("a user");
    assert_eq!(store.record(login()).await, Ok(()));
    let deleted = store
        .writer
        .write(move |connection| {
            users::delete(connection, id, DeleteGuard::default(), &trace, &context())
        })
        .await;
    assert_eq!(deleted, Ok(DeleteUserOutcome::Deleted));
    let filter = AuditFilter { limit: 9, ..AuditFilter::default() };
    let events = store.list_audit(filter).await.expect("a list");
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.device == Device::default()), "{events:?}");
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let (store, _dir) = fresh();
    let written = store
        .readers
        .read(|connection| Ok(connection.execute_batch("DELETE FROM audit_event")?))
        .await;
    assert!(matches!(written, Err(StoreError::Unavailable(_))), "{written:?}");
    assert_eq!(count_events(&store).await, 0);
}

#[tokio::test]
async fn a_reader_that_panics_costs_one_answer() {
    let (store, _dir) = fresh();
    assert_eq!(store.record(events(3)).await, Ok(()));
    // Each of the threads in its turn, and more.
    for _ in 0..3 * READERS_MAX {
        let asked = store.readers.read(|_| -> Result<(), StoreError> { panic!("as asked") });
        let answer = asked.await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        assert_eq!(count_events(&store).await, 3);
    }
}

#[tokio::test]
async fn rows_that_no_code_writes_are_inconsistent() {
    for (change, place) in [
        ("UPDATE session SET revoked_at = 1", "session.revoked_reason"),
        ("UPDATE session SET revoked_reason = 'logout'", "session.revoked_reason"),
        ("UPDATE session SET revoked_at = 1, revoked_reason = 'x'", "session.revoked_reason"),
        ("UPDATE session SET retry_proofs = zeroblob(25)", "session.retry_proofs"),
        ("UPDATE session SET retry_proofs = zeroblob(216)", "session.retry_proofs"),
        ("UPDATE session SET refresh_token_hash = x'00'", "session.refresh_token_hash"),
        ("UPDATE session SET previous_token_hash = x'00'", "session.previous_token_hash"),
        ("UPDATE session SET user_id = x'00'", "session.user_id"),
        ("UPDATE session SET generation = -1", "session.generation"),
        ("UPDATE session SET amr = '[\"x\"]'", "session.amr"),
        ("UPDATE session SET amr = '['", "session.amr"),
    ] {
        let (store, _dir) = fresh();
        let insert = "INSERT INTO session VALUES (zeroblob(16), zeroblob(16), 0, zeroblob(32), \
             NULL, NULL, x'', 0, 0, 0, 9, 9, NULL, NULL, NULL, NULL, 0, '[]')";
        let changed = format!("PRAGMA ignore_check_constraints = true; {insert}; {change}");
        run(&store, &changed).await;
        for which in [WhichSessions::Live, WhichSessions::EndedSince(Timestamp::from_secs(0))] {
            let now = Timestamp::from_secs(0);
            let filter = SessionFilter { user_id: None, which, now, limit: 9 };
            let listed = store.list_sessions(filter).await;
            let missed = Ok(Vec::new());
            assert!(listed == Err(StoreError::Inconsistent(place)) || listed == missed, "{change}");
        }
        let swap = Swap {
            session_id: SessionId::from_bytes([0; 16]),
            presented_hash: RefreshTokenHash::from_bytes([9; 32]),
            successor_hash: RefreshTokenHash::from_bytes([8; 32]),
            generation: 1,
            retry: None,
            at: NOW,
            idle_expires_at: NOW,
            device: Device::default(),
        };
        let rotated = store.rotate(swap, &context()).await;
        assert_eq!(rotated, Err(StoreError::Inconsistent(place)), "{change}");
    }
}

#[tokio::test]
async fn users_and_keys_that_no_code_writes_are_inconsistent() {
    for (change, place) in [
        ("UPDATE user SET id = x'00'", "user.id"),
        ("UPDATE user SET roles = '{}'", "user.roles"),
        ("UPDATE user SET claims = '[]'", "user.claims"),
        ("UPDATE user SET credential_version = -1", "user.credential_version"),
    ] {
        let (store, _dir) = fresh();
        run(&store, &format!("PRAGMA ignore_check_constraints = true; {USER}; {change}")).await;
        let found = store.find_user_by_email("a").await;
        assert_eq!(found, Err(StoreError::Inconsistent(place)), "{change}");
    }
    let (store, _dir) = fresh();
    run(&store, "INSERT INTO key VALUES ('x', '1', 'HS256', x'00', 0, 0, NULL)").await;
    assert_eq!(store.list_keys().await, Err(StoreError::Inconsistent("key.purpose")));
}

const NOW: Timestamp = Timestamp::from_secs(1);

const USER: &str = "INSERT INTO user VALUES (x'01010101010101010101010101010101', 'a', 'a', NULL, \
     '[]', 0, '{}', 'x', 0, 0, NULL, NULL, NULL, NULL, NULL)";

fn fresh() -> (SqliteStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&dir.path().join("test.db"), NOW).expect("a store");
    (store, dir)
}

/// Runs statements on the writer's own connection.
async fn run(store: &SqliteStore, sql: &str) {
    let sql = sql.to_owned();
    let ran = store.writer.write(move |connection| Ok(connection.execute_batch(&sql)?)).await;
    assert_eq!(ran, Ok(()));
}

fn context() -> AuditContext {
    AuditContext { at: NOW, device: Device::default(), request_id: None, actor: None }
}

fn events(count: u64) -> Vec<(AuditEvent, AuditContext)> {
    (1..=count)
        .map(|count| (AuditEvent::of_nobody(AuditKind::CsrfRejected { count }), context()))
        .collect()
}

async fn count_events(store: &SqliteStore) -> usize {
    let order = AuditOrder::After(0);
    let filter = AuditFilter { order, limit: 10_000, ..AuditFilter::default() };
    store.list_audit(filter).await.expect("a list").len()
}
