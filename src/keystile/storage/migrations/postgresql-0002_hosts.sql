-- For programs that know schema 1 or later.

-- How old a program may be that works with this schema (storage/migrate.py); NULL: none older than it.
ALTER TABLE schema_version ADD COLUMN oldest integer;

-- Which hosts share this store, as each says of itself every few seconds. at: seconds by this database's clock.
-- Whoever stops in order takes its row away; who was not heard of for a day is forgotten.
CREATE TABLE hosts (
    id text COLLATE "C" PRIMARY KEY,      -- made once by the host
    name text COLLATE "C" NOT NULL,
    run text COLLATE "C" NOT NULL,        -- another after each start of its gateway
    program text COLLATE "C" NOT NULL,    -- its version
    build text COLLATE "C" NOT NULL,      -- 'source', 'compiled'
    knows integer NOT NULL,               -- the schema of this store that its program knows
    configuration integer NOT NULL,       -- the number that its log lines and metrics carry
    settings text COLLATE "C" NOT NULL,   -- a print of what it runs by (config/fingerprint.py); the same where that is
    slots text COLLATE "C" NOT NULL,      -- where it counts them
    health text COLLATE "C" NOT NULL,     -- 'ok', 'degraded', 'failing'
    troubles text COLLATE "C" NOT NULL,   -- what is wrong, a line each
    since double precision NOT NULL,
    heard double precision NOT NULL
);

-- What prints are made with, so that nobody who sees one can try guesses: no page and no answer shows it.
INSERT INTO meta (name, value)
    VALUES ('print_key', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));
