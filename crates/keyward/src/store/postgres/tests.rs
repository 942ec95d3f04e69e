//! What PostgreSQL alone must do: transactions side by side, rows that are not trusted, roles.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use keyward_core::audit::RegisteredBy;
use keyward_core::email::Email;
use keyward_core::refresh_token::RefreshTokenHash;
use keyward_core::session::{Device, RevocationReason};
use tokio::join;

use super::connection::{Lent, unavailable};
use super::fresh::{FreshDatabase, SERVICE_ROLE, fresh_postgres, fresh_postgres_as_service};
use super::*;
use crate::store::{KeptRole, WhichSessions};

/// The versions of a row that refreshes leave lie in one page, and no index learns of them.
#[tokio::test]
async fn a_refresh_changes_one_row_in_place() {
    let (store, database) = fresh_postgres().await;
    insert_user(&store, 1).await;
    open(&store, 1, 1).await;
    let started = updates(&database).await;
    // As many versions as a page holds, whoever else looks at it.
    for number in 1..=8 {
        let outcome = store.rotate(swap(number, number + 1), &context()).await;
        assert!(matches!(outcome, Ok(RotateOutcome::Swapped(_))), "{outcome:?}");
    }
    // The server adds up what a connection has done when that ends.
    store.close();
    let mut counted = updates(&database).await;
    while counted[0] < started[0] + 8 {
        counted = updates(&database).await;
    }
    assert_eq!(counted, [started[0] + 8, started[1] + 8]);
}

/// Both statements, of two nodes, began before either had swapped, and the second one is shown what
/// was then.
#[tokio::test]
async fn the_loser_of_a_race_is_shown_the_session_before_the_swap() {
    let (store, database) = fresh_postgres().await;
    let other = PostgresStore::open(&database.service_settings(), NOW).await.expect("a store");
    insert_user(&store, 1).await;
    open(&store, 1, 1).await;
    let held = database.begin("SELECT FROM keyward.session FOR UPDATE").await;
    let context = context();
    let (first, second, ()) =
        join!(store.rotate(swap(1, 2), &context), other.rotate(swap(1, 3), &context), async {
            database.until_waiting(2).await;
            held.commit().await;
        });
    let refused = [first, second].into_iter().find_map(|outcome| match outcome {
        Ok(RotateOutcome::Refused(standing)) => standing.session,
        _ => None,
    });
    let stale = refused.expect("a loser");
    assert!(stale.accepts(&swap(1, 4)), "{stale:?}");
    let again = store.rotate(swap(1, 4), &context).await;
    let Ok(RotateOutcome::Refused(standing)) = again else { panic!("{again:?}") };
    assert_eq!(standing.session.map(|session| session.generation), Some(1));
}

/// The sign-in verified the password before the change, and opens its session after it.
#[tokio::test]
async fn a_sign_in_waits_for_a_password_change_and_does_not_survive_it() {
    let (store, database) = fresh_postgres().await;
    insert_user(&store, 1).await;
    let change = "UPDATE keyward.user SET credential_version = 1";
    let changing = database.begin(change).await;
    let context = context();
    let (opened, ()) = join!(store.open_session(new_session(1, 1), 0, &context), async {
        database.until_waiting(1).await;
        changing.commit().await;
    });
    assert_eq!(opened, Ok(OpenSessionOutcome::CredentialChanged));
    assert_eq!(database.number("SELECT count(*) FROM keyward.session").await, 0);
}

/// A sign-in that is on its way when all sessions of its user end: it is ended too, or comes after.
#[tokio::test]
async fn ending_all_of_a_user_waits_for_a_sign_in() {
    let (store, database) = fresh_postgres().await;
    insert_user(&store, 1).await;
    insert_user(&store, 2).await;
    open(&store, 1, 1).await;
    open(&store, 2, 2).await;
    // As a sign-in: it locks the user, and then the user has a session more.
    let signing_in = "SELECT FROM keyward.user WHERE email = 'user1@example.org' FOR UPDATE; \
         UPDATE keyward.session SET user_id = '01010101-0101-0101-0101-010101010101'";
    let signing_in = database.begin(signing_in).await;
    let revoke = Revoke {
        scope: RevokeScope::User(user_id(1)),
        reason: RevocationReason::Admin,
        noticed: None,
    };
    let context = context();
    let (ended, ()) = join!(store.revoke(revoke, &context), async {
        database.until_waiting(1).await;
        signing_in.commit().await;
    });
    assert_eq!(ended.map(|ended| ended.len()), Ok(2));
}

