"""A change whose answer is lost is told with all that is known of it."""

from __future__ import annotations

import random
import time
from typing import Any, cast

import pytest

from tests.chaos.changes import ByApi, Changes, Lost
from tests.chaos.judge import timeline
from tests.chaos.story import Event, Story


class Cut(ByApi):
    """An API whose answers never come."""

    async def create(self, name: str) -> Any:
        raise Lost(repr(ConnectionResetError(104, "Connection reset by peer")))


@pytest.mark.parametrize(("meanwhile", "told"), [("upgrade", 1), ("management: kill -9", 0)])
async def test_a_lost_answer_is_told_with_its_reason_and_its_moment(meanwhile: str, told: int) -> None:
    story = Story([Event(meanwhile, time.monotonic(), pid=7)])
    way = Cut("http://127.0.0.1")
    nobody = cast(Any, None)
    made = Changes(nobody, nobody, way, story, random.Random(1))
    await made._try("create", made._create, way)
    assert made.lost == 1
    assert len(made.faults) == told
    for fault in made.faults:
        assert "create of key k1 (ConnectionResetError(104, 'Connection reset by peer')) after" in fault.text
        (line,) = timeline(fault, story)
        assert line.endswith(": upgrade 7")
