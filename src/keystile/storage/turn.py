"""Whose turn it is to write, within one process: first come, first served, and not for ever.

Law: this file knows a lock and a patience. While another program keeps the file locked each write waits for as long as
SQLite does, one after the other; without a bound the twentieth would wait twenty times that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from keystile.storage.errors import busy


@asynccontextmanager
async def in_turn(turn: asyncio.Lock, patience: float, place: Path | str) -> AsyncIterator[None]:
    """Have the lock while the block lasts. Raises StoreBusy after ``patience`` seconds."""
    try:
        async with asyncio.timeout(patience):
            await turn.acquire()
    except TimeoutError:
        raise busy(place, "too many changes wait for those before them") from None
    try:
        yield
    finally:
        turn.release()
