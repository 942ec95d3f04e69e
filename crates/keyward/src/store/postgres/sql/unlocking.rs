//! The statements about unlocked accounts.

use tokio_postgres::types::Type;

use super::Statement;

statements! {
    /// Later than ever before, whatever a clock says: nodes take the time for the name of counts.
    UNLOCK(UUID, INT8) = "UPDATE keyward.user \
         SET unlocked_at = greatest($2, unlocked_at + 1) WHERE id = $1 RETURNING id";
    LIST_UNLOCKED(INT8, INT8) = "SELECT u.email_key, u.unlocked_at FROM keyward.user AS u \
         WHERE u.unlocked_at > $1 ORDER BY u.unlocked_at DESC, u.email_key LIMIT $2";
}
