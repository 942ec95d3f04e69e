//! The database as what is copied into: its tables are out of service until everything is there.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use keyward_core::time::Timestamp;
use tokio::time::timeout;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::connection::{
    Connection, Connections, Failure, LATE, Lent, PATIENCE, PATIENCE_FOR_TABLES, Statement,
    unavailable,
};
use super::{PostgresSettings, migrations, purge, rows, upgrade};
use crate::store::StoreError;
use crate::store::copy::{Column, Kind, Row, TABLES, Table, Value, names};

/// A database that is copied into.
pub(in crate::store) struct Target {
    connection: Lent,
    mark: Vec<u8>,
    is_locked: bool,
}

/// What is to be copied, as far as the database has to know.
#[derive(Debug, Clone)]
pub(in crate::store) struct CopiedFile {
    /// Tells it from others.
    pub(in crate::store) fingerprint: Vec<u8>,
    /// The time of its oldest audit event.
    pub(in crate::store) oldest_event: Option<Timestamp>,
    /// Whether it can still change.
    pub(in crate::store) is_open: bool,
}

impl Target {
    /// Connects, and takes the tables out of service, which must be empty or hold an unfinished
    /// copy of the same origin.
    pub(in crate::store) async fn open(
        settings: &PostgresSettings,
        origin: &CopiedFile,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let connections = Connections::new(settings)?;
        let begun = connections.run(PATIENCE, migrations::copy_begun).await?;
        if begun.is_none() {
            match connections.transact(PATIENCE_FOR_TABLES, refuse_served).await {
                Ok(()) if !origin.is_open => return Err(unavailable(ELSEWHERE)),
                Err(error) if !origin.is_open && error == unavailable(NOT_EMPTY) => {
                    return Err(unavailable(NOT_WAITING));
                }
                refused => refused?,
            }
            prepare(&connections, now).await?;
        }
        connections.transact(PATIENCE_FOR_TABLES, |lent| begin(lent, origin, now)).await?;
        let mark = connections.run(PATIENCE, migrations::copy_begun).await?;
        let mark = mark.ok_or_else(|| unavailable(NOT_WAITING))?;
        let connection = connections.lend().await?;
        Ok(Self { connection, mark, is_locked: false })
    }

    /// What no other copy has, of this file or another.
    pub(in crate::store) fn mark(&self) -> &[u8] {
        &self.mark
    }

    /// Rows in the order of their keys, from after `after`.
    pub(in crate::store) async fn read(
        &self,
        table: &Table,
        after: Option<&[Value]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let key = names(table.key());
        let condition = after.map_or(String::new(), |_| {
            let marks: Vec<_> =
                (1..=table.key_columns).map(|number| format!("${number}")).collect();
            format!("WHERE ({key}) > ({})", marks.join(", "))
        });
        let sql = format!(
            "SELECT {} FROM keyward.{INCOMING}{} {condition} ORDER BY {key} LIMIT {limit}",
            names(table.columns),
            table.name
        );
        let bound = after.unwrap_or_default();
        let types: Vec<Type> = table.key().iter().map(sql_type).take(bound.len()).collect();
        let values: Vec<_> = bound.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let found = self.ask(&sql, &types, &values).await?;
        rows::all(&found, |columns| {
            table.columns.iter().map(|column| columns.take(column.place)).collect()
        })
    }

    /// Removes the rows with these keys and inserts others, all of it or nothing; answers how many
    /// it has inserted. A row elsewhere that has what is unique about one of these is out of date,
    /// and goes too. Until [`Target::lock`] rows are left out whose user is not here yet.
    pub(in crate::store) async fn replace(
        &self,
        table: &Table,
        removed: &[&[Value]],
        inserted: &[&Row],
    ) -> Result<usize, StoreError> {
        self.within(async {
            if self.is_locked {
                replace(&self.connection, table, removed, inserted).await?;
                return Ok(inserted.len());
            }
            self.connection.begin(PATIENCE_FOR_CHUNK).await?;
            let inserted = beside_users(&self.connection, table, inserted).await?;
            replace(&self.connection, table, removed, &inserted).await?;
            self.connection.commit().await?;
            Ok(inserted.len())
        })
        .await
    }

    /// Has the planner know the rows that came in bulk.
    pub(in crate::store) async fn analyze(&self) -> Result<(), StoreError> {
        let analyze = format!("ANALYZE {}", incoming_tables());
        self.connection.batch(&analyze).await.map_err(failed)
    }

