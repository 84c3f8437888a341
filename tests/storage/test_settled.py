from __future__ import annotations

import asyncio

import pytest

from keystile.storage.settled import settled


async def test_work_gives_its_answer_or_its_error() -> None:
    async def right() -> int:
        return 7

    async def wrong() -> int:
        raise ValueError("wrong")

    assert await settled(right()) == 7
    with pytest.raises(ValueError, match="wrong"):
        await settled(wrong())


@pytest.mark.parametrize("fails", [False, True])
async def test_work_ends_before_a_cancellation_is_raised(fails: bool) -> None:
    ended = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.02)
        ended.set()
        if fails:
            raise ValueError("too late to tell")

    task = asyncio.create_task(settled(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
