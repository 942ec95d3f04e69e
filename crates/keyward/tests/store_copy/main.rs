//! A store that moves from a file to a server: the same on both sides, at no time two that serve,
//! and whatever goes wrong, nothing is lost.
#![cfg(feature = "postgres")]

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use keyward::store::copy::{CopyError, Progress, StoreCopy, Walk};
use keyward::store::postgres::fresh::FreshDatabase;
use keyward::store::{
    PostgresStore, SessionFilter, SqliteStore, Store as _, StoreError, WhichSessions,
};
use keyward_core::session::RevocationReason;
use world::{
    EVENTS, NOW, SESSIONS, USERS, World, context, event, everything, first_session, list_events,
    rotate,
};

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
    let empty = FreshDatabase::create().await;
    let elsewhere = StoreCopy::begin(&world.file, &empty.settings(), NOW).await;
    let elsewhere = elsewhere.expect_err("nothing came there");
    assert!(elsewhere.to_string().contains("this database holds none"), "{elsewhere}");
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

/// The server takes what belongs to a user only beside the user. Whom the first walk has missed,
/// or has removed since somebody else has their address by now, comes with the second one.
#[tokio::test]
async fn whoever_registers_while_the_first_walk_is_under_way_arrives() {
    let world = World::new().await;
    world.change(FILL_BESIDE_USERS);
    let store = SqliteStore::open(&world.file, NOW).expect("a store");
    let mut copy = world.begin().await.expect("begun");
    let mut changes = vec![("session", REGISTER), ("user", TAKE_OVER)];
    let changing = |progress: Progress| {
        if let Some((_, sql)) = changes.pop_if(|(table, _)| *table == progress.table) {
            world.change(sql);
        }
    };
    copy.copy_ahead(changing).await.expect("copied");
    assert!(changes.is_empty());
    for name in ["user", "one_time_token", "mail", "audit_salt"] {
        let ahead = format!("SELECT count(*) FROM keyward.incoming_{name}");
        assert_eq!(world.database.number(&ahead).await, USERS as i64 - 1, "{name}");
    }
    let told = everything(&store).await;
    let tables = copy.finish(|| NOW, |_| {}).await.expect("finished");
    for name in ["one_time_token", "mail", "audit_salt"] {
        let table = tables.iter().find(|table| table.name == name).expect("copied");
        assert_eq!((table.rows, table.written), (USERS + 1, USERS + 1), "{name}");
    }
    assert!(everything(&world.open_target().await.expect("a store")).await == told);
}

/// Nobody is served meanwhile: what the first walk has found says about how much there is.
#[tokio::test]
async fn the_second_walk_counts_only_what_it_comes_to() {
    let world = World::new().await;
    let mut copy = world.begin().await.expect("begun");
    copy.copy_ahead(|_| {}).await.expect("copied");
    world.change(
        "INSERT INTO user (id, email, email_key, roles, email_verified, claims, password_hash,
                credential_version, created_at)
            SELECT randomblob(16), 'new', 'new ' || email, '[]', 0, '{}', 'hash', 1, 1 FROM user;
         DELETE FROM session WHERE id IN (SELECT id FROM session ORDER BY id DESC LIMIT 999)",
    );
    let mut seen = Vec::new();
    copy.finish(|| NOW, |progress| seen.push(progress)).await.expect("finished");
    let of = |name| {
        let seen = seen.iter().filter(move |progress| progress.table == name);
        seen.map(|progress| (progress.done, progress.total)).collect::<Vec<_>>()
    };
    assert_eq!(of("user"), [(5000, USERS), (10_000, 10_001), (12_000, 12_000)]);
    assert_eq!(of("session"), [(5000, SESSIONS), (10_000, SESSIONS), (10_001, 10_001)]);
}

/// A checkpoint is as large as the tags of a thousand events.
#[tokio::test]
async fn checkpoints_are_read_a_few_at_a_time() {
    let world = World::new().await;
    world.change(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
         INSERT INTO audit_checkpoint SELECT i, 1, 1, 1, '1-1000', randomblob(32000),
            randomblob(32), randomblob(32), randomblob(32), randomblob(64) FROM n",
    );
    let mut copy = world.begin().await.expect("begun");
    let mut done = Vec::new();
    let telling = |progress: Progress| {
        if progress.table == "audit_checkpoint" {
            done.push(progress.done);
        }
    };
    copy.copy_ahead(telling).await.expect("copied");
    assert_eq!(done, [100, 200, 250]);
    copy.finish(|| NOW, |_| {}).await.expect("finished");
}