/// Each ends its own sessions and the other's: taken in any order, they would wait for one another.
#[tokio::test]
async fn crossing_changes_never_wait_for_each_other() {
    let (store, database) = fresh_postgres().await;
    insert_user(&store, 1).await;
    insert_user(&store, 2).await;
    for version in 0..20_u8 {
        let first = 3 + 6 * version;
        let (ours, theirs) = (first, first + 1);
        for (number, user) in [(ours, 1), (theirs, 2), (ours + 2, 1), (theirs + 2, 2)] {
            open_as(&store, new_session(number, user), version.into()).await;
        }
        let crossing = [(ours + 2, 1, theirs), (theirs + 2, 2, ours)];
        let changes = crossing.map(|(asking, user, superseded)| {
            let supersedes = Some(session_id(superseded));
            let new = NewSession { supersedes, ..new_session(asking + 2, user) };
            let hash = PasswordHash::from_phc("x".to_owned());
            let guard = own(asking, version.into());
            let (store, context) = (&store, context());
            async move { store.change_password(new, guard, hash, None, &context).await }
        });
        for changed in join_all(changes).await {
            assert!(matches!(changed, Ok(OpenSessionOutcome::Opened { .. })), "{changed:?}");
        }
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.number(deadlocks).await, 0);
}

/// What ends one session locks no user: the change waits for the session's row, and looks then.
#[tokio::test]
async fn a_change_waits_for_the_end_of_its_session() {
    let (store, database) = fresh_postgres().await;
    insert_user(&store, 1).await;
    open(&store, 1, 1).await;
    open(&store, 2, 1).await;
    let ending = "UPDATE keyward.session SET revoked_at = 1, revoked_reason = 'logout' \
         WHERE id = '01010101-0101-0101-0101-010101010101'";
    let ending = database.begin(ending).await;
    let hash = PasswordHash::from_phc("x".to_owned());
    let context = context();
    let change = store.change_password(new_session(3, 1), own(1, 0), hash, None, &context);
    let (changed, ()) = join!(change, async {
        database.until_waiting(1).await;
        ending.commit().await;
    });
    assert_eq!(changed, Ok(OpenSessionOutcome::SessionEnded));
}

/// Each would leave the other as the last one, and both together nobody.
#[tokio::test]
async fn of_the_last_two_of_a_role_who_delete_each_other_one_stays() {
    let (store, database) = fresh_postgres().await;
    insert_user(&store, 1).await;
    insert_user(&store, 2).await;
    let held = database.begin("SELECT FROM keyward.user FOR UPDATE").await;
    let last_of_role = Some(KeptRole { name: "admin", verified_only: false });
    let guard = DeleteGuard { last_of_role, ..DeleteGuard::default() };
    let context = context();
    let (first, second, ()) = join!(
        store.delete_user(user_id(1), guard, &context),
        store.delete_user(user_id(2), guard, &context),
        async {
            database.until_waiting(2).await;
            held.commit().await;
        }
    );
    let mut outcomes = [first, second].map(|outcome| outcome.expect("the store works"));
    outcomes.sort_unstable_by_key(|outcome| *outcome == DeleteUserOutcome::LastOfRole);
    assert_eq!(outcomes, [DeleteUserOutcome::Deleted, DeleteUserOutcome::LastOfRole]);
}

#[tokio::test]
async fn what_another_transaction_undid_runs_again() {
    let (store, _database) = fresh_postgres().await;
    let runs = AtomicUsize::new(0);
    let counted =
        store.connections.transact(PATIENCE, |connection| fail_once(connection, &runs)).await;
    assert_eq!((counted, runs.into_inner()), (Ok(()), 2));
}

