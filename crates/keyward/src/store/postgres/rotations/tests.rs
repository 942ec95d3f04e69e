use futures_util::future::join_all;
use keyward_core::refresh_token::{RetryProof, SealedSuccessor};
use keyward_core::session::{Device, RevocationReason, Session, SwapRetry};
use tokio::sync::SemaphorePermit;
use tokio::task::yield_now;
use tokio::{join, pin, select};

use tokio_postgres::types::Type;

use super::*;
use crate::store::postgres::connection::{Failure, Lent, Statement};
use crate::store::postgres::fresh::{FreshDatabase, fresh_postgres};
use crate::store::postgres::tests::{NOW, context, insert_user, open, session_id, swap, updates};
use crate::store::postgres::{PostgresStore, rows, sql};
use crate::store::{Revoke, RevokeScope, Store as _};

#[tokio::test]
async fn exchanges_that_wait_share_a_commit_and_are_recorded_as_they_came() {
    let (store, database) = world(3).await;
    for (number, outcome) in [3, 1, 2].into_iter().zip(together(&store, [3, 1, 2].map(of)).await) {
        let session = swapped(outcome);
        assert_eq!(session.id, session_id(number));
        assert_eq!(session.refresh_token_hash, of(number).successor_hash);
    }
    assert_eq!(database.number(COMMITS).await, 1);
    let in_order = "SELECT count(*) FROM (SELECT string_agg(left(session_id::text, 2), ' ' \
         ORDER BY id) AS ids FROM keyward.audit_event WHERE name = 'session.refreshed') AS e \
         WHERE ids = '03 01 02'";
    assert_eq!(database.number(in_order).await, 1);
}

/// The statement leaves out what the swap says. More rounds than proofs are kept.
#[tokio::test]
async fn a_batch_answers_sessions_as_they_are_stored() {
    let (store, _database) = world(3).await;
    for round in 0..10 {
        let proven = Swap {
            retry: Some(SwapRetry {
                proof: RetryProof::from_bytes([round; 16]),
                sealed_successor: SealedSuccessor::from_bytes(vec![round; 130]),
            }),
            device: Device { ip: Some("192.0.2.1".to_owned()), user_agent: Some("ua".to_owned()) },
            generation: u64::from(round) + 1,
            ..of_round(1, round)
        };
        let beyond = NOW.plus(Duration::from_secs(1_000_000_000));
        let capped = Swap { idle_expires_at: beyond, ..of_round(2, round) };
        for outcome in together(&store, [proven, capped, of_round(3, round)]).await {
            let session = swapped(outcome);
            let stored = store.find_session(session.id).await.expect("a store");
            assert_eq!(Some(session), stored.map(|found| found.session));
        }
    }
}

#[tokio::test]
async fn where_nothing_is_shared_each_exchange_has_its_commit() {
    let (_, database) = world(3).await;
    let mut settings = database.service_settings();
    settings.shares_commits = false;
    let store = PostgresStore::open(&settings, NOW).await.expect("a store");
    let context = context();
    let exchanges = [1, 2, 3].map(|number| store.rotate(of(number), &context));
    for outcome in join_all(exchanges).await {
        swapped(outcome);
    }
    assert_eq!(database.number(COMMITS).await, 3);
}

/// One of everything that an exchange can meet.
#[tokio::test]
async fn each_of_a_batch_has_its_own_outcome() {
    let (store, database) = world(4).await;
    end(&store, RevokeScope::Session(session_id(2))).await;
    let spent = Swap { presented_hash: of(9).presented_hash, ..of(3) };
    let late = Swap { at: of(4).idle_expires_at, ..of(4) };
    let outcomes = together(&store, [of(1), of(2), spent, late, of(5)]).await;
    let [first, revoked, spent, late, unknown] = outcomes.try_into().expect("five");
    swapped(first);
    let session = refused(revoked).expect("a session");
    assert_eq!(session.revoked.map(|end| end.reason), Some(RevocationReason::Admin));
    for (refused, number) in [(refused(spent), 3), (refused(late), 4)] {
        let session = refused.expect("a session");
        assert_eq!((session.id, session.generation), (session_id(number), 0));
    }
    assert_eq!(refused(unknown), None);
    assert_eq!(database.number(COMMITS).await, 1);
    assert_eq!(database.number(EXCHANGES).await, 1);
}

