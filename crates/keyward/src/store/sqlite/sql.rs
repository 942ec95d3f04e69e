//! The statements of fixed text, in one place so that a test can prepare them all. Lists of audit
//! events are put together from their filter, in `audit`.

/// Declares statements, and the list of all of them.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])*
        pub(in crate::store::sqlite) const $name: &str = $sql;)+

        #[cfg(test)]
        pub(in crate::store::sqlite) const ALL: &[(&str, &str)] =
            &[$((stringify!($name), $name)),+];
    };
}

pub(super) mod chain;
pub(super) mod second_factor;
pub(super) mod unlocking;

/// The columns that [`super::rows::session`] reads, in its order.
macro_rules! session_columns {
    () => {
        "session.id, session.user_id, session.generation, session.refresh_token_hash, \
         session.previous_token_hash, session.sealed_successor, session.retry_proofs, \
         session.rotated_at, session.created_at, session.last_used_at, session.idle_expires_at, \
         session.expires_at, session.revoked_at, session.revoked_reason, session.ip, \
         session.user_agent, session.auth_time, session.amr"
    };
}

/// The columns that [`super::rows::user`] reads, in its order.
macro_rules! user_columns {
    () => {
        "user.id, user.email, user.name, user.roles, user.email_verified, user.claims, \
         user.created_at, user.disabled_at, user.last_login_at, user.last_logout_at, \
         user.mfa_enabled_at"
    };
}

/// As above, for statements that are put together.
pub(super) const USER_COLUMNS: &str = user_columns!();

/// The user has the role `:role`; in the words of the index over those who have any.
pub(super) const HAS_ROLE: &str =
    "roles <> '[]' AND EXISTS (SELECT 1 FROM json_each(user.roles) WHERE value = :role)";

/// The columns that [`super::rows::service_key`] reads, in its order.
macro_rules! service_key_columns {
    () => {
        "id, name, hash, scopes, created_at, expires_at, revoked_at"
    };
}

/// The session is live at `:now`; the SQL of `Session::state`.
macro_rules! live {
    () => {
        "revoked_at IS NULL AND expires_at > :now AND idle_expires_at > :now"
    };
}

/// Ends the live ones of the sessions that the condition names. A trigger writes the outbox.
macro_rules! end {
    ($condition:literal) => {
        concat!(
            "UPDATE session SET revoked_at = :now, revoked_reason = :reason WHERE ",
            $condition,
            " AND ",
            live!(),
            " RETURNING id, user_id"
        )
    };
}

/// The event is about this user. Events of refused requests name a session but no user.
macro_rules! of_user {
    () => {
        "(user_id = :id OR (user_id IS NULL AND session_id IN \
         (SELECT id FROM session WHERE user_id = :id)))"
    };
}

/// Nobody else did it, user `:text`; the SQL of `is_act_of_another`.
macro_rules! own_act {
    () => {
        "(json_extract(detail, '$.actor') IS NULL \
         OR json_extract(detail, '$.actor.userId') = :text)"
    };
}

