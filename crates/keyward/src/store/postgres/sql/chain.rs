//! The statements about the chain over the audit log.

use tokio_postgres::types::Type;

use super::Statement;

/// The columns of a checkpoint, in the order of its reader.
macro_rules! checkpoint_columns {
    () => {
        "c.number, c.at, c.month, c.reached, c.events, c.tags, c.previous, c.head, c.key, \
         c.signature"
    };
}

/// The columns that `rows::event` reads, in its order.
macro_rules! event_columns {
    () => {
        "e.id, e.at, e.name, e.user_id, e.session_id, e.ip, e.user_agent, e.request_id, \
         e.detail::text"
    };
}

/// The event was not visible in snapshot `$1`, whose oldest transaction in doubt is `$3`, and is
/// in `$2`. Of what was sealed a month ago nothing is left to be written, so that months long past
/// are not looked at: those from before there was a chain have nothing to find their events by. A
/// node whose clock is ahead must not hide what others write.
macro_rules! in_window {
    () => {
        "e.written_by >= $3 \
         AND NOT pg_visible_in_snapshot(e.written_by::text::xid8, $1::pg_snapshot) \
         AND pg_visible_in_snapshot(e.written_by::text::xid8, $2::pg_snapshot) \
         AND e.at >= (SELECT least(c.at, (extract(epoch FROM now()) * 1000)::bigint) \
         - 2678400000 FROM keyward.audit_checkpoint AS c ORDER BY c.number DESC LIMIT 1)"
    };
}

statements! {
    LAST_CHECKPOINT() = concat!(
        "SELECT ", checkpoint_columns!(),
        " FROM keyward.audit_checkpoint AS c ORDER BY c.number DESC LIMIT 1"
    );
    LIST_CHECKPOINTS(INT8, INT8) = concat!(
        "SELECT ", checkpoint_columns!(),
        " FROM keyward.audit_checkpoint AS c WHERE c.number > $1 ORDER BY c.number LIMIT $2"
    );
    INSERT_CHECKPOINT(
        INT8, INT8, INT8, INT8, TEXT, BYTEA, BYTEA, BYTEA, BYTEA, BYTEA, TEXT
    ) = "INSERT INTO keyward.audit_checkpoint (number, at, month, reached, events, tags, previous, \
         head, key, signature, position) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT DO NOTHING RETURNING number";
    /// How far the log is sealed: what hands the chain over to another key covers nothing, and the
    /// checkpoint before it says so. Where that row was not written by this server, its place among
    /// the transactions of another one says nothing: then it was restored from a dump, by a
    /// transaction of this server's.
    FIND_POSITION(INT8) = "SELECT c.events, \
         CASE WHEN c.xmin::text::bigint = c.written_by % 4294967296 \
         AND c.written_by < pg_snapshot_xmax(pg_current_snapshot())::text::bigint \
         THEN c.position END FROM keyward.audit_checkpoint AS c \
         WHERE c.number <= $1 AND c.events <> '' ORDER BY c.number DESC LIMIT 1";
    FIND_SNAPSHOT_NOW() = "SELECT pg_current_snapshot()::text WHERE NOT pg_is_in_recovery()";
    /// A sum, so that the planner does not look for the lowest id by walking through the log.
    FIND_FIRST_UNSEALED(TEXT, TEXT, INT8, INT8) = concat!(
        "SELECT min(e.id + 0) FROM keyward.audit_event AS e WHERE ", in_window!(),
        " AND e.id > $4"
    );
    /// Of the events behind `$1` the last that was restored from a dump, by a transaction that it
    /// does not name.
    FIND_LAST_RESTORED(INT8) = "SELECT max(e.id) FROM keyward.audit_event AS e \
         WHERE e.id > $1 AND e.xmin::text::bigint <> e.written_by % 4294967296";
    LIST_UNSEALED(TEXT, TEXT, INT8, INT8, INT8) = concat!(
        "SELECT ", event_columns!(), " FROM keyward.audit_event AS e WHERE ", in_window!(),
        " AND e.id > $4 ORDER BY e.id LIMIT $5"
    );
    /// Where nothing tells what was read but the ids. Events up to `$4`, and those from the future
    /// of this server, came with a dump of another one.
    LIST_UNSEALED_BY_ID(TEXT, INT8, INT8, INT8) = concat!(
        "SELECT ", event_columns!(), " FROM keyward.audit_event AS e \
         WHERE e.id > $2 AND (e.id <= $4 OR e.written_by IS NULL \
         OR pg_visible_in_snapshot(e.written_by::text::xid8, $1::pg_snapshot) \
         OR e.written_by >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint) \
         ORDER BY e.id LIMIT $3"
    );
    /// Of users who exist. In the order of their ids, as everywhere.
    INSERT_SALTS(UUID_ARRAY, BYTEA_ARRAY) = "INSERT INTO keyward.audit_salt (user_id, salt) \
         SELECT u.id, g.salt FROM unnest($1, $2) AS g (id, salt) \
         JOIN keyward.user AS u ON u.id = g.id ORDER BY u.id ON CONFLICT DO NOTHING";
    FIND_SALTS(UUID_ARRAY) = "SELECT s.user_id, s.salt FROM keyward.audit_salt AS s \
         WHERE s.user_id = ANY ($1)";
    /// Answers how many have gone.
    PURGE_CHECKPOINTS(INT8, INT4) = "SELECT keyward.purge_checkpoints($1, $2)";
}
