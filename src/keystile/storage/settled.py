"""Work that must come to its end even when whoever waits for it is cancelled.

Law: this file knows asyncio only. It is for the short ends of things (commit and ring, roll back, close).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def settled(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end; a cancellation that comes meanwhile is raised after it."""
    task = asyncio.create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError from task.exception()
    return task.result()
