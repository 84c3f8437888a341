"""Usage: requests and refusals of each key by hour, collected from relays and written to the store.

Law: sums only, so what waits is bounded by keys, hours and kinds of refusals. A store that cannot be written
now is tried again with the next batch; nothing here ever stops the rest of management.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between two writes."""
MOST_WAITING = 200_000
"""Sums that may wait while the store cannot be written; further ones are dropped."""
Sum = tuple[str, int, str, int]
"""Id of the key, hour since 1970, problem type of the refusal (empty: none), requests."""


class UsageStore(Protocol):
    """The part of the store that is needed here."""

    async def record_usage(self, sums: Iterable[Sum]) -> None:
        """Add sums to those that are there, in one transaction."""


class UsageWriter:
    """Takes batches from the channel (``add``) and writes them (``run``, and a last ``flush``)."""

    def __init__(self, store: UsageStore) -> None:
        self._store = store
        self._waiting: Counter[tuple[str, int, str]] = Counter()
        self.dropped = 0
        self._failing = False

    def add(self, payload: bytes) -> None:
        """A batch: JSON ``[[key id, hour, refusal, requests], …]``. One that is none is dropped and counted."""
        try:
            batch = [((str(key), int(hour), str(why)), int(n)) for key, hour, why, n in json.loads(payload)]
        except (ValueError, TypeError):
            self.dropped += 1
            return
        for place, requests in batch:
            if place in self._waiting or len(self._waiting) < MOST_WAITING:
                self._waiting[place] += requests
            else:
                self.dropped += 1

    async def run(self) -> None:
        """Write what waits, again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. What cannot be written goes on waiting; the log says so once."""
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, Counter()
        try:
            await self._store.record_usage([(*place, requests) for place, requests in batch.items()])
        except Exception as error:  # noqa: BLE001 - whatever it is, counts are no reason to end management
            if not self._failing:
                log.warning("usage cannot be written, trying again: %s", error)
            self._failing = True
            self._waiting.update(batch)
        else:
            self._failing = False
