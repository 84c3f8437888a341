-- Accounts, keys, their digests and last uses, the change log, the audit table.
-- Times are Unix seconds. Runs inside one transaction.

-- Who this store is: a follower that finds another uuid has been given another store.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('uuid', lower(hex(randomblob(16))));

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    operator INTEGER NOT NULL CHECK (operator IN (0, 1)),
    created REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,     -- sorted names, single spaces between
    networks TEXT NOT NULL,   -- canonical forms, single spaces between; empty: everywhere
    expires REAL,             -- NULL: never
    created REAL NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (account_id, name)
) WITHOUT ROWID;

-- A key has one current digest (until IS NULL) and, while a change overlaps, one old one.
CREATE TABLE digests (
    digest BLOB PRIMARY KEY CHECK (typeof(digest) = 'blob' AND length(digest) = 32),
    key_id TEXT NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    hint TEXT NOT NULL,
    imported INTEGER NOT NULL CHECK (imported IN (0, 1)),
    until REAL
) WITHOUT ROWID;
CREATE UNIQUE INDEX digests_current ON digests (key_id) WHERE until IS NULL;
CREATE UNIQUE INDEX digests_old ON digests (key_id) WHERE until IS NOT NULL;

-- Apart from keys, so that noting a use never counts as a change of a key.
CREATE TABLE last_uses (
    key_id TEXT PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    address TEXT NOT NULL
) WITHOUT ROWID;

-- The change log: which keys a follower has to look at again. Written by triggers, so that no way of
-- changing a key can forget it. tag tells a row from another that got the same number in a store that was
-- restored from a copy. The first row is about no key: a follower of an empty store holds on to it.
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('put', 'revoke')),
    tag INTEGER NOT NULL DEFAULT (random())
);
INSERT INTO changes (key_id, kind) VALUES ('', 'revoke');

CREATE TRIGGER keys_edited AFTER UPDATE ON keys BEGIN
    INSERT INTO changes (key_id, kind) VALUES (NEW.id, 'put');
END;
CREATE TRIGGER keys_deleted AFTER DELETE ON keys BEGIN
    INSERT INTO changes (key_id, kind) VALUES (OLD.id, 'revoke');
END;
CREATE TRIGGER digests_added AFTER INSERT ON digests BEGIN
    INSERT INTO changes (key_id, kind) VALUES (NEW.key_id, 'put');
END;
CREATE TRIGGER digests_changed AFTER UPDATE ON digests BEGIN
    INSERT INTO changes (key_id, kind) VALUES (NEW.key_id, 'put');
END;
CREATE TRIGGER digests_dropped AFTER DELETE ON digests
WHEN EXISTS (SELECT 1 FROM keys WHERE id = OLD.key_id) BEGIN
    INSERT INTO changes (key_id, kind) VALUES (OLD.key_id, 'put');
END;
CREATE TRIGGER accounts_renamed AFTER UPDATE OF email ON accounts BEGIN
    INSERT INTO changes (key_id, kind) SELECT id, 'put' FROM keys WHERE account_id = NEW.id;
END;

-- Append-only, and no references: events outlive what they are about.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    origin TEXT NOT NULL,
    what TEXT NOT NULL,
    account TEXT NOT NULL,
    key_id TEXT,
    key_name TEXT,
    key_hint TEXT,
    details TEXT NOT NULL
);
CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit table is append-only');
END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit table is append-only');
END;
-- INSERT OR REPLACE deletes without asking the trigger above.
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq) BEGIN
    SELECT RAISE(ABORT, 'the audit table is append-only');
END;
