-- A whole store in one schema: what 0001 to 0005 and passwords-0001 to -0002 make of two SQLite files.
-- Times are Unix seconds. Texts sort by their bytes (COLLATE "C"), as in SQLite. Runs inside one transaction.

CREATE TABLE meta (
    name text COLLATE "C" PRIMARY KEY,
    value text COLLATE "C" NOT NULL
);
INSERT INTO meta (name, value) VALUES ('uuid', replace(gen_random_uuid()::text, '-', ''));

CREATE TABLE accounts (
    id text COLLATE "C" PRIMARY KEY,
    email text COLLATE "C" NOT NULL UNIQUE,
    operator boolean NOT NULL,
    created double precision NOT NULL
);

CREATE TABLE keys (
    id text COLLATE "C" PRIMARY KEY,
    account_id text COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name text COLLATE "C" NOT NULL,
    scopes text COLLATE "C" NOT NULL,     -- sorted names, single spaces between
    networks text COLLATE "C" NOT NULL,   -- canonical forms, single spaces between; empty: everywhere
    expires double precision,             -- NULL: never
    created double precision NOT NULL,
    version integer NOT NULL,
    UNIQUE (account_id, name)
);

-- A key has one current digest (until IS NULL) and, while a change overlaps, one old one.
CREATE TABLE digests (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    key_id text COLLATE "C" NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    hint text COLLATE "C" NOT NULL,
    imported boolean NOT NULL,
    until double precision
);
CREATE UNIQUE INDEX digests_current ON digests (key_id) WHERE until IS NULL;
CREATE UNIQUE INDEX digests_old ON digests (key_id) WHERE until IS NOT NULL;

-- Apart from keys, so that noting a use never counts as a change of a key.
CREATE TABLE last_uses (
    key_id text COLLATE "C" PRIMARY KEY REFERENCES keys (id) ON DELETE CASCADE,
    at double precision NOT NULL,
    address text COLLATE "C" NOT NULL
);
CREATE TABLE secret_uses (
    digest bytea PRIMARY KEY REFERENCES digests (digest) ON DELETE CASCADE,
    at double precision NOT NULL,
    address text COLLATE "C" NOT NULL
);

-- The change log: which keys a host has to look at again. Written by triggers, so that no way of changing a key can
-- forget it, nor forget the lock under which numbers follow each other without a gap in the order of commits: who has
-- seen number n has seen all before it. tag tells a row from another of the same number in a database that was set
-- back. at: by the database's clock. The first row is about no key: whoever follows an empty store holds on to it.
CREATE TABLE changes (
    seq bigint PRIMARY KEY,
    key_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('put', 'revoke')),
    tag bigint NOT NULL DEFAULT (random() * 9e15)::bigint,
    at double precision NOT NULL DEFAULT extract(epoch FROM clock_timestamp())
);
INSERT INTO changes (seq, key_id, kind) VALUES (1, '', 'revoke');

CREATE FUNCTION note_change(id text, what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1263752268, 1);
    INSERT INTO changes (seq, key_id, kind) SELECT max(seq) + 1, id, what FROM changes;
    NOTIFY keystile_changes;
END $$;
CREATE FUNCTION key_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM note_change(OLD.id, 'revoke');
    ELSE
        PERFORM note_change(NEW.id, 'put');
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION digest_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        PERFORM note_change(NEW.key_id, 'put');
    ELSIF EXISTS (SELECT 1 FROM keys WHERE id = OLD.key_id) THEN
        PERFORM note_change(OLD.key_id, 'put');
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION account_renamed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_change(id, 'put') FROM keys WHERE account_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER keys_edited AFTER UPDATE OR DELETE ON keys FOR EACH ROW EXECUTE FUNCTION key_changed();
CREATE TRIGGER digests_edited AFTER INSERT OR UPDATE OR DELETE ON digests
    FOR EACH ROW EXECUTE FUNCTION digest_changed();
CREATE TRIGGER accounts_renamed AFTER UPDATE OF email ON accounts FOR EACH ROW EXECUTE FUNCTION account_renamed();

-- What was asked with each key, by hour: answered requests (refusal '') and refusals by problem type.
CREATE TABLE usage (
    key_id text COLLATE "C" NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    hour integer NOT NULL,                -- hours since 1970 (UTC)
    refusal text COLLATE "C" NOT NULL,    -- '' for requests that went to the upstream
    requests bigint NOT NULL,
    PRIMARY KEY (key_id, hour, refusal)
);

