//! The statements about unlocked accounts.

statements! {
    /// Later than ever before, whatever a clock says: nodes take the time for the name of counts.
    UNLOCK = "UPDATE user SET unlocked_at = max(:now, coalesce(unlocked_at + 1, :now)) \
         WHERE id = :id";
    LIST_UNLOCKED = "SELECT email_key, unlocked_at FROM user WHERE unlocked_at > :since \
         ORDER BY unlocked_at DESC, email_key LIMIT :limit";
}
