-- The chain over the audit log. A checkpoint names the events that it covers and holds two tags for
-- each, 32 bytes in all, from which nothing of the event can be told.
--
-- Whoever runs on it must know second factors and resets: programs from before those cannot read the
-- sessions that they leave.
--
-- compatible-since: 6

-- The transaction that wrote the event, since transactions commit in another order than ids are given
-- out in: of each of them a snapshot tells whether it was visible, and so whether its events were
-- sealed. Events that are older than this column have none; all of them are visible. Changing the
-- default of a column that is there writes no row anew.
ALTER TABLE keyward.audit_event ADD COLUMN written_by bigint;
ALTER TABLE keyward.audit_event
    ALTER COLUMN written_by SET DEFAULT (pg_current_xact_id()::text::bigint);

-- Whoever seals finds the latest events by it. It holds the range of transactions of every few pages
-- and costs a refresh nothing.
-- Months to come have it from the start. Of those that are there a large one has to do without,
-- since nobody could write while it is made: docs/postgresql.md says how to add it.
CREATE INDEX audit_event_by_transaction ON ONLY keyward.audit_event
    USING brin (written_by) WITH (pages_per_range = 32, autosummarize = on);
DO $$
DECLARE
    month regclass;
BEGIN
    FOR month IN SELECT inhrelid FROM pg_inherits
        WHERE inhparent = 'keyward.audit_event'::regclass AND pg_relation_size(inhrelid) < 268435456
    LOOP
        EXECUTE format('CREATE INDEX ON %s USING brin (written_by) '
            'WITH (pages_per_range = 32, autosummarize = on)', month);
    END LOOP;
END
$$;

CREATE TABLE keyward.audit_checkpoint (
    number bigint PRIMARY KEY CHECK (number > 0),
    at bigint NOT NULL,
    -- The month of its events, and the latest of this and all before it.
    month bigint NOT NULL,
    reached bigint NOT NULL,
    -- Such as 1-1000,1003.
    events text NOT NULL,
    tags bytea NOT NULL,
    previous bytea NOT NULL CHECK (octet_length(previous) = 32),
    head bytea NOT NULL CHECK (octet_length(head) = 32),
    key bytea NOT NULL CHECK (octet_length(key) = 32),
    signature bytea NOT NULL,
    -- Up to where events were read: the snapshot, and what is left of the one before. NULL where
    -- that was another database.
    position text,
    -- Whether this is the server that wrote the row: to another one the snapshot means nothing.
    written_by bigint DEFAULT (pg_current_xact_id()::text::bigint)
);

-- The tags are random.
ALTER TABLE keyward.audit_checkpoint ALTER COLUMN tags SET STORAGE EXTERNAL;

-- What the tags of a user's address and browser are made with. With its user it goes, and nobody can
-- find out by trying any more what they were made of.
CREATE TABLE keyward.audit_salt (
    user_id uuid PRIMARY KEY REFERENCES keyward.user ON DELETE CASCADE,
    salt bytea NOT NULL CHECK (octet_length(salt) = 32)
);

-- Deletes checkpoints whose events have all left with their months, but for the last of them, which
-- shows that none is missing behind it; answers how many.
CREATE FUNCTION keyward.purge_checkpoints(before bigint, at_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    PERFORM keyward.require_old(before, '696 hours');
    DELETE FROM keyward.audit_checkpoint WHERE number = ANY (ARRAY(
        SELECT c.number FROM keyward.audit_checkpoint AS c
        WHERE c.number < (
            SELECT max(o.number) FROM keyward.audit_checkpoint AS o WHERE o.reached < before
        )
        ORDER BY c.number LIMIT at_most FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
REVOKE ALL ON FUNCTION keyward.purge_checkpoints(bigint, integer) FROM PUBLIC;
