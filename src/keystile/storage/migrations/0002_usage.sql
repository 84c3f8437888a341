-- What was asked with each key, by hour: answered requests (refusal '') and refusals by problem type.
-- Apart from keys, so that counting never counts as a change of a key.
CREATE TABLE usage (
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    hour INTEGER NOT NULL,    -- hours since 1970 (UTC)
    refusal TEXT NOT NULL,    -- '' for requests that went to the upstream
    requests INTEGER NOT NULL,
    PRIMARY KEY (key_id, hour, refusal)
) WITHOUT ROWID;
