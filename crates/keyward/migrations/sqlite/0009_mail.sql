-- What proves that somebody reads the mail of an address: at most one token of a purpose for each
-- user, since a newer one takes the place of the one before. The token itself is in the mail alone.
CREATE TABLE one_time_token (
    user_id BLOB NOT NULL CHECK (length(user_id) = 16),
    purpose TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- What the account was when the token was issued.
    email_key TEXT NOT NULL,
    credential_version INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, purpose)
) STRICT;

-- For whoever deletes the old ones.
CREATE INDEX one_time_token_expiry ON one_time_token (expires_at);

-- Mails that wait to be sent. A row leaves when its mail is sent or given up.
CREATE TABLE mail (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL CHECK (length(user_id) = 16),
    -- Address and contents, sealed with the master key.
    sealed BLOB NOT NULL,
    -- How often a sender took it. Guards what the sender says of it.
    attempts INTEGER NOT NULL,
    -- Whoever takes it puts it off, so that nobody else does.
    due_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX mail_due ON mail (due_at);
CREATE INDEX mail_expiry ON mail (expires_at);
CREATE INDEX mail_user ON mail (user_id);

-- Triggers, so that no statement that changes an account can forget its tokens.
CREATE TRIGGER user_tokens_end AFTER UPDATE OF email_key, credential_version, disabled_at ON user
WHEN NEW.email_key IS NOT OLD.email_key OR NEW.credential_version IS NOT OLD.credential_version
    OR NEW.disabled_at IS NOT NULL
BEGIN
    DELETE FROM one_time_token WHERE user_id = NEW.id;
END;

CREATE TRIGGER user_mail_ends AFTER DELETE ON user
BEGIN
    DELETE FROM one_time_token WHERE user_id = OLD.id;
    DELETE FROM mail WHERE user_id = OLD.id;
END;
