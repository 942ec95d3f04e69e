-- Second factors: the app of a user, the codes for when it is gone, and sign-ins that wait for a code.
--
-- compatible-since: 1

-- Since when the user signs in with a second factor; NULL without one.
ALTER TABLE keyward.user ADD COLUMN mfa_enabled_at bigint;

-- Keys that seal what the store holds, themselves sealed with the master key. They are not in the
-- table `key`, which programs of the version before read as a whole and know no such purpose in.
CREATE TABLE keyward.sealing_key (
    purpose text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    algorithm text NOT NULL,
    sealed bytea NOT NULL,
    created_at bigint NOT NULL,
    activates_at bigint NOT NULL,
    compromised_at bigint,
    PRIMARY KEY (purpose, id)
);

CREATE TABLE keyward.totp (
    user_id uuid PRIMARY KEY,
    -- The number of the sealing key, and the secret sealed with it for this user.
    sealed bytea NOT NULL,
    begun_at bigint NOT NULL,
    -- NULL while the set-up is not finished.
    confirmed_at bigint,
    -- The last time step whose code was used. It only rises.
    last_step bigint,
    -- When the quota of tries will be whole again.
    tries_whole_at bigint
);

-- A code that was used is gone.
CREATE TABLE keyward.recovery_code (
    user_id uuid NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (user_id, hash)
);

CREATE TABLE keyward.mfa_challenge (
    hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    user_id uuid NOT NULL,
    -- With another version of the credentials the challenge is void.
    credential_version bigint NOT NULL,
    tries_left bigint NOT NULL CHECK (tries_left >= 0),
    expires_at bigint NOT NULL
);

CREATE INDEX mfa_challenge_by_user ON keyward.mfa_challenge (user_id);
CREATE INDEX mfa_challenge_by_expiry ON keyward.mfa_challenge (expires_at);
