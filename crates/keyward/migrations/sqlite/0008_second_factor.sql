-- Second factors: the app of a user, the codes for when it is gone, and sign-ins that wait for a code.

-- Since when the user signs in with a second factor; NULL without one.
ALTER TABLE user ADD COLUMN mfa_enabled_at INTEGER;

-- Keys that seal what the store holds, themselves sealed with the master key.
CREATE TABLE sealing_key (
    purpose TEXT NOT NULL,
    id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    activates_at INTEGER NOT NULL,
    compromised_at INTEGER,
    PRIMARY KEY (purpose, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE totp (
    user_id BLOB NOT NULL PRIMARY KEY CHECK (length(user_id) = 16),
    -- The number of the sealing key, and the secret sealed with it for this user.
    sealed BLOB NOT NULL,
    begun_at INTEGER NOT NULL,
    -- NULL while the set-up is not finished.
    confirmed_at INTEGER,
    -- The last time step whose code was used. It only rises.
    last_step INTEGER,
    -- When the quota of tries will be whole again.
    tries_whole_at INTEGER
) STRICT;

-- A code that was used is gone.
CREATE TABLE recovery_code (
    user_id BLOB NOT NULL CHECK (length(user_id) = 16),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE mfa_challenge (
    hash BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    user_id BLOB NOT NULL CHECK (length(user_id) = 16),
    -- With another version of the credentials the challenge is void.
    credential_version INTEGER NOT NULL,
    tries_left INTEGER NOT NULL CHECK (tries_left >= 0),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX mfa_challenge_user ON mfa_challenge (user_id);
CREATE INDEX mfa_challenge_expiry ON mfa_challenge (expires_at);
