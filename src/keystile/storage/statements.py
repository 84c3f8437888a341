"""The statements that read last uses and usage, and those that note old TLS versions, as both engines understand them.

Law: SQL and nothing else. A row that is in the way is named by its table, since PostgreSQL asks for that; ``{}`` is
where an engine says which rows are of the keys that one value names.
"""

from __future__ import annotations

# Before a key gets a new secret: its last use was that of the current one, but for times in which it had an old one,
# and for what was before the current one came in the place of another at once.
USED_UNTIL_NOW = """INSERT INTO secret_uses (digest, at, address) SELECT d.digest, u.at, u.address
    FROM last_uses AS u JOIN digests AS d ON d.key_id = u.key_id AND d.until IS NULL
    LEFT JOIN digests AS o ON o.key_id = u.key_id AND o.until IS NOT NULL
    WHERE u.key_id = ?1 AND (o.until IS NULL OR o.until < u.at)
    ON CONFLICT (digest) DO UPDATE SET at = excluded.at, address = excluded.address
    WHERE excluded.at > secret_uses.at"""
# After that: until when uses are not the new secret's. Who shows uses leaves out what came from nowhere.
USED_BEFORE_IT = """INSERT INTO secret_uses (digest, at, address) SELECT d.digest, u.at, ''
    FROM last_uses AS u JOIN digests AS d ON d.key_id = u.key_id WHERE u.key_id = ?1"""
#: Addresses that are kept for each key that came over old TLS versions.
OLD_ADDRESSES = 20
SAW_OLD = """INSERT INTO old_tls (key_id, version, address, first_at, last_at, requests)
    SELECT id, ?2, ?3, ?4, ?4, ?5 FROM keys WHERE id = ?1
    ON CONFLICT (key_id, version, address) DO UPDATE
    SET last_at = CASE WHEN excluded.last_at > old_tls.last_at THEN excluded.last_at ELSE old_tls.last_at END,
        requests = old_tls.requests + excluded.requests"""
FORGET_OLD = f"""DELETE FROM old_tls WHERE key_id = ?1 AND (version, address) NOT IN
    (SELECT version, address FROM old_tls WHERE key_id = ?1 ORDER BY last_at DESC LIMIT {OLD_ADDRESSES})"""
OLD_TLS = """SELECT a.email, k.id, k.name, d.hint, o.version, o.address, o.first_at, o.last_at, o.requests
    FROM old_tls AS o JOIN keys AS k ON k.id = o.key_id JOIN accounts AS a ON a.id = k.account_id
    JOIN digests AS d ON d.key_id = k.id AND d.until IS NULL
    WHERE o.last_at >= ?1 AND (CAST(?3 AS TEXT) IS NULL OR k.account_id = ?3)
    ORDER BY o.last_at DESC, k.id, o.address LIMIT ?2"""
# The keys as one JSON list, so that however many there are it is one statement with one value.
USAGE = "SELECT key_id, hour, refusal, requests FROM usage WHERE {} AND hour >= ? ORDER BY key_id, hour, refusal"
RECENT = """SELECT key_id, CAST(sum(CASE WHEN refusal = '' THEN requests ELSE 0 END) AS BIGINT),
    CAST(sum(CASE WHEN refusal = '' THEN 0 ELSE requests END) AS BIGINT)
    FROM usage WHERE {} AND hour >= ? GROUP BY key_id"""