    /// Begins the transaction that ends the copy, and lets nobody else touch the tables.
    pub(in crate::store) async fn lock(&mut self) -> Result<(), StoreError> {
        // It is idle while a piece of the file is read, and a slow disk must not end the copy: it
        // would each time.
        let lock = format!(
            "SET LOCAL idle_in_transaction_session_timeout = {}; \
             LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
            PATIENCE_FOR_TABLES.as_millis(),
            incoming_tables()
        );
        self.within(async {
            self.connection.begin(PATIENCE_FOR_CHUNK).await?;
            self.connection.batch(&lock).await
        })
        .await?;
        self.is_locked = true;
        Ok(())
    }

    /// Puts the tables into service, once [`Target::commit`] has come back.
    pub(in crate::store) async fn open_tables(&self) -> Result<(), StoreError> {
        let mut sql = String::new();
        for Table { name, .. } in TABLES {
            sql.push_str(&format!("ALTER TABLE keyward.{INCOMING}{name} RENAME TO \"{name}\";"));
        }
        sql.push_str(SET_SEQUENCE);
        self.within(async {
            self.connection.batch(&sql).await?;
            migrations::unmark_copy(&self.connection).await
        })
        .await
    }

    /// Ends the transaction of [`Target::lock`].
    pub(in crate::store) async fn commit(self) -> Result<(), StoreError> {
        self.within(self.connection.commit()).await
    }

    async fn ask(
        &self,
        sql: &str,
        types: &[Type],
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        self.within(self.connection.query(Statement { sql, types }, values)).await
    }

    /// A server that hangs must not keep the service without a store for long.
    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, StoreError> {
        match timeout(PATIENCE_FOR_CHUNK, work).await {
            Ok(done) => done.map_err(failed),
            Err(_) => Err(unavailable(LATE)),
        }
    }
}

/// Refuses a database with data of any version before anything in it is changed. Whoever still
/// writes then is found by [`begin`].
async fn refuse_served(connection: Lent) -> Result<(), Failure> {
    // Until another copy has begun, or is refused: it changes the names of the tables.
    migrations::lock(&connection).await?;
    if migrations::copy_begun(Arc::clone(&connection)).await?.is_some() {
        return Ok(());
    }
    let names: Vec<_> = TABLES.iter().map(|table| table.name).collect();
    let found = connection.query(LIST_READABLE, &[&names]).await?;
    let tables: Vec<String> = rows::all(&found, |columns| columns.take("pg_class.relname"))?;
    refuse_rows(&connection, &tables).await
}

/// Fails where one of these tables has any.
async fn refuse_rows(connection: &Connection, tables: &[String]) -> Result<(), Failure> {
    let any: String =
        tables.iter().map(|table| format!(" OR EXISTS (SELECT FROM {table})")).collect();
    let sql = format!("SELECT false{any}");
    let found = connection.query(Statement { sql: &sql, types: &[] }, &[]).await?;
    if rows::first(&found, |columns| columns.take("any"))? != Some(false) {
        return Err(unavailable(NOT_EMPTY).into());
    }
    Ok(())
}

/// Applies the migrations that are missing, and adds the partitions of the coming months.
async fn prepare(connections: &Connections, now: Timestamp) -> Result<(), StoreError> {
    upgrade::upgrade(connections, now, |waiting| tracing::warn!("{waiting}")).await?;
    connections.run(PATIENCE, purge::add_audit_partitions).await
}

/// Takes the tables out of service, in one transaction: no program, whatever its version, and even
/// if it has been connected all along, finds them under another name.
async fn begin(connection: Lent, origin: &CopiedFile, now: Timestamp) -> Result<(), Failure> {
    migrations::lock(&connection).await?;
    match migrations::find_copy(&connection).await? {
        Some(mark) if mark.starts_with(&origin.fingerprint) => {
            return match migrations::is_complete(&connection).await? {
                true => Ok(()),
                false => Err(unavailable(OTHER_VERSION).into()),
            };
        }
        Some(_) => return Err(unavailable(OTHER_ORIGIN).into()),
        None => {}
    }
    let owned = connection.query(FIND_OWNED, &[]).await?;
    if rows::first(&owned, |columns| columns.take("owned"))? != Some(true) {
        return Err(unavailable(NOT_OWNER).into());
    }
    // Whoever would write waits from here on, and finds nothing then.
    let tables: Vec<_> = TABLES.iter().map(|table| format!("keyward.{}", table.name)).collect();
    let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", "));
    connection.batch(&lock).await?;
    refuse_rows(&connection, &tables).await?;
    if let Some(oldest) = origin.oldest_event {
        connection
            .batch(&ADD_PAST_PARTITIONS.replace(":oldest", &oldest.millis().to_string()))
            .await?;
    }
    for Table { name, .. } in TABLES {
        let rename = format!("ALTER TABLE keyward.{name} RENAME TO {INCOMING}{name}");
        connection.batch(&rename).await?;
    }
    migrations::mark_copy(&connection, &origin.fingerprint, now).await
}

