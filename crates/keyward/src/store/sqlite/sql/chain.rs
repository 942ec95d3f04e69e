//! The statements about the chain over the audit log.

/// The columns of a checkpoint, in the order of its reader.
macro_rules! checkpoint_columns {
    () => {
        "number, at, month, reached, events, tags, previous, head, key, signature"
    };
}

statements! {
    LAST_CHECKPOINT = concat!(
        "SELECT ", checkpoint_columns!(),
        " FROM audit_checkpoint WHERE number > 0 ORDER BY number DESC LIMIT 1"
    );
    /// But for those that hand the chain over to another key.
    LAST_COVERING = "SELECT events FROM audit_checkpoint WHERE number > 0 AND events <> '' \
         ORDER BY number DESC LIMIT 1";
    LIST_CHECKPOINTS = concat!(
        "SELECT ", checkpoint_columns!(),
        " FROM audit_checkpoint WHERE number > :after ORDER BY number LIMIT :limit"
    );
    INSERT_CHECKPOINT = concat!(
        "INSERT INTO audit_checkpoint (", checkpoint_columns!(), ") \
         VALUES (:number, :at, :month, :reached, :events, :tags, :previous, :head, :key, \
         :signature) ON CONFLICT DO NOTHING"
    );
    LIST_UNSEALED = "SELECT id, at, name, user_id, session_id, ip, user_agent, request_id, detail \
         FROM audit_event WHERE id > :after ORDER BY id LIMIT :limit";
    /// Of users who exist.
    INSERT_SALT = "INSERT INTO audit_salt (user_id, salt) \
         SELECT id, :salt FROM user WHERE id = :id ON CONFLICT DO NOTHING";
    FIND_SALT = "SELECT salt FROM audit_salt WHERE user_id = :id";
    /// But for the last of those whose events have all left.
    PURGE_CHECKPOINTS = "DELETE FROM audit_checkpoint WHERE number IN \
         (SELECT number FROM audit_checkpoint WHERE number < \
         (SELECT max(number) FROM audit_checkpoint WHERE reached < :before) \
         ORDER BY number LIMIT :limit)";
}
