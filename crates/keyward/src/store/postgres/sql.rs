//! The statements of fixed text with the types of their parameters, in one place so that a test can
//! prepare them all. Lists of audit events are put together from their filter, in `audit`.
//!
//! Tables are named with their schema: what is found must not depend on a search path.

use tokio_postgres::types::Type;

use super::connection::Statement;

/// Declares statements, and the list of all of them.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident($($type:ident),*) = $sql:expr;)+) => {
        $($(#[$doc])*
        pub(in crate::store::postgres) const $name: Statement<'static> =
            Statement { sql: $sql, types: &[$(Type::$type),*] };)+

        #[cfg(test)]
        pub(in crate::store::postgres) const ALL: &[(&str, Statement<'static>)] =
            &[$((stringify!($name), $name)),+];
    };
}

pub(super) mod chain;
pub(super) mod second_factor;
pub(super) mod unlocking;

/// The columns that [`super::rows::session`] reads, in its order.
macro_rules! session_columns {
    () => {
        "s.id, s.user_id, s.generation, s.refresh_token_hash, s.previous_token_hash, \
         s.sealed_successor, s.retry_proofs, s.rotated_at, s.created_at, s.last_used_at, \
         s.idle_expires_at, s.expires_at, s.revoked_at, s.revoked_reason, s.ip, s.user_agent, \
         s.auth_time, s.amr"
    };
}

/// What a swap does not say of its session, in the order of [`super::rows::swapped_session`].
macro_rules! kept_columns {
    () => {
        "s.user_id, s.retry_proofs, s.created_at, s.expires_at, s.auth_time, s.amr"
    };
}

/// The columns that [`super::rows::user`] reads, in its order.
macro_rules! user_columns {
    () => {
        "u.id, u.email, u.name, u.roles, u.email_verified, u.claims::text, u.created_at, \
         u.disabled_at, u.last_login_at, u.last_logout_at, u.mfa_enabled_at"
    };
}

/// As above, for statements that are put together.
pub(super) const USER_COLUMNS: &str = user_columns!();

/// The columns that [`super::rows::service_key`] reads, in its order.
macro_rules! service_key_columns {
    () => {
        "k.id, k.name, k.hash, k.scopes, k.created_at, k.expires_at, k.revoked_at"
    };
}

/// An account by a condition; [`super::rows::account`] reads it.
macro_rules! account {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            user_columns!(),
            ", u.password_hash, u.credential_version FROM keyward.user AS u WHERE ",
            $rest
        )
    };
}

/// The session is live at `$1`, or at another time; the SQL of `Session::state`.
macro_rules! live {
    () => {
        live!("$1")
    };
    ($time:literal) => {
        concat!(
            "s.revoked_at IS NULL AND s.expires_at > ",
            $time,
            " AND s.idle_expires_at > ",
            $time
        )
    };
}

/// The text of a snapshot in which no transaction is visible.
macro_rules! nothing_visible {
    () => {
        "1:1:"
    };
}

pub(super) const NOTHING_VISIBLE: &str = nothing_visible!();

/// Live sessions at `$1`, at most `$2`, most recently used first.
macro_rules! list_live {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            session_columns!(),
            " FROM keyward.session AS s WHERE ",
            live!(),
            $condition,
            " ORDER BY s.last_used_at DESC, s.id DESC LIMIT $2"
        )
    };
}

/// Sessions ended at `$1` or later, at most `$2`, most recently ended first.
macro_rules! list_ended {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            session_columns!(),
            " FROM keyward.session AS s WHERE s.revoked_at >= $1",
            $condition,
            " ORDER BY s.revoked_at DESC, s.id DESC LIMIT $2"
        )
    };
}

/// The event is about user `$1`. Events of refused requests name a session but no user.
macro_rules! of_user {
    () => {
        "(e.user_id = $1 OR (e.user_id IS NULL AND e.session_id IN \
         (SELECT s.id FROM keyward.session AS s WHERE s.user_id = $1)))"
    };
}

/// Nobody else than this user did it; the SQL of `is_act_of_another`.
macro_rules! own_act {
    ($user:literal) => {
        concat!("(e.detail -> 'actor' IS NULL OR e.detail -> 'actor' ->> 'userId' = ", $user, ")")
    };
}

pub(super) mod audit;
pub(super) mod ending;
pub(super) mod statistics;

