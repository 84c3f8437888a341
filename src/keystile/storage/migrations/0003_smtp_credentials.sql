-- SMTP credentials: a kind of their own, in tables that no relay reads and no change log tells of.
-- Times are Unix seconds.
CREATE TABLE smtp_credentials (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,       -- an e-mail address in its canonical spelling
    hint TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (typeof(digest) = 'blob' AND length(digest) = 32),
    scope TEXT NOT NULL,
    networks TEXT NOT NULL,   -- canonical forms, single spaces between; empty: everywhere
    expires REAL,             -- NULL: never
    created REAL NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (account_id, name)
) WITHOUT ROWID;

CREATE TABLE smtp_uses (
    credential_id TEXT PRIMARY KEY REFERENCES smtp_credentials (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    address TEXT NOT NULL     -- empty where the mail relay did not say it
) WITHOUT ROWID;

-- The newest events of one account; seq, being the rowid, is part of the index.
CREATE INDEX audit_of_account ON audit (account);
