-- Sessions that are dead for long are found by the time that never moves: a refresh changes no index
-- entry for it.
CREATE INDEX session_expiry ON session (expires_at);
