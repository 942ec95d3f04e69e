-- The server reads the text of each check of a table anew for every statement that writes it, which
-- took a refresh that travels alone a third of its time there, and a batch of twelve a tenth. The
-- service writes and reads values that cannot be anything else (docs/adr/0026).
--
-- compatible-since: 1
ALTER TABLE keyward.session
    DROP CONSTRAINT IF EXISTS session_check,
    DROP CONSTRAINT IF EXISTS session_refresh_token_hash_check,
    DROP CONSTRAINT IF EXISTS session_previous_token_hash_check,
    DROP CONSTRAINT IF EXISTS session_retry_proofs_check;

-- What somebody might leave out who ends a session by hand. A refresh sets neither column, and this
-- is then not even looked at; a trigger BEFORE would have each refresh look its row up once more.
CREATE FUNCTION keyward.refuse_half_revocation() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE check_violation USING MESSAGE =
        'a session has revoked_at and revoked_reason or neither; run `keyward session revoke`';
END
$$;
REVOKE ALL ON FUNCTION keyward.refuse_half_revocation() FROM PUBLIC;

CREATE TRIGGER session_half_revoked AFTER UPDATE OF revoked_at, revoked_reason ON keyward.session
FOR EACH ROW WHEN ((NEW.revoked_at IS NULL) <> (NEW.revoked_reason IS NULL))
EXECUTE FUNCTION keyward.refuse_half_revocation();
