-- Times are milliseconds since the Unix epoch, UTC. Ids are the sixteen bytes of a UUID.
-- There are no foreign keys: sessions and audit events outlive their user, though without what is
-- personal.

CREATE TABLE user (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    email TEXT NOT NULL,
    -- The address as it is compared.
    email_key TEXT NOT NULL UNIQUE,
    name TEXT,
    -- A JSON array of strings, sorted and distinct.
    roles TEXT NOT NULL,
    email_verified INTEGER NOT NULL CHECK (email_verified IN (0, 1)),
    -- A JSON object: what is added to access tokens.
    claims TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    credential_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    disabled_at INTEGER,
    last_login_at INTEGER,
    last_logout_at INTEGER
) STRICT;

-- A refresh rewrites one row in place: nothing that it changes is indexed. The rows are too long
-- for WITHOUT ROWID, whose inner pages would hold whole rows and make the tree deep.
CREATE TABLE session (
    id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL CHECK (length(user_id) = 16),
    generation INTEGER NOT NULL,
    refresh_token_hash BLOB NOT NULL CHECK (length(refresh_token_hash) = 32),
    previous_token_hash BLOB CHECK (length(previous_token_hash) = 32),
    sealed_successor BLOB,
    -- At most eight entries, newest first: 16 bytes of proof and the time, 8 bytes big-endian.
    retry_proofs BLOB NOT NULL
        CHECK (length(retry_proofs) % 24 = 0 AND length(retry_proofs) <= 192),
    rotated_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    idle_expires_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    revoked_reason TEXT,
    ip TEXT,
    user_agent TEXT,
    auth_time INTEGER NOT NULL,
    -- A JSON array of strings (RFC 8176).
    amr TEXT NOT NULL,
    CHECK ((revoked_at IS NULL) = (revoked_reason IS NULL))
) STRICT;

-- A user's dead sessions stay, and may be many: who signs in, ends the sessions beyond the maximum or
-- lists them must not walk through all of them. A refresh changes neither column.
CREATE INDEX session_user ON session (user_id, revoked_at);

CREATE TABLE audit_event (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    user_id BLOB CHECK (length(user_id) = 16),
    session_id BLOB CHECK (length(session_id) = 16),
    ip TEXT,
    user_agent TEXT,
    request_id TEXT,
    -- A JSON object.
    detail TEXT NOT NULL
) STRICT;

-- The only index of the log: it grows at its end, where an index by user would have each refresh
-- write a page of its own. Whoever asks for a user or a session scans the time in question.
CREATE INDEX audit_event_at ON audit_event (at);

-- Secrets sealed with the master key.
CREATE TABLE key (
    purpose TEXT NOT NULL,
    id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (purpose, id)
) STRICT, WITHOUT ROWID;
