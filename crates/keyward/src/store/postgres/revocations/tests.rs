use std::collections::BTreeSet;

use futures_util::future::join_all;
use keyward_core::id::UserId;
use keyward_core::time::Timestamp;

use super::*;
use crate::store::postgres::fresh::fresh_postgres;
use crate::store::postgres::{PostgresSettings, PostgresStore};
use crate::store::{RevokedSubject, Store as _};

/// A sequence would have lost the first one: a reader had passed its number before it committed.
#[tokio::test]
async fn transactions_that_commit_in_another_order_are_all_read() {
    let (store, database) = fresh_postgres().await;
    let mut reader = Reader::new(&store, 100);
    let first = database.begin(&insert(1)).await;
    let second = database.begin(&insert(2)).await;
    database.run(&insert(3)).await;
    assert_eq!(reader.read().await, [3]);
    second.commit().await;
    assert_eq!(reader.read().await, [2]);
    assert_eq!(reader.read().await, [0; 0]);
    first.commit().await;
    assert_eq!(reader.read().await, [1]);
    assert_eq!(reader.read().await, [0; 0]);
}

/// Whoever reads on from the place of a reader is told of all that the reader was not.
#[tokio::test]
async fn the_place_of_a_reader_waits_for_who_has_not_committed() {
    let (store, database) = fresh_postgres().await;
    let mut reader = Reader::new(&store, 100);
    let slow = database.begin(&insert(1)).await;
    database.run(&insert(2)).await;
    reader.read().await;
    let place = reader.cursor.clone().expect("a reading").place;
    slow.commit().await;
    let page = store.list_revocations(reader.cursor.as_ref(), 100).await.expect("a page");
    assert!(page.revocations[0].position >= place.position, "{page:?} after {place}");
}

/// What commits while the pages of a reading are read comes with the next one, and once.
#[tokio::test]
async fn pages_are_of_one_moment() {
    let (store, database) = fresh_postgres().await;
    let mut reader = Reader::new(&store, 2);
    let slow = database.begin(&insert(1)).await;
    database.run(&[2, 3, 4].map(insert).join(";")).await;
    assert_eq!(reader.page().await, ([2, 3].into(), false));
    slow.commit().await;
    database.run(&insert(5)).await;
    assert_eq!(reader.page().await, ([4].into(), true));
    assert_eq!(reader.read().await, [1, 5]);
}

#[tokio::test]
async fn of_many_writers_nothing_is_missed_and_nothing_read_twice() {
    let (store, database) = fresh_postgres().await;
    let settings = database.settings();
    let mut reader = Reader::new(&store, 7);
    let writers = join_all((0..20).map(|writer| write(&settings, writer)));
    let mut writers = std::pin::pin!(writers);
    let mut read = Vec::new();
    loop {
        tokio::select! {
            _ = &mut writers => break,
            found = reader.read() => read.extend(found),
        }
    }
    // A reading that was given up has moved no cursor.
    read.extend(reader.read().await);
    let distinct: BTreeSet<_> = read.iter().collect();
    assert_eq!((read.len(), distinct.len()), (400, 400));
}

/// A server that was started anew may have lost transactions and given their numbers to others.
#[tokio::test]
async fn another_server_is_read_from_its_beginning() {
    let (store, database) = fresh_postgres().await;
    database.run(&insert(1)).await;
    let mut reader = Reader::new(&store, 100);
    assert_eq!(reader.read().await, [1]);
    assert_eq!(reader.read().await, [0; 0]);
    let cursor = reader.cursor.as_mut().expect("a reading");
    cursor.place.history -= 1;
    assert_eq!(reader.read().await, [1]);
    assert_eq!(reader.read().await, [0; 0]);
}

/// As a primary that was fenced when another one took over. Connections that lead there are not
/// used again.
#[tokio::test]
async fn a_server_that_became_read_only_vouches_for_nothing() {
    let (store, database) = fresh_postgres().await;
    let mut reader = Reader::new(&store, 100);
    assert_eq!(reader.read().await, [0; 0]);
    let connection = store.connections.lend().await.expect("a connection");
    connection.batch("SET default_transaction_read_only = on").await.expect("it is set");
    drop(connection);
    let refused = store.list_revocations(reader.cursor.as_ref(), 100).await;
    assert_eq!(refused.map(drop), Err(unavailable(STANDBY)));
    database.run(&insert(1)).await;
    assert_eq!(reader.read().await, [1]);
}

/// A dump keeps the numbers of another server's transactions.
#[tokio::test]
async fn what_a_dump_brought_is_read_once() {
    let (store, database) = fresh_postgres().await;
    let future = "UPDATE keyward.revocation SET written_by = '4000000000000'";
    database.run(&format!("{}; {future}", insert(1))).await;
    let mut reader = Reader::new(&store, 100);
    assert_eq!(reader.read().await, [1]);
    database.run(&insert(2)).await;
    assert_eq!(reader.read().await, [2]);
}

