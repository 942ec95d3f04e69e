//! The chain over the audit log, as a running service seals it and an operator verifies it,
//! whatever is done to the store behind its back.

#[path = "../checks/mod.rs"]
mod checks;
#[path = "../common/mod.rs"]
mod common;
mod keys;
mod world;

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use checks::faulty_store::{Call, Fault, FaultyStore};
use common::{Answer, Browser, PASSWORD, TestApp};
use keyward::store::MemoryStore;
#[cfg(feature = "postgres")]
use keyward::store::postgres::fresh::FreshDatabase;
use keyward_core::audit::{AuditContext, AuditEvent, AuditKind, DamageKind, Verified};
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;
use serde_json::json;
use world::{Place, World, assert_damage, head, verify, verify_with};

const ADA: &str = "ada@example.org";
const BOB: &str = "bob@example.org";
const DAY: u64 = 24 * 60 * 60;

/// A user deletes their own account.
async fn delete(browser: &mut Browser) -> Answer {
    let body = json!({ "password": PASSWORD });
    browser.call(Method::DELETE, "/api/auth/me", Some(body)).await
}

/// Ada has registered, and exchanged three tokens.
async fn busy(app: &TestApp) -> Browser {
    let mut ada = app.registered(ADA).await;
    for _ in 0..3 {
        ada.refresh().await.assert(StatusCode::OK, None);
    }
    ada
}

#[tokio::test]
async fn whatever_happens_is_sealed_once() {
    for world in World::all().await {
        let app = &world.app;
        assert_eq!(verify(app).await, Verified::default());
        let mut ada = busy(app).await;
        let waiting = verify(app).await;
        assert_eq!((waiting.damage, waiting.events, waiting.unsealed), (None, 0, 5));
        assert_eq!(app.keyward.seal_audit().await, Ok(5));
        assert_eq!(app.keyward.seal_audit().await, Ok(0));
        ada.refresh().await.assert(StatusCode::OK, None);
        assert_eq!(app.keyward.seal_audit().await, Ok(1));
        let sealed = verify(app).await;
        assert_eq!((sealed.damage, sealed.events, sealed.unsealed), (None, 6, 0));
        assert_eq!((sealed.checkpoints, sealed.redacted), (2, 0));
        assert_eq!(head(app).await, sealed.head);
    }
}

/// More than one checkpoint takes, and two nodes that seal at once.
#[tokio::test]
async fn many_events_are_sealed_in_steps_by_whoever_comes_first() {
    for world in World::all().await {
        let app = &world.app;
        let user = UserId::from_bytes([1; 16]);
        let event = AuditEvent::of_user(AuditKind::UserUpdated { fields: Vec::new() }, user);
        for _ in 0..5 {
            let events = vec![(event.clone(), app.nobody()); 500];
            app.store.record(events).await.expect("a store");
        }
        let (one, other) = tokio::join!(app.keyward.seal_audit(), app.keyward.seal_audit());
        let sealed = one.expect("a store") + other.expect("a store");
        let rest = app.keyward.seal_audit().await.expect("a store");
        assert_eq!(sealed + rest, 2500);
        let verified = verify(app).await;
        assert_eq!((verified.damage, verified.events), (None, 2500));
        assert!(verified.checkpoints >= 3);
    }
}