async fn fail_once(connection: Lent, runs: &AtomicUsize) -> Result<(), connection::Failure> {
    if runs.fetch_add(1, Ordering::Relaxed) == 0 {
        return connection.batch("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$").await;
    }
    connection.batch("SELECT 1").await
}

#[tokio::test]
async fn a_use_case_that_is_dropped_leaves_no_transaction_behind() {
    let (_, database) = fresh_postgres().await;
    let mut settings = database.settings();
    settings.connections_max = 1;
    let store = PostgresStore::open(&settings, NOW).await.expect("a store");
    insert_user(&store, 1).await;
    let held = database.begin("SELECT FROM keyward.user FOR UPDATE").await;
    let context = context();
    {
        let opening = store.open_session(new_session(1, 1), 0, &context);
        tokio::select! {
            opened = opening => panic!("{opened:?}"),
            () = database.until_waiting(1) => {}
        }
    }
    held.commit().await;
    assert!(store.ping().await.is_ok());
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND state LIKE 'idle in transaction%'";
    assert_eq!(database.number(open).await, 0);
    assert_eq!(database.number("SELECT count(*) FROM keyward.session").await, 0);
}

#[tokio::test]
async fn a_server_that_may_forget_is_told_of() {
    let database = FreshDatabase::create().await;
    database
        .run(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', \
             current_database()); END $$",
        )
        .await;
    let store = PostgresStore::open(&database.settings(), NOW).await.expect("a store");
    let found = store.weak_settings().await.expect("a list");
    assert!(found.contains(&"synchronous_commit".to_owned()), "{found:?}");
}

#[tokio::test]
async fn a_role_that_could_rewrite_the_log_is_told_of() {
    let (service, database) = fresh_postgres_as_service().await;
    let owner = PostgresStore::open(&database.settings(), NOW).await.expect("a store");
    assert_eq!(owner.may_do_anything().await, Ok(true));
    assert_eq!(service.may_do_anything().await, Ok(false));
    // A table is enough, whoever has the schema.
    database.run(&format!("ALTER TABLE keyward.audit_event OWNER TO {SERVICE_ROLE}")).await;
    assert_eq!(service.may_do_anything().await, Ok(true));
}

#[tokio::test]
async fn rows_that_no_code_writes_are_inconsistent() {
    let (store, database) = fresh_postgres().await;
    insert_user(&store, 1).await;
    open(&store, 1, 1).await;
    database.run("ALTER TABLE keyward.session DISABLE TRIGGER session_half_revoked").await;
    for (change, undo, place) in [
        ("revoked_at = 1", "revoked_at = NULL", "session.revoked_reason"),
        ("revoked_reason = 'logout'", "revoked_reason = NULL", "session.revoked_reason"),
        ("retry_proofs = '\\x00'", "retry_proofs = ''", "session.retry_proofs"),
        (
            "previous_token_hash = '\\x00'",
            "previous_token_hash = NULL",
            "session.previous_token_hash",
        ),
        (
            "refresh_token_hash = '\\x00'",
            "refresh_token_hash = sha256('')",
            "session.refresh_token_hash",
        ),
        ("generation = -1", "generation = 0", "session.generation"),
        ("amr = '{x}'", "amr = '{pwd}'", "session.amr"),
    ] {
        database.run(&format!("UPDATE keyward.session SET {change}")).await;
        let filter =
            SessionFilter { user_id: None, which: WhichSessions::Live, now: NOW, limit: 9 };
        let found = store.find_session(session_id(1)).await;
        assert_eq!(found, Err(StoreError::Inconsistent(place)), "{change}");
        let refused = store.rotate(swap(9, 8), &context()).await;
        assert_eq!(refused, Err(StoreError::Inconsistent(place)), "{change}");
        let listed = store.list_sessions(filter).await;
        assert!(listed == Err(StoreError::Inconsistent(place)) || listed == Ok(vec![]));
        database.run(&format!("UPDATE keyward.session SET {undo}")).await;
    }
    for (change, place) in [
        ("claims = '[]'", "user.claims"),
        ("claims = '{}', credential_version = -1", "user.credential_version"),
    ] {
        database.run(&format!("UPDATE keyward.user SET {change}")).await;
        let found = store.find_user(user_id(1)).await;
        assert_eq!(found, Err(StoreError::Inconsistent(place)), "{change}");
    }
    database.run("INSERT INTO keyward.key VALUES ('x', '1', 'HS256', '', 0, 0)").await;
    assert_eq!(store.list_keys().await, Err(StoreError::Inconsistent("key.purpose")));
}

