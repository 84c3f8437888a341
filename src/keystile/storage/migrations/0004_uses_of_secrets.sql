-- The last use of each secret, beside that of its key: while a change overlaps, it tells who still has the old one.
-- Times are Unix seconds.
CREATE TABLE secret_uses (
    digest BLOB PRIMARY KEY REFERENCES digests (digest) ON DELETE CASCADE,
    at REAL NOT NULL,
    address TEXT NOT NULL
) WITHOUT ROWID;
-- Until now only keys had one; it was the current secret's, unless a change overlapped.
INSERT INTO secret_uses (digest, at, address)
    SELECT d.digest, u.at, u.address FROM last_uses AS u JOIN digests AS d ON d.key_id = u.key_id
    WHERE NOT EXISTS (SELECT 1 FROM digests AS o WHERE o.key_id = u.key_id AND o.until IS NOT NULL);