#[tokio::test]
async fn each_change_behind_the_back_is_found() {
    const CHANGES: &[(&str, DamageKind)] = &[
        ("UPDATE keyward.audit_event SET at = at - 1 WHERE id = :id", DamageKind::Altered),
        ("UPDATE keyward.audit_event SET name = 'x' WHERE id = :id", DamageKind::Altered),
        ("UPDATE keyward.audit_event SET user_id = NULL WHERE id = :id", DamageKind::Altered),
        ("UPDATE keyward.audit_event SET session_id = NULL WHERE id = :id", DamageKind::Altered),
        ("UPDATE keyward.audit_event SET ip = '10.9.8.7' WHERE id = :id", DamageKind::Altered),
        ("UPDATE keyward.audit_event SET user_agent = 'x' WHERE id = :id", DamageKind::Altered),
        ("UPDATE keyward.audit_event SET request_id = NULL WHERE id = :id", DamageKind::Altered),
        (
            "UPDATE keyward.audit_event SET detail = '{\"generation\":9}' WHERE id = :id",
            DamageKind::Altered,
        ),
        (
            "UPDATE keyward.audit_event SET ip = NULL, user_agent = NULL WHERE id = :id",
            DamageKind::Redacted,
        ),
        ("DELETE FROM keyward.audit_event WHERE id = :id", DamageKind::Missing),
        (
            "UPDATE keyward.audit_event SET id = -1 WHERE id = :id;
             UPDATE keyward.audit_event SET id = :id WHERE id = :id + 1;
             UPDATE keyward.audit_event SET id = :id + 1 WHERE id = -1",
            DamageKind::Altered,
        ),
    ];
    for (sql, kind) in CHANGES {
        for world in World::all().await {
            busy(&world.app).await;
            world.app.keyward.seal_audit().await.expect("a store");
            let id = world.id(3).await;
            world.tamper(&sql.replace(":id", &id.to_string())).await;
            // A salt that is still there vouches for what it has seen.
            let verified = verify(&world.app).await;
            assert_damage(&verified, *kind, Some(id), sql);
            assert_eq!(world.app.keyward.seal_audit().await, Ok(0), "nothing is sealed anew");
        }
    }
}

/// What was never sealed, in the place of what was.
#[tokio::test]
async fn an_event_among_others_is_found() {
    for world in World::all().await {
        busy(&world.app).await;
        let id = world.id(3).await;
        let delete = format!("DELETE FROM keyward.audit_event WHERE id = {id}");
        world.tamper(&delete).await;
        world.app.keyward.seal_audit().await.expect("a store");
        assert_eq!(verify(&world.app).await.damage, None);
        insert(&world, id).await;
        world.app.keyward.seal_audit().await.expect("a store");
        assert_damage(&verify(&world.app).await, DamageKind::Inserted, Some(id), "inserted");
    }
}

/// No id that a store gives out is below one, and none of these escapes the eye for that.
#[tokio::test]
async fn events_of_ids_below_one_are_found() {
    for id in [0, -1, i64::MIN] {
        for world in World::all().await {
            busy(&world.app).await;
            world.app.keyward.seal_audit().await.expect("a store");
            insert(&world, id).await;
            world.app.keyward.seal_audit().await.expect("a store");
            assert_damage(&verify(&world.app).await, DamageKind::Inserted, Some(id), "inserted");
        }
    }
}

/// Adds an event as if it had been there when the log was sealed.
async fn insert(world: &World, id: i64) {
    let backdated = match world.place {
        Place::File(..) => ("", ""),
        #[cfg(feature = "postgres")]
        Place::Server(_) => (", written_by", ", 3"),
    };
    let insert = format!(
        "INSERT INTO keyward.audit_event (id, at, name, detail{}) \
         VALUES ({id}, 1790000000000, 'login.succeeded', '{{}}'{})",
        backdated.0, backdated.1
    );
    world.tamper(&insert).await;
}

