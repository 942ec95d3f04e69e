//! The schema of the database, and how it came about; and what the role of the running service may.

use keyward_core::time::Timestamp;
use tokio_postgres::types::Type;

use super::connection::{Connection, Failure, Lent, MAY_NOT, Parameters, Statement, unavailable};
use super::rows;
use crate::store::StoreError;
use crate::store::migration::{
    self, Applied, CLOSED, History, Migration, checksum, compatible_since,
};

/// Applies what is missing. Of several processes that start at once one applies it.
pub(super) async fn apply(connection: Lent, now: Timestamp) -> Result<(), Failure> {
    apply_until(connection, now, MIGRATIONS.len()).await
}

/// As [`apply`], without those after this version.
pub(super) async fn apply_until(
    connection: Lent,
    now: Timestamp,
    last: usize,
) -> Result<(), Failure> {
    lock(&connection).await?;
    let applied = match applied(&connection).await? {
        Some(applied) => applied.len(),
        None => {
            connection.batch(CREATE).await?;
            0
        }
    };
    connection.batch(ADD_COMPATIBLE_SINCE).await?;
    for (version, (name, text)) in (1_u32..).zip(&MIGRATIONS[..last]).skip(applied) {
        connection.batch(text).await?;
        let [version, since] = [version, compatible_since(version, text)].map(i64::from);
        let parameters: Parameters<'_> = &[&version, name, &checksum(text), &now.millis(), &since];
        connection.query(INSERT, parameters).await?;
    }
    Ok(())
}

/// Every migration, with when it was applied. Changes nothing.
pub(super) async fn list(connection: Lent) -> Result<Vec<Migration>, Failure> {
    let applied = applied(&connection).await?.unwrap_or_default();
    if !applied.is_empty() && find_copy(&connection).await?.is_some() {
        return Err(unavailable(UNFINISHED).into());
    }
    Ok(migration::listed(MIGRATIONS, &applied))
}

/// Whether [`apply`] would be let.
pub(super) async fn may_apply(connection: Lent) -> Result<bool, Failure> {
    let found = connection.query(MAY_APPLY, &[]).await?;
    Ok(rows::first(&found, |columns| columns.take("may_apply"))?.unwrap_or(false))
}

/// Keeps others from changing the schema until the transaction ends.
pub(super) async fn lock(connection: &Connection) -> Result<(), Failure> {
    connection.batch(LOCK).await
}

/// Whether every migration of this version was applied.
pub(super) async fn is_complete(connection: &Connection) -> Result<bool, Failure> {
    Ok(applied(connection).await?.is_some_and(|times| times.len() == MIGRATIONS.len()))
}

/// The mark of a copy that was begun here: the fingerprint of the file, and what no other copy has.
pub(super) async fn copy_begun(connection: Lent) -> Result<Option<Vec<u8>>, Failure> {
    if connection.query(FIND_TABLE, &[]).await?.is_empty() {
        return Ok(None);
    }
    find_copy(&connection).await
}

/// As [`copy_begun`], in a database that has the schema.
pub(super) async fn find_copy(connection: &Connection) -> Result<Option<Vec<u8>>, Failure> {
    let found = connection.query(FIND_MARK, &[&MARK]).await?;
    Ok(rows::first(&found, |columns| columns.take("migration.sha256"))?)
}

/// Has every program refuse the database until the copy is finished.
pub(super) async fn mark_copy(
    connection: &Connection,
    fingerprint: &[u8],
    now: Timestamp,
) -> Result<(), Failure> {
    connection.query(MARK_COPY, &[&MARK, &fingerprint, &now.millis()]).await.map(drop)
}

/// Takes the mark away.
pub(super) async fn unmark_copy(connection: &Connection) -> Result<(), Failure> {
    connection.query(DELETE_MARK, &[&MARK]).await.map(drop)
}

/// Grants a role what the running service needs, and nothing beyond: it can neither change the
/// schema nor take back or rewrite what the audit log says.
pub(super) async fn grant(connection: Lent, role: &str) -> Result<(), Failure> {
    let found = connection.query(FIND_ROLE, &[&role]).await?;
    if found.is_empty() {
        return Err(unavailable(&format!(
            "there is no role {role:?}; make it with `CREATE ROLE ... LOGIN` first"
        ))
        .into());
    }
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    let granted = connection.batch(&GRANTS.replace(":role", &quoted)).await;
    let is_refused =
        matches!(&granted, Err(Failure::Store(error)) if *error == unavailable(MAY_NOT));
    // The server merely warns of a grant by a role that holds the right and may not pass it on.
    if !is_refused {
        granted?;
        if lacking_of(&connection, Some(role)).await?.is_empty() {
            return Ok(());
        }
    }
    Err(unavailable(&format!(
        "{role:?} was granted nothing, since the role of store.url does not own the schema; run \
         this as its owner, for example with `--store postgres://keyward_owner@...`"
    ))
    .into())
}

