"""Waiting for what other processes do.

Law: looks again and again, since nobody over there would tell.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


async def until(true: Callable[[], bool], within: float) -> bool:
    """Wait until ``true()`` holds, ``within`` seconds at most; returns whether it does."""
    give_up = time.monotonic() + within
    while not (holds := true()) and time.monotonic() < give_up:  # noqa: ASYNC110 - what changes is not told
        await asyncio.sleep(0.0005)
    return holds
