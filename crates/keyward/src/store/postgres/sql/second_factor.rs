//! The statements about second factors.

use tokio_postgres::types::Type;

use super::Statement;

statements! {
    FIND_TOTP(UUID) = "SELECT t.sealed, t.begun_at, t.confirmed_at, t.last_step, t.tries_whole_at \
         FROM keyward.totp AS t WHERE t.user_id = $1";
    BEGIN_TOTP(UUID, BYTEA, INT8) = "INSERT INTO keyward.totp AS t (user_id, sealed, begun_at) \
         VALUES ($1, $2, $3) ON CONFLICT (user_id) DO UPDATE SET sealed = $2, begun_at = $3 \
         WHERE t.confirmed_at IS NULL RETURNING t.user_id";
    ENABLE_TOTP(UUID, INT8, INT8) = "UPDATE keyward.totp SET confirmed_at = $2, last_step = $3 \
         WHERE user_id = $1 AND confirmed_at IS NULL";
    /// The SQL of `Totp::takes`: of any number that use one step one does, and it never goes back.
    USE_STEP(UUID, INT8) = "UPDATE keyward.totp SET last_step = $2 WHERE user_id = $1 \
         AND confirmed_at IS NOT NULL AND (last_step IS NULL OR last_step < $2) \
         RETURNING user_id";
    SET_TRIES(UUID, INT8) = "UPDATE keyward.totp SET tries_whole_at = $2 WHERE user_id = $1";
    DELETE_TOTP(UUID) = "DELETE FROM keyward.totp WHERE user_id = $1";
    /// Sign-ins that are in flight by what was verified before do not get through.
    SET_MFA_ENABLED_AT(UUID, INT8) = "UPDATE keyward.user SET mfa_enabled_at = $2, \
         credential_version = credential_version + 1 WHERE id = $1";
    SET_AMR(UUID, UUID, TEXT_ARRAY) =
        "UPDATE keyward.session SET amr = $3 WHERE id = $1 AND user_id = $2";

    INSERT_RECOVERY_CODES(UUID, BYTEA_ARRAY) =
        "INSERT INTO keyward.recovery_code (user_id, hash) SELECT $1, unnest($2)";
    USE_RECOVERY_CODE(UUID, BYTEA) = "DELETE FROM keyward.recovery_code \
         WHERE user_id = $1 AND hash = $2 RETURNING user_id";
    COUNT_RECOVERY_CODES(UUID) =
        "SELECT count(*) FROM keyward.recovery_code AS r WHERE r.user_id = $1";
    DELETE_RECOVERY_CODES(UUID) = "DELETE FROM keyward.recovery_code WHERE user_id = $1";

    INSERT_CHALLENGE(BYTEA, UUID, INT8, INT8, INT8) = "INSERT INTO keyward.mfa_challenge \
         (hash, user_id, credential_version, tries_left, expires_at) VALUES ($1, $2, $3, $4, $5)";
    FIND_CHALLENGE(BYTEA) = "SELECT c.hash, c.user_id, c.credential_version, c.tries_left, \
         c.expires_at FROM keyward.mfa_challenge AS c WHERE c.hash = $1";
    TAKE_TRY(BYTEA) = "UPDATE keyward.mfa_challenge SET tries_left = tries_left - 1 \
         WHERE hash = $1 AND tries_left > 0";
    DELETE_CHALLENGE(BYTEA) = "DELETE FROM keyward.mfa_challenge WHERE hash = $1";
    DELETE_CHALLENGES(UUID) = "DELETE FROM keyward.mfa_challenge WHERE user_id = $1";
    DELETE_EXPIRED_CHALLENGES(UUID, INT8) =
        "DELETE FROM keyward.mfa_challenge WHERE user_id = $1 AND expires_at <= $2";
    /// Waits for no lock.
    PURGE_CHALLENGES(INT8, INT8) = "WITH deleted AS (DELETE FROM keyward.mfa_challenge \
         WHERE hash = ANY (ARRAY(SELECT c.hash FROM keyward.mfa_challenge AS c \
         WHERE c.expires_at < $1 ORDER BY c.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)) \
         RETURNING 1) SELECT count(*) FROM deleted";
}
