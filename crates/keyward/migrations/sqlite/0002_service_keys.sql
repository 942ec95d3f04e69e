-- Keys by which other services say who they are. A key is looked up by the hash of its text; the
-- text itself is nowhere. Revoked keys stay: audit events name them.
CREATE TABLE service_key (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    -- A JSON array of strings, sorted and distinct.
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;
