from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from keystile.process import control
from keystile.process.charge import Line
from keystile.process.offers import Offers
from keystile.process.post import Message
from keystile.process.watch import Report, Watch
from tests.process.running import Running

Start = Callable[..., Running]


def test_who_asks_is_told_what_is_wrong(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    answer = control.ask_to_reload(running.store)
    assert (answer["number"], answer["changed"]) == (1, False)
    assert "gateway.yaml" in answer["fault"]
    assert running.status()["configuration"] == 1


def test_who_asks_what_would_change_is_told(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    file = running.directory / "gateway.yaml"
    file.write_text("workers: many\n")
    answer = control.ask_for_difference(running.store, file)
    assert answer["number"] == 1
    assert "workers" in answer["fault"]


async def test_a_reload_that_is_asked_for_is_told_before_anything_is_read() -> None:
    orders: dict[str, Callable[[Message], None]] = {}
    told: list[str] = []

    async def reload() -> Report:
        told.append("read")
        return Report(3, 0.0)

    answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    line = SimpleNamespace(hear=orders.__setitem__, say=answer.set_result)
    offers = Offers(cast(Line, line), lambda: told.append("asked"))
    settings = SimpleNamespace(warnings=())
    offers.watch = cast(Watch, SimpleNamespace(reload=reload, accepted=SimpleNamespace(settings=settings)))
    orders["reload"](Message({"reload": 7}))
    async with asyncio.timeout(20):
        said = await answer
    assert told == ["asked", "read"]
    assert (said["reloaded"], said["number"]) == (7, 3)