/// Without the rows that would need a user who is not here. While the file serves it gets users
/// behind the walk's back, and a user goes from here where another one has the address by now.
async fn beside_users<'r>(
    connection: &Lent,
    table: &Table,
    rows: &[&'r Row],
) -> Result<Vec<&'r Row>, Failure> {
    let Some(user) = table.user() else { return Ok(rows.to_vec()) };
    let ids: Vec<&Value> = rows.iter().map(|row| &row[user]).collect();
    let sql = format!("SELECT id FROM keyward.{INCOMING}user WHERE id = ANY($1)");
    let types = &[sql_array_type(&table.columns[user])];
    let found = connection.query(Statement { sql: &sql, types }, &[&ids]).await?;
    let here: Vec<Value> = rows::all(&found, |columns| columns.take("user.id"))?;
    let here = BTreeSet::from_iter(here);
    Ok(rows.iter().copied().filter(|row| here.contains(&row[user])).collect())
}

async fn replace(
    connection: &Lent,
    table: &Table,
    removed: &[&[Value]],
    inserted: &[&Row],
) -> Result<(), Failure> {
    if !removed.is_empty() {
        let keys = removed.iter().copied().map(|key| key.iter().collect());
        remove(connection, table, table.key(), keys.collect()).await?;
    }
    if inserted.is_empty() {
        return Ok(());
    }
    if let Some(unique) = table.unique {
        let taken = inserted.iter().map(|row| vec![&row[unique]]);
        remove(connection, table, &table.columns[unique..=unique], taken.collect()).await?;
    }
    let types: Vec<Type> = table.columns.iter().map(sql_type).collect();
    let copy = format!(
        "COPY keyward.{INCOMING}{} ({}) FROM STDIN (FORMAT binary)",
        table.name,
        names(table.columns)
    );
    connection.copy_in(&copy, &types, inserted).await
}

/// Deletes the rows that have one of these combinations of values in these columns.
async fn remove(
    connection: &Lent,
    table: &Table,
    columns: &[Column],
    combinations: Vec<Vec<&Value>>,
) -> Result<(), Failure> {
    let arrays: Vec<Vec<&Value>> = (0..columns.len())
        .map(|index| combinations.iter().map(|values| values[index]).collect())
        .collect();
    let types: Vec<Type> = columns.iter().map(sql_array_type).collect();
    let marks: Vec<_> = (1..=columns.len()).map(|number| format!("${number}")).collect();
    let sql = format!(
        "DELETE FROM keyward.{INCOMING}{} WHERE ({}) IN (SELECT * FROM unnest({}))",
        table.name,
        names(columns),
        marks.join(", ")
    );
    let values: Vec<_> = arrays.iter().map(|array| array as &(dyn ToSql + Sync)).collect();
    connection.query(Statement { sql: &sql, types: &types }, &values).await.map(drop)
}

fn incoming_tables() -> String {
    let names = TABLES.iter().map(|table| format!("keyward.{INCOMING}{}", table.name));
    names.collect::<Vec<_>>().join(", ")
}

fn failed(failure: Failure) -> StoreError {
    match failure {
        Failure::Store(error) => error,
        Failure::Undone => unavailable("another transaction got in the way; try again"),
        Failure::Locked => unavailable(LATE),
    }
}

fn sql_type(column: &Column) -> Type {
    match column.kind {
        Kind::Id | Kind::User => Type::UUID,
        Kind::Bytes => Type::BYTEA,
        Kind::Integer => Type::INT8,
        Kind::Flag => Type::BOOL,
        Kind::Text => Type::TEXT,
        Kind::Json => Type::JSON,
        Kind::Texts => Type::TEXT_ARRAY,
    }
}

