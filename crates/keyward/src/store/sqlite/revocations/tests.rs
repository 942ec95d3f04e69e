use keyward_core::time::Timestamp;

use super::*;
use crate::store::SqliteStore;
use crate::store::Store as _;
use crate::store::sqlite::tests::migrated;

/// One statement may end many sessions, and the clock may stand still or go back.
#[test]
fn positions_rise_whatever_the_clock_does() {
    let (connection, _dir) = migrated();
    insert_sessions(&connection, 300);
    end(&connection, "id < x'0000000000000000000000000000006400'", 1_000);
    end(&connection, "true", 500);
    let page = list(&connection, None, 1000).expect("a page");
    assert_eq!(page.revocations.len(), 300);
    assert!(page.revocations.is_sorted_by(|one, next| one.position < next.position));
    assert_eq!(page.revocations[0].position, 1_000_000);
}

/// What was read before a backup was put back does not hide what comes after.
#[test]
fn positions_of_a_restored_file_are_later_than_those_that_it_lost() {
    let (connection, _dir) = migrated();
    insert_sessions(&connection, 2);
    connection.execute_batch("SAVEPOINT backup").expect("a savepoint");
    end(&connection, "rowid = 1", 1_000);
    let lost = list(&connection, None, 10).expect("a page").cursor;
    connection.execute_batch("ROLLBACK TO backup").expect("the backup");
    end(&connection, "rowid = 2", 2_000);
    assert_eq!(list(&connection, Some(&lost), 10).expect("a page").revocations.len(), 1);
}

#[test]
fn positions_never_go_back_where_old_rows_are_deleted() {
    let (connection, _dir) = migrated();
    insert_sessions(&connection, 2);
    end(&connection, "rowid = 1", 9_000);
    let read = list(&connection, None, 10).expect("a page").cursor;
    connection.execute_batch("DELETE FROM revocation").expect("no rows");
    end(&connection, "rowid = 2", 1_000);
    assert_eq!(list(&connection, Some(&read), 10).expect("a page").revocations.len(), 1);
}

/// The command line opens the file beside the running service.
#[tokio::test]
async fn what_another_process_revokes_is_read() {
    let (connection, dir) = migrated();
    insert_sessions(&connection, 1);
    let store = SqliteStore::open(&dir.path().join("test.db"), Timestamp::from_secs(1));
    let store = store.expect("a store");
    let before = store.list_revocations(None, 10).await.expect("a page");
    assert!(before.revocations.is_empty() && before.is_last);
    end(&connection, "true", 1_000);
    let page = store.list_revocations(Some(&before.cursor), 10).await.expect("a page");
    assert_eq!(page.revocations.len(), 1);
}

fn insert_sessions(connection: &Connection, count: usize) {
    for number in 0..count {
        let id = u128::try_from(number).expect("a number").to_be_bytes();
        let insert = "INSERT INTO session VALUES (?1, zeroblob(16), 0, zeroblob(32), \
             NULL, NULL, x'', 0, 0, 0, 9, 9, NULL, NULL, NULL, NULL, 0, '[]')";
        connection.execute(insert, [id]).expect("a session");
    }
}

fn end(connection: &Connection, which: &str, millis: i64) {
    let sql = format!(
        "UPDATE session SET revoked_at = {millis}, revoked_reason = 'logout' \
         WHERE revoked_at IS NULL AND {which}"
    );
    connection.execute(&sql, []).expect("an end");
}
