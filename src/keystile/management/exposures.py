"""Keys that came over plain HTTP where these are refused: an event for their owner, once for each secret.

Law: told of keys by their ids; what has been told is remembered by the store's own events. A store that cannot be
written now is tried again; nothing here ever stops the rest of management.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

log = logging.getLogger(__name__)

EVERY: Final = 1.0
"""Seconds between two looks at what has come."""
MOST_WAITING: Final = 1000
"""Keys that may wait; whoever is left out is told of when their key comes again."""
REFUSAL: Final = "key-in-clear"
"""The problem type by which relays refuse them."""


class Exposures:
    """``report``: notes one key's exposure (``KeyService.report_exposed``)."""

    def __init__(self, report: Callable[[str], Awaitable[object]]) -> None:
        self._report = report
        self._waiting: set[str] = set()
        self._failing = False

    def add(self, key_id: str) -> None:
        """A key has come in clear."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.add(key_id)

    async def run(self) -> None:
        """Tell of what waits, again and again, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Tell of what waits; what cannot be written goes on waiting."""
        for key_id in list(self._waiting):
            try:
                await self._report(key_id)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is no reason to end management
                if not self._failing:
                    log.warning("exposed keys cannot be noted, trying again: %s", error)
                self._failing = True
                return
            self._waiting.discard(key_id)
        self._failing = False