statements! {
    INSERT_USER(UUID, TEXT, TEXT, TEXT, TEXT_ARRAY, BOOL, TEXT, INT8) = concat!(
        "INSERT INTO keyward.user AS u (id, email, email_key, name, roles, email_verified, claims, \
         password_hash, credential_version, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, '{}', $7, 0, $8) \
         ON CONFLICT (email_key) DO NOTHING RETURNING ",
        user_columns!()
    );
    /// Any conflict: with an address, or with an id that was given.
    IMPORT_USERS(
        UUID_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY, BOOL_ARRAY, TEXT_ARRAY,
        TEXT_ARRAY, INT8_ARRAY
    ) = "INSERT INTO keyward.user (id, email, email_key, name, roles, email_verified, claims, \
         password_hash, credential_version, created_at) \
         SELECT i.id, i.email, i.email_key, i.name, string_to_array(i.roles, ','), \
         i.email_verified, i.claims::json, i.password_hash, 0, i.created_at \
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) WITH ORDINALITY AS i \
         (id, email, email_key, name, roles, email_verified, claims, password_hash, created_at, \
         place) ORDER BY i.place ON CONFLICT DO NOTHING RETURNING id, email_key";
    LIST_USER_ADDRESSES(TEXT_ARRAY) =
        "SELECT u.id, u.email_key FROM keyward.user AS u WHERE u.email_key = ANY($1)";
    /// The same password, so that the version stays.
    REPLACE_HASH(UUID, TEXT, TEXT) =
        "UPDATE keyward.user SET password_hash = $3 WHERE id = $1 AND password_hash = $2 \
         RETURNING id";
    FIND_ACCOUNT(UUID) = account!("u.id = $1");
    FIND_ACCOUNT_BY_EMAIL(TEXT) = account!("u.email_key = $1");
    /// Nobody else changes the user, or opens a session for them, until the transaction ends.
    LOCK_ACCOUNT(UUID) = account!("u.id = $1 FOR NO KEY UPDATE");
    /// For a deletion, which waits for `RECORD_EVENTS` before it goes through the log.
    LOCK_ACCOUNT_TO_DELETE(UUID) = account!("u.id = $1 FOR UPDATE");
    SET_NAME(UUID, TEXT) = "UPDATE keyward.user SET name = $2 WHERE id = $1";
    /// The key of the address is NULL where that stays as it is.
    SET_PROFILE(UUID, TEXT, TEXT, TEXT, BOOL, TEXT) = "UPDATE keyward.user SET email = $2, \
         email_key = coalesce($3, email_key), name = $4, email_verified = $5, claims = $6::json \
         WHERE id = $1";
    SET_ROLES(UUID, TEXT_ARRAY) = "UPDATE keyward.user SET roles = $2 WHERE id = $1";
    SET_DISABLED_AT(UUID, INT8) = "UPDATE keyward.user SET disabled_at = $2 WHERE id = $1";
    SET_LAST_LOGIN(UUID, INT8) = "UPDATE keyward.user SET last_login_at = $2 WHERE id = $1";
    SET_LAST_LOGOUT(UUID, INT8) = "UPDATE keyward.user SET last_logout_at = $2 WHERE id = $1";
    /// Ends a set-up of a second factor that was begun with the password before, too.
    SET_PASSWORD(UUID, TEXT) = "WITH setup AS (DELETE FROM keyward.totp \
         WHERE user_id = $1 AND confirmed_at IS NULL) \
         UPDATE keyward.user SET password_hash = $2, \
         credential_version = credential_version + 1 WHERE id = $1";
    LOCK_ROLE(TEXT) = "SELECT u.id FROM keyward.user AS u \
         WHERE u.roles <> '{}' AND $1 = ANY(u.roles) ORDER BY u.id FOR NO KEY UPDATE";
    FIND_OTHER_OF_ROLE(UUID, TEXT, BOOL) = "SELECT u.id FROM keyward.user AS u \
         WHERE u.roles <> '{}' AND $2 = ANY(u.roles) AND u.disabled_at IS NULL AND u.id <> $1 \
         AND (u.email_verified OR NOT $3) LIMIT 1";
    DELETE_USER(UUID) = "DELETE FROM keyward.user WHERE id = $1";
    FORGET_SESSIONS(UUID) =
        "UPDATE keyward.session SET ip = NULL, user_agent = NULL WHERE user_id = $1";
    /// Looks further than `of_user!`: where a session has left, the log still says whose it was.
    LIST_EVENTS_OF_USER(UUID, INT8) =
        "SELECT e.id FROM keyward.audit_event AS e WHERE e.at >= $2 AND (e.user_id = $1 \
         OR (e.user_id IS NULL AND e.session_id IN \
         (SELECT s.id FROM keyward.session AS s WHERE s.user_id = $1 UNION ALL \
         SELECT o.session_id FROM keyward.audit_event AS o WHERE o.at >= $2 AND o.user_id = $1)))";
    FORGET_EVENT_DEVICES(INT8_ARRAY, TEXT) = concat!(
        "UPDATE keyward.audit_event AS e SET ip = NULL, user_agent = NULL \
         WHERE e.id = ANY($1) AND ",
        own_act!("$2")
    );
    FORGET_LATER_DEVICES(UUID, INT8, TEXT) = concat!(
        "UPDATE keyward.audit_event AS e SET ip = NULL, user_agent = NULL WHERE e.at >= $2 AND ",
        of_user!(), " AND ", own_act!("$3")
    );

    INSERT_SESSION(
        UUID, UUID, INT8, BYTEA, BYTEA, BYTEA, BYTEA, INT8, INT8, INT8, INT8, INT8, INT8, TEXT,
        TEXT, TEXT, INT8, TEXT_ARRAY
    ) = "INSERT INTO keyward.session (id, user_id, generation, refresh_token_hash, \
         previous_token_hash, sealed_successor, retry_proofs, rotated_at, created_at, \
         last_used_at, idle_expires_at, expires_at, revoked_at, revoked_reason, ip, user_agent, \
         auth_time, amr) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";
    /// The SQL of `Session::accepts` and `Session::rotate`, its event, and the session with its
    /// user either way: one statement, one round trip.
    ///
    /// `$7` is a whole entry of `retry_proofs`, or empty; 192 bytes are eight entries. Who loses a
    /// race waits for the winner and swaps nothing, but is shown the session as it was when the
    /// statement began: before the winner's swap.
    ROTATE(
        INT8, UUID, BYTEA, BYTEA, INT8, BYTEA, BYTEA, INT8, TEXT, TEXT, INT8, TEXT, TEXT, TEXT,
        TEXT, TEXT
    ) = concat!(
        "WITH swapped AS (UPDATE keyward.session AS s SET generation = $5, \
         refresh_token_hash = $4, previous_token_hash = s.refresh_token_hash, \
         sealed_successor = $6, retry_proofs = substring($7 || s.retry_proofs FROM 1 FOR 192), \
         rotated_at = $1, last_used_at = $1, idle_expires_at = least($8, s.expires_at), \
         ip = $9, user_agent = $10 WHERE s.id = $2 AND s.refresh_token_hash = $3 AND ",
        live!(),
        " RETURNING s.*), \
         recorded AS (INSERT INTO keyward.audit_event (at, name, user_id, session_id, ip, \
         user_agent, request_id, detail) \
         SELECT $11, $12, user_id, id, $13, $14, $15, $16::json FROM swapped), \
         found AS (SELECT true AS is_swapped, * FROM swapped UNION ALL SELECT false, * \
         FROM keyward.session WHERE id = $2 AND NOT EXISTS (SELECT FROM swapped)) \
         SELECT s.is_swapped, ",
        session_columns!(), ", ", user_columns!(),
        " FROM found AS s LEFT JOIN keyward.user AS u ON u.id = s.user_id"
    );
    /// The exchanges of `ROTATE` for any number of sessions, each of them once. It answers those
    /// that were made, in no order; each row begins with its place in the arrays. Of the others it
    /// says nothing: to find out what they are would cost every batch, and few have any. Nor does
    /// it repeat what a swap says, which takes a tenth of its time.
    ///
    /// A session that another transaction holds is left out: the batch waits for nobody, so nobody
    /// waits for it in a circle. What is looked up by `LATERAL` with a lock or a limit is looked up
    /// row by row, whatever the planner believes of the tables.
    ROTATE_TOGETHER(
        INT8_ARRAY, UUID_ARRAY, BYTEA_ARRAY, BYTEA_ARRAY, INT8_ARRAY, BYTEA_ARRAY, BYTEA_ARRAY,
        INT8_ARRAY, TEXT_ARRAY, TEXT_ARRAY, INT8_ARRAY, TEXT_ARRAY, TEXT_ARRAY, TEXT_ARRAY,
        TEXT_ARRAY, TEXT_ARRAY
    ) = concat!(
        "WITH locked AS MATERIALIZED (SELECT a.* FROM \
         unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
         WITH ORDINALITY AS a (at, session_id, presented_hash, successor_hash, generation, \
         sealed_successor, retry_proof, idle_expires_at, ip, user_agent, event_at, event_name, \
         event_ip, event_user_agent, request_id, detail, place) CROSS JOIN LATERAL \
         (SELECT FROM keyward.session AS s WHERE s.id = a.session_id \
         AND s.refresh_token_hash = a.presented_hash AND ",
        live!("a.at"),
        " FOR NO KEY UPDATE SKIP LOCKED) AS s), \
         swapped AS (UPDATE keyward.session AS s SET generation = a.generation, \
         refresh_token_hash = a.successor_hash, previous_token_hash = s.refresh_token_hash, \
         sealed_successor = a.sealed_successor, \
         retry_proofs = substring(a.retry_proof || s.retry_proofs FROM 1 FOR 192), \
         rotated_at = a.at, last_used_at = a.at, \
         idle_expires_at = least(a.idle_expires_at, s.expires_at), \
         ip = a.ip, user_agent = a.user_agent FROM locked AS a WHERE s.id = a.session_id \
         AND s.refresh_token_hash = a.presented_hash AND ",
        live!("a.at"),
        " RETURNING a.place, a.event_at, a.event_name, a.event_ip, a.event_user_agent, \
         a.request_id, a.detail, s.id, ", kept_columns!(), "), \
         recorded AS (INSERT INTO keyward.audit_event (at, name, user_id, session_id, ip, \
         user_agent, request_id, detail) \
         SELECT s.event_at, s.event_name, s.user_id, s.id, s.event_ip, s.event_user_agent, \
         s.request_id, s.detail::json FROM swapped AS s ORDER BY s.place) \
         SELECT s.place, ",
        kept_columns!(), ", ", user_columns!(),
        " FROM swapped AS s LEFT JOIN LATERAL \
         (SELECT * FROM keyward.user AS u WHERE u.id = s.user_id LIMIT 1) AS u ON true"
    );
    FIND_SESSION_OF_USER(UUID) = concat!(
        "SELECT ", session_columns!(), ", ", user_columns!(),
        " FROM keyward.session AS s JOIN keyward.user AS u ON u.id = s.user_id WHERE s.id = $1"
    );
    LOCK_LIVE_SESSION(INT8, UUID, UUID) = concat!(
        "SELECT s.id FROM keyward.session AS s WHERE s.id = $2 AND s.user_id = $3 AND ",
        live!(), " FOR NO KEY UPDATE"
    );
    LIST_LIVE(INT8, INT8) = list_live!("");
    LIST_LIVE_OF_USER(INT8, INT8, UUID) = list_live!(" AND s.user_id = $3");
    LIST_ENDED(INT8, INT8) = list_ended!("");
    LIST_ENDED_OF_USER(INT8, INT8, UUID) = list_ended!(" AND s.user_id = $3");

    /// Since when the server runs or has recovered from a crash, in microseconds, and what is
    /// visible by now. Where one of its processes dies, a server recovers without being started
    /// anew; what it shows of that is that its statistics begin again. A standby does not know what
    /// the primary knows, nor does a primary that was made read-only because another one took over.
    FIND_SNAPSHOT() = "SELECT (extract(epoch FROM greatest(pg_postmaster_start_time(), \
         pg_stat_get_bgwriter_stat_reset_time())) * 1000000)::bigint, \
         pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_current_snapshot()::text \
         WHERE NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'";
    /// What is not visible in snapshot `$1` and is in `$2`, from behind row `$4` of transaction
    /// `$3`. A dump keeps the numbers of transactions of another server: those from the future of
    /// this one are visible in none of its snapshots, and belong to the first reading.
    LIST_REVOCATIONS(TEXT, TEXT, INT8, INT8, INT8) = concat!(
        "SELECT r.written_by::text::bigint, r.id, r.at, r.session_id, r.user_id \
         FROM keyward.revocation AS r WHERE (r.written_by, r.id) > ($3::text::xid8, $4) \
         AND ((NOT pg_visible_in_snapshot(r.written_by, $1::pg_snapshot) \
         AND pg_visible_in_snapshot(r.written_by, $2::pg_snapshot)) \
         OR ($1 = '", nothing_visible!(), "' \
         AND r.written_by >= pg_snapshot_xmax(pg_current_snapshot()))) \
         ORDER BY r.written_by, r.id LIMIT $5"
    );

    LIST_KEYS() = "SELECT k.id, k.purpose, k.algorithm, k.sealed, k.created_at, k.activates_at, \
         k.compromised_at FROM (TABLE keyward.key UNION ALL TABLE keyward.sealing_key) AS k \
         ORDER BY k.created_at, k.purpose, k.id";
    /// The keys that a process has read stay what they are until it has decided what becomes of
    /// them.
    LOCK_KEYS() = "SELECT pg_advisory_xact_lock(7091177325117400176)::text";
    INSERT_KEY(TEXT, TEXT, TEXT, BYTEA, INT8, INT8, INT8) = "INSERT INTO keyward.key \
         (purpose, id, algorithm, sealed, created_at, activates_at, compromised_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    INSERT_SEALING_KEY(TEXT, TEXT, TEXT, BYTEA, INT8, INT8, INT8) = "INSERT INTO \
         keyward.sealing_key \
         (purpose, id, algorithm, sealed, created_at, activates_at, compromised_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    MARK_COMPROMISED(TEXT, INT8) = "UPDATE keyward.key SET compromised_at = $2 \
         WHERE purpose = $1 AND compromised_at IS NULL";
    SET_SEALED(TEXT, TEXT, BYTEA) =
        "UPDATE keyward.key SET sealed = $3 WHERE purpose = $1 AND id = $2";
    SET_SEALED_OF_SEALING_KEY(TEXT, TEXT, BYTEA) =
        "UPDATE keyward.sealing_key SET sealed = $3 WHERE purpose = $1 AND id = $2";
    DELETE_KEYS(TEXT, TEXT_ARRAY) = "DELETE FROM keyward.key \
         WHERE purpose = $1 AND id = ANY($2)";

    INSERT_SERVICE_KEY(UUID, TEXT, BYTEA, TEXT_ARRAY, INT8, INT8, INT8) =
        "INSERT INTO keyward.service_key \
         (id, name, hash, scopes, created_at, expires_at, revoked_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)";
    FIND_SERVICE_KEY(BYTEA) = concat!(
        "SELECT ", service_key_columns!(), " FROM keyward.service_key AS k WHERE k.hash = $1"
    );
    FIND_SERVICE_KEY_BY_ID(UUID) = concat!(
        "SELECT ", service_key_columns!(), " FROM keyward.service_key AS k WHERE k.id = $1"
    );
    LIST_SERVICE_KEYS() = concat!(
        "SELECT ", service_key_columns!(), " FROM keyward.service_key AS k ORDER BY k.id"
    );
    REVOKE_SERVICE_KEY(UUID, INT8) = "UPDATE keyward.service_key SET revoked_at = $2 \
         WHERE id = $1 AND revoked_at IS NULL RETURNING id";

    /// Leaves alone the one before that is live and expires later than `$7`.
    SET_TOKEN(
        UUID, TEXT, BYTEA, TEXT, INT8, INT8, INT8
    ) = "INSERT INTO keyward.one_time_token AS before \
         (user_id, purpose, hash, email_key, credential_version, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (user_id, purpose) DO UPDATE SET hash = excluded.hash, \
         email_key = excluded.email_key, credential_version = excluded.credential_version, \
         expires_at = excluded.expires_at WHERE before.expires_at <= $7 \
         OR before.email_key <> excluded.email_key \
         OR before.credential_version <> excluded.credential_version RETURNING user_id";
    /// With its account, as of one moment.
    FIND_TOKEN(BYTEA, TEXT) = concat!(
        "SELECT t.user_id, t.purpose, t.hash, t.email_key, t.credential_version, t.expires_at, ",
        user_columns!(), ", u.password_hash, u.credential_version \
         FROM keyward.one_time_token AS t JOIN keyward.user AS u ON u.id = t.user_id \
         WHERE t.hash = $1 AND t.purpose = $2"
    );
    /// Those that outlive a rise of the version by one, as they are after it.
    LIST_CARRIED_TOKENS(UUID) = "SELECT t.user_id, t.purpose, t.hash, t.email_key, \
         t.credential_version + 1, t.expires_at \
         FROM keyward.one_time_token AS t JOIN keyward.user AS u ON u.id = t.user_id \
         WHERE t.user_id = $1 AND NOT u.email_verified \
         AND t.credential_version = u.credential_version";
    DELETE_TOKEN(BYTEA) = "DELETE FROM keyward.one_time_token WHERE hash = $1 RETURNING user_id";
    SET_EMAIL_VERIFIED(UUID) = "UPDATE keyward.user SET email_verified = true WHERE id = $1";
    INSERT_MAIL(UUID, UUID, BYTEA, INT8, INT8) = "INSERT INTO keyward.mail \
         (id, user_id, sealed, attempts, due_at, created_at, expires_at) \
         VALUES ($1, $2, $3, 0, $4, $4, $5)";
    /// Each mail is taken by one of those who ask at once, and nobody waits.
    CLAIM_MAIL(INT8, INT8, INT8) = "UPDATE keyward.mail AS m \
         SET due_at = $2, attempts = m.attempts + 1 WHERE m.id = ANY (ARRAY(\
         SELECT d.id FROM keyward.mail AS d WHERE d.due_at <= $1 ORDER BY d.due_at, d.id \
         LIMIT $3 FOR UPDATE SKIP LOCKED)) \
         RETURNING m.id, m.user_id, m.sealed, m.created_at, m.expires_at, m.attempts";
    PUT_OFF_MAIL(UUID, INT8, INT8) = "UPDATE keyward.mail SET due_at = $3 \
         WHERE id = $1 AND attempts = $2 RETURNING id";
    DELETE_MAIL(UUID, INT8) =
        "DELETE FROM keyward.mail WHERE id = $1 AND attempts = $2 RETURNING id";
    /// Both answer how many rows have gone.
    PURGE_TOKENS(INT8, INT4) = "WITH gone AS (DELETE FROM keyward.one_time_token \
         WHERE hash = ANY (ARRAY(SELECT t.hash FROM keyward.one_time_token AS t \
         WHERE t.expires_at < $1 ORDER BY t.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)) \
         RETURNING 1) SELECT count(*) FROM gone";
    PURGE_MAIL(INT8, INT4) = "WITH gone AS (DELETE FROM keyward.mail \
         WHERE id = ANY (ARRAY(SELECT m.id FROM keyward.mail AS m \
         WHERE m.expires_at < $1 ORDER BY m.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)) \
         RETURNING 1) SELECT count(*) FROM gone";

    /// These three answer how many rows have gone, the last one -1 for a whole month.
    PURGE_SESSIONS(INT8, INT4) = "SELECT keyward.purge_sessions($1, $2)";
    PURGE_REVOCATIONS(INT8, INT4) = "SELECT keyward.purge_revocations($1, $2)";
    PURGE_AUDIT(INT8, INT4) = "SELECT keyward.purge_audit($1, $2)";
    /// The function answers nothing, which the driver cannot read.
    ADD_AUDIT_PARTITIONS() = "SELECT keyward.add_audit_partitions()::text";

    LIST_WEAK_SETTINGS() = "SELECT s.name FROM pg_catalog.pg_settings AS s \
         WHERE s.name IN ('fsync', 'full_page_writes', 'synchronous_commit') \
         AND s.setting = 'off' ORDER BY s.name";

    /// Whether this role may change what it likes, the audit log and its own rights included.
    MAY_DO_ANYTHING() = "SELECT r.rolsuper OR EXISTS (SELECT FROM pg_catalog.pg_namespace AS n \
         LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid \
         WHERE n.nspname = 'keyward' AND (pg_has_role(r.oid, n.nspowner, 'MEMBER') \
         OR pg_has_role(r.oid, c.relowner, 'MEMBER'))) AS unbounded \
         FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user";

    /// Writes to the log of the database, and waits for its disk, without touching a table. Tells
    /// the time, too.
    PING() = "SELECT CASE WHEN current_setting('transaction_read_only') = 'off' \
         THEN pg_logical_emit_message(true, 'keyward', 'ping') END IS NOT NULL, \
         (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::connection::{Connections, Failure, Lent, PATIENCE};
    use crate::store::postgres::fresh::FreshDatabase;

    fn every() -> impl Iterator<Item = &'static (&'static str, Statement<'static>)> {
        let own = ALL.iter().chain(audit::ALL).chain(chain::ALL).chain(ending::ALL);
        own.chain(second_factor::ALL).chain(statistics::ALL).chain(unlocking::ALL)
    }

    /// With the rights of the running service.
    #[tokio::test]
    async fn every_statement_fits_the_schema() {
        let database = FreshDatabase::create().await;
        let connections = Connections::new(&database.service_settings()).expect("a pool");
        for (name, statement) in every() {
            let prepared =
                connections.run(PATIENCE, |connection| prepare(connection, *statement)).await;
            assert_eq!(prepared, Ok(()), "{name}");
        }
    }

    /// A parameter of another type than the one declared would fail too.
    async fn prepare(connection: Lent, statement: Statement<'_>) -> Result<(), Failure> {
        connection.prepare(statement).await
    }
}
