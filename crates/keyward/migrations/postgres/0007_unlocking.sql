-- When an operator last unlocked the account: what was counted against it before counts no more.
-- NULL where nobody ever did.
--
-- compatible-since: 1
ALTER TABLE keyward.user ADD COLUMN unlocked_at bigint;

-- Every node asks for the latest ones every few seconds.
CREATE INDEX user_by_unlocking ON keyward.user (unlocked_at) WHERE unlocked_at IS NOT NULL;
