-- The chain over the audit log. A checkpoint names the events that it covers and holds two tags for
-- each, 32 bytes in all, from which nothing of the event can be told.
CREATE TABLE audit_checkpoint (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    at INTEGER NOT NULL,
    -- The month of its events, and the latest of this and all before it.
    month INTEGER NOT NULL,
    reached INTEGER NOT NULL,
    -- Such as 1-1000,1003.
    events TEXT NOT NULL,
    tags BLOB NOT NULL,
    previous BLOB NOT NULL CHECK (length(previous) = 32),
    head BLOB NOT NULL CHECK (length(head) = 32),
    key BLOB NOT NULL CHECK (length(key) = 32),
    signature BLOB NOT NULL
) STRICT;

-- What the tags of a user's address and browser are made with. With its user it goes, and nobody can
-- find out by trying any more what they were made of.
CREATE TABLE audit_salt (
    user_id BLOB NOT NULL PRIMARY KEY CHECK (length(user_id) = 16),
    salt BLOB NOT NULL CHECK (length(salt) = 32)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER user_salt_ends AFTER DELETE ON user
BEGIN
    DELETE FROM audit_salt WHERE user_id = OLD.id;
END;
