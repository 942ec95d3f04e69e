-- What proves that somebody reads the mail of an address: at most one token of a purpose for each
-- user, since a newer one takes the place of the one before. The token itself is in the mail alone.
-- And the mails that wait to be sent.
--
-- compatible-since: 1
CREATE TABLE keyward.one_time_token (
    user_id uuid NOT NULL REFERENCES keyward.user ON DELETE CASCADE,
    purpose text NOT NULL,
    hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    -- What the account was when the token was issued.
    email_key text COLLATE "C" NOT NULL,
    credential_version bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (user_id, purpose)
);

-- For whoever deletes the old ones.
CREATE INDEX one_time_token_by_expiry ON keyward.one_time_token (expires_at);

-- A row leaves when its mail is sent or given up.
CREATE TABLE keyward.mail (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES keyward.user ON DELETE CASCADE,
    -- Address and contents, sealed with the master key.
    sealed bytea NOT NULL,
    -- How often a sender took it. Guards what the sender says of it.
    attempts bigint NOT NULL,
    -- Whoever takes it puts it off, so that nobody else does.
    due_at bigint NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);

CREATE INDEX mail_by_due ON keyward.mail (due_at);
CREATE INDEX mail_by_expiry ON keyward.mail (expires_at);
CREATE INDEX mail_by_user ON keyward.mail (user_id);

-- A trigger, so that no statement that changes an account can forget its tokens, be it one of a
-- program that does not know this table.
CREATE FUNCTION keyward.end_tokens() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM keyward.one_time_token WHERE user_id = NEW.id;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION keyward.end_tokens() FROM PUBLIC;

CREATE TRIGGER user_tokens_end
AFTER UPDATE OF email_key, credential_version, disabled_at ON keyward.user
FOR EACH ROW WHEN (
    NEW.email_key IS DISTINCT FROM OLD.email_key
    OR NEW.credential_version IS DISTINCT FROM OLD.credential_version
    OR NEW.disabled_at IS NOT NULL
)
EXECUTE FUNCTION keyward.end_tokens();
