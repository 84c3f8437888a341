from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from keystile.process.child import Child
from keystile.process.place import RELAY, Place


def a_child(pid: int) -> Child:
    child: Any = SimpleNamespace(pid=pid, ended=asyncio.get_running_loop().create_future())
    return cast(Child, child)


async def test_a_place_is_filled_by_a_child_that_works_lives_and_was_not_replaced() -> None:
    place = Place(RELAY, 1, 3)

    def is_filled() -> bool:
        return place.is_filled

    assert not is_filled()
    child = place.child = a_child(4711)
    assert not is_filled()
    place.at_work = True
    assert is_filled()
    assert place.described() == {"role": "relay", "pid": 4711}
    place.leaves_by = 12.0
    assert not is_filled()
    assert place.described() == {"role": "relay", "pid": 4711, "draining": True}
    place.leaves_by = None
    child.ended.set_result(0)
    assert not is_filled()
