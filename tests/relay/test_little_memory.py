"""Memory runs out in the middle of a request: it costs that request, at most its connections, and no slot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from keystile.relay import gateway as gateway_module
from keystile.relay.exchange import Exchange
from keystile.wire.client import ClientConnection
from keystile.wire.pool import Pool
from keystile.wire.upstream import UpstreamConnection
from tests.relay.running import request, running, until
from tests.wire.peers import RawClient, RecordingUpstream


def fails(*_: Any, **__: Any) -> Any:
    raise MemoryError


STEPS = [
    (gateway_module, "admit"),
    (gateway_module, "note_of"),
    (Exchange, "forward"),
    (Pool, "take"),
    (Pool, "connect"),
    (UpstreamConnection, "data_received"),
    (ClientConnection, "finished"),
]


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("place", "name"), STEPS, ids=[name for _, name in STEPS])
async def test_no_memory_at_one_step_costs_one_request_and_no_slot(
    place: object, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.get_running_loop().set_exception_handler(_log)
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key("ViewContacts")
        for _ in range(3):
            with monkeypatch.context() as patched:
                patched.setattr(place, name, fails)
                client = await RawClient.connect(relay.port)
                await client.send(request(key=key))
                with suppress(ConnectionError, EOFError):  # cut
                    assert (await client.answer())[0] in (500, 502, 200 if name == "finished" else 0)
                client.reset()
                await until(lambda: relay.gateway.slots.taken() == 0)
        await until(lambda: relay.gateway.in_flight == 0)
        assert (await relay.ask(key=key)).status == 200
        assert relay.gateway.slots.taken() == relay.gateway.in_flight == 0


def _log(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logging.getLogger("asyncio").error("%s", context["message"])


async def test_what_happens_by_the_clock_goes_on_after_a_round_that_failed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = list[Callable[..., Any]]()
    monkeypatch.setattr(gateway_module, "TICK_SECONDS", 0.01)
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:

        def check() -> None:
            rounds.append(check)
            if len(rounds) == 1:
                raise MemoryError

        relay.gateway.follower.check = check  # type: ignore[method-assign]
        await until(lambda: len(rounds) > 2)
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == [
        "what runs beside requests has failed, and begins anew"
    ]


async def test_it_goes_on_too_where_there_is_no_memory_for_saying_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[int] = []
    monkeypatch.setattr(gateway_module, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(gateway_module.log, "exception", fails)
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:

        def check() -> None:
            rounds.append(1)
            if len(rounds) == 1:
                raise MemoryError

        relay.gateway.follower.check = check  # type: ignore[method-assign]
        await until(lambda: len(rounds) > 2)