/// But for the months that have got partitions.
#[tokio::test]
async fn the_schema_is_what_the_migrations_have_made() {
    let world = World::new().await;
    let migrated = world.database.text(SCHEMA).await;
    for part in
        ["one_time_token_user_id_fkey", "TRIGGER user_tokens_end", "keyward_test_service=ar"]
    {
        assert!(migrated.contains(part), "{part} in {migrated}");
    }
    world.copy().await.expect("copied");
    let copied = world.database.text(SCHEMA).await;
    let [migrated, copied] = [&migrated, &copied].map(|text| text.lines().collect::<BTreeSet<_>>());
    assert_eq!(copied.symmetric_difference(&migrated).collect::<Vec<_>>(), [""; 0].each_ref());
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

/// What each user has, of what the server holds only beside the user.
const FILL_BESIDE_USERS: &str = "
    INSERT INTO one_time_token SELECT id, 'verify_email', randomblob(32), email_key, 1, 2 FROM user
        WHERE id NOT IN (SELECT user_id FROM one_time_token);
    INSERT INTO mail SELECT randomblob(16), id, randomblob(80), 0, 1, 1, 2 FROM user
        WHERE id NOT IN (SELECT user_id FROM mail);
    INSERT INTO audit_salt SELECT id, randomblob(32) FROM user
        WHERE id NOT IN (SELECT user_id FROM audit_salt)";

const REGISTER: &str = "
    INSERT INTO user (id, email, email_key, roles, email_verified, claims, password_hash,
            credential_version, created_at)
        VALUES (x'ffffffffffffffffffffffffffffffff', 'new', 'new', '[]', 0, '{}', 'hash', 1, 1);
    INSERT INTO one_time_token VALUES
        (x'ffffffffffffffffffffffffffffffff', 'verify_email', randomblob(32), 'new', 1, 2);
    INSERT INTO mail VALUES
        (randomblob(16), x'ffffffffffffffffffffffffffffffff', randomblob(80), 0, 1, 1, 2);
    INSERT INTO audit_salt VALUES (x'ffffffffffffffffffffffffffffffff', randomblob(32))";

/// The last user gets the address of the first one.
const TAKE_OVER: &str = "
    UPDATE user SET email_key = 'another' WHERE id = (SELECT min(id) FROM user);
    UPDATE user SET email_key = 'user 1' WHERE id = (SELECT max(id) FROM user);
    INSERT INTO one_time_token SELECT id, 'verify_email', randomblob(32), email_key, 1, 2 FROM user
        WHERE id NOT IN (SELECT user_id FROM one_time_token)";

/// A line for each part of the schema, or more.
const SCHEMA: &str = r#"
    WITH relation AS (
        SELECT c.* FROM pg_class AS c WHERE c.relnamespace = 'keyward'::regnamespace
        AND c.relname !~ '^audit_event_[0-9]{4}_'
    ), line (text) AS (
        SELECT concat_ws(' ', oid::regclass, relkind, relowner::regrole, relacl, reloptions)
            FROM relation
        UNION ALL SELECT concat_ws(' ', r.oid::regclass, a.attname, a.atttypid::regtype,
                a.attnotnull, a.attidentity, a.attstorage, a.attcollation::regcollation, a.attacl,
                pg_get_expr(d.adbin, d.adrelid))
            FROM relation AS r JOIN pg_attribute AS a ON a.attrelid = r.oid
            LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
            WHERE a.attnum > 0
        UNION ALL SELECT concat_ws(' ', r.oid::regclass, c.conname, pg_get_constraintdef(c.oid))
            FROM relation AS r JOIN pg_constraint AS c ON c.conrelid = r.oid
        UNION ALL SELECT concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid)
            FROM relation AS r JOIN pg_index AS i ON i.indexrelid = r.oid
        UNION ALL SELECT concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
            FROM relation AS r JOIN pg_trigger AS t ON t.tgrelid = r.oid AND NOT t.tgisinternal
        UNION ALL SELECT concat_ws(' ', pg_get_functiondef(p.oid), p.proowner::regrole, p.proacl)
            FROM pg_proc AS p WHERE p.pronamespace = 'keyward'::regnamespace
    )
    SELECT string_agg(text, E'\n' ORDER BY text COLLATE "C") FROM line"#;
