"""Notes of last uses and usage in a database: one statement for a whole batch, however many rows it has.

Law: what it leaves is what SQLite's way (``storage/noting.py``) leaves, of any batch, where that goes row by row. One
statement can touch a row once only (ON CONFLICT), so what concerns the same row is put together before, or within it.

All hosts note one after the other: 1,000 rows one by one kept the others waiting for 100 to 170 ms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from keystile.keys.store import UsageSum, Use
from keystile.storage.asking import Asking
from keystile.storage.noting import digests_of

USED = """INSERT INTO last_uses (key_id, at, address) SELECT k.id, u.at, u.address
    FROM unnest(CAST(?1 AS text[]), CAST(?2 AS double precision[]), CAST(?3 AS text[])) AS u (id, at, address)
    JOIN keys AS k ON k.id = u.id
    ON CONFLICT (key_id) DO UPDATE SET at = excluded.at, address = excluded.address
    WHERE excluded.at > last_uses.at"""
HAVE_TWO_SECRETS = "SELECT key_id FROM digests WHERE until IS NOT NULL AND key_id = ANY (CAST(?1 AS text[]))"
# Of several marks that fit one digest the latest use counts, and of uses at the same time the first, as row by row.
USED_SECRET = """INSERT INTO secret_uses (digest, at, address)
    SELECT DISTINCT ON (d.digest) d.digest, u.at, u.address
    FROM unnest(CAST(?1 AS text[]), CAST(?2 AS bytea[]), CAST(?3 AS bytea[]), CAST(?4 AS double precision[]),
        CAST(?5 AS text[])) WITH ORDINALITY AS u (key_id, low, high, at, address, place)
    JOIN digests AS d ON d.key_id = u.key_id AND d.digest BETWEEN u.low AND u.high
    ORDER BY d.digest, u.at DESC, u.place
    ON CONFLICT (digest) DO UPDATE SET at = excluded.at, address = excluded.address
    WHERE excluded.at > secret_uses.at"""
COUNTED = """INSERT INTO usage (key_id, hour, refusal, requests) SELECT k.id, u.hour, u.refusal, u.requests
    FROM unnest(CAST(?1 AS text[]), CAST(?2 AS integer[]), CAST(?3 AS text[]), CAST(?4 AS bigint[]))
        AS u (id, hour, refusal, requests)
    JOIN keys AS k ON k.id = u.id
    ON CONFLICT (key_id, hour, refusal) DO UPDATE SET requests = usage.requests + excluded.requests"""


async def note_uses(connection: Asking, uses: Sequence[Use]) -> None:
    """Keep what is later than what is known. Raises ValueError for a mark that is none."""
    await connection.ask(USED, _columns(latest(uses), 3))
    marked = [use for use in uses if use[3]]
    found = await connection.ask(HAVE_TWO_SECRETS, ([use[0] for use in marked],))
    two = {key for (key,) in found}
    of_secrets = [(key, *digests_of(mark), float(at), address) for key, at, address, mark in marked if key in two]
    if of_secrets:
        await connection.ask(USED_SECRET, _columns(of_secrets, 5))


async def note_usage(connection: Asking, sums: Sequence[UsageSum]) -> None:
    """Add these sums to those that are there."""
    await connection.ask(COUNTED, _columns(added(sums), 4))


def latest(uses: Iterable[Use]) -> list[tuple[str, float, str]]:
    """The latest use of each key; of uses at the same time the first."""
    found: dict[str, tuple[str, float, str]] = {}
    for key, at, address, _ in uses:
        if key not in found or at > found[key][1]:
            found[key] = (key, float(at), address)
    return list(found.values())


def added(sums: Iterable[UsageSum]) -> list[UsageSum]:
    """One sum for each key, hour and refusal."""
    found: Counter[tuple[str, int, str]] = Counter()
    for key, hour, refusal, requests in sums:
        found[key, hour, refusal] += requests
    return [(*place, requests) for place, requests in found.items()]


def _columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    """The rows as so many lists, which are one value of a statement each."""
    return [[row[at] for row in rows] for at in range(width)]