/// Of keys alone, which are none of the others.
fn sql_array_type(column: &Column) -> Type {
    match column.kind {
        Kind::Id | Kind::User => Type::UUID_ARRAY,
        Kind::Bytes => Type::BYTEA_ARRAY,
        Kind::Integer => Type::INT8_ARRAY,
        Kind::Flag | Kind::Text | Kind::Json | Kind::Texts => Type::TEXT_ARRAY,
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        sql_type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Absent => return Ok(IsNull::Yes),
            Self::Flag(flag) => return flag.to_sql(sql_type, out),
            Self::Integer(number) => return number.to_sql(sql_type, out),
            Self::Texts(texts) => return texts.to_sql(sql_type, out),
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(sql_type: &Type) -> bool {
        <Self as FromSql<'_>>::accepts(sql_type)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(sql_type: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *sql_type {
            Type::BOOL => Self::Flag(bool::from_sql(sql_type, raw)?),
            Type::INT8 => Self::Integer(i64::from_sql(sql_type, raw)?),
            Type::TEXT_ARRAY => Self::Texts(Vec::from_sql(sql_type, raw)?),
            Type::UUID | Type::BYTEA => Self::Bytes(raw.to_vec()),
            _ => Self::Text(str::from_utf8(raw)?.to_owned()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Absent)
    }

    fn accepts(sql_type: &Type) -> bool {
        matches!(
            *sql_type,
            Type::BOOL
                | Type::INT8
                | Type::TEXT_ARRAY
                | Type::UUID
                | Type::BYTEA
                | Type::TEXT
                | Type::JSON
        )
    }
}

/// How the names of tables begin that are not all there yet.
const INCOMING: &str = "incoming_";

/// How long one piece may take. While the copy ends, the service waits as long at most for a server
/// that hangs.
const PATIENCE_FOR_CHUNK: Duration = Duration::from_secs(60);

const FIND_OWNED: Statement<'_> = Statement {
    sql: "SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class AS c \
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
          WHERE n.nspname = 'keyward' AND c.relname = 'user'",
    types: &[],
};

/// Of those with these names that are there: an older version has fewer. What the role may not read
/// is left out, since [`begin`] says better what it lacks.
const LIST_READABLE: Statement<'_> = Statement {
    sql: "SELECT 'keyward.' || quote_ident(c.relname) FROM pg_catalog.pg_class AS c \
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
          WHERE n.nspname = 'keyward' AND c.relname = ANY($1) \
          AND pg_catalog.has_table_privilege(c.oid, 'SELECT')",
    types: &[Type::TEXT_ARRAY],
};

/// So that old months can be dropped as a whole as well. At most ten years: a clock that was wrong
/// once must not make a thousand tables. Whoever connected may be a superuser or a member of the
/// owner's role; the next migration of the log must find all of it the owner's.
const ADD_PAST_PARTITIONS: &str = "DO $$
    DECLARE
        month timestamp := date_trunc('month', greatest(
            to_timestamp(:oldest / 1000.0) AT TIME ZONE 'UTC',
            now() AT TIME ZONE 'UTC' - interval '10 years'
        ));
        partition text;
        owner regrole := (
            SELECT relowner FROM pg_class WHERE oid = 'keyward.audit_event'::regclass
        );
    BEGIN
        WHILE month < now() AT TIME ZONE 'UTC' LOOP
            partition := 'audit_event_' || to_char(month, 'YYYY_MM');
            EXECUTE format(
                'CREATE TABLE IF NOT EXISTS keyward.%I PARTITION OF keyward.audit_event \
                 FOR VALUES FROM (%s) TO (%s)',
                partition,
                (extract(epoch FROM month) * 1000)::bigint,
                (extract(epoch FROM month + interval '1 month') * 1000)::bigint
            );
            -- PostgreSQL asks for rights even where nothing is to be changed.
            IF NOT EXISTS (
                SELECT FROM pg_class WHERE relowner = owner
                AND oid = format('keyward.%I', partition)::regclass
            ) THEN
                EXECUTE format('ALTER TABLE keyward.%I OWNER TO %s', partition, owner);
            END IF;
            month := month + interval '1 month';
        END LOOP;
    END $$";

/// The ids of audit events go on where those of the file end.
const SET_SEQUENCE: &str = "SELECT setval(
        pg_get_serial_sequence('keyward.audit_event', 'id'), coalesce(max(id), 1), \
        max(id) IS NOT NULL
    ) FROM keyward.audit_event";

const NOT_WAITING: &str = "the data of the file were moved before, and this database does not wait \
     for them: if it is the one that they were moved to, all is done";
const ELSEWHERE: &str = "the data of the file were moved before, and this database holds none: \
     name the one that they were moved to, or take the file back with `keyward store reopen`";
const NOT_EMPTY: &str = "the database holds data of Keyward already; copy into an empty one";
const NOT_OWNER: &str = "the role does not own the schema `keyward`; copy as the role that does, \
     such as the one that runs `keyward migrate`";
const OTHER_ORIGIN: &str = "the database holds an unfinished copy of another file; finish that, or \
     run `DROP SCHEMA keyward CASCADE` there and copy anew";
const OTHER_VERSION: &str = "the copy was begun by another version of Keyward; finish it with \
     that, or run `DROP SCHEMA keyward CASCADE` there and copy anew";

#[cfg(test)]
mod tests;
