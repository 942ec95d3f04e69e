//! The statements that end sessions.

use tokio_postgres::types::Type;

use super::Statement;

/// Ends, at `$1` for reason `$2`, the live ones of the sessions that the condition names. A trigger
/// writes the outbox. They are locked in the order of their ids first, as everywhere, so that no
/// two wait for each other.
macro_rules! end {
    ($condition:literal) => {
        concat!(
            "WITH locked AS (SELECT s.id FROM keyward.session AS s WHERE ",
            $condition,
            " AND ",
            live!(),
            " ORDER BY s.id FOR NO KEY UPDATE) \
             UPDATE keyward.session AS s SET revoked_at = $1, revoked_reason = $2 \
             FROM locked WHERE s.id = locked.id RETURNING s.id, s.user_id"
        )
    };
}

/// Ends as `end!`, with what has timed out, of which it says nothing: locked together, in one
/// order. The condition is said of what is locked and of what is ended: where it names a part of
/// the table, no plan goes through the whole of it.
macro_rules! end_every {
    ($condition:literal) => {
        concat!(
            "WITH locked AS (SELECT s.id FROM keyward.session AS s WHERE ",
            $condition,
            " AND s.revoked_at IS NULL ORDER BY s.id FOR NO KEY UPDATE), \
             ended AS (UPDATE keyward.session AS s SET revoked_at = $1, revoked_reason = $2 \
             FROM locked WHERE s.id = locked.id AND ",
            $condition,
            " RETURNING s.id, s.user_id, NULL AS revoked_at, s.expires_at, s.idle_expires_at) \
             SELECT s.id, s.user_id FROM ended AS s WHERE ",
            live!()
        )
    };
}

statements! {
    /// For those that end sessions in several steps: all that they may end, in the order of ids.
    LOCK_SESSIONS(UUID, UUID) = "SELECT s.id FROM keyward.session AS s \
         WHERE (s.user_id = $1 OR s.id = $2) AND s.revoked_at IS NULL \
         ORDER BY s.id FOR NO KEY UPDATE";
    END_ONE(INT8, TEXT, UUID) = end!("s.id = $3");
    END_ONE_OF_USER(INT8, TEXT, UUID, UUID) = end!("s.id = $3 AND s.user_id = $4");
    END_EVERY_OF_USER(INT8, TEXT, UUID) = end_every!("s.user_id = $3");
    END_BEYOND_MAX(INT8, TEXT, UUID, UUID, INT8) = end!(
        "s.id IN (SELECT o.id FROM keyward.session AS o WHERE o.user_id = $3 AND o.id <> $4 \
         AND o.revoked_at IS NULL AND o.expires_at > $1 AND o.idle_expires_at > $1 \
         ORDER BY o.last_used_at DESC, o.id DESC OFFSET $5)"
    );
    /// The last one of a step behind `$1`, where that many are left. Those that have ended count,
    /// too: however many there are, a step is done in time.
    FIND_LAST_OF_STEP(UUID, INT8) = "SELECT s.id FROM keyward.session AS s WHERE s.id > $1 \
         ORDER BY s.id OFFSET $2 LIMIT 1";
    END_STEP(INT8, TEXT, UUID, UUID) = end_every!("s.id > $3 AND s.id <= $4");
}