#[tokio::test]
async fn each_change_of_the_chain_is_found() {
    const CHANGES: &[(&str, DamageKind)] = &[
        ("UPDATE keyward.audit_checkpoint SET at = at + 1 WHERE number = 2", ALTERED),
        ("UPDATE keyward.audit_checkpoint SET reached = 0 WHERE number = 2", ALTERED),
        ("UPDATE keyward.audit_checkpoint SET events = '1' WHERE number = 2", ALTERED),
        ("UPDATE keyward.audit_checkpoint SET tags = signature WHERE number = 2", ALTERED),
        ("UPDATE keyward.audit_checkpoint SET previous = head WHERE number = 2", ALTERED),
        ("UPDATE keyward.audit_checkpoint SET head = previous WHERE number = 2", ALTERED),
        ("UPDATE keyward.audit_checkpoint SET key = head WHERE number = 2", ALTERED),
        (
            "UPDATE keyward.audit_checkpoint SET signature = tags WHERE number = 2",
            DamageKind::Unsigned,
        ),
        ("DELETE FROM keyward.audit_checkpoint WHERE number = 2", DamageKind::CheckpointMissing),
    ];
    const ALTERED: DamageKind = DamageKind::CheckpointAltered;
    for (sql, kind) in CHANGES {
        for world in World::all().await {
            let mut ada = world.app.registered(ADA).await;
            for _ in 0..3 {
                world.app.keyward.seal_audit().await.expect("a store");
                ada.refresh().await.assert(StatusCode::OK, None);
            }
            world.tamper(sql).await;
            let damage = verify(&world.app).await.damage.expect("damage");
            assert_eq!((damage.kind, damage.checkpoint), (*kind, 2), "{sql}: {damage}");
        }
    }
}

/// A chain that was cut off with its events is whole, but for who has written down how far it came.
#[tokio::test]
async fn a_lost_end_is_found_by_its_anchor() {
    for world in World::all().await {
        let mut ada = busy(&world.app).await;
        world.app.keyward.seal_audit().await.expect("a store");
        let id = world.id(4).await;
        ada.refresh().await.assert(StatusCode::OK, None);
        world.app.keyward.seal_audit().await.expect("a store");
        let anchor = head(&world.app).await;
        assert!(verify_with(&world.app, anchor).await.is_anchored);
        world
            .tamper(&format!(
                "DELETE FROM keyward.audit_checkpoint WHERE number = 2;
                 DELETE FROM keyward.audit_event WHERE id > {id}"
            ))
            .await;
        assert_eq!(verify(&world.app).await.damage, None);
        let cut = verify_with(&world.app, anchor).await;
        assert_damage(&cut, DamageKind::EndMissing, None, "cut off");
        // A service that was started since has never seen it.
        world.app.registered(BOB).await;
        world.started(&[7; 32]).await.seal_audit().await.expect("a store");
        let rewritten = verify_with(&world.app, anchor).await;
        assert_damage(&rewritten, DamageKind::Rewritten, None, "written anew");
    }
}

/// Address and browser leave with their user, and nothing but a deletion makes them.
#[tokio::test]
async fn a_deleted_user_leaves_a_whole_chain() {
    for world in World::all().await {
        let mut ada = busy(&world.app).await;
        let mut bob = world.app.registered(BOB).await;
        world.app.keyward.seal_audit().await.expect("a store");
        delete(&mut ada).await.assert(StatusCode::NO_CONTENT, None);
        let verified = verify(&world.app).await;
        assert_eq!((verified.damage, verified.redacted, verified.unsealed), (None, 5, 2));
        world.app.keyward.seal_audit().await.expect("a store");
        bob.refresh().await.assert(StatusCode::OK, None);
        world.app.keyward.seal_audit().await.expect("a store");
        let verified = verify(&world.app).await;
        assert_eq!((verified.damage, verified.redacted, verified.unsealed), (None, 5, 0));
        let id = world.id(2).await;
        let restore = format!("UPDATE keyward.audit_event SET ip = '192.0.2.1' WHERE id = {id}");
        world.tamper(&restore).await;
        assert_damage(&verify(&world.app).await, DamageKind::Altered, Some(id), "restored");
    }
}

/// Salts that leave between two reads of a verification are no damage.
#[tokio::test]
async fn a_user_who_leaves_meanwhile_is_no_damage() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut ada = busy(&app).await;
    app.keyward.seal_audit().await.expect("a store");
    store.meanwhile(Call::ListAudit, async move {
        delete(&mut ada).await.assert(StatusCode::NO_CONTENT, None);
    });
    let verified = verify(&app).await;
    assert_eq!((verified.damage, verified.events, verified.redacted), (None, 5, 5));
}

