"""Management's side of a store in a database: hear of every change, whoever made it, and let this host's file know.

Law: it never ends, and never takes traffic with it. A notification is a reason to look, polling is the net underneath:
each look reads the change log from where this host is, so nothing hangs on a notification that was lost. What came late
is counted by whether a notification told of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from keystile.storage.errors import StoreError
from keystile.storage.postgresql.connection import Connection
from keystile.storage.postgresql.store import PostgresStore

POLL = 1.0
"""Seconds between two looks at the database without a notification."""
RETRY = 0.5
"""Seconds before another attempt to reach a database that is away."""
CHANNEL = "keystile_changes"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0)
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Delays:
    """How long changes of other hosts took until this one knew: a histogram, in seconds by the database's clock."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0
    bounds: tuple[float, ...] = BOUNDS

    def note(self, seconds: float) -> None:
        """One more."""
        self.total += seconds
        self.counts[sum(bound < seconds for bound in BOUNDS)] += 1


class Keeper:
    """Keeps what this host knows of ``store`` up to date, until it is cancelled."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._listener = Connection(store.database)
        self.delays = Delays()
        self.connected = False
        """Whether the last look has reached the database."""
        self.found_by_polling = 0
        """Changes that no notification told of."""
        self.trouble = ""

    async def run(self) -> None:
        """For ever."""
        told = False
        while True:
            try:
                if not self._listener.is_open:
                    # Before the look: what changes after it is told.
                    await self._listener.listen(CHANNEL)
                await self._look(told)
                told = await self._listener.notified(POLL)
            except Exception as fault:  # noqa: BLE001 - whatever it is, a host that stops to look would trust old keys
                told = False
                self._say(fault)
                await self._listener.close()
                await asyncio.sleep(RETRY)

    async def close(self) -> None:
        """Let go of its connection."""
        await self._listener.close()

    def age(self) -> float:
        """Seconds since this host knew everything: a key deleted before that works here no more."""
        return self._store.mirror.confirmed.age()

    async def _look(self, told: bool) -> None:
        asked = time.monotonic()
        news = await self._store.take_in()
        self.connected = True
        if self.trouble:
            log.warning("the store %s can be read again", self._store.database)
            self.trouble = ""
        if not news.is_empty and not news.whole:
            self.delays.note(news.age + time.monotonic() - asked)
            self.found_by_polling += not told

    def _say(self, fault: Exception) -> None:
        self.connected = False
        if not self.trouble:
            bug = None if isinstance(fault, StoreError) else fault
            log.warning("%s; this host goes on with the keys that it knows", fault, exc_info=bug)
        self.trouble = str(fault)
