"""Memory near its bound: what is free goes back, and who is closed and cut for the rest, and who is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keystile.limits.overload import Level, Overload
from keystile.relay import relief
from keystile.relay.relief import CLOSE_SECONDS, TRIM_SECONDS, Relief
from keystile.wire.client import LINGER, ClientConnection
from tests.relay.running import Running, running, until
from tests.wire.peers import RawClient, RecordingUpstream

BOUND = 1 << 30
BEGUN = b"GET / HTTP/1.1\r\nX-Long: "


class Weighed:
    """A relief whose memory and clock are numbers, and what its rules say."""

    def __init__(self, relay: Running) -> None:
        self.relay = relay
        self.rules = Overload(None, BOUND)
        self.relief = Relief(relay.gateway, lambda: self.weight)
        self.weight = 0
        self.now = 0.0

    def look(self, weight: float, seconds: float = CLOSE_SECONDS) -> Level:
        """Weigh so many bytes, that long after the last time."""
        self.weight = int(weight)
        self.now += seconds
        self.relief.look(self.rules, BOUND, self.now)
        return self.rules.by_memory

    def there(self) -> set[str]:
        """The addresses of clients that are neither cut nor told that it is over."""
        clients = [client for client in self.relay.gateway.connections if client.state != LINGER]
        return {client.peer.text for client in clients if not client.transport.is_closing()}


@asynccontextmanager
async def holding(*sizes: int) -> AsyncIterator[Weighed]:
    """A relay with clients at 127.0.1.0, 1, …: each has sent so many bytes of a head, or none."""
    limits: dict[str, Any] = {"max_lag": None, "max_memory": None, "max_head_size": 1 << 20}
    async with RecordingUpstream() as upstream, running(upstream.port, limits=limits) as relay:
        clients = []
        for number, size in enumerate(sizes):
            clients.append(client := await RawClient.connect(relay.port, f"127.0.1.{number}"))
            if size:
                await client.send((BEGUN + b"x" * size)[:size])
        connections = relay.gateway.connections
        await until(lambda: len(connections) == len(sizes))
        await until(lambda: sum(map(ClientConnection.held_bytes, connections)) == sum(sizes))
        yield Weighed(relay)
        for client in clients:
            client.cut()


async def test_above_the_bound_who_holds_most_is_cut_for_as_much_as_is_too_much() -> None:
    async with holding(0, 1000, 50_000, 80_000, 40_000, 0) as work:
        assert work.look(BOUND + 100_000) == Level.SHEDDING
        assert work.there() == {"127.0.1.0", "127.0.1.1", "127.0.1.4", "127.0.1.5"}
        assert work.relay.gateway.recorder.cut_for_memory == 2


async def test_below_it_nobody_is_cut_and_nobody_closed_while_others_fill_it() -> None:
    async with holding(0, 0, int(0.1 * BOUND) >> 10) as work:
        held = sum(map(ClientConnection.held_bytes, work.relay.gateway.connections))
        assert work.look(0.96 * BOUND) == Level.SHEDDING, "idle connections fill it"
        await until(lambda: len(work.there()) == 2)
        work.now += CLOSE_SECONDS
        assert work.look(0.9 * BOUND + held) == Level.SHEDDING, "what is held fills it"
        assert len(work.there()) == 2


async def test_nobody_is_to_blame_for_a_bound_that_is_too_low() -> None:
    async with holding(50_000, 50_000) as work:
        assert work.look(2 * BOUND) == Level.SHEDDING
        assert len(work.there()) == 2


async def test_idle_connections_are_closed_a_part_at_a_time() -> None:
    async with holding(*[0] * 9) as work:
        work.look(BOUND)
        assert len(work.there()) == 7
        work.look(BOUND, CLOSE_SECONDS / 2)
        assert len(work.there()) == 7
        await until(lambda: len(work.relay.gateway.connections) == 7)
        work.look(BOUND, CLOSE_SECONDS / 2)
        assert len(work.there()) == 6


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
@pytest.mark.parametrize("part", [0.84, 0.86, 0.96, 1.01], ids=["calm", "near", "nearer", "above, in vain"])
async def test_what_is_free_goes_back_once_a_second_while_it_is_near_the_bound(
    part: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed: list[float] = []
    async with holding() as work:
        work.look(part * BOUND)
        monkeypatch.setattr(relief, "trim", lambda: trimmed.append(work.now))
        for _ in range(50):
            work.look(part * BOUND, TRIM_SECONDS / 10)
        assert len(trimmed) in ((0,) if part < 0.85 else (4, 5))


async def test_above_the_bound_it_is_tried_at_every_look_while_it_helps() -> None:
    async with holding(*[10_000] * 8) as work:
        for left in (7, 6, 5):
            work.look(BOUND + 5000, TRIM_SECONDS / 100)
            assert len(work.there()) == left
            await until(lambda: len(work.relay.gateway.connections) == left)  # noqa: B023 - asked at once


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_what_counts_is_what_is_left_when_it_went_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with holding(80_000) as work:

        def gone() -> None:
            work.weight = 0

        monkeypatch.setattr(relief, "trim", gone)
        assert work.look(BOUND + 1) == Level.CALM
        assert len(work.there()) == 1
