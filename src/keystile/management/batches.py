"""What relays hand over, collected and written to the store in batches.

Law: what waits is bounded, and what cannot be written now is tried again with the next batch; nothing here ever stops
the rest of management, nor holds up changes of keys for longer than one short transaction. What is collected, and how
it adds up, is the business of those who inherit.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from itertools import islice
from typing import ClassVar, Final, TypeVar

from keystile.storage.errors import StoreError

log = logging.getLogger(__name__)
K = TypeVar("K")
V = TypeVar("V")

PAUSE: Final = 0.1
"""Seconds between two transactions where one does not hold all that waits. A change of keys has its turn in it: while
it waits, SQLite looks every 100 ms at most (sqlite3.c, sqliteDefaultBusyCallback)."""


class BatchWriter(ABC):
    """Takes batches from the channel (``add``) and writes them (``run``, and a last ``flush``)."""

    what: ClassVar[str]
    """For the log, such as "last uses"."""
    every: ClassVar[float] = 1.0
    """Seconds between two writes."""
    most_waiting: ClassVar[int] = 200_000
    """How many may wait while the store cannot be written; further ones are dropped and counted."""
    most_at_once: ClassVar[int] = 1000
    """How many one transaction writes (a file: 15 to 45 ms, PostgreSQL: 40 to 50); no key can be changed meanwhile."""

    def __init__(self) -> None:
        self.dropped = 0
        self.failures = 0
        """Writes that failed; what they held waits for the next."""
        self.trouble: str | None = None
        """Why the last write failed, without any path; None where it did not."""

    def add(self, payload: bytes) -> None:
        """A batch as JSON. One that is none is dropped and counted."""
        try:
            self._take(payload)
        except (ValueError, TypeError, OverflowError, RecursionError):
            self.dropped += 1

    async def run(self) -> None:
        """Write what waits, again and again, until cancelled."""
        more = False
        while True:
            await asyncio.sleep(min(PAUSE, self.every) if more else self.every)
            more = await self._try()

    async def flush(self) -> None:
        """Write all that waits. What cannot be written goes on waiting; the log says so once, and when it is over."""
        while await self._try():
            continue

    async def _try(self) -> bool:
        """Write a piece; whether it was written and more waits."""
        try:
            more = await self._write()
        except Exception as error:  # noqa: BLE001 - whatever it is, counts are no reason to end management
            if self.trouble is None:
                log.warning("%s cannot be written, trying again: %s", self.what, error)
            self.failures += 1
            self.trouble = error.why if isinstance(error, StoreError) else type(error).__name__
            return False
        if self.trouble is not None:
            log.warning("%s can be written again", self.what)
        self.trouble = None
        return more

    def _piece(self, waiting: dict[K, V]) -> dict[K, V]:
        """Take out what one transaction writes, the longest waiting first."""
        return {key: waiting.pop(key) for key in list(islice(waiting, self.most_at_once))}

    @abstractmethod
    def _take(self, payload: bytes) -> None:
        """Keep a batch, or nothing of it where that raises what ``add`` expects."""

    @abstractmethod
    async def _write(self) -> bool:
        """Write a piece of what waits; where that raises, it has to wait again. Whether more waits."""