-- Who still calls with a version of TLS that ends: by key, version and address.
CREATE TABLE old_tls (
    key_id text COLLATE "C" NOT NULL REFERENCES keys (id) ON DELETE CASCADE,
    version text COLLATE "C" NOT NULL,    -- '1.0', '1.1'
    address text COLLATE "C" NOT NULL,
    first_at double precision NOT NULL,
    last_at double precision NOT NULL,
    requests bigint NOT NULL,
    PRIMARY KEY (key_id, version, address)
);

-- SMTP credentials: a kind of their own, that no relay reads and no change log tells of.
CREATE TABLE smtp_credentials (
    id text COLLATE "C" PRIMARY KEY,
    account_id text COLLATE "C" NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name text COLLATE "C" NOT NULL,       -- an e-mail address in its canonical spelling
    hint text COLLATE "C" NOT NULL,
    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    scope text COLLATE "C" NOT NULL,
    networks text COLLATE "C" NOT NULL,
    expires double precision,
    created double precision NOT NULL,
    version integer NOT NULL,
    UNIQUE (account_id, name)
);
CREATE TABLE smtp_uses (
    credential_id text COLLATE "C" PRIMARY KEY REFERENCES smtp_credentials (id) ON DELETE CASCADE,
    at double precision NOT NULL,
    address text COLLATE "C" NOT NULL     -- empty where the mail relay did not say it
);

-- Append-only, and no references: events outlive what they are about.
CREATE TABLE audit (
    seq bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at double precision NOT NULL,
    actor text COLLATE "C" NOT NULL,
    origin text COLLATE "C" NOT NULL,
    what text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    key_id text COLLATE "C",
    key_name text COLLATE "C",
    key_hint text COLLATE "C",
    details text COLLATE "C" NOT NULL
);
CREATE INDEX audit_of_account ON audit (account, seq);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit table is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What lets people sign in. Secrets are here as argon2id hashes (passwords) or as their SHA-256.
CREATE TABLE passwords (
    account_id text COLLATE "C" PRIMARY KEY,
    hash text COLLATE "C" NOT NULL,
    changed double precision NOT NULL,
    version integer NOT NULL DEFAULT 1    -- grows with every new password, not when a hash is made anew
);
CREATE TABLE sessions (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    id text COLLATE "C" NOT NULL UNIQUE,
    account_id text COLLATE "C" NOT NULL,
    created double precision NOT NULL,
    seen double precision NOT NULL,
    address text COLLATE "C" NOT NULL,
    agent text COLLATE "C" NOT NULL
);
CREATE INDEX sessions_of ON sessions (account_id);

-- One-time links. account_id is '' for the link that makes the first operator.
CREATE TABLE links (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    account_id text COLLATE "C" NOT NULL UNIQUE,
    expires double precision NOT NULL
);
CREATE TABLE tokens (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    id text COLLATE "C" NOT NULL UNIQUE,
    account_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    hint text COLLATE "C" NOT NULL,
    created double precision NOT NULL,
    expires double precision,
    used double precision,
    used_from text COLLATE "C"
);
CREATE INDEX tokens_of ON tokens (account_id);

-- Attempts to sign in that did not succeed: empty: when they will all be forgotten; until: when the next is looked at.
CREATE TABLE attempts (
    name bytea PRIMARY KEY CHECK (octet_length(name) = 32),
    empty double precision NOT NULL,
    until double precision NOT NULL
);
CREATE TABLE known_addresses (
    account_id text COLLATE "C" NOT NULL,
    network text COLLATE "C" NOT NULL,
    at double precision NOT NULL,
    PRIMARY KEY (account_id, network)
);

-- Idempotency-Key: what was answered. status 0: begun, and not known to have ended.
CREATE TABLE remembered (
    account_id text COLLATE "C" NOT NULL,
    key bytea NOT NULL CHECK (octet_length(key) = 32),
    request bytea NOT NULL,
    status integer NOT NULL,
    reference text COLLATE "C" NOT NULL,
    at double precision NOT NULL,
    PRIMARY KEY (account_id, key)
);

-- Triggers, so that no way of setting a password can forget whom it signs out, and which link it uses up.
CREATE FUNCTION password_set() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM sessions WHERE account_id = NEW.account_id;
    DELETE FROM links WHERE account_id = NEW.account_id;
    RETURN NULL;
END $$;
CREATE TRIGGER passwords_first AFTER INSERT ON passwords FOR EACH ROW EXECUTE FUNCTION password_set();
CREATE TRIGGER passwords_changed AFTER UPDATE OF version ON passwords FOR EACH ROW
    WHEN (OLD.version IS DISTINCT FROM NEW.version) EXECUTE FUNCTION password_set();
