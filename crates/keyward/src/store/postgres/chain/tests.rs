use std::collections::BTreeSet;

use futures_util::future::join_all;
use keyward_core::audit::chain::ChainKey;
use keyward_core::keys::MasterKey;
use keyward_core::time::Timestamp;

use super::*;
use crate::store::postgres::fresh::{
    FreshDatabase, SERVICE_ROLE, fresh_postgres, fresh_postgres_as_service,
};
use crate::store::{AuditFilter, AuditOrder, Store as _};

/// A sequence would have lost the first one: the chain had passed its id before it committed.
#[tokio::test]
async fn whatever_commits_late_is_sealed_later() {
    let (store, database) = fresh_postgres().await;
    let first = database.begin(&insert(1)).await;
    let second = database.begin(&insert(2)).await;
    database.run(&insert(3)).await;
    let sealer = Sealer { store: &store, page: 100 };
    assert_eq!(sealer.seal().await, ["3"]);
    second.commit().await;
    assert_eq!(sealer.seal().await, ["2"]);
    assert_eq!(sealer.seal().await, [""; 0]);
    first.commit().await;
    assert_eq!(sealer.seal().await, ["1"]);
    assert_eq!(sealer.seal().await, [""; 0]);
}

/// Nor does it matter that another key has taken over meanwhile.
#[tokio::test]
async fn whatever_commits_after_a_hand_over_is_sealed_later() {
    let (store, database) = fresh_postgres().await;
    let first = database.begin(&insert(1)).await;
    database.run(&insert(2)).await;
    let sealer = Sealer { store: &store, page: 100 };
    assert_eq!(sealer.seal().await, ["2"]);
    let last = store.last_checkpoint().await.expect("a chain");
    let key = |byte| ChainKey::from_seed(&MasterKey::new(&[byte; 32]).derive("test"));
    let over = Checkpoint::hand_over(last.as_ref(), Timestamp::from_secs(9), &key(7), &key(8));
    assert!(append_at(&store.connections.lend().await.expect("one"), &over, None).await.is_ok());
    database.run(&insert(3)).await;
    assert_eq!(sealer.seal().await, ["3"]);
    first.commit().await;
    assert_eq!(sealer.seal().await, ["1"]);
    assert_eq!(sealer.seal().await, [""; 0]);
}

/// Interrupted after any of its pages, a window goes on where it was.
#[tokio::test]
async fn a_window_goes_on_where_it_was_left() {
    let (store, database) = fresh_postgres().await;
    let slow = database.begin(&insert(1)).await;
    database.run(&[2, 3, 4].map(insert).join(";")).await;
    let sealer = Sealer { store: &store, page: 2 };
    assert_eq!(sealer.step().await, Some("2,3".to_owned()));
    slow.commit().await;
    database.run(&insert(5)).await;
    assert_eq!(sealer.step().await, Some("4".to_owned()));
    assert_eq!(sealer.seal().await, ["1,5"]);
}

/// 32 writers whose transactions take their time, and two who seal: each event once.
#[tokio::test]
async fn of_many_writers_nothing_is_missed_and_nothing_sealed_twice() {
    let (store, database) = fresh_postgres().await;
    let settings = database.settings();
    let other = PostgresStore::open(&settings, Timestamp::from_secs(1)).await.expect("a store");
    let writers = (0..32).map(|writer| {
        let database = &database;
        async move {
            for round in 0..6 {
                let open = database.begin(&insert(writer * 100 + round)).await;
                let pause = u64::from((writer * 7 + round * 13) as u8 % 40);
                tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                open.commit().await;
            }
        }
    });
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let sealers = [(&store, 7), (&other, 11)].map(|(store, page)| {
        let is_over = &is_over;
        async move {
            let sealer = Sealer { store, page };
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                sealer.step().await;
                tokio::task::yield_now().await;
            }
        }
    });
    let write = async {
        join_all(writers).await;
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    tokio::join!(write, join_all(sealers));
    Sealer { store: &store, page: 100 }.seal().await;
    assert_chain(&store, 32 * 6).await;
}

/// Events that are older than the chain are sealed with the first of it.
#[tokio::test]
async fn a_log_from_before_the_chain_is_sealed_in_steps() {
    let (store, database) = fresh_postgres().await;
    database.run(&(1..=5).map(insert).collect::<Vec<_>>().join(";")).await;
    database.run("UPDATE keyward.audit_event SET written_by = NULL").await;
    let sealer = Sealer { store: &store, page: 2 };
    assert_eq!(sealer.step().await, Some("1,2".to_owned()));
    database.run(&insert(6)).await;
    assert_eq!(sealer.seal().await, ["3,4", "5", "6"]);
    assert_chain(&store, 6).await;
}

/// A dump keeps snapshots and the numbers of transactions of another server.
#[tokio::test]
async fn a_restored_dump_goes_on_by_ids() {
    let (store, database) = fresh_postgres().await;
    database.run(&[1, 2].map(insert).join(";")).await;
    let sealer = Sealer { store: &store, page: 100 };
    assert_eq!(sealer.seal().await, ["1,2"]);
    for ahead in ["1000000", "-1"] {
        database
            .run(&format!(
                "UPDATE keyward.audit_checkpoint SET written_by = written_by + {ahead}, \
                 position = '900000000:900000000:|0'"
            ))
            .await;
        database.run(&insert(3)).await;
        assert_eq!(sealer.seal().await.len(), 1, "{ahead}");
    }
    assert_chain(&store, 4).await;
}

