from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from keystile.process.child import Child
from keystile.process.post import Message
from keystile.process.reloads import Reloads
from keystile.process.snapshot import memory_file
from tests.process.running import Running, until

Start = Callable[..., Running]


async def test_without_a_management_nothing_is_waited_for() -> None:
    nobody = Reloads(lambda: None)
    assert await nobody.ask() == {"fault": "management is just being started; try again"}
    assert await nobody.compare("/etc/gateway.yaml") == {"fault": "management is just being started; try again"}


async def test_a_management_that_is_not_ready_yet_is_asked_nothing() -> None:
    """It would not understand, and whoever asked would wait for an answer that never comes."""
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    starting = SimpleNamespace(tell=told.append, ended=loop.create_future(), ready=loop.create_future())
    reloads = Reloads(lambda: cast(Child, starting))
    async with asyncio.timeout(10):
        assert await reloads.ask() == {"fault": "management is just being started; try again"}
    assert told == []


async def test_a_long_answer_comes_as_a_file() -> None:
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    told: list[dict[str, Any]] = []
    ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ready.set_result(None)
    reloads = Reloads(lambda: cast(Child, SimpleNamespace(tell=told.append, ended=ended, ready=ready)))
    asked = asyncio.ensure_future(reloads.compare("/etc/gateway.yaml"))
    await asyncio.sleep(0)
    assert told == [{"compare": 1, "file": "/etc/gateway.yaml"}]
    answer = memory_file("answer", json.dumps({"fault": None, "routes": ["x" * 100_000]}).encode())
    reloads.answered(Message({"reloaded": 1}, (answer,)))
    assert len((await asked)["routes"][0]) == 100_000
    os.close(answer)


def test_a_hangup_is_passed_on(gateway: Start) -> None:
    running = gateway(parts="full").wait_until_ready()
    running.process.send_signal(signal.SIGHUP)
    # There is no gateway.yaml in this directory, and management has to say so.
    until(lambda: "the configuration was not taken, 1 stays in force" in running.errors.read_text())
    assert running.say("pid")
