"""Usage: requests and refusals of each key by hour, collected from relays and written to the store.

Law: sums only, so what waits is bounded by keys, hours and kinds of refusals.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import ClassVar, Protocol

from keystile.management import told
from keystile.management.batches import BatchWriter
from keystile.management.exposures import REFUSAL

Sum = tuple[str, int, str, int]
"""Id of the key, hour since 1970, problem type of the refusal (empty: none), requests."""


class UsageStore(Protocol):
    """The part of the store that is needed here."""

    async def record_usage(self, sums: Iterable[Sum]) -> None:
        """Add sums to those that are there, in one transaction."""


class UsageWriter(BatchWriter):
    """Batches are JSON ``[[key id, hour, refusal, requests], …]``."""

    what: ClassVar[str] = "usage"

    def __init__(self, store: UsageStore, exposed: Callable[[str], None] = lambda key_id: None) -> None:
        """``exposed`` is called with the id of a key that came in clear where these are refused."""
        super().__init__()
        self._store = store
        self._exposed = exposed
        self._waiting: Counter[tuple[str, int, str]] = Counter()

    def _take(self, payload: bytes) -> None:
        batch = [
            ((told.text(key), told.hour(hour), told.text(why)), told.count(n))
            for key, hour, why, n in json.loads(payload)
        ]
        for place, requests in batch:
            if place in self._waiting or len(self._waiting) < self.most_waiting:
                self._waiting[place] += requests
            else:
                self.dropped += 1
            if place[2] == REFUSAL:
                self._exposed(place[0])

    async def _write(self) -> bool:
        batch = self._piece(self._waiting)
        if not batch:
            return False
        try:
            await self._store.record_usage([(*place, requests) for place, requests in batch.items()])
        except BaseException:
            self._waiting.update(batch)
            raise
        return bool(self._waiting)
