"""Notes of last uses and usage in a file: row by row, since a statement costs little where nobody has to be asked.

Law: what it leaves is what PostgreSQL's way (``postgresql/noting.py``) leaves, of any batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from keystile.keys.secret import DIGEST_BYTES
from keystile.keys.store import UsageSum, Use
from keystile.storage.asking import Asking

USED = """INSERT INTO last_uses (key_id, at, address) SELECT id, ?2, ?3 FROM keys WHERE id = ?1
    ON CONFLICT (key_id) DO UPDATE SET at = excluded.at, address = excluded.address
    WHERE excluded.at > last_uses.at"""
# Of a key that has one secret its last use says all. A row for each use of each secret would cost four times what that
# of its key does: digests lie all over their table.
HAVE_TWO_SECRETS = """SELECT key_id FROM digests
    WHERE until IS NOT NULL AND key_id IN (SELECT value FROM json_each(?))"""
USED_SECRET = """INSERT INTO secret_uses (digest, at, address) SELECT digest, ?4, ?5 FROM digests
    WHERE key_id = ?1 AND digest BETWEEN ?2 AND ?3
    ON CONFLICT (digest) DO UPDATE SET at = excluded.at, address = excluded.address
    WHERE excluded.at > secret_uses.at"""
COUNTED = """INSERT INTO usage (key_id, hour, refusal, requests) SELECT id, ?2, ?3, ?4 FROM keys WHERE id = ?1
    ON CONFLICT (key_id, hour, refusal) DO UPDATE SET requests = usage.requests + excluded.requests"""


async def note_uses(connection: Asking, uses: Sequence[Use]) -> None:
    """Keep what is later than what is known. Raises ValueError for a mark that is none."""
    marked = [use for use in uses if use[3]]
    await connection.many(USED, [use[:3] for use in uses])
    found = await connection.ask(HAVE_TWO_SECRETS, (_listed(marked),))
    two = {key for (key,) in found}
    of_secrets = [(key, *digests_of(mark), at, address) for key, at, address, mark in marked if key in two]
    await connection.many(USED_SECRET, of_secrets)


async def note_usage(connection: Asking, sums: Sequence[UsageSum]) -> None:
    """Add these sums to those that are there."""
    await connection.many(COUNTED, sums)


def digests_of(mark: str) -> tuple[bytes, bytes]:
    """The first and the last digest that begin as ``mark`` (hexadecimal) says. Raises ValueError where it is none."""
    start = bytes.fromhex(mark)
    rest = DIGEST_BYTES - len(start)
    return start + bytes(rest), start + b"\xff" * rest


def _listed(uses: Iterable[Use]) -> str:
    return json.dumps([use[0] for use in uses])
