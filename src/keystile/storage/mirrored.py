"""A relay's side of a store in a database: it follows what this host keeps of it, and knows how old that is.

Law: no network. A relay never waits for a database: management alone talks to it, and what it has written to the
host's own file is followed as any store is (``follow.py``). What is not confirmed for ``STALE`` seconds counts as
unreadable from the moment of its last confirmation on, so ``trust_without_store`` bounds how long a key can live here
that was deleted elsewhere, whatever has failed: the database, the network, or management.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from math import inf
from pathlib import Path

from keystile.keys.keyring import Keyring
from keystile.storage.confirmed import Confirmed
from keystile.storage.errors import unreadable
from keystile.storage.follow import KeyFollower

STALE = 3.0
"""Seconds without a confirmation; management asks the database every second."""


class MirrorFollower(KeyFollower):
    """Keeps ``keyring`` as the host's file at ``path`` says."""

    def __init__(
        self,
        path: Path,
        keyring: Keyring,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(path, keyring, clock, steady)
        self._confirmed = Confirmed(path, clock, steady)

    def _read(self, connection: sqlite3.Connection) -> None:
        """Only what has been filled: a file that was made anew a moment ago, and is empty, would refuse every key."""
        if connection.execute("SELECT 1 FROM meta WHERE name = 'source'").fetchone() is None:
            raise unreadable(self.path, "nothing of the database has been kept in it yet")
        super()._read(connection)

    def _follow(self) -> None:
        super()._follow()
        age = self._confirmed.age()
        if age > STALE:
            self.unreadable_since = self._steady() - age
            since = "it has never been heard from" if age == inf else f"it was last heard from {age:.0f} s ago"
            self.unreadable_because = f"the store of {self.path}: {since}"
