"""What relays hand over, collected and written to the store in batches.

Law: what waits is bounded, and what cannot be written now is tried again with the next batch; nothing here ever stops
the rest of management. What is collected, and how it adds up, is the business of those who inherit.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import ClassVar

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
        self._failing = False

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
        """Write what waits. What cannot be written goes on waiting; the log says so once."""
        try:
            await self._write()
        except Exception as error:  # noqa: BLE001 - whatever it is, counts are no reason to end management
            if not self._failing:
                log.warning("%s cannot be written, trying again: %s", self.what, error)
            self._failing = True
        else:
            self._failing = False

    @abstractmethod
    def _take(self, payload: bytes) -> None:
        """Keep a batch, or nothing of it where that raises ValueError or TypeError."""

    @abstractmethod
    async def _write(self) -> None:
        """Write what waits; where that raises, it has to wait again."""
