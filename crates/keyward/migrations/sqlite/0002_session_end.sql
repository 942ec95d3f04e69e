-- A user's dead sessions stay, and may be many: who signs in, ends the sessions beyond the maximum
-- or lists them must not walk through all of them. A refresh changes neither column.
DROP INDEX session_user;
CREATE INDEX session_user ON session (user_id, revoked_at);
