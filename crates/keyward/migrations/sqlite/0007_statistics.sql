-- How many events of a name there were in an hour, counted once the hour is over. The row with an
-- empty name says that it was counted, be there events or none. Nothing here names anybody: the
-- counts outlive the events.
CREATE TABLE event_count (
    -- When the hour begins, in milliseconds since the Unix epoch.
    hour INTEGER NOT NULL,
    name TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (hour, name)
) STRICT, WITHOUT ROWID;

-- Few users are disabled. Whoever asks for them looks at those alone.
CREATE INDEX user_disabled_at ON user (id) WHERE disabled_at IS NOT NULL;
