"""Last uses: collected from relays, written to the store a few times a second.

Law: of each secret only the latest use is kept, so what waits is bounded by the number of keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import ClassVar, Protocol

from keystile.management import told
from keystile.management.batches import BatchWriter

Use = tuple[str, float, str, str]
"""Id of the key, Unix seconds, address, mark of the secret (``keys.store.Use``)."""


class Uses(Protocol):
    """The part of the store that is needed here."""

    async def record_uses(self, uses: Iterable[Use]) -> None:
        """Keep last uses, in one transaction."""


class UseWriter(BatchWriter):
    """Batches are JSON ``[[key id, Unix seconds, address, mark], …]``."""

    what: ClassVar[str] = "last uses"
    every: ClassVar[float] = 0.25

    def __init__(self, store: Uses) -> None:
        super().__init__()
        self._store = store
        self._waiting: dict[tuple[str, str], tuple[float, str]] = {}

    def _take(self, payload: bytes) -> None:
        for key, at, address, mark in [_use(*each) for each in json.loads(payload)]:
            self._keep((key, mark), at, address)

    def _keep(self, key: tuple[str, str], at: float, address: str) -> None:
        known = self._waiting.get(key)
        if known is None and len(self._waiting) >= self.most_waiting:
            self.dropped += 1
        elif known is None or known[0] <= at:
            self._waiting[key] = (at, address)

    async def _write(self) -> bool:
        batch = self._piece(self._waiting)
        if not batch:
            return False
        try:
            await self._store.record_uses([(key, at, address, mark) for (key, mark), (at, address) in batch.items()])
        except BaseException:
            for key, (at, address) in batch.items():
                self._keep(key, at, address)
            raise
        return bool(self._waiting)


def _use(key: object, at: object, address: object, mark: object) -> Use:
    """One use as it was sent. Raises ValueError, or TypeError for another number of values."""
    return told.text(key), told.moment(at), told.text(address), told.mark(mark)
