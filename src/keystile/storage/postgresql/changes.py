"""The database's change log, read from a place in it: which keys have changed, and how they are now.

Law: reads only, all of it as it was at one moment. A place is trusted only while the row of the log that it names is
still there with the same tag; a log that was pruned beyond it, a database set back, or another one: everything is read.
"""

from __future__ import annotations

from typing import NamedTuple

from keystile.storage.postgresql.connection import Connection

_BACKLOG = 10_000
_NOWHERE = 2**63 - 1
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_STATE = """SELECT (SELECT value FROM meta WHERE name = 'uuid'),
    (SELECT tag FROM changes WHERE seq = ?1),
    (SELECT count(*) FROM changes WHERE seq > ?1),
    (SELECT extract(epoch FROM clock_timestamp())::double precision - min(at) FROM changes WHERE seq > ?1),
    seq, tag FROM changes ORDER BY seq DESC LIMIT 1"""
_CHANGED = "SELECT DISTINCT key_id FROM changes WHERE seq > ?"
_KEYS = """SELECT k.id, k.account_id, a.email, k.name, k.scopes, k.networks, k.expires, k.created, k.version,
    d.digest, d.hint, d.imported, o.digest, o.hint, o.imported, o.until
    FROM keys AS k JOIN accounts AS a ON a.id = k.account_id
    JOIN digests AS d ON d.key_id = k.id AND d.until IS NULL
    LEFT JOIN digests AS o ON o.key_id = k.id AND o.until IS NOT NULL"""


class Place(NamedTuple):
    """How far a host is: in which store, and the row of its log that it caught up with last."""

    store: str
    seq: int
    tag: int


class KeptKey(NamedTuple):
    """All that a host keeps of a key. Times are Unix seconds; the ``old_…`` fields are those of an overlap."""

    id: str
    account_id: str
    email: str
    name: str
    scopes: str
    networks: str
    expires: float | None
    created: float
    version: int
    digest: bytes
    hint: str
    imported: bool
    old_digest: bytes | None
    old_hint: str | None
    old_imported: bool | None
    old_until: float | None


class News(NamedTuple):
    """What has changed since a place.

    ``whole``: these are all keys, and whatever else is known is to be forgotten. ``changed``: ids of those that are
    another or gone. ``age``: seconds, by the database's clock, from the first of these changes until they were read.
    """

    place: Place
    whole: bool
    changed: tuple[str, ...]
    keys: tuple[KeptKey, ...]
    age: float

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing new."""
        return not self.whole and not self.changed


async def since(connection: Connection, known: Place | None) -> News:
    """Return what has changed since ``known``. Raises StoreError. The connection is used by nobody else meanwhile."""
    await connection.ask(_BEGIN)
    try:
        return await _read(connection, known)
    finally:
        await connection.roll_back()


async def _read(connection: Connection, known: Place | None) -> News:
    last = known.seq if known else _NOWHERE
    [(store, tag, behind, age, newest, newest_tag)] = await connection.ask(_STATE, (last,))
    here = Place(store, newest, newest_tag)
    whole_log = known == (store, last, tag) and behind == newest - last
    if not whole_log or behind > _BACKLOG:
        return News(here, True, (), tuple(map(KeptKey._make, await connection.ask(_KEYS))), age or 0.0)
    if not behind:
        return News(here, False, (), (), 0.0)
    changed = tuple(key_id for (key_id,) in await connection.ask(_CHANGED, (last,)))
    keys = await connection.ask(f"{_KEYS} WHERE k.id IN ({_CHANGED})", (last,))
    return News(here, False, changed, tuple(map(KeptKey._make, keys)), age or 0.0)
