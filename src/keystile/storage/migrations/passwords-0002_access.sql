-- Who has signed in, links that set a password, management tokens, failed attempts, known addresses and
-- answers to repeat. Secrets are here as their SHA-256 only. Times are Unix seconds.

-- Grows with every new password, not when a hash is made anew for the same one.
ALTER TABLE passwords ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

CREATE TABLE sessions (
    digest BLOB PRIMARY KEY CHECK (typeof(digest) = 'blob' AND length(digest) = 32),
    id TEXT NOT NULL UNIQUE,  -- its name on pages: says nothing of the secret
    account_id TEXT NOT NULL,
    created REAL NOT NULL,
    seen REAL NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL       -- what the browser calls itself
) WITHOUT ROWID;
CREATE INDEX sessions_of ON sessions (account_id);

-- One-time links. account_id is '' for the link that makes the first operator.
CREATE TABLE links (
    digest BLOB PRIMARY KEY CHECK (typeof(digest) = 'blob' AND length(digest) = 32),
    account_id TEXT NOT NULL UNIQUE,
    expires REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE tokens (
    digest BLOB PRIMARY KEY CHECK (typeof(digest) = 'blob' AND length(digest) = 32),
    id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    name TEXT NOT NULL,
    hint TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL,             -- NULL: never
    used REAL,
    used_from TEXT
) WITHOUT ROWID;
CREATE INDEX tokens_of ON tokens (account_id);

-- Attempts to sign in that did not succeed. name: SHA-256 of what is slowed down (an e-mail address, a network).
-- empty: when they will all be forgotten (the level, as a moment); until: when the next attempt is looked at.
CREATE TABLE attempts (
    name BLOB PRIMARY KEY CHECK (typeof(name) = 'blob' AND length(name) = 32),
    empty REAL NOT NULL,
    until REAL NOT NULL
) WITHOUT ROWID;

-- From where an account has signed in before.
CREATE TABLE known_addresses (
    account_id TEXT NOT NULL,
    network TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (account_id, network)
) WITHOUT ROWID;

-- Idempotency-Key: what was answered. status 0: begun, and not known to have ended.
CREATE TABLE remembered (
    account_id TEXT NOT NULL,
    key BLOB NOT NULL CHECK (typeof(key) = 'blob' AND length(key) = 32),
    request BLOB NOT NULL,
    status INTEGER NOT NULL,
    reference TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (account_id, key)
) WITHOUT ROWID;

-- Triggers, so that no way of setting a password can forget whom it signs out, and which link it uses up.
CREATE TRIGGER passwords_first AFTER INSERT ON passwords BEGIN
    DELETE FROM sessions WHERE account_id = NEW.account_id;
    DELETE FROM links WHERE account_id = NEW.account_id;
END;
CREATE TRIGGER passwords_changed AFTER UPDATE OF version ON passwords BEGIN
    DELETE FROM sessions WHERE account_id = NEW.account_id;
    DELETE FROM links WHERE account_id = NEW.account_id;
END;
