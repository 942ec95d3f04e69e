//! The statements about second factors.

statements! {
    FIND_TOTP = "SELECT sealed, begun_at, confirmed_at, last_step, tries_whole_at FROM totp \
         WHERE user_id = :user_id";
    BEGIN_TOTP = "INSERT INTO totp (user_id, sealed, begun_at) VALUES (:user_id, :sealed, :now) \
         ON CONFLICT (user_id) DO UPDATE SET sealed = :sealed, begun_at = :now \
         WHERE confirmed_at IS NULL";
    ENABLE_TOTP = "UPDATE totp SET confirmed_at = :now, last_step = :step \
         WHERE user_id = :user_id AND confirmed_at IS NULL";
    /// The SQL of `Totp::takes`: of any number that use one step one does, and it never goes back.
    USE_STEP = "UPDATE totp SET last_step = :step WHERE user_id = :user_id \
         AND confirmed_at IS NOT NULL AND (last_step IS NULL OR last_step < :step)";
    SET_TRIES = "UPDATE totp SET tries_whole_at = :whole_at WHERE user_id = :user_id";
    DELETE_TOTP = "DELETE FROM totp WHERE user_id = :user_id";
    DELETE_SETUP = "DELETE FROM totp WHERE user_id = :user_id AND confirmed_at IS NULL";
    /// Sign-ins that are in flight by what was verified before do not get through.
    SET_MFA_ENABLED_AT = "UPDATE user SET mfa_enabled_at = :at, \
         credential_version = credential_version + 1 WHERE id = :user_id";
    SET_AMR = "UPDATE session SET amr = :amr WHERE id = :id AND user_id = :user_id";

    INSERT_RECOVERY_CODE = "INSERT INTO recovery_code (user_id, hash) VALUES (:user_id, :hash)";
    USE_RECOVERY_CODE = "DELETE FROM recovery_code WHERE user_id = :user_id AND hash = :hash";
    COUNT_RECOVERY_CODES = "SELECT count(*) FROM recovery_code WHERE user_id = :user_id";
    DELETE_RECOVERY_CODES = "DELETE FROM recovery_code WHERE user_id = :user_id";

    INSERT_CHALLENGE = "INSERT INTO mfa_challenge \
         (hash, user_id, credential_version, tries_left, expires_at) \
         VALUES (:hash, :user_id, :credential_version, :tries_left, :expires_at)";
    FIND_CHALLENGE = "SELECT hash, user_id, credential_version, tries_left, expires_at \
         FROM mfa_challenge WHERE hash = :hash";
    TAKE_TRY = "UPDATE mfa_challenge SET tries_left = tries_left - 1 \
         WHERE hash = :hash AND tries_left > 0";
    DELETE_CHALLENGE = "DELETE FROM mfa_challenge WHERE hash = :hash";
    DELETE_CHALLENGES = "DELETE FROM mfa_challenge WHERE user_id = :user_id";
    DELETE_EXPIRED_CHALLENGES =
        "DELETE FROM mfa_challenge WHERE user_id = :user_id AND expires_at <= :now";
    PURGE_CHALLENGES = "DELETE FROM mfa_challenge WHERE hash IN \
         (SELECT hash FROM mfa_challenge WHERE expires_at < :before \
         ORDER BY expires_at LIMIT :limit)";
}
