"""Waiting for a slot: in line, for a while, and decided anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keystile.config.model import Waiting
from tests.relay.running import Running, moments, running, until
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

GET = b"GET /any/%d HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n\r\n"


class HeldUpstream(RecordingUpstream):
    """Answers a request when told to."""

    def __init__(self) -> None:
        super().__init__(self._hold)
        self.let_go: asyncio.Queue[None] = asyncio.Queue()

    async def _hold(self, connection: RecordedConnection, request: bytes) -> None:
        await self.let_go.get()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def paths(self) -> list[bytes]:
        return [request.split(b" ")[1] for request in self.requests]


def limits(cap: int, wait: float, waiting: int) -> dict[str, Any]:
    return {"concurrent_requests_per_ip": cap, "over_limit": Waiting(wait, waiting)}


async def begin(relay: Running, key: bytes, number: int) -> RawClient:
    client = await RawClient.connect(relay.port)
    await client.send(GET % (number, key))
    return client


async def test_those_who_wait_are_served_in_the_order_in_which_they_came() -> None:
    async with HeldUpstream() as upstream, running(upstream.port, limits=limits(1, 30, 5)) as relay:
        key = relay.key()
        clients = []
        for number in range(5):
            clients.append(await begin(relay, key, number))
            await until(lambda: relay.gateway.in_flight == len(clients))
        assert upstream.paths() == [b"/any/0"]
        for client in clients:
            upstream.let_go.put_nowait(None)
            assert (await client.answer())[0] == 200
        assert upstream.paths() == [b"/any/%d" % number for number in range(5)]
        assert relay.gateway.waiting is not None
        assert len(relay.gateway.waiting) == 0
        assert relay.gateway.slots.taken() == 0


async def test_no_more_wait_than_may_and_none_longer_than_it_may() -> None:
    async with HeldUpstream() as upstream, running(upstream.port, limits=limits(1, 0.2, 2)) as relay:
        key = relay.key()
        first = await begin(relay, key, 0)
        await until(lambda: relay.gateway.slots.taken() == 1)
        waiting = [await begin(relay, key, 1), await begin(relay, key, 2)]
        await until(lambda: relay.gateway.in_flight == 3)
        assert (await (await begin(relay, key, 3)).answer())[0] == 429
        for client in waiting:
            assert (await client.answer())[0] == 429
        upstream.let_go.put_nowait(None)
        assert (await first.answer())[0] == 200
        assert len(upstream.requests) == 1


async def test_a_client_that_leaves_gives_its_place_to_the_next() -> None:
    async with HeldUpstream() as upstream, running(upstream.port, limits=limits(1, 30, 5)) as relay:
        key = relay.key()
        first = await begin(relay, key, 0)
        await until(lambda: relay.gateway.slots.taken() == 1)
        leaving = await begin(relay, key, 1)
        await until(lambda: relay.gateway.in_flight == 2)
        staying = await begin(relay, key, 2)
        await until(lambda: relay.gateway.in_flight == 3)
        leaving.reset()
        await until(lambda: relay.gateway.in_flight == 2)
        for client in (first, staying):
            upstream.let_go.put_nowait(None)
            assert (await client.answer())[0] == 200
        assert upstream.paths() == [b"/any/0", b"/any/2"]


async def test_a_key_that_is_deleted_while_its_request_waits_is_refused() -> None:
    async with HeldUpstream() as upstream, running(upstream.port, limits=limits(1, 30, 5)) as relay:
        key, doomed = relay.key(), relay.key()
        first = await begin(relay, key, 0)
        await until(lambda: relay.gateway.slots.taken() == 1)
        waiting = await begin(relay, doomed, 1)
        await until(lambda: relay.gateway.in_flight == 2)
        relay.keyring.remove("key2")
        upstream.let_go.put_nowait(None)
        assert (await first.answer())[0] == 200
        assert (await waiting.answer())[0] == 401


async def test_a_body_that_comes_while_its_request_waits_is_not_lost() -> None:
    async with HeldUpstream() as upstream, running(upstream.port, limits=limits(1, 30, 5)) as relay:
        key = relay.key()
        first = await begin(relay, key, 0)
        await until(lambda: relay.gateway.slots.taken() == 1)
        second = await RawClient.connect(relay.port)
        body = bytes(range(256)) * 1000
        head = b"POST /any/1 HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\nContent-Length: %d\r\n\r\n" % (key, len(body))
        sending = asyncio.create_task(second.send(head + body))
        await until(lambda: relay.gateway.in_flight == 2)
        for client in (first, second):
            upstream.let_go.put_nowait(None)
            assert (await client.answer())[0] == 200
        await sending
        assert upstream.requests[1].endswith(b"\r\n\r\n" + body)


async def test_the_total_time_ends_a_wait_too() -> None:
    wanted = limits(1, 30, 5) | {"request_timeout": 0.3}
    async with HeldUpstream() as upstream, running(upstream.port, limits=wanted) as relay:
        key = relay.key()
        clients = [await begin(relay, key, 0), await begin(relay, key, 1)]
        assert [(await client.answer())[0] for client in clients] == [504, 504]
        assert relay.gateway.waiting is not None
        assert len(relay.gateway.waiting) == 0


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_how_long_a_request_waited_is_known() -> None:
    async with HeldUpstream() as upstream, running(upstream.port, limits=limits(1, 30, 5)) as relay:
        key = relay.key()
        with moments(relay) as (clock, ended):
            clients = [await begin(relay, key, number) for number in range(2)]
            await until(lambda: relay.gateway.in_flight == 2)
            clock.now += 6
            for client in clients:
                upstream.let_go.put_nowait(None)
                assert (await client.answer())[0] == 200
    assert [(one.waited, one.forwarded_at) for one in ended] == [(0, 1000), (6, 1006)]
