"""Last uses: collected from relays, written to the store a few times a second.

Law: of each secret only the latest use is kept, so what waits is bounded by the number of keys. A store that
cannot be written now is tried again with the next batch; nothing here ever stops the rest of management.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from typing import Protocol

log = logging.getLogger(__name__)

EVERY = 0.25
"""Seconds between two writes."""
MOST_WAITING = 200_000
"""Secrets whose last use may wait while the store cannot be written; further ones are dropped."""
Use = tuple[str, float, str, str]
"""Id of the key, Unix seconds, address, mark of the secret (``keys.store.Use``)."""


class Uses(Protocol):
    """The part of the store that is needed here."""

    async def record_uses(self, uses: Iterable[Use]) -> None:
        """Keep last uses, in one transaction."""


class UseWriter:
    """Takes batches from the channel (``add``) and writes them (``run``, and a last ``flush``)."""

    def __init__(self, store: Uses) -> None:
        self._store = store
        self._waiting: dict[tuple[str, str], tuple[float, str]] = {}
        self.dropped = 0
        self._failing = False

    def add(self, payload: bytes) -> None:
        """A batch: JSON ``[[key id, Unix seconds, address, mark], …]``. One that is none is dropped and counted."""
        try:
            batch = [_use(*each) for each in json.loads(payload)]
        except (ValueError, TypeError):
            self.dropped += 1
            return
        for key, at, address, mark in batch:
            self._keep((key, mark), at, address)

    def _keep(self, key: tuple[str, str], at: float, address: str) -> None:
        known = self._waiting.get(key)
        if known is None and len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
        elif known is None or known[0] <= at:
            self._waiting[key] = (at, address)

    async def run(self) -> None:
        """Write what waits, again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. What cannot be written goes on waiting; the log says so once."""
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, {}
        try:
            await self._store.record_uses([(key, at, address, mark) for (key, mark), (at, address) in batch.items()])
        except Exception as error:  # noqa: BLE001 - whatever it is, last uses are no reason to end management
            if not self._failing:
                log.warning("last uses cannot be written, trying again: %s", error)
            self._failing = True
            for key, (at, address) in batch.items():
                self._keep(key, at, address)
        else:
            self._failing = False


def _use(key: object, at: object, address: object, mark: object) -> Use:
    """One use as it was sent. Raises ValueError, or TypeError for another number of values."""
    bytes.fromhex(str(mark))
    return str(key), float(str(at)), str(address), str(mark)
