"""Who still calls with a version of TLS that ends: collected from relays and written to the store.

Law: sums by key, version and address. What waits is bounded, and the store keeps only the latest addresses of a key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import ClassVar, Protocol

from keystile.management import told
from keystile.management.batches import BatchWriter

Seen = tuple[str, str, str, float, int]
"""Id of the key, version, address, Unix seconds of the latest request, requests (``keys.store.OldTls``)."""


class OldTlsStore(Protocol):
    """The part of the store that is needed here."""

    async def record_old_tls(self, seen: Iterable[Seen]) -> None:
        """Add to what is known, in one transaction."""


class OldTlsWriter(BatchWriter):
    """Batches are JSON ``[[key id, version, address, Unix seconds, requests], …]``."""

    what: ClassVar[str] = "uses of old TLS versions"
    most_waiting: ClassVar[int] = 20_000

    def __init__(self, store: OldTlsStore) -> None:
        super().__init__()
        self._store = store
        self._waiting: dict[tuple[str, str, str], tuple[float, int]] = {}

    def _take(self, payload: bytes) -> None:
        batch = [
            ((told.text(key), told.text(version), told.text(address)), told.moment(at), told.count(n))
            for key, version, address, at, n in json.loads(payload)
        ]
        for place, at, requests in batch:
            self._keep(place, at, requests)

    def _keep(self, place: tuple[str, str, str], at: float, requests: int) -> None:
        known = self._waiting.get(place)
        if known is not None:
            self._waiting[place] = (max(known[0], at), known[1] + requests)
        elif len(self._waiting) < self.most_waiting:
            self._waiting[place] = (at, requests)
        else:
            self.dropped += 1

    async def _write(self) -> bool:
        batch = self._piece(self._waiting)
        if not batch:
            return False
        try:
            await self._store.record_old_tls([(*place, at, requests) for place, (at, requests) in batch.items()])
        except BaseException:
            for place, (at, requests) in batch.items():
                self._keep(place, at, requests)
            raise
        return bool(self._waiting)