/// The numbers of its transactions are reached in time, and then say that old events are new.
#[tokio::test]
async fn a_restored_dump_is_not_taken_for_new_when_its_numbers_come() {
    let (store, database) = fresh_postgres().await;
    let sealer = Sealer { store: &store, page: 2 };
    database.run(&[1, 2, 3].map(insert).join(";")).await;
    assert_eq!(sealer.seal().await, ["1,2", "3"]);
    // Two more were in the dump and not sealed.
    database.run(&[4, 5].map(insert).join(";")).await;
    for table in ["audit_event", "audit_checkpoint"] {
        database.run(&format!("UPDATE keyward.{table} SET written_by = written_by + 40")).await;
    }
    // One that commits late in the new cluster comes all the same.
    let late = database.begin(&insert(6)).await;
    database.run(&insert(7)).await;
    assert_eq!(sealer.seal().await, ["4,5", "7"]);
    late.commit().await;
    assert_eq!(sealer.seal().await, ["6"]);
    for _ in 0..60 {
        database.run("SELECT pg_current_xact_id()").await;
    }
    assert_eq!(sealer.seal().await, [""; 0]);
    database.run(&insert(8)).await;
    assert_eq!(sealer.seal().await, ["8"]);
    assert_chain(&store, 8).await;
}

/// Nor say that an event had been there when the log was sealed.
#[tokio::test]
async fn the_services_role_can_neither_backdate_nor_unseal() {
    let (store, database) = fresh_postgres_as_service().await;
    database.run(&insert(1)).await;
    assert_eq!(Sealer { store: &store, page: 9 }.seal().await, ["1"]);
    const TABLES: [(&str, &str, bool); 6] = [
        ("audit_checkpoint", "SELECT", true),
        ("audit_checkpoint", "UPDATE", false),
        ("audit_checkpoint", "DELETE", false),
        ("audit_salt", "UPDATE", false),
        ("audit_salt", "DELETE", false),
        ("audit_event", "DELETE", false),
    ];
    for (table, privilege, expected) in TABLES {
        let asked = format!("has_table_privilege('SERVICE', 'keyward.{table}', '{privilege}')");
        assert_eq!(may(&database, &asked).await, expected, "{privilege} {table}");
    }
    for table in ["audit_event", "audit_checkpoint"] {
        let column = format!("'keyward.{table}', 'written_by', 'INSERT'");
        let asked = format!("has_column_privilege('SERVICE', {column})");
        assert!(!may(&database, &asked).await, "{table}");
    }
}

async fn may(database: &FreshDatabase, asked: &str) -> bool {
    let asked = asked.replace("SERVICE", SERVICE_ROLE);
    database.text(&format!("SELECT ({asked})::text")).await == "true"
}

/// Whoever seals, a page at a time.
struct Sealer<'a> {
    store: &'a PostgresStore,
    page: u32,
}

impl Sealer<'_> {
    /// Seals until nothing is left; answers which requests each checkpoint covers.
    async fn seal(&self) -> Vec<String> {
        let mut sealed = Vec::new();
        while let Some(events) = self.step().await {
            sealed.push(events);
        }
        sealed
    }

    /// One page; `None` where there was nothing, or another one was quicker.
    async fn step(&self) -> Option<String> {
        let last = self.store.last_checkpoint().await.expect("a chain");
        let mut page: Option<UnsealedPage> = None;
        loop {
            let next = self.store.list_unsealed(last.as_ref(), page.as_ref(), self.page).await;
            let next = next.expect("a page");
            if !next.events.is_empty() || next.is_last {
                let events: Vec<_> = next.events.iter().map(|it| (it.clone(), None)).collect();
                let key = ChainKey::from_seed(&MasterKey::new(&[7; 32]).derive("test"));
                let now = Timestamp::from_secs(9);
                let checkpoint = Checkpoint::seal(last.as_ref(), &events, now, &key)?;
                let done = self.store.append_checkpoint(&checkpoint, &next).await.expect("done");
                let numbers = next
                    .events
                    .iter()
                    .filter_map(|event| event.request_id.as_deref()?.strip_prefix("request-"));
                return done.then(|| numbers.collect::<Vec<_>>().join(","));
            }
            page = Some(next);
        }
    }
}

/// One chain without a gap, and each event once in it.
async fn assert_chain(store: &PostgresStore, count: usize) {
    let chain = store.list_checkpoints(0, 9999).await.expect("a chain");
    let mut sealed = BTreeSet::new();
    let mut previous = ChainHash::START;
    for (number, checkpoint) in (1..).zip(&chain) {
        assert_eq!((checkpoint.number, checkpoint.previous), (number, previous));
        previous = checkpoint.head;
        for id in checkpoint.events.iter() {
            assert!(sealed.insert(id), "{id} twice");
        }
    }
    let filter = AuditFilter { order: AuditOrder::After(0), limit: 9999, ..AuditFilter::default() };
    let events = store.list_audit(filter).await.expect("events");
    assert_eq!(events.len(), count);
    assert_eq!(events.iter().map(|event| event.id).collect::<BTreeSet<_>>(), sealed);
}

fn insert(number: i32) -> String {
    format!(
        "INSERT INTO keyward.audit_event (at, name, request_id, detail) \
         VALUES (1800000000000, 'user.updated', 'request-{number}', '{{}}')"
    )
}
