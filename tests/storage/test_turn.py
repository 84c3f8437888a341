from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from keystile.storage.errors import StoreBusy
from keystile.storage.turn import in_turn

PATH = Path("keystile.db")


async def test_one_after_the_other_first_come_first_served() -> None:
    turn, order = asyncio.Lock(), list[int]()

    async def work(number: int) -> None:
        async with in_turn(turn, 30, PATH):
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

    await asyncio.gather(*map(work, range(4)))
    assert order == [0, 0, 1, 1, 2, 2, 3, 3]


async def test_nobody_waits_for_ever_and_who_gave_up_is_in_nobodys_way() -> None:
    turn = asyncio.Lock()
    async with in_turn(turn, 30, PATH):
        with pytest.raises(StoreBusy, match=r"keystile\.db: too many changes wait"):
            async with in_turn(turn, 0.01, PATH):
                raise AssertionError
    async with in_turn(turn, 0.01, PATH):
        assert turn.locked()


async def test_a_fault_in_the_block_is_no_fault_of_the_turn() -> None:
    turn = asyncio.Lock()
    with pytest.raises(TimeoutError):
        async with in_turn(turn, 30, PATH):
            raise TimeoutError
    assert not turn.locked()