/// Nor where others leave while the page is read again, of whom only the browser is known.
#[tokio::test]
async fn users_who_leave_one_after_the_other_are_no_damage() {
    let world = World::on_sqlite().await;
    let store = FaultyStore::over(Arc::clone(&world.app.store));
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    let mut ada = busy(&app).await;
    let mut bob = app.registered(BOB).await;
    let mut eve = app.registered("eve@example.org").await;
    world.tamper("UPDATE keyward.audit_event SET ip = NULL, user_agent = 'curl'").await;
    app.keyward.seal_audit().await.expect("a store");
    let (next, last) = (Arc::clone(&store), Arc::clone(&store));
    store.meanwhile(Call::ListAudit, async move {
        delete(&mut ada).await.assert(StatusCode::NO_CONTENT, None);
        next.meanwhile(Call::ListAudit, async move {
            delete(&mut bob).await.assert(StatusCode::NO_CONTENT, None);
            last.meanwhile(Call::ListAudit, async move {
                delete(&mut eve).await.assert(StatusCode::NO_CONTENT, None);
            });
        });
    });
    let verified = verify(&app).await;
    assert_eq!((verified.damage, verified.events, verified.redacted), (None, 9, 9));
}

/// Events that were deleted before they were sealed are sealed as they are.
#[tokio::test]
async fn who_leaves_at_once_is_sealed_without_an_address() {
    for world in World::all().await {
        let mut ada = busy(&world.app).await;
        delete(&mut ada).await.assert(StatusCode::NO_CONTENT, None);
        assert_eq!(world.app.keyward.seal_audit().await, Ok(7));
        let verified = verify(&world.app).await;
        assert_eq!((verified.damage, verified.events, verified.redacted), (None, 7, 0));
    }
}

/// By the month, events and what was sealed of them; a part that nobody purged is missed.
#[tokio::test]
async fn a_purged_log_begins_with_what_is_left() {
    let world = World::on_sqlite().await;
    let app = &world.app;
    app.clock.set(Timestamp::from_secs(1_700_000_000));
    record_and_seal(app, 16, 31 * DAY).await;
    assert_eq!(verify(app).await.events, 16);
    app.keyward.maintain().await.expect("a store");
    let verified = verify(app).await;
    assert_eq!(verified.damage, None);
    assert_eq!((verified.events, verified.purged, verified.first), (13, 1, Some(4)));
    let id = world.id(0).await;
    world.tamper("DELETE FROM keyward.audit_checkpoint WHERE number <= 5").await;
    world.tamper(&format!("DELETE FROM keyward.audit_event WHERE id <= {id} + 1")).await;
    let damage = verify(app).await.damage.expect("damage");
    assert_eq!((damage.kind, damage.checkpoint), (DamageKind::BeginningMissing, 6));
}

/// What says that the log was purged is behind the end that a verification goes by which had begun
/// before.
#[tokio::test]
async fn a_purge_meanwhile_is_no_damage() {
    let store = FaultyStore::new();
    let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
    app.clock.set(Timestamp::from_secs(1_700_000_000));
    record_and_seal(&app, 16, 31 * DAY).await;
    let keyward = Arc::clone(&app.keyward);
    store.meanwhile(Call::LastCheckpoint, async move {
        keyward.maintain().await.expect("a store");
    });
    let verified = verify(&app).await;
    assert_eq!((verified.damage, verified.events, verified.first), (None, 13, Some(4)));
}

