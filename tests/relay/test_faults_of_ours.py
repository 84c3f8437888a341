"""No memory, or a bug, in a callback: the request that met it fails, its slot comes back, and nothing else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from keystile.relay import gateway
from keystile.wire.answer_head import read_answer_head
from tests.relay.running import Answer, Running, request, running, until
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def once(real: Callable[..., Any]) -> Callable[..., Any]:
    """Fails at its first call as where no memory is left."""
    calls = 0

    def fails(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise MemoryError
        return real(*given, **named)

    return fails


async def is_whole(relay: Running) -> None:
    """Nothing is held, and the next request is served."""
    await until(lambda: relay.gateway.slots.taken() == 0 and relay.gateway.in_flight == 0)
    client = await RawClient.connect(relay.port)
    await client.send(request("/any/x", key=relay.key()))
    assert Answer(*await client.answer()).status == 200


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
@pytest.mark.parametrize("what", ["table", "reader"])
async def test_while_a_request_is_read_or_decided(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        bystander = await RawClient.connect(relay.port)
        key = relay.key()
        await bystander.send(request("/any/x", key=key))
        assert (await bystander.answer())[0] == 200
        met = await RawClient.connect(relay.port)
        if what == "table":
            monkeypatch.setattr(relay.gateway.table, "find", once(relay.gateway.table.find))
        else:
            monkeypatch.setattr(relay.gateway, "reader", Failing(relay.gateway.reader))
        await met.send(request("/any/y", b"X-New: field", key=key))
        if what == "table":
            assert (await met.answer())[0] == 500
        else:
            async with asyncio.timeout(20):
                assert await met.reader.read() == b""
        await bystander.send(request("/any/x", key=key))
        assert (await bystander.answer())[0] == 200
        await is_whole(relay)


class Failing:
    """A reader of heads with memory for all but the next one."""

    def __init__(self, real: Any) -> None:
        self.read = once(real.read)


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_while_an_answer_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        monkeypatch.setattr("keystile.wire.upstream.read_answer_head", once(read_answer_head))
        client = await RawClient.connect(relay.port)
        await client.send(request("/any/x", key=relay.key()))
        async with asyncio.timeout(20):
            answer = await client.reader.read(20)
        assert not answer.startswith(b"HTTP/1.1 200")
        await is_whole(relay)


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_while_the_clock_looks(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(gateway, "TICK_SECONDS", 0.05)

    async def silent(connection: RecordedConnection, _: bytes) -> None:
        await connection.reader.read()

    async with RecordingUpstream(silent) as upstream, running(upstream.port, limits={"request_timeout": 0.5}) as relay:
        for beside, name in ((relay.gateway.looks, "clients"), (relay.gateway, "_hand_over")):
            monkeypatch.setattr(beside, name, once(getattr(beside, name)))
        await until(lambda: caplog.text.count("has failed, and begins anew") == 2)
        client = await RawClient.connect(relay.port)
        await client.send(request("/any/x", key=relay.key()))
        assert (await client.answer())[0] == 504  # time-outs are still looked at
        await until(lambda: relay.gateway.slots.taken() == 0)
