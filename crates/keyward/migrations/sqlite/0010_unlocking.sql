-- When an operator last unlocked the account: what was counted against it before counts no more.
-- NULL where nobody ever did.
ALTER TABLE user ADD COLUMN unlocked_at INTEGER;

-- The service asks for the latest ones every few seconds.
CREATE INDEX user_unlocking ON user (unlocked_at) WHERE unlocked_at IS NOT NULL;