/// What the own role lacks of that, such as `DELETE on keyward.mail`: a newer version may ask for
/// more than the role was granted for the one before.
pub(super) async fn lacking(connection: Lent) -> Result<Vec<String>, Failure> {
    lacking_of(&connection, None).await
}

/// `None`: of the own role.
async fn lacking_of(connection: &Connection, role: Option<&str>) -> Result<Vec<String>, Failure> {
    let rights: Vec<Right> = GRANTS.split(';').flat_map(rights).collect();
    let names: Vec<&str> = rights.iter().map(|right| right.name).collect();
    let columns: Vec<Option<&str>> = rights.iter().map(|right| right.column).collect();
    let objects: Vec<&str> = rights.iter().map(|right| right.object).collect();
    let found = connection.query(LIST_LACKING, &[&names, &columns, &objects, &role]).await?;
    Ok(rows::all(&found, |columns| columns.take("lacking"))?)
}

/// One of those that a statement of [`GRANTS`] grants.
struct Right {
    name: &'static str,
    /// `None`: on all of them, or on what has none.
    column: Option<&'static str>,
    object: &'static str,
}

/// Reads `GRANT SELECT, UPDATE (sealed, due_at) ON keyward.mail TO :role`.
fn rights(grant: &'static str) -> Vec<Right> {
    let statement = grant.trim().strip_prefix("GRANT ").and_then(|it| it.strip_suffix(" TO :role"));
    let (granted, object) =
        statement.and_then(|it| it.split_once(" ON ")).expect("a grant of this file");
    let mut of_columns = None;
    let right = |part: &'static str| {
        let part = part.trim();
        let (name, column) = match (part.split_once(" ("), of_columns) {
            (Some((name, column)), _) => (name, Some(column)),
            (None, Some(name)) => (name, Some(part)),
            (None, None) => (part, None),
        };
        of_columns = column.filter(|column| !column.ends_with(')')).map(|_| name);
        Right { name, column: column.map(|column| column.trim_end_matches(')')), object }
    };
    granted.split(',').map(right).collect()
}

/// The migrations that were applied. `None`: this is not Keyward's database yet.
///
/// Fails where the schema has left this program behind. One that serves older programs too is good:
/// while nodes are replaced one by one, the old ones run on the schema of the new.
async fn applied(connection: &Connection) -> Result<Option<Vec<Applied>>, Failure> {
    require_utf8(connection).await?;
    if connection.query(FIND_TABLE, &[]).await?.is_empty() {
        return Ok(None);
    }
    let found = connection.query(LIST, &[&MARK]).await?;
    let found = rows::all(&found, |columns| {
        let version = columns.take::<i64>(VERSION).map(u32::try_from)?;
        let version = version.map_err(|_| StoreError::Inconsistent(VERSION))?;
        let sha256 = columns.take("migration.sha256")?;
        let at = Timestamp::from_millis(columns.take("migration.applied_at")?);
        let since = columns.take::<Option<i64>>(SINCE)?.map_or(Ok(version), u32::try_from);
        let compatible_since = since.map_err(|_| StoreError::Inconsistent(SINCE))?;
        Ok(Applied { version, sha256, at, compatible_since })
    })?;
    migration::check(MIGRATIONS, &found)?;
    if found.len() > MIGRATIONS.len() {
        tracing::info!("the database is of a newer version, and serves this one too");
    }
    Ok(Some(found))
}

/// A database of another encoding has no place for most of the names in the world, and requests
/// that bring one would fail. One of SQL_ASCII takes any bytes, and so would not tell letters from
/// bytes, nor take an escape in JSON, nor keep out what another program writes and nobody can read.
async fn require_utf8(connection: &Connection) -> Result<(), Failure> {
    const ENCODING: &str = "pg_settings.server_encoding";
    let found = connection.query(SERVER_ENCODING, &[]).await?;
    let encoding: String = rows::first(&found, |columns| columns.take(ENCODING))?
        .ok_or(StoreError::Inconsistent(ENCODING))?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(unavailable(&format!(
        "the database is encoded in {encoding}, which cannot hold every name; make one with \
         `CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0`, restore into it what is here, \
         and name it in store.url"
    ))
    .into())
}