/// The first of them travels with others, the rest alone.
#[tokio::test]
async fn of_twenty_that_present_one_token_one_wins() {
    let (store, database) = world(3).await;
    let racers =
        (0..20).map(|number| Swap { successor_hash: of(100 + number).successor_hash, ..of(1) });
    let swaps: Vec<Swap> = [of(2)].into_iter().chain(racers).chain([of(3)]).collect();
    let outcomes = together(&store, swaps).await;
    let won = |outcome: &&_| matches!(outcome, Ok(RotateOutcome::Swapped(_)));
    assert_eq!(outcomes[1..21].iter().filter(won).count(), 1);
    assert!(won(&&outcomes[0]) && won(&&outcomes[21]));
    assert_eq!(database.number(EXCHANGES).await, 3);
}

/// A logout that takes long, say, delays whom it concerns and nobody else.
#[tokio::test]
async fn a_session_that_is_held_does_not_hold_up_the_batch() {
    let (store, database) = world(3).await;
    let held = database.begin(&format!("SELECT FROM keyward.session {SECOND} FOR UPDATE")).await;
    let second = together(&store, [1, 2, 3].map(of));
    pin!(second);
    let outcomes = select! {
        _ = &mut second => panic!("the second one is held"),
        () = async {
            while database.number(EXCHANGES).await < 2 {}
            database.until_waiting(1).await;
        } => {
            held.commit().await;
            second.await
        }
    };
    outcomes.into_iter().for_each(|outcome| drop(swapped(outcome)));
    assert_eq!(database.number(COMMITS).await, 2);
}

/// Neither where it has gone alone at once, nor as the only one of a batch.
#[tokio::test]
async fn a_session_that_is_held_keeps_nobody_from_a_lane() {
    for is_batch in [false, true] {
        let (store, database) = world(22).await;
        let context = context();
        let hold = format!("SELECT FROM keyward.session {SECOND} FOR UPDATE");
        let held = database.begin(&hold).await;
        let lanes = if is_batch { Some(hold_lanes(&store).await) } else { None };
        let mut waiting = Box::pin(store.rotate(of(2), &context));
        assert!((&mut waiting).now_or_never().is_none());
        drop(lanes);
        let others = async {
            database.until_waiting(1).await;
            join_all((3..=22).map(|number| store.rotate(of(number), &context))).await
        };
        let outcomes = select! {
            _ = &mut waiting => panic!("the second one is held"),
            outcomes = others => outcomes,
        };
        outcomes.into_iter().for_each(|outcome| drop(swapped(outcome)));
        let (outcome, ()) = join!(waiting, held.commit());
        swapped(outcome);
    }
}

/// Lanes are what keeps a slow disk from taking every connection.
#[tokio::test]
async fn only_a_few_go_on_without_a_lane() {
    let (store, database) = world(4).await;
    let context = context();
    let held = database.begin("SELECT FROM keyward.session FOR UPDATE").await;
    let waiting = join_all((1..=4).map(|number| store.rotate(of(number), &context)));
    pin!(waiting);
    let lanes = store.rotations.lanes.as_ref().expect("shared commits");
    let (free, count) = (&lanes.free, lanes.count as usize);
    let lanes_are = async |count| {
        while free.available_permits() != count {
            yield_now().await;
        }
    };
    select! {
        _ = &mut waiting => panic!("they are held"),
        () = async {
            database.until_waiting(4).await;
            lanes_are(count - 2).await;
            tokio::time::sleep(2 * LANE_HELD_MAX).await;
        } => {}
    }
    assert_eq!(free.available_permits(), count - 2);
    let (outcomes, ()) = join!(waiting, held.commit());
    outcomes.into_iter().for_each(|outcome| drop(swapped(outcome)));
    lanes_are(count).await;
}

/// However many present a token of that session, which would wait for the same.
#[tokio::test]
async fn a_session_that_is_held_takes_one_connection() {
    for connections_max in [2, 10] {
        let (_, database) = world(0).await;
        let mut settings = database.service_settings();
        settings.connections_max = connections_max;
        let store = PostgresStore::open(&settings, NOW).await.expect("a store");
        for number in 1..=20 {
            insert_user(&store, number).await;
            open(&store, number, number).await;
        }
        let context = context();
        let held =
            database.begin(&format!("SELECT FROM keyward.session {SECOND} FOR UPDATE")).await;
        let racers = join_all((0..6).map(|_| store.rotate(of(2), &context)));
        pin!(racers);
        let others = async {
            database.until_waiting(1).await;
            let swaps = (3..=20).map(|number| store.rotate(of(number), &context));
            join_all(swaps).await.into_iter().for_each(|outcome| drop(swapped(outcome)));
            database.until_waiting(1).await;
        };
        select! {
            _ = &mut racers => panic!("the second one is held"),
            () = others => {}
        }
        let (outcomes, ()) = join!(racers, held.commit());
        let won = |outcome: &&_| matches!(outcome, Ok(RotateOutcome::Swapped(_)));
        assert_eq!(outcomes.iter().filter(won).count(), 1, "{outcomes:?}");
        assert!(lock(&store.rotations.turns.0).is_empty());
    }
}