statements! {
    INSERT_USER = concat!(
        "INSERT INTO user (id, email, email_key, name, roles, email_verified, claims, \
         password_hash, credential_version, created_at) \
         VALUES (:id, :email, :email_key, :name, :roles, :email_verified, '{}', \
         :password_hash, 0, :now) \
         ON CONFLICT (email_key) DO NOTHING RETURNING ",
        user_columns!()
    );
    /// Any conflict: with an address, or with an id that was given.
    IMPORT_USER = "INSERT INTO user (id, email, email_key, name, roles, email_verified, claims, \
         password_hash, credential_version, created_at) \
         VALUES (:id, :email, :email_key, :name, :roles, :email_verified, :claims, \
         :password_hash, 0, :created_at) ON CONFLICT DO NOTHING";
    /// The same password, so that the version stays.
    REPLACE_HASH = "UPDATE user SET password_hash = :to WHERE id = :id AND password_hash = :from";
    FIND_USER = concat!("SELECT ", user_columns!(), " FROM user WHERE id = :id");
    FIND_ACCOUNT = concat!(
        "SELECT ", user_columns!(), ", password_hash, credential_version FROM user WHERE id = :id"
    );
    FIND_ACCOUNT_BY_EMAIL = concat!(
        "SELECT ", user_columns!(),
        ", password_hash, credential_version FROM user WHERE email_key = :email_key"
    );
    SET_NAME = "UPDATE user SET name = :name WHERE id = :id";
    /// The key of the address is NULL where that stays as it is.
    SET_PROFILE = "UPDATE user SET email = :email, email_key = coalesce(:email_key, email_key), \
         name = :name, email_verified = :email_verified, claims = :claims WHERE id = :id";
    SET_ROLES = "UPDATE user SET roles = :roles WHERE id = :id";
    /// A trigger writes the outbox where the time is not NULL.
    SET_DISABLED_AT = "UPDATE user SET disabled_at = :at WHERE id = :id";
    SET_LAST_LOGIN = "UPDATE user SET last_login_at = :now WHERE id = :id";
    SET_LAST_LOGOUT = "UPDATE user SET last_logout_at = :now WHERE id = :id";
    SET_PASSWORD = "UPDATE user SET password_hash = :password_hash, \
         credential_version = credential_version + 1 WHERE id = :id";
    /// Looks at the users with any role alone, by the index over them.
    HAS_OTHER_OF_ROLE = "SELECT EXISTS (SELECT 1 FROM user WHERE roles <> '[]' \
         AND disabled_at IS NULL AND id <> :id AND (email_verified OR NOT :verified_only) \
         AND EXISTS (SELECT 1 FROM json_each(user.roles) WHERE value = :role))";
    DELETE_USER = "DELETE FROM user WHERE id = :id";
    FORGET_SESSIONS = "UPDATE session SET ip = NULL, user_agent = NULL WHERE user_id = :id";
    LAST_EVENT = "SELECT max(id) FROM audit_event";
    /// Looks further than `of_user!`: where a session has left, the log still says whose it was.
    LIST_EVENTS_OF_USER =
        "SELECT id FROM audit_event INDEXED BY audit_event_at WHERE at >= :since \
         AND (user_id = :id OR (user_id IS NULL AND session_id IN \
         (SELECT id FROM session WHERE user_id = :id UNION ALL \
         SELECT session_id FROM audit_event INDEXED BY audit_event_at \
         WHERE at >= :since AND user_id = :id)))";
    FORGET_EVENT_DEVICE = concat!(
        "UPDATE audit_event SET ip = NULL, user_agent = NULL WHERE id = :event AND ",
        own_act!()
    );
    FORGET_LATER_DEVICES = concat!(
        "UPDATE audit_event SET ip = NULL, user_agent = NULL WHERE id > :after AND ",
        of_user!(), " AND ", own_act!()
    );

    INSERT_SESSION = "INSERT INTO session (id, user_id, generation, refresh_token_hash, \
         previous_token_hash, sealed_successor, retry_proofs, rotated_at, created_at, \
         last_used_at, idle_expires_at, expires_at, revoked_at, revoked_reason, ip, user_agent, \
         auth_time, amr) \
         VALUES (:id, :user_id, :generation, :refresh_token_hash, :previous_token_hash, \
         :sealed_successor, :retry_proofs, :rotated_at, :created_at, :last_used_at, \
         :idle_expires_at, :expires_at, :revoked_at, :revoked_reason, :ip, :user_agent, \
         :auth_time, :amr)";
    /// The SQL of `Session::accepts` and `Session::rotate`. `:proof` is a whole entry of
    /// `retry_proofs`, or empty; 192 bytes are eight entries. SQLite's `substr` makes NULL of an
    /// empty blob.
    ROTATE = concat!(
        "UPDATE session SET generation = :generation, refresh_token_hash = :successor_hash, \
         previous_token_hash = refresh_token_hash, sealed_successor = :sealed_successor, \
         retry_proofs = coalesce(substr(CAST(:proof || retry_proofs AS BLOB), 1, 192), x''), \
         rotated_at = :now, last_used_at = :now, \
         idle_expires_at = min(:idle_expires_at, expires_at), ip = :ip, user_agent = :user_agent \
         WHERE id = :id AND refresh_token_hash = :presented_hash AND ",
        live!(),
        " RETURNING ",
        session_columns!()
    );
    FIND_SESSION = concat!("SELECT ", session_columns!(), " FROM session WHERE id = :id");
    FIND_SESSION_OF_USER = concat!(
        "SELECT ", session_columns!(), ", ", user_columns!(),
        " FROM session JOIN user ON user.id = session.user_id WHERE session.id = :id"
    );
    END_ALL = end!("true");
    /// After `END_ALL`: what is left has timed out.
    END_EXPIRED = "UPDATE session SET revoked_at = :now, revoked_reason = :reason \
         WHERE revoked_at IS NULL";
    END_ONE = end!("id = :id");
    END_ONE_OF_USER = end!("id = :id AND user_id = :user_id");
    END_OF_USER = end!("user_id = :user_id");
    /// After `END_OF_USER`: what is left has timed out.
    END_EXPIRED_OF_USER = "UPDATE session SET revoked_at = :now, revoked_reason = :reason \
         WHERE user_id = :user_id AND revoked_at IS NULL";
    END_BEYOND_MAX = concat!(
        "UPDATE session SET revoked_at = :now, revoked_reason = :reason WHERE id IN \
         (SELECT id FROM session WHERE user_id = :user_id AND id <> :new AND ",
        live!(),
        " ORDER BY last_used_at DESC, id DESC LIMIT -1 OFFSET :others_max) \
         RETURNING id, user_id"
    );
    LIST_LIVE = concat!(
        "SELECT ", session_columns!(), " FROM session WHERE ", live!(),
        " ORDER BY last_used_at DESC, id DESC LIMIT :limit"
    );
    LIST_LIVE_OF_USER = concat!(
        "SELECT ", session_columns!(), " FROM session WHERE user_id = :user_id AND ", live!(),
        " ORDER BY last_used_at DESC, id DESC LIMIT :limit"
    );
    LIST_ENDED = concat!(
        "SELECT ", session_columns!(), " FROM session WHERE revoked_at >= :since \
         ORDER BY revoked_at DESC, id DESC LIMIT :limit"
    );
    LIST_ENDED_OF_USER = concat!(
        "SELECT ", session_columns!(), " FROM session WHERE user_id = :user_id \
         AND revoked_at >= :since ORDER BY revoked_at DESC, id DESC LIMIT :limit"
    );

    LIST_REVOCATIONS = "SELECT id, at, session_id, user_id FROM revocation \
         WHERE id >= :from ORDER BY id LIMIT :limit";

    INSERT_EVENT = "INSERT INTO audit_event (at, name, user_id, session_id, ip, user_agent, \
         request_id, detail) \
         VALUES (:at, :name, :user_id, :session_id, :ip, :user_agent, :request_id, :detail)";

    /// Whom an event is about, by id or by session, where they are gone.
    FIND_DELETED_USER = "SELECT :user_id AS id WHERE :user_id IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM user WHERE id = :user_id) \
         UNION ALL SELECT s.user_id FROM session AS s WHERE :user_id IS NULL \
         AND s.id = :session_id AND NOT EXISTS (SELECT 1 FROM user WHERE id = s.user_id)";

    COUNT_EVENTS = "SELECT name, count(*) FROM audit_event INDEXED BY audit_event_at \
         WHERE at >= :since AND at < :until AND name IN (SELECT value FROM json_each(:names)) \
         GROUP BY name ORDER BY name";
    INSERT_COUNT = "INSERT INTO event_count (hour, name, count) VALUES (:hour, :name, :count) \
         ON CONFLICT DO NOTHING";
    LIST_COUNTS = "SELECT hour, name, count FROM event_count \
         WHERE hour >= :since AND hour < :until AND name <> '' ORDER BY hour, name";
    LAST_COUNTED_HOUR = "SELECT max(hour) FROM event_count";
    DELETE_COUNTS = "DELETE FROM event_count WHERE hour >= :since";
    COUNT_POPULATION = concat!(
        "SELECT (SELECT count(*) FROM user), \
         (SELECT count(*) FROM user WHERE disabled_at IS NOT NULL), \
         (SELECT count(*) FROM session WHERE ",
        live!(),
        ")"
    );

    PURGE_SESSIONS = "DELETE FROM session WHERE id IN \
         (SELECT id FROM session WHERE expires_at < :before ORDER BY expires_at LIMIT :limit)";
    PURGE_REVOCATIONS = "DELETE FROM revocation WHERE id IN \
         (SELECT id FROM revocation WHERE at < :before ORDER BY at LIMIT :limit)";
    HAS_EVENT_BEFORE = "SELECT EXISTS (SELECT 1 FROM audit_event WHERE at < :before)";
    PURGE_EVENTS = "DELETE FROM audit_event WHERE id IN \
         (SELECT id FROM audit_event WHERE at < :before ORDER BY at, id LIMIT :limit)";

    LIST_KEYS = "SELECT id, purpose, algorithm, sealed, created_at, activates_at, compromised_at \
         FROM key UNION ALL \
         SELECT id, purpose, algorithm, sealed, created_at, activates_at, compromised_at \
         FROM sealing_key ORDER BY created_at, purpose, id";
    INSERT_KEY = "INSERT INTO key \
         (purpose, id, algorithm, sealed, created_at, activates_at, compromised_at) VALUES \
         (:purpose, :id, :algorithm, :sealed, :created_at, :activates_at, :compromised_at)";
    INSERT_SEALING_KEY = "INSERT INTO sealing_key \
         (purpose, id, algorithm, sealed, created_at, activates_at, compromised_at) VALUES \
         (:purpose, :id, :algorithm, :sealed, :created_at, :activates_at, :compromised_at)";
    MARK_COMPROMISED = "UPDATE key SET compromised_at = :now \
         WHERE purpose = :purpose AND compromised_at IS NULL";
    SET_SEALED = "UPDATE key SET sealed = :sealed WHERE purpose = :purpose AND id = :id";
    SET_SEALED_OF_SEALING_KEY =
        "UPDATE sealing_key SET sealed = :sealed WHERE purpose = :purpose AND id = :id";
    DELETE_KEY = "DELETE FROM key WHERE purpose = :purpose AND id = :id";

    INSERT_SERVICE_KEY = "INSERT INTO service_key \
         (id, name, hash, scopes, created_at, expires_at, revoked_at) \
         VALUES (:id, :name, :hash, :scopes, :created_at, :expires_at, :revoked_at)";
    FIND_SERVICE_KEY =
        concat!("SELECT ", service_key_columns!(), " FROM service_key WHERE hash = :hash");
    FIND_SERVICE_KEY_BY_ID =
        concat!("SELECT ", service_key_columns!(), " FROM service_key WHERE id = :id");
    LIST_SERVICE_KEYS =
        concat!("SELECT ", service_key_columns!(), " FROM service_key ORDER BY id");
    REVOKE_SERVICE_KEY =
        "UPDATE service_key SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL";

    /// Leaves alone the one before that is live and expires later than `:yields_beyond`.
    SET_TOKEN = "INSERT INTO one_time_token AS before \
         (user_id, purpose, hash, email_key, credential_version, expires_at) \
         VALUES (:user_id, :purpose, :hash, :email_key, :credential_version, :expires_at) \
         ON CONFLICT (user_id, purpose) DO UPDATE SET hash = excluded.hash, \
         email_key = excluded.email_key, credential_version = excluded.credential_version, \
         expires_at = excluded.expires_at WHERE before.expires_at <= :yields_beyond \
         OR before.email_key <> excluded.email_key \
         OR before.credential_version <> excluded.credential_version";
    /// With its account, as of one moment.
    FIND_TOKEN = concat!(
        "SELECT t.user_id, t.purpose, t.hash, t.email_key, t.credential_version, t.expires_at, ",
        user_columns!(), ", user.password_hash, user.credential_version \
         FROM one_time_token AS t JOIN user ON user.id = t.user_id \
         WHERE t.hash = :hash AND t.purpose = :purpose"
    );
    /// Those that outlive a rise of the version by one, as they are after it.
    LIST_CARRIED_TOKENS = "SELECT t.user_id, t.purpose, t.hash, t.email_key, \
         t.credential_version + 1, t.expires_at \
         FROM one_time_token AS t JOIN user ON user.id = t.user_id WHERE t.user_id = :user_id \
         AND NOT user.email_verified AND t.credential_version = user.credential_version";
    DELETE_TOKEN = "DELETE FROM one_time_token WHERE hash = :hash";
    SET_EMAIL_VERIFIED = "UPDATE user SET email_verified = 1 WHERE id = :id";
    INSERT_MAIL = "INSERT INTO mail \
         (id, user_id, sealed, attempts, due_at, created_at, expires_at) \
         VALUES (:id, :user_id, :sealed, 0, :created_at, :created_at, :expires_at)";
    HAS_MAIL_DUE = "SELECT EXISTS (SELECT 1 FROM mail WHERE due_at <= :now)";
    LIST_MAIL_DUE = "SELECT id, user_id, sealed, created_at, expires_at, attempts FROM mail \
         WHERE due_at <= :now ORDER BY due_at, id LIMIT :limit";
    CLAIM_MAIL = "UPDATE mail SET due_at = :until, attempts = attempts + 1 WHERE id = :id";
    PUT_OFF_MAIL = "UPDATE mail SET due_at = :at WHERE id = :id AND attempts = :attempts";
    DELETE_MAIL = "DELETE FROM mail WHERE id = :id AND attempts = :attempts";
    PURGE_TOKENS = "DELETE FROM one_time_token WHERE hash IN \
         (SELECT hash FROM one_time_token WHERE expires_at < :before ORDER BY expires_at \
         LIMIT :limit)";
    PURGE_MAIL = "DELETE FROM mail WHERE id IN \
         (SELECT id FROM mail WHERE expires_at < :before ORDER BY expires_at LIMIT :limit)";

    /// Fails where the table is gone.
    FIND_NOTHING = "SELECT 1 FROM session WHERE id = x''";
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::sqlite::tests::migrated;

    fn every() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        ALL.iter().chain(chain::ALL).chain(second_factor::ALL).chain(unlocking::ALL)
    }

    #[test]
    fn every_statement_fits_the_schema() {
        let (connection, _dir) = migrated();
        for (name, sql) in every() {
            assert_eq!(connection.prepare(sql).err(), None, "{name}");
        }
    }

    #[test]
    fn other_values_never_make_sqlite_prepare_anew() {
        let (connection, _dir) = migrated();
        for (name, sql) in every() {
            for value in 1..4 {
                let mut statement = connection.prepare_cached(sql).expect("a statement");
                for index in 1..=statement.parameter_count() {
                    statement.raw_bind_parameter(index, value).expect("a parameter");
                }
                // What these values are to the constraints is no matter here.
                let _stepped = statement.raw_query().next().map(|row| row.is_some());
                assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{name}");
            }
        }
    }

    #[test]
    fn hot_statements_search_by_key() {
        let (connection, _dir) = migrated();
        for (name, sql) in every().filter(|(name, _)| !SCANNING.contains(name)) {
            for step in plan(&connection, sql) {
                assert!(!step.starts_with("SCAN") || step == "SCAN CONSTANT ROW", "{name}: {step}");
            }
        }
    }

    /// Whoever signs in all day leaves any number of dead sessions behind.
    #[test]
    fn a_users_dead_sessions_cost_the_living_nothing() {
        let (connection, _dir) = migrated();
        for sql in [END_OF_USER, END_BEYOND_MAX, LIST_LIVE_OF_USER, LIST_ENDED_OF_USER] {
            let steps = plan(&connection, sql);
            let by_end = |step: &String| step.contains("session_user (user_id=? AND revoked_at");
            assert!(steps.iter().any(by_end), "{sql}: {steps:?}");
        }
    }

    /// How SQLite would run the statement, step by step.
    fn plan(connection: &rusqlite::Connection, sql: &str) -> Vec<String> {
        let mut statement =
            connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
        for index in 1..=statement.parameter_count() {
            statement.raw_bind_parameter(index, 0).expect("a parameter");
        }
        let steps = statement.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>();
        steps.expect("a plan")
    }

    /// What lists or ends the sessions of everybody, in the order of no index, and what looks at
    /// the few keys or the few users with a role.
    const SCANNING: &[&str] = &[
        "END_ALL",
        "END_EXPIRED",
        "LIST_LIVE",
        "LIST_ENDED",
        "LIST_KEYS",
        "LIST_SERVICE_KEYS",
        "HAS_OTHER_OF_ROLE",
        "COUNT_EVENTS",
        "COUNT_POPULATION",
    ];
}