/// Whoever takes over the running service can neither hide what happened nor change the schema.
#[tokio::test]
async fn the_services_role_may_do_no_more_than_the_service_does() {
    let (store, _database) = fresh_postgres_as_service().await;
    insert_user(&store, 1).await;
    for sql in [
        "DELETE FROM keyward.audit_event",
        "UPDATE keyward.audit_event SET name = 'x'",
        "UPDATE keyward.audit_event SET at = 0",
        "TRUNCATE keyward.audit_event",
        "DELETE FROM keyward.audit_event_default",
        "DELETE FROM keyward.session",
        "DELETE FROM keyward.migration",
        "UPDATE keyward.event_count SET count = 0",
        "UPDATE keyward.mfa_challenge SET expires_at = 0",
        "UPDATE keyward.recovery_code SET user_id = user_id",
        "CREATE TABLE keyward.x ()",
        "ALTER TABLE keyward.session ADD x integer",
        "DROP SCHEMA keyward CASCADE",
        "CREATE SCHEMA x",
    ] {
        let refused = store.connections.run(PATIENCE, |connection| run(connection, sql)).await;
        let Err(StoreError::Unavailable(why)) = refused else { panic!("{sql}: {refused:?}") };
        assert!(why.starts_with("the role of store.url may not do this"), "{sql}: {why}");
    }
}

pub(super) async fn run(connection: Lent, sql: &str) -> Result<(), connection::Failure> {
    connection.batch(sql).await
}

#[tokio::test]
async fn nodes_that_start_at_once_all_find_the_schema() {
    let database = FreshDatabase::create().await;
    database.run("DROP SCHEMA keyward CASCADE").await;
    let settings = database.settings();
    let listed = PostgresStore::migrations(&settings).await.expect("a list");
    assert!(listed.iter().all(|migration| migration.applied_at.is_none()));
    for opened in join_all((0..8).map(|_| PostgresStore::open(&settings, NOW))).await {
        assert_eq!(opened.map(drop), Ok(()));
    }
    let listed = PostgresStore::migrations(&settings).await.expect("a list");
    assert!(listed.iter().all(|migration| migration.applied_at == Some(NOW)));
    let partitions = "SELECT count(*) FROM pg_inherits";
    assert_eq!(database.number(partitions).await - indexes(&database).await, 4);
}

/// Partitions of indexes are inherited too.
async fn indexes(database: &FreshDatabase) -> i64 {
    database
        .number(
            "SELECT count(*) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
             WHERE c.relkind = 'i'",
        )
        .await
}

#[tokio::test]
async fn the_services_role_is_told_who_has_to_migrate() {
    let database = FreshDatabase::create().await;
    database.run("DROP SCHEMA keyward CASCADE").await;
    let opened = PostgresStore::open(&database.service_settings(), NOW).await;
    let Err(StoreError::Unavailable(why)) = opened else { panic!("{opened:?}") };
    assert!(why.contains("keyward migrate"), "{why}");
}

#[tokio::test]
async fn a_database_of_another_version_is_refused() {
    let newer = "the database is of a newer version of Keyward (migration 99); start that version";
    for (change, sentence) in [
        ("INSERT INTO keyward.migration VALUES (99, 'later', '', 0)", newer),
        ("INSERT INTO keyward.migration VALUES (99, 'later', '', 0, 99)", newer),
        (
            "UPDATE keyward.migration SET sha256 = ''",
            "the database has another migration 1 than this version of Keyward",
        ),
    ] {
        let database = FreshDatabase::create().await;
        database.run(change).await;
        let opened = PostgresStore::open(&database.settings(), NOW).await.map(drop);
        assert_eq!(opened, Err(unavailable(sentence)));
    }
}