/// Beside three held sessions, the third of which keeps its lane.
#[tokio::test]
async fn who_waits_for_a_turn_takes_no_lane() {
    let (store, database) = world(8).await;
    let context = context();
    let hold = "SELECT FROM keyward.session WHERE generation = 0 ORDER BY id LIMIT 3 FOR UPDATE";
    let held = database.begin(hold).await;
    let waiting = join_all((1..=3).map(|number| store.rotate(of(number), &context)));
    let lanes = store.rotations.lanes.as_ref().expect("shared commits");
    let others = async {
        database.until_waiting(3).await;
        while lanes.free.available_permits() as u32 != lanes.count - 1 {
            yield_now().await;
        }
        let swaps = [4, 4, 5, 6, 7, 8].map(|number| store.rotate(of(number), &context));
        let mut outcomes = join_all(swaps).await;
        assert_eq!(refused(outcomes.remove(1)).map(|session| session.id), Some(session_id(4)));
        outcomes.into_iter().for_each(|outcome| drop(swapped(outcome)));
    };
    pin!(waiting);
    select! {
        _ = &mut waiting => panic!("they are held"),
        () = others => held.commit().await,
    }
}

/// However many wait, and whether or not each could travel with others.
#[tokio::test]
async fn exchanges_that_wait_leave_connections_to_other_requests() {
    let (store, database) = world(12).await;
    let context = context();
    let held = database.begin("SELECT FROM keyward.session FOR UPDATE").await;
    let of_one_session = (0..12).map(|_| of(1));
    let swaps = (1..=12).map(of).chain(of_one_session);
    let waiting = join_all(swaps.map(|swap| store.rotate(swap, &context)));
    pin!(waiting);
    let others = async {
        // Two of those on a lane have gone on without, for a batch that waits for all lanes.
        database.until_waiting(6).await;
        for _ in 0..200 {
            store.find_session(session_id(1)).await.expect("a connection");
        }
    };
    select! {
        _ = &mut waiting => panic!("they are held"),
        () = others => held.commit().await,
    }
}

#[test]
fn the_connections_of_a_node_are_shared_out() {
    for (connections_max, lanes_and_beside) in
        [(1, (1, 0)), (2, (1, 1)), (3, (1, 1)), (6, (2, 2)), (10, (6, 2)), (100, (8, 2))]
    {
        let lanes = Lanes::new(connections_max);
        assert_eq!((lanes.count as usize, lanes.beside.available_permits()), lanes_and_beside);
    }
}

#[tokio::test]
async fn a_value_that_the_server_refuses_fails_alone() {
    let (store, database) = world(3).await;
    let device = Device { user_agent: Some("\0".to_owned()), ..Device::default() };
    let outcomes = together(&store, [of(1), Swap { device, ..of(2) }, of(3)]).await;
    let [first, second, third] = outcomes.try_into().expect("three");
    assert_eq!(second, Err(StoreError::Inconsistent("row")));
    swapped(first);
    swapped(third);
    assert_eq!(database.number(EXCHANGES).await, 2);
}

/// Whoever opened the batch goes away before it is sent, and then whoever drives it.
#[tokio::test]
async fn who_goes_away_takes_nobody_along() {
    let (store, database) = world(3).await;
    let context = context();
    let lanes = hold_lanes(&store).await;
    let mut exchanges = [1, 2, 3].map(|number| Some(Box::pin(store.rotate(of(number), &context))));
    for exchange in exchanges.iter_mut().flatten() {
        assert!(exchange.now_or_never().is_none());
    }
    exchanges[0] = None;
    drop(lanes);
    let blocked = database.begin("LOCK TABLE keyward.audit_event IN SHARE MODE").await;
    let [_, second, third] = exchanges;
    let (mut second, third) = (second.expect("the second"), third.expect("the third"));
    select! {
        biased;
        _ = &mut second => panic!("the log is locked"),
        () = database.until_waiting(1) => {}
    }
    drop(second);
    let (outcome, ()) = join!(third, blocked.commit());
    swapped(outcome);
    assert_eq!(database.number(EXCHANGES).await, 2);
    assert_eq!(database.number(COMMITS).await, 1);
}