/// An event that says so excuses nothing that was not a month old when it was sealed.
#[tokio::test]
async fn nobody_excuses_a_deletion_by_an_invented_purge() {
    for world in World::all().await {
        busy(&world.app).await;
        world.app.keyward.seal_audit().await.expect("a store");
        let id = world.id(3).await;
        let year = Timestamp::from_secs(1_790_000_000 + 365 * 24 * 60 * 60);
        world
            .tamper(&format!(
                "DELETE FROM keyward.audit_event WHERE id = {id};
                 INSERT INTO keyward.audit_event (at, name, detail) VALUES \
                 ({}, 'audit.purged', '{{\"until\":\"{}\"}}')",
                year.millis(),
                Timestamp::from_secs(1_795_000_000).start_of_month().to_rfc3339(),
            ))
            .await;
        assert_damage(&verify(&world.app).await, DamageKind::Missing, Some(id), "not sealed");
        world.app.keyward.seal_audit().await.expect("a store");
        assert_damage(&verify(&world.app).await, DamageKind::Missing, Some(id), "sealed");
    }
}

/// So many events, each of them sealed, and then so many seconds pass.
async fn record_and_seal(app: &TestApp, count: u64, secs: u64) {
    for _ in 0..count {
        let event = AuditEvent::of_nobody(AuditKind::AccessTokenRejected { count: 1 });
        let context = AuditContext { at: app.keyward.now(), ..app.nobody() };
        app.store.record(vec![(event, context)]).await.expect("a store");
        app.keyward.seal_audit().await.expect("a store");
        app.advance(secs);
    }
}

/// Whatever fails between reading and appending has changed nothing, and whatever was appended
/// without an answer is not sealed again.
#[tokio::test]
async fn a_sealer_that_dies_leaves_a_chain_that_goes_on() {
    for fault in [Fault::Down, Fault::AnswerLost] {
        let store = FaultyStore::new();
        let app = TestApp::on_store(Arc::clone(&store) as _, |_| {}).await;
        busy(&app).await;
        store.fail(Call::AppendCheckpoint, fault);
        app.keyward.seal_audit().await.expect_err("the store fails");
        store.heal();
        app.keyward.seal_audit().await.expect("a store");
        let verified = verify(&app).await;
        assert_eq!((verified.damage, verified.events, verified.checkpoints), (None, 5, 1));
    }
}

/// What was sealed in a file is sealed on the server that it moves to, and the chain goes on there.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_chain_moves_with_its_store() {
    use keyward::store::PostgresStore;
    use keyward::store::copy::StoreCopy;

    let world = World::on_sqlite().await;
    let mut ada = busy(&world.app).await;
    world.app.keyward.seal_audit().await.expect("a store");
    ada.refresh().await.assert(StatusCode::OK, None);
    let (Place::File(file, _), now) = (&world.place, world.app.keyward.now()) else {
        panic!("a file")
    };
    let database = FreshDatabase::create().await;
    let settings = database.settings();
    let copy = StoreCopy::begin(file, &settings, now).await.expect("begun");
    copy.finish(|| now, |_| {}).await.expect("copied");
    let moved = PostgresStore::open(&settings, now).await.expect("a store");
    let app = TestApp::on_store(Arc::new(moved), |_| {}).await;
    let verified = verify(&app).await;
    assert_eq!((verified.damage, verified.events, verified.unsealed), (None, 5, 1));
    app.registered(BOB).await;
    assert_eq!(app.keyward.seal_audit().await, Ok(3));
    app.registered("eve@example.org").await;
    assert_eq!(app.keyward.seal_audit().await, Ok(2));
    let verified = verify(&app).await;
    assert_eq!((verified.damage, verified.events, verified.checkpoints), (None, 10, 3));
}

#[tokio::test]
async fn the_background_seals_within_half_a_minute() {
    let app = TestApp::on_store(Arc::new(MemoryStore::new()), |_| {}).await;
    busy(&app).await;
    tokio::time::pause();
    tokio::select! {
        () = app.keyward.run_background() => panic!("it ends only when it is dropped"),
        () = tokio::time::sleep(Duration::from_secs(31)) => {}
    }
    assert_eq!(verify(&app).await.unsealed, 0);
    assert!(app.store.last_checkpoint().await.expect("a store").is_some());
}
