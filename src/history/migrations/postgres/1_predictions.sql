-- One row per predicted item. Ids are UUIDs of version 7, of the millisecond in which
-- the request came: their order is that of time.
CREATE TABLE predictions (
    id UUID NOT NULL PRIMARY KEY,
    request_id TEXT,              -- none where it is the id
    item INTEGER,                 -- position in its batch; none of a request for one item
    key_id TEXT,
    trace_id TEXT,                -- none where it has the bits of the id
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    provider TEXT NOT NULL,
    input_hash UUID NOT NULL,     -- 128 bits; no UUID, but kept in as many bytes
    prediction TEXT,              -- JSON; none when it was too long
    label TEXT,
    confidence DOUBLE PRECISION,
    latency_us BIGINT NOT NULL,
    cached BOOLEAN NOT NULL,
    input TEXT                    -- JSON; none unless history.store_inputs is on
);

-- Each ends with the id: what is looked for by them comes in the order of time.
CREATE INDEX predictions_by_key ON predictions (key_id, id) WHERE key_id IS NOT NULL;
CREATE INDEX predictions_by_model ON predictions (model, id);
CREATE INDEX predictions_by_label ON predictions (label, id) WHERE label IS NOT NULL;
CREATE INDEX predictions_by_request ON predictions (request_id, id) WHERE request_id IS NOT NULL;
