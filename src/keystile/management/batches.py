"""What relays hand over, collected and written to the store in batches.

Law: what waits is bounded, and what cannot be written now is tried again with the next batch; nothing here ever stops
the rest of management. What is collected, and how it adds up, is the business of those who inherit.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import ClassVar

from keystile.storage.errors import StoreError

log = logging.getLogger(__name__)


class BatchWriter(ABC):
    """Takes batches from the channel (``add``) and writes them (``run``, and a last ``flush``)."""

    what: ClassVar[str]
    """For the log, such as "last uses"."""
    every: ClassVar[float] = 1.0
    """Seconds between two writes."""
    most_waiting: ClassVar[int] = 200_000
    """How many may wait while the store cannot be written; further ones are dropped and counted."""

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
        except (ValueError, TypeError):
            self.dropped += 1

    async def run(self) -> None:
        """Write what waits, again and again, until cancelled."""
        while True:
            await asyncio.sleep(self.every)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. What cannot be written goes on waiting; the log says so once, and when it is over."""
        try:
            await self._write()
        except Exception as error:  # noqa: BLE001 - whatever it is, counts are no reason to end management
            if self.trouble is None:
                log.warning("%s cannot be written, trying again: %s", self.what, error)
            self.failures += 1
            self.trouble = error.why if isinstance(error, StoreError) else type(error).__name__
        else:
            if self.trouble is not None:
                log.warning("%s can be written again", self.what)
            self.trouble = None

    @abstractmethod
    def _take(self, payload: bytes) -> None:
        """Keep a batch, or nothing of it where that raises ValueError or TypeError."""

    @abstractmethod
    async def _write(self) -> None:
        """Write what waits; where that raises, it has to wait again."""
