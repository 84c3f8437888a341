-- Passwords, in a file that relays never open. account_id names an account of the store beside it.
CREATE TABLE passwords (
    account_id TEXT PRIMARY KEY,
    hash TEXT NOT NULL,       -- argon2id in its own text form (salt and costs included)
    changed REAL NOT NULL     -- Unix seconds
) WITHOUT ROWID;