/// Names this version of the schema.
#[cfg(any(test, feature = "contract"))]
pub(super) fn fingerprint() -> String {
    let texts: String = MIGRATIONS
        .iter()
        .map(|(_, text)| *text)
        .chain([CREATE, ADD_COMPATIBLE_SINCE, GRANTS])
        .collect();
    checksum(&texts)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

const MIGRATIONS: History = &[
    ("initial", include_str!("../../../migrations/postgres/0001_initial.sql")),
    ("revocations", include_str!("../../../migrations/postgres/0002_revocations.sql")),
    ("purge", include_str!("../../../migrations/postgres/0003_purge.sql")),
    ("statistics", include_str!("../../../migrations/postgres/0004_statistics.sql")),
    ("second_factor", include_str!("../../../migrations/postgres/0005_second_factor.sql")),
    ("mail", include_str!("../../../migrations/postgres/0006_mail.sql")),
    ("unlocking", include_str!("../../../migrations/postgres/0007_unlocking.sql")),
    ("audit_chain", include_str!("../../../migrations/postgres/0008_audit_chain.sql")),
    ("audit_months", include_str!("../../../migrations/postgres/0009_audit_months.sql")),
    (
        "unchecked_sessions",
        include_str!("../../../migrations/postgres/0010_unchecked_sessions.sql"),
    ),
];

/// Lets go with the end of the transaction, as a pooler needs it.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7091177325117400174)";

const CREATE: &str = "
    CREATE SCHEMA IF NOT EXISTS keyward;
    CREATE TABLE keyward.migration (
        version integer PRIMARY KEY,
        name text NOT NULL,
        sha256 bytea NOT NULL,
        applied_at bigint NOT NULL
    )";

/// Beside the migrations, since it says how to read them. The first databases lack it.
const ADD_COMPATIBLE_SINCE: &str =
    "ALTER TABLE keyward.migration ADD COLUMN IF NOT EXISTS compatible_since integer";

const GRANTS: &str = "
    GRANT USAGE ON SCHEMA keyward TO :role;
    GRANT SELECT ON keyward.migration TO :role;
    GRANT SELECT, INSERT, UPDATE, DELETE ON keyward.user TO :role;
    GRANT SELECT, INSERT, UPDATE ON keyward.session TO :role;
    GRANT SELECT ON keyward.revocation TO :role;
    GRANT SELECT, UPDATE (ip, user_agent) ON keyward.audit_event TO :role;
    GRANT INSERT (at, name, user_id, session_id, ip, user_agent, request_id, detail)
        ON keyward.audit_event TO :role;
    GRANT SELECT, INSERT, UPDATE (sealed, compromised_at), DELETE ON keyward.key TO :role;
    GRANT SELECT, INSERT, UPDATE (revoked_at) ON keyward.service_key TO :role;
    GRANT SELECT, INSERT, DELETE ON keyward.event_count TO :role;
    GRANT SELECT, INSERT, UPDATE (sealed) ON keyward.sealing_key TO :role;
    GRANT SELECT, INSERT, UPDATE, DELETE ON keyward.totp TO :role;
    GRANT SELECT, INSERT, DELETE ON keyward.recovery_code TO :role;
    GRANT SELECT, INSERT, UPDATE (tries_left), DELETE ON keyward.mfa_challenge TO :role;
    GRANT SELECT, INSERT, UPDATE, DELETE ON keyward.one_time_token TO :role;
    GRANT SELECT, INSERT, UPDATE (attempts, due_at), DELETE ON keyward.mail TO :role;
    GRANT SELECT, INSERT (number, at, month, reached, events, tags, previous, head, key, signature,
        position) ON keyward.audit_checkpoint TO :role;
    GRANT SELECT, INSERT ON keyward.audit_salt TO :role;
    GRANT EXECUTE ON FUNCTION keyward.purge_checkpoints(bigint, integer) TO :role;
    GRANT EXECUTE ON FUNCTION keyward.add_audit_partitions() TO :role;
    GRANT EXECUTE ON FUNCTION keyward.purge_sessions(bigint, integer) TO :role;
    GRANT EXECUTE ON FUNCTION keyward.purge_revocations(bigint, integer) TO :role;
    GRANT EXECUTE ON FUNCTION keyward.purge_audit(bigint, integer) TO :role";

/// Not by `to_regclass`, which fails where the role may not look into the schema.
const FIND_TABLE: Statement<'_> = Statement {
    sql: "SELECT c.oid FROM pg_catalog.pg_class AS c \
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
          WHERE n.nspname = 'keyward' AND c.relname = 'migration'",
    types: &[],
};
const SERVER_ENCODING: Statement<'_> =
    Statement { sql: "SELECT current_setting('server_encoding')", types: &[] };