/// Neither waits for the other in a circle, and nothing survives the end of all sessions.
#[tokio::test]
async fn a_batch_beside_the_end_of_all_sessions() {
    let (store, database) = world(20).await;
    let all = end(&store, RevokeScope::All);
    let (outcomes, ended) = join!(together(&store, (1..=20).rev().map(of)), all);
    assert_eq!(ended, 20);
    for (outcome, number) in outcomes.into_iter().zip((1..=20).rev()) {
        if let RotateOutcome::Refused(_) = outcome.expect("an outcome") {
            // What it was answered may be from before the end: whoever asks again is told.
            let session = refused(store.rotate(of(number), &context()).await);
            assert!(session.is_some_and(|session| session.revoked.is_some()));
        }
    }
    let live = "SELECT count(*) FROM keyward.session WHERE revoked_at IS NULL";
    assert_eq!(database.number(live).await, 0);
    assert_eq!(database.number(DEADLOCKS).await, 0);
}

/// Each of two processes has a batch of all sessions, in orders that cross.
#[tokio::test]
async fn batches_of_two_nodes_exchange_each_token_once() {
    let (one, database) = world(20).await;
    let other = PostgresStore::open(&database.service_settings(), NOW).await.expect("a store");
    for round in 0..10 {
        let of_round = |number| of_round(number, round);
        let (ours, theirs) = join!(
            together(&one, (1..=20).map(of_round)),
            together(&other, (1..=20).rev().map(of_round))
        );
        for (ours, theirs) in ours.into_iter().zip(theirs.into_iter().rev()) {
            let outcomes = [ours, theirs].map(|outcome| outcome.expect("an outcome"));
            let won = |outcome: &&_| matches!(outcome, RotateOutcome::Swapped(_));
            assert_eq!(outcomes.iter().filter(won).count(), 1, "{outcomes:?}");
        }
    }
    assert_eq!(database.number(EXCHANGES).await, 200);
    assert_eq!(database.number(DEADLOCKS).await, 0);
}

/// As a refresh alone.
#[tokio::test]
async fn a_batch_changes_its_rows_in_place() {
    let (store, database) = world(2).await;
    let started = updates(&database).await;
    for round in 0..4 {
        for outcome in together(&store, (1..=2).map(|number| of_round(number, round))).await {
            swapped(outcome);
        }
    }
    // The server adds up what a connection has done when that ends.
    store.close();
    let mut counted = updates(&database).await;
    while counted[0] < started[0] + 8 {
        counted = updates(&database).await;
    }
    assert_eq!(counted, [started[0] + 8, started[1] + 8]);
}

/// Neither by a plan of its own nor by one that was made for any parameters, with and without
/// statistics of the tables.
#[tokio::test]
async fn a_batch_never_reads_a_whole_table() {
    let (store, database) = world(0).await;
    for mode in ["force_generic_plan", "force_custom_plan"] {
        let explained = store.connections.run(PATIENCE, |connection| explain(connection, mode));
        for plan in explained.await.expect("plans") {
            assert!(!plan.contains("Seq Scan"), "{mode}: {plan}");
        }
        database.run("TRUNCATE keyward.session, keyward.user CASCADE").await;
    }
}

/// The plans for tables that were just filled, and for those that were analyzed since.
async fn explain(connection: Lent, mode: &str) -> Result<Vec<String>, Failure> {
    let types: Vec<&str> = sql::ROTATE_TOGETHER.types.iter().map(Type::name).collect();
    let values: Vec<String> =
        types.iter().map(|name| format!("array_fill(NULL::{}, '{{64}}')", &name[1..])).collect();
    let (types, values) = (types.join(", "), values.join(", "));
    let prepare = format!(
        "PREPARE r_{mode} ({types}) AS {}; SET plan_cache_mode = {mode}",
        sql::ROTATE_TOGETHER.sql
    );
    connection.batch(&prepare).await?;
    let explain = format!("EXPLAIN EXECUTE r_{mode} ({values})");
    let mut plans = Vec::new();
    for change in [MANY_ROWS, "ANALYZE keyward.session, keyward.user"] {
        connection.batch(change).await?;
        connection.batch("DISCARD PLANS").await?;
        let lines = connection.query(Statement { sql: &explain, types: &[] }, &[]).await?;
        let lines = rows::all(&lines, |columns| columns.take::<String>("line"))?;
        plans.push(lines.join("\n"));
    }
    Ok(plans)
}

