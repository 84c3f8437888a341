-- Who still calls with a version of TLS that ends: by key, version and address. Only the latest addresses of each key
-- are kept (storage/sqlite.py). Times are Unix seconds.
CREATE TABLE old_tls (
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    version TEXT NOT NULL,    -- '1.0', '1.1'
    address TEXT NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (key_id, version, address)
) WITHOUT ROWID;