#[tokio::test]
async fn what_is_deleted_meanwhile_is_not_missed() {
    let (store, database) = fresh_postgres().await;
    let mut reader = Reader::new(&store, 2);
    database.run(&[1, 2, 3, 4].map(insert).join(";")).await;
    assert_eq!(reader.page().await, ([1, 2].into(), false));
    database.run("DELETE FROM keyward.revocation").await;
    assert_eq!(reader.page().await, (Vec::new(), true));
    database.run(&insert(5)).await;
    assert_eq!(reader.read().await, [5]);
}

/// A reading looks at the rows that are new, however many there are.
#[tokio::test]
async fn a_reading_looks_at_new_rows_alone() {
    let (_, database) = fresh_postgres().await;
    let fill = "INSERT INTO keyward.revocation (at, user_id) \
                SELECT 1, gen_random_uuid() FROM generate_series(1, 10000); ANALYZE";
    database.run(fill).await;
    let plan = "DO $$ DECLARE line text; plan text := ''; BEGIN
        FOR line IN EXPLAIN SELECT 1 FROM keyward.revocation AS r
            WHERE (r.written_by, r.id) > ('4000000000000'::xid8, 7)
            ORDER BY r.written_by, r.id LIMIT 10
        LOOP plan := plan || line; END LOOP;
        ASSERT plan LIKE '%Index%revocation_pkey%Index Cond%written_by%', plan;
    END $$";
    database.run(plan).await;
}

/// Not even one that has never heard of the outbox.
#[tokio::test]
async fn no_statement_ends_a_session_silently() {
    let (_, database) = fresh_postgres().await;
    let session = "INSERT INTO keyward.session (id, user_id, generation, refresh_token_hash, \
                   retry_proofs, rotated_at, created_at, last_used_at, idle_expires_at, \
                   expires_at, auth_time, amr) SELECT gen_random_uuid(), gen_random_uuid(), 0, \
                   decode(repeat('00', 32), 'hex'), '', 1, 1, 1, 9, 9, 1, '{}' \
                   FROM generate_series(1, 3)";
    database.run(session).await;
    database.run("UPDATE keyward.session SET revoked_at = 5, revoked_reason = 'logout'").await;
    database.run("UPDATE keyward.session SET revoked_at = 6").await;
    assert_eq!(database.number("SELECT sum(at)::bigint FROM keyward.revocation").await, 15);
    assert_eq!(database.number("SELECT count(session_id) FROM keyward.revocation").await, 3);
}

/// Twenty revocations of a writer, each in a transaction of its own.
async fn write(settings: &PostgresSettings, writer: u16) {
    let store = PostgresStore::open(settings, Timestamp::from_secs(1)).await.expect("a store");
    for number in 0..20 {
        let sql = insert(writer * 20 + number + 1);
        let written = store
            .connections
            .transact(crate::store::postgres::PATIENCE, |connection| {
                let sql = sql.clone();
                async move {
                    connection.batch(&sql).await?;
                    // Some are held open a little longer than others.
                    connection.batch(&format!("SELECT pg_sleep(0.00{})", writer % 7)).await
                }
            })
            .await;
        assert_eq!(written, Ok(()));
    }
}

fn insert(number: u16) -> String {
    format!(
        "INSERT INTO keyward.revocation (at, user_id) \
         VALUES (1, '00000000-0000-0000-0000-{number:012x}')"
    )
}

/// Reads on from where it was.
struct Reader<'a> {
    store: &'a PostgresStore,
    limit: u32,
    cursor: Option<RevocationCursor>,
}

impl<'a> Reader<'a> {
    fn new(store: &'a PostgresStore, limit: u32) -> Self {
        Self { store, limit, cursor: None }
    }

    /// The numbers of the next page, and whether it is the last.
    async fn page(&mut self) -> (Vec<u16>, bool) {
        let page = self.store.list_revocations(self.cursor.as_ref(), self.limit).await;
        let page = page.expect("a page");
        self.cursor = Some(page.cursor);
        (page.revocations.iter().map(number).collect(), page.is_last)
    }

    async fn read(&mut self) -> Vec<u16> {
        let (before, mut read) = (self.cursor.clone(), Vec::new());
        let mut reading = Restored { reader: self, before, is_done: false };
        loop {
            let (found, is_last) = reading.reader.page().await;
            read.extend(found);
            if is_last {
                reading.is_done = true;
                return read;
            }
        }
    }
}

/// A reading that is dropped before its end gives the cursor back.
struct Restored<'r, 'a> {
    reader: &'r mut Reader<'a>,
    before: Option<RevocationCursor>,
    is_done: bool,
}

impl Drop for Restored<'_, '_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.reader.cursor = self.before.take();
        }
    }
}

fn number(revoked: &Revoked) -> u16 {
    let RevokedSubject::User(id) = revoked.subject else { panic!("{revoked:?}") };
    u16::from_be_bytes([UserId::as_bytes(&id)[14], UserId::as_bytes(&id)[15]])
}