/// Makes the schema, or has what its owner has.
const MAY_APPLY: Statement<'_> = Statement {
    sql: "SELECT coalesce(bool_and(pg_has_role(c.relowner, 'USAGE')), \
          has_database_privilege(current_database(), 'CREATE')) AS may_apply \
          FROM pg_catalog.pg_class AS c \
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
          WHERE n.nspname = 'keyward'",
    types: &[],
};
const LIST_LACKING: Statement<'_> = Statement {
    sql: "SELECT concat(r.name, ' (' || r.part || ')', ' on ', r.object) \
          FROM unnest($1, $2, $3) WITH ORDINALITY AS r (name, part, object, place), \
          coalesce($4, current_user) AS role \
          WHERE NOT CASE \
          WHEN r.object LIKE 'SCHEMA %' \
          THEN has_schema_privilege(role, substr(r.object, 8), r.name) \
          WHEN r.object LIKE 'FUNCTION %' \
          THEN has_function_privilege(role, substr(r.object, 10), r.name) \
          WHEN r.part IS NULL THEN has_table_privilege(role, r.object, r.name) \
          ELSE has_column_privilege(role, r.object, r.part, r.name) END ORDER BY r.place",
    types: &[Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::NAME],
};
const FIND_ROLE: Statement<'_> = Statement {
    sql: "SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = $1",
    types: &[Type::TEXT],
};
/// The last column came later than the table, and is read where it is there.
const LIST: Statement<'_> = Statement {
    sql: "SELECT m.version::bigint, m.sha256, m.applied_at, \
          (to_jsonb(m) ->> 'compatible_since')::bigint \
          FROM keyward.migration AS m WHERE m.version <> $1 ORDER BY m.version",
    types: &[Type::INT8],
};
const FIND_MARK: Statement<'_> = Statement {
    sql: "SELECT m.sha256 FROM keyward.migration AS m WHERE m.version = $1",
    types: &[Type::INT8],
};
const MARK_COPY: Statement<'_> = Statement {
    sql: "INSERT INTO keyward.migration (version, name, sha256, applied_at, compatible_since) \
          VALUES ($1, 'copy', $2 || uuid_send(gen_random_uuid()), $3, $1)",
    types: &[Type::INT8, Type::BYTEA, Type::INT8],
};
const DELETE_MARK: Statement<'_> =
    Statement { sql: "DELETE FROM keyward.migration WHERE version = $1", types: &[Type::INT8] };
const INSERT: Statement<'_> = Statement {
    sql: "INSERT INTO keyward.migration (version, name, sha256, applied_at, compatible_since) \
          VALUES ($1, $2, $3, $4, $5)",
    types: &[Type::INT8, Type::TEXT, Type::BYTEA, Type::INT8, Type::INT8],
};
const MARK: i64 = CLOSED as i64;
const UNFINISHED: &str = "a copy of another store into this database is not finished; run \
     `keyward store copy` again";
const VERSION: &str = "migration.version";
const SINCE: &str = "migration.compatible_since";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::fresh::{SERVICE_ROLE, fresh_postgres_as_service};

    /// PostgreSQL merely warns of a grant by a role that holds the right and may not pass it on.
    #[tokio::test]
    async fn who_does_not_own_the_schema_is_told_so_and_grants_nothing() {
        let (store, database) = fresh_postgres_as_service().await;
        let part = "GRANT SELECT ON keyward.totp";
        database.run(&format!("{part} TO {SERVICE_ROLE} WITH GRANT OPTION")).await;
        let granted = store.grant("pg_monitor").await;
        let Err(StoreError::Unavailable(why)) = granted else { panic!("{granted:?}") };
        assert!(why.contains("\"pg_monitor\"") && why.contains("own the schema"), "{why}");
        let may_read = "SELECT count(*) FROM pg_roles WHERE rolname = 'pg_monitor' \
             AND has_table_privilege(rolname, 'keyward.totp', 'SELECT')";
        assert_eq!(database.number(may_read).await, 0);
        // Who has every right already lacks nothing.
        assert_eq!(store.grant(SERVICE_ROLE).await, Ok(()));
    }

    #[test]
    fn an_applied_migration_never_changes() {
        migration::assert_unchanged("postgres", MIGRATIONS);
    }

    #[test]
    fn a_grant_is_read_right_by_right() {
        let grant = "\n    GRANT SELECT, UPDATE (a), INSERT (b,\n        c), DELETE ON x TO :role";
        let read: Vec<_> =
            rights(grant).iter().map(|right| (right.name, right.column, right.object)).collect();
        let expected = [
            ("SELECT", None, "x"),
            ("UPDATE", Some("a"), "x"),
            ("INSERT", Some("b"), "x"),
            ("INSERT", Some("c"), "x"),
            ("DELETE", None, "x"),
        ];
        assert_eq!(read, expected);
    }
}
