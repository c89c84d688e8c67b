-- One row per predicted item. Ids are UUIDs of version 7, of the millisecond in which
-- the request came: their order is that of time.
CREATE TABLE predictions (
    id BLOB NOT NULL PRIMARY KEY,
    request_id TEXT,              -- none where it is the id
    item INTEGER,                 -- position in its batch; none of a request for one item
    key_id TEXT,
    trace_id TEXT,                -- none where it has the bits of the id
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    provider TEXT NOT NULL,
    input_hash BLOB NOT NULL,     -- 128 bits
    prediction TEXT,              -- JSON; none when it was too long
    label TEXT,
    confidence REAL,
    latency_us INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    input TEXT                    -- JSON; none unless history.store_inputs is on
) WITHOUT ROWID;

-- Each ends with the id, as every index of such a table does: what is looked for by them comes in the order of time. There
-- are only these: each one more costs every row about a tenth of what writing it does. Other filters are looked for in the
-- order of time.
CREATE INDEX predictions_by_key ON predictions (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX predictions_by_request ON predictions (request_id) WHERE request_id IS NOT NULL;