#[tokio::test]
async fn a_node_starts_on_a_newer_schema_that_serves_it_too() {
    let database = FreshDatabase::create().await;
    database.run("INSERT INTO keyward.migration VALUES (99, 'later', '', 0, 1)").await;
    let opened = PostgresStore::open(&database.service_settings(), NOW).await.map(drop);
    assert_eq!(opened, Ok(()));
}

/// The first databases did not note who can run on them.
#[tokio::test]
async fn a_database_that_does_not_say_whom_it_serves_is_opened() {
    let database = FreshDatabase::create().await;
    database.run("ALTER TABLE keyward.migration DROP COLUMN compatible_since").await;
    let opened = PostgresStore::open(&database.settings(), NOW).await.map(drop);
    assert_eq!(opened, Ok(()));
}

#[tokio::test]
async fn a_role_that_is_not_there_gets_no_rights() {
    let (store, _database) = fresh_postgres().await;
    let granted = store.grant("nobody\"; DROP SCHEMA keyward; --").await;
    let Err(StoreError::Unavailable(why)) = granted else { panic!("{granted:?}") };
    assert!(why.starts_with("there is no role"), "{why}");
}

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// How often sessions were changed, and how often of that in place.
pub(super) async fn updates(database: &FreshDatabase) -> [i64; 2] {
    let of = |name| format!("SELECT {name} FROM pg_stat_user_tables WHERE relname = 'session'");
    [database.number(&of("n_tup_upd")).await, database.number(&of("n_tup_hot_upd")).await]
}

pub(super) fn context() -> AuditContext {
    AuditContext { at: NOW, device: Device::default(), request_id: None, actor: None }
}

pub(super) fn user_id(number: u8) -> UserId {
    UserId::from_bytes([number; 16])
}

pub(super) fn session_id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

pub(super) async fn insert_user(store: &PostgresStore, number: u8) {
    let user = NewUser {
        id: user_id(number),
        email: Email::parse(&format!("user{number}@example.org")).expect("an address"),
        name: None,
        roles: vec!["admin".to_owned()],
        email_verified: false,
        password_hash: PasswordHash::from_phc("x".to_owned()),
        by: RegisteredBy::Operator,
        verification: None,
    };
    let inserted = store.insert_user(user, None, &context()).await;
    assert!(matches!(inserted, Ok(InsertUserOutcome::Inserted(_))), "{inserted:?}");
}

pub(super) async fn open(store: &PostgresStore, number: u8, user: u8) {
    open_as(store, new_session(number, user), 0).await;
}

async fn open_as(store: &PostgresStore, new: NewSession, credential_version: u64) {
    let opened = store.open_session(new, credential_version, &context()).await;
    assert!(matches!(opened, Ok(OpenSessionOutcome::Opened { .. })), "{opened:?}");
}

/// What a user shows in this session for a change of their own account.
fn own(number: u8, credential_version: u64) -> OwnGuard {
    OwnGuard { session_id: session_id(number), credential_version }
}

/// Its token has this number.
fn new_session(number: u8, user: u8) -> NewSession {
    let later = NOW.plus(Duration::from_secs(60));
    let session = Session {
        id: session_id(number),
        user_id: user_id(user),
        generation: 0,
        refresh_token_hash: RefreshTokenHash::from_bytes([number; 32]),
        previous_token_hash: None,
        sealed_successor: None,
        retry_proofs: [].into(),
        rotated_at: NOW,
        created_at: NOW,
        last_used_at: NOW,
        idle_expires_at: later,
        expires_at: later,
        revoked: None,
        device: Device::default(),
        auth_time: NOW,
        amr: Vec::new(),
    };
    NewSession { session, supersedes: None, sessions_max: 9, notice: None }
}

/// Exchanges one token of session 1 for another.
pub(super) fn swap(presented: u8, successor: u8) -> Swap {
    Swap {
        session_id: session_id(1),
        presented_hash: RefreshTokenHash::from_bytes([presented; 32]),
        successor_hash: RefreshTokenHash::from_bytes([successor; 32]),
        generation: 1,
        retry: None,
        at: NOW,
        idle_expires_at: NOW.plus(Duration::from_secs(60)),
        device: Device::default(),
    }
}