#[tokio::test]
async fn who_waits_in_vain_is_told_soon() {
    let (store, _database) = world(1).await;
    let _lanes = hold_lanes(&store).await;
    let room = store.rotations.room.acquire_many(WAITING_MAX as u32).await;
    let full = store.rotate(of(1), &context()).await;
    assert_eq!(full, Err(unavailable("too many refreshes wait for PostgreSQL")));
    drop(room);
    tokio::time::pause();
    let late = store.rotate(of(1), &context()).await;
    let Err(StoreError::Unavailable(why)) = late else { panic!("{late:?}") };
    assert!(why.starts_with("PostgreSQL is slower than refreshes come in"), "{why}");
}

/// A store with so many sessions, each of its own user and with the token of its number.
async fn world(sessions: u8) -> (PostgresStore, FreshDatabase) {
    let (store, database) = fresh_postgres().await;
    for number in 1..=sessions {
        insert_user(&store, number).await;
        open(&store, number, number).await;
    }
    (store, database)
}

/// Exchanges that wait for a lane until all of them do, so that they travel together.
async fn together(
    store: &PostgresStore,
    swaps: impl IntoIterator<Item = Swap>,
) -> Vec<Result<RotateOutcome, StoreError>> {
    let lanes = hold_lanes(store).await;
    let context = context();
    let exchanges: Vec<_> = swaps.into_iter().map(|swap| store.rotate(swap, &context)).collect();
    let (outcomes, ()) = join!(join_all(exchanges), async {
        yield_now().await;
        drop(lanes);
    });
    outcomes
}

async fn hold_lanes(store: &PostgresStore) -> SemaphorePermit<'_> {
    let lanes = store.rotations.lanes.as_ref().expect("shared commits");
    lanes.free.acquire_many(lanes.count).await.expect("an open store")
}

async fn end(store: &PostgresStore, scope: RevokeScope) -> usize {
    let revoke = Revoke { scope, reason: RevocationReason::Admin, noticed: None };
    store.revoke(revoke, &context()).await.expect("sessions").len()
}

/// Exchanges the token of this session's number.
fn of(number: u8) -> Swap {
    Swap { session_id: session_id(number), ..swap(number, 100 + number) }
}

/// Exchanges the token that this session has in this round, the first of which is 0.
fn of_round(number: u8, round: u8) -> Swap {
    let presented = if round == 0 { number } else { 100 + round };
    Swap { session_id: session_id(number), ..swap(presented, 101 + round) }
}

fn swapped(outcome: Result<RotateOutcome, StoreError>) -> Session {
    match outcome.expect("an outcome") {
        RotateOutcome::Swapped(found) => found.session,
        RotateOutcome::Refused(standing) => panic!("it was refused: {standing:?}"),
    }
}

fn refused(outcome: Result<RotateOutcome, StoreError>) -> Option<Session> {
    match outcome.expect("an outcome") {
        RotateOutcome::Swapped(found) => panic!("it happened: {found:?}"),
        RotateOutcome::Refused(standing) => standing.session,
    }
}

const EXCHANGES: &str = "SELECT count(*) FROM keyward.audit_event WHERE name = 'session.refreshed'";

/// Which of them came from one transaction says the row itself.
const COMMITS: &str = "SELECT count(DISTINCT xmin::text) FROM keyward.audit_event \
     WHERE name = 'session.refreshed'";

const DEADLOCKS: &str = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";

const SECOND: &str = "WHERE id = '02020202-0202-0202-0202-020202020202'";

const MANY_ROWS: &str = "INSERT INTO keyward.session (id, user_id, generation, \
     refresh_token_hash, retry_proofs, rotated_at, created_at, last_used_at, idle_expires_at, \
     expires_at, auth_time, amr) SELECT gen_random_uuid(), gen_random_uuid(), 0, \
     decode(repeat('00', 32), 'hex'), '', 0, 0, 0, 0, 0, 0, '{}' FROM generate_series(1, 20000); \
     INSERT INTO keyward.user (id, email, email_key, roles, email_verified, claims, \
     password_hash, credential_version, created_at) SELECT gen_random_uuid(), n, n, '{}', false, \
     '{}', 'x', 0, 0 FROM generate_series(1, 20000) AS n";
