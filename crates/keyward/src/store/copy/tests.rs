//! That nothing is forgotten: every table and every column of both databases is known here.

use std::collections::BTreeSet;

use keyward_core::time::Timestamp;
use rusqlite::Connection;

use super::table::LEFT;
use super::*;
use crate::store::SqliteStore;
use crate::store::postgres::fresh::FreshDatabase;

#[test]
fn every_table_of_the_file_is_copied_or_left_for_a_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("test.db");
    SqliteStore::open(&path, Timestamp::from_secs(1)).expect("a store").close();
    let connection = Connection::open(path).expect("a database");
    let list = |sql: &str| -> BTreeSet<String> {
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("texts")
    };
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    assert_known(list(tables), copied_tables(), "");
    for table in TABLES {
        let columns = list(&format!("SELECT name FROM pragma_table_info('{}')", table.name));
        assert_known(columns, copied_columns(table), table.name);
    }
}

#[tokio::test]
async fn every_table_of_the_server_is_copied_or_left_for_a_reason() {
    let database = FreshDatabase::create().await;
    let tables = "SELECT c.relname::text FROM pg_class AS c \
                  WHERE c.relnamespace = 'keyward'::regnamespace \
                  AND c.relkind IN ('r', 'p') AND NOT c.relispartition";
    assert_known(list(&database, tables).await, copied_tables(), "");
    for table in TABLES {
        let columns = format!(
            "SELECT a.attname::text FROM pg_attribute AS a \
             WHERE a.attrelid = 'keyward.{}'::regclass AND a.attnum > 0 AND NOT a.attisdropped",
            table.name
        );
        assert_known(list(&database, &columns).await, copied_columns(table), table.name);
    }
}

/// Every foreign key of the server is known, and asks for users, which are copied before.
#[tokio::test]
async fn what_the_server_holds_only_beside_users_is_known() {
    let database = FreshDatabase::create().await;
    let keys = "SELECT format('%s.%s: %s', c.conrelid::regclass, a.attname, c.confrelid::regclass) \
                FROM pg_constraint AS c LEFT JOIN pg_attribute AS a \
                ON a.attrelid = c.conrelid AND ARRAY[a.attnum] = c.conkey \
                WHERE c.contype = 'f' AND c.connamespace = 'keyward'::regnamespace";
    let after_users = TABLES.iter().skip_while(|table| table.name != "user");
    let known = after_users.filter_map(|table| {
        let column = &table.columns[table.user()?];
        Some(format!("keyward.{}: keyward.\"user\"", column.place))
    });
    assert_eq!(list(&database, keys).await, known.collect());
}

async fn list(database: &FreshDatabase, sql: &str) -> BTreeSet<String> {
    let text = database.text(&format!("SELECT string_agg(t.x, ',') FROM ({sql}) AS t (x)")).await;
    text.split(',').map(str::to_owned).collect()
}

/// Everything that is copied is there, and whatever else is there is left for a reason.
#[track_caller]
fn assert_known(there: BTreeSet<String>, copied: BTreeSet<String>, of: &str) {
    assert!(copied.is_subset(&there), "{of}: {copied:?} in {there:?}");
    for name in there.difference(&copied) {
        let place = if of.is_empty() { name.clone() } else { format!("{of}.{name}") };
        assert!(LEFT.contains(&place.as_str()), "{place}");
    }
}

fn copied_tables() -> BTreeSet<String> {
    TABLES.iter().map(|table| table.name.to_owned()).collect()
}

fn copied_columns(table: &Table) -> BTreeSet<String> {
    table.columns.iter().map(|column| column.name.to_owned()).collect()
}
