-- What verifiers of access tokens are told: one row for each session that was ended, and for each
-- user who was disabled or deleted, written by the transaction that did so. A row is of use for as
-- long as an access token lives, an hour at most, and may be deleted once it is two hours old.
CREATE TABLE revocation (
    -- Rises with each row that is committed, whichever process writes it.
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    session_id BLOB CHECK (length(session_id) = 16),
    user_id BLOB CHECK (length(user_id) = 16),
    CHECK ((session_id IS NULL) <> (user_id IS NULL))
) STRICT;

-- For whoever deletes the old ones.
CREATE INDEX revocation_at ON revocation (at);

-- The last position that was given out. Positions follow the clock in microseconds and never go
-- back, even where all rows are gone or the clock was wrong: so after a backup was restored none is
-- given out that a reader may have passed before.
CREATE TABLE revocation_position (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
) STRICT;

INSERT INTO revocation_position (id, last) VALUES (1, 0);

-- Triggers, so that no statement that ends a session can forget it. A refresh sets none of the
-- columns that they watch.
CREATE TRIGGER session_revoked AFTER UPDATE OF revoked_at ON session
WHEN NEW.revoked_at IS NOT NULL AND OLD.revoked_at IS NULL
BEGIN
    UPDATE revocation_position SET last = max(last + 1, NEW.revoked_at * 1000) WHERE id = 1;
    INSERT INTO revocation (id, at, session_id)
    SELECT last, NEW.revoked_at, NEW.id FROM revocation_position WHERE id = 1;
END;

CREATE TRIGGER user_disabled AFTER UPDATE OF disabled_at ON user
WHEN NEW.disabled_at IS NOT NULL
BEGIN
    UPDATE revocation_position SET last = max(last + 1, NEW.disabled_at * 1000) WHERE id = 1;
    INSERT INTO revocation (id, at, user_id)
    SELECT last, NEW.disabled_at, NEW.id FROM revocation_position WHERE id = 1;
END;
