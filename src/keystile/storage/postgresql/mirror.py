"""What a host keeps of a store in a database: its keys, in a file of its own, which relays follow like any store.

Law: this file writes that file, and only from what was read at one moment; it knows no network. The file is a store
of the same schema without passwords, audit and uses; the row ``source`` of ``meta`` says of what, and how far it is.
Nobody makes it older: what was read from a place that the file has left by now is not taken.

It is not synced to disk at each change (``synchronous = NORMAL``): after a power cut it is what it was a moment
before, its place included, and catches up. A damaged one is made anew, since nothing in it is only there.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keystile.storage.confirmed import Confirmed
from keystile.storage.doorbell import Doorbell
from keystile.storage.errors import StoreUnreadable, told, unreadable
from keystile.storage.migrate import BUSY_TIMEOUT, STORE, make_file, prepare
from keystile.storage.postgresql.changes import KeptKey, News, Place

_SOURCE = "SELECT value FROM meta WHERE name = 'source'"
_PUT_SOURCE = "INSERT OR REPLACE INTO meta (name, value) VALUES ('source', ?)"
_LONGEST_LOG = 20_000
_FORGET_LOG = "DELETE FROM changes WHERE seq <= (SELECT max(seq) FROM changes) - ?"
_FORGET_ACCOUNT = "DELETE FROM accounts WHERE email = ? AND id != ?"
_PUT_ACCOUNT = """INSERT INTO accounts (id, email, operator, created) VALUES (?, ?, 0, 0)
    ON CONFLICT (id) DO UPDATE SET email = excluded.email WHERE excluded.email != accounts.email"""
_PUT_KEY = """INSERT INTO keys (id, account_id, name, scopes, networks, expires, created, version)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_PUT_DIGEST = "INSERT INTO digests (digest, key_id, hint, imported, until) VALUES (?, ?, ?, ?, ?)"


class DoesNotFit(Exception):
    """What has changed cannot be added to what is kept: one of the two is not what it should be."""


class Mirror:
    """The file at ``path``, made when missing. Synchronous: for threads, one at a time. May raise StoreError."""

    def __init__(self, path: Path, bell: Doorbell) -> None:
        self.path = path
        self.confirmed = Confirmed(path)
        self._bell = bell
        self._rung: Place | None = None  # where it was when we rang last

    @classmethod
    def open(cls, path: Path) -> Mirror:
        """Open it, making it (0600) where needed; one that is damaged is thrown away first."""
        with told(path):
            bell = Doorbell(path)
        try:
            make_file(path)
            try:
                _prepare(path, bell)
            except StoreUnreadable as fault:
                if not _is_damage(fault):
                    raise
                _throw_away(path)
                _prepare(path, bell)
        except BaseException:
            bell.close()
            raise
        return cls(path, bell)

    @property
    def bell(self) -> Doorbell:
        """The bell that relays hear."""
        return self._bell

    def place(self) -> Place | None:
        """How far it is; None where it holds nothing yet."""
        with self._connected() as connection:
            return _place(connection)

    def mend(self, fault: StoreUnreadable) -> None:
        """Make it anew, empty, where it is gone or damaged; what relays hold stays until it is filled.

        Raises ``fault`` where that is something else.
        """
        is_there = self.path.exists() and self.path.stat().st_size > 0
        if is_there and not _is_damage(fault):
            raise fault
        _throw_away(self.path)
        _prepare(self.path, self._bell)

    def take(self, known: Place | None, news: News, *, ring: bool = False) -> bool:
        """Take in what has changed since ``known``, and ring for it; False where the file is no longer there.

        Raises DoesNotFit; then nothing of it is taken in.
        ``ring``: in any case, unless we have rung for that place before.
        """
        with told(self.path), self._bell.locked(), self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if _place(connection) != known:
                return False
            if news.place != known or news.whole:
                try:
                    _write(connection, news)
                except sqlite3.IntegrityError as fault:
                    raise DoesNotFit(f"what was read does not fit what {self.path} holds: {fault}") from fault
            connection.execute("COMMIT")
            if not news.is_empty or (ring and self._rung != news.place):
                self._bell.ring()
                self._rung = news.place
        return True

    def has_told(self, seq: int, tag: int) -> bool:
        """Whether it is where the database's log has this row last, and we have rung for it.

        So another's changes ring as well, should it have died before it rang.
        """
        place = self.place()
        return place is not None and place == self._rung and place[1:] == (seq, tag)

    def close(self) -> None:
        """Let go of the bell."""
        self._bell.close()

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with told(self.path):
            uri = f"{self.path.absolute().as_uri()}?mode=rw"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT)
            try:
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.execute("PRAGMA foreign_keys = ON")
                yield connection
            finally:
                connection.close()


def is_mirror(connection: sqlite3.Connection) -> bool:
    """Whether a file of a store's schema is what a host keeps of a database."""
    return connection.execute(_SOURCE).fetchone() is not None


def _is_damage(fault: StoreUnreadable) -> bool:
    return getattr(fault.__cause__, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _prepare(path: Path, bell: Doorbell) -> None:
    prepare(path, STORE, bell.locked())
    with told(path):
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT)
        try:
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise unreadable(path, "it is damaged") from _damage()
            [(accounts,)] = connection.execute("SELECT count(*) FROM accounts").fetchall()
            if accounts and not is_mirror(connection):
                raise unreadable(path, "it is a store of its own, not what a host keeps of one; name another file")
        finally:
            connection.close()


def _damage() -> sqlite3.DatabaseError:
    """As SQLite itself says it of worse damage."""
    fault = sqlite3.DatabaseError("a check has found it damaged")
    fault.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return fault


def _throw_away(path: Path) -> None:
    with told(path):
        for ending in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                path.with_name(path.name + ending).unlink()
    make_file(path)


def _place(connection: sqlite3.Connection) -> Place | None:
    found = connection.execute(_SOURCE).fetchone()
    return None if found is None else Place(*json.loads(found[0]))


def _write(connection: sqlite3.Connection, news: News) -> None:
    """All of it in the transaction that has begun."""
    if news.whole:
        connection.execute("DELETE FROM accounts")
    else:
        connection.executemany("DELETE FROM keys WHERE id = ?", [(key_id,) for key_id in news.changed])
    owners = {(key.account_id, key.email) for key in news.keys}
    # An address may have gone over to another account: first nobody has it.
    connection.executemany(_FORGET_ACCOUNT, [(email, owner) for owner, email in owners])
    connection.executemany(_PUT_ACCOUNT, owners)
    connection.executemany(_PUT_KEY, map(_columns, news.keys))
    connection.executemany(_PUT_DIGEST, _digests(news.keys))
    connection.execute(_PUT_SOURCE, (json.dumps(news.place),))
    connection.execute(_FORGET_LOG, (1 if news.whole else _LONGEST_LOG,))


def _columns(key: KeptKey) -> tuple[object, ...]:
    return key.id, key.account_id, key.name, key.scopes, key.networks, key.expires, key.created, key.version


def _digests(keys: tuple[KeptKey, ...]) -> Iterator[tuple[object, ...]]:
    for key in keys:
        yield key.digest, key.id, key.hint, key.imported, None
        if key.old_digest is not None:
            yield key.old_digest, key.id, key.old_hint, key.old_imported, key.old_until
