//! The schema of the database, and how it came about; and what the role of the running service may.

use keyward_core::time::Timestamp;
use tokio_postgres::types::Type;

use super::connection::{Connection, Failure, Lent, Statement, unavailable};
use super::rows;
use crate::store::StoreError;
use crate::store::migration::{self, History, Migration, checksum};

/// Applies what is missing. Of several processes that start at once one applies it.
pub(super) async fn apply(connection: Lent, now: Timestamp) -> Result<(), Failure> {
    connection.batch(LOCK).await?;
    let applied = match applied(&connection).await? {
        Some(times) => times.len(),
        None => {
            connection.batch(CREATE).await?;
            0
        }
    };
    for (version, (name, text)) in (1_i32..).zip(MIGRATIONS).skip(applied) {
        connection.batch(text).await?;
        connection.query(INSERT, &[&version, name, &checksum(text), &now.millis()]).await?;
    }
    Ok(())
}

/// Every migration, with when it was applied. Changes nothing.
pub(super) async fn list(connection: Lent) -> Result<Vec<Migration>, Failure> {
    let times = applied(&connection).await?.unwrap_or_default();
    Ok(migration::listed(MIGRATIONS, times))
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
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    connection.batch(&GRANTS.replace(":role", &role)).await
}

/// When the first so many migrations were applied. `None`: this is not Keyward's database yet.
async fn applied(connection: &Connection) -> Result<Option<Vec<Timestamp>>, Failure> {
    let found = connection.query(FIND_TABLE, &[]).await?;
    if found.is_empty() {
        return Ok(None);
    }
    let found = connection.query(LIST, &[]).await?;
    let found = rows::all(&found, |columns| {
        let version: i32 = columns.take(VERSION)?;
        let version = u32::try_from(version).map_err(|_| StoreError::Inconsistent(VERSION))?;
        let sha256: Vec<u8> = columns.take("migration.sha256")?;
        let applied_at = Timestamp::from_millis(columns.take("migration.applied_at")?);
        Ok((version, sha256, applied_at))
    })?;
    let times = found.iter().map(|(_, _, applied_at)| *applied_at).collect();
    migration::check(MIGRATIONS, found.into_iter().map(|(version, sha256, _)| (version, sha256)))?;
    Ok(Some(times))
}

/// Names this version of the schema.
#[cfg(any(test, feature = "contract"))]
pub(super) fn fingerprint() -> String {
    let texts: String = MIGRATIONS.iter().map(|(_, text)| *text).chain([CREATE, GRANTS]).collect();
    checksum(&texts)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

const MIGRATIONS: History = &[
    ("initial", include_str!("../../../migrations/postgres/0001_initial.sql")),
    ("purge", include_str!("../../../migrations/postgres/0002_purge.sql")),
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

const GRANTS: &str = "
    GRANT USAGE ON SCHEMA keyward TO :role;
    GRANT SELECT ON keyward.migration TO :role;
    GRANT SELECT, INSERT, UPDATE, DELETE ON keyward.user TO :role;
    GRANT SELECT, INSERT, UPDATE ON keyward.session TO :role;
    GRANT SELECT, INSERT, UPDATE (ip, user_agent) ON keyward.audit_event TO :role;
    GRANT SELECT, INSERT, UPDATE (sealed, compromised_at), DELETE ON keyward.key TO :role;
    GRANT SELECT, INSERT, UPDATE (revoked_at) ON keyward.service_key TO :role;
    GRANT EXECUTE ON FUNCTION keyward.add_audit_partitions() TO :role;
    GRANT EXECUTE ON FUNCTION keyward.purge_sessions(bigint, integer) TO :role;
    GRANT EXECUTE ON FUNCTION keyward.purge_audit(bigint, integer) TO :role";

/// Not by `to_regclass`, which fails where the role may not look into the schema.
const FIND_TABLE: Statement<'_> = Statement {
    sql: "SELECT c.oid FROM pg_catalog.pg_class AS c \
          JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
          WHERE n.nspname = 'keyward' AND c.relname = 'migration'",
    types: &[],
};
const FIND_ROLE: Statement<'_> = Statement {
    sql: "SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname = $1",
    types: &[Type::TEXT],
};
const LIST: Statement<'_> = Statement {
    sql: "SELECT m.version, m.sha256, m.applied_at FROM keyward.migration AS m ORDER BY m.version",
    types: &[],
};
const INSERT: Statement<'_> = Statement {
    sql: "INSERT INTO keyward.migration (version, name, sha256, applied_at) \
          VALUES ($1, $2, $3, $4)",
    types: &[Type::INT4, Type::TEXT, Type::BYTEA, Type::INT8],
};
const VERSION: &str = "migration.version";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_applied_migration_never_changes() {
        migration::assert_unchanged("postgres", MIGRATIONS);
    }
}
