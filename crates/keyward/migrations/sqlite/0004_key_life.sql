-- When a key begins to sign, and since when it may be in other hands. In which state a key is stands
-- nowhere: that follows from these times and the clock. The table is made anew, since a column that
-- is never NULL cannot be added without a default that no insert should fall back on.

CREATE TABLE key_with_life (
    purpose TEXT NOT NULL,
    id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    sealed BLOB NOT NULL,
    -- Later than every key of its purpose that was there.
    created_at INTEGER NOT NULL,
    activates_at INTEGER NOT NULL,
    compromised_at INTEGER,
    PRIMARY KEY (purpose, id)
) STRICT, WITHOUT ROWID;

INSERT INTO key_with_life (purpose, id, algorithm, sealed, created_at, activates_at)
SELECT purpose, id, algorithm, sealed, created_at, created_at FROM key;

DROP TABLE key;

ALTER TABLE key_with_life RENAME TO key;
