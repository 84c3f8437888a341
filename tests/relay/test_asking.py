"""Requests where slots are counted over many hosts: relays with a server that lends, one that is paused, and none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from keystile.config.model import SharedSlots, Waiting
from keystile.limits.lease import Lease
from keystile.relay.asking import Asking
from tests.cluster.server import Server, free_port, needs_server
from tests.cluster.server import running as serving
from tests.relay.running import Running, running, until
from tests.relay.test_waiting import HeldUpstream, begin

LEASE = 0.5


def lent(port: int, rule: str = "refuse", lease: float = LEASE) -> SharedSlots:
    return SharedSlots("127.0.0.1", port, when_unreachable=rule, lease_time=lease)  # type: ignore[arg-type]


@asynccontextmanager
async def two(
    folder: Path, rule: str = "refuse", lease: float = LEASE, **more: Any
) -> AsyncIterator[tuple[Running, Running, Any, Server]]:
    """Two hosts with a cap of four, an upstream that holds what it gets, and the server."""
    settings = {"limits": {"concurrent_requests_per_ip": 4, **more}}
    with serving(folder) as server:
        async with (
            HeldUpstream() as upstream,
            running(upstream.port, slots=lent(server.port, rule, lease), **settings) as one,
            running(upstream.port, slots=lent(server.port, rule, lease), **settings) as other,
        ):
            await asyncio.sleep(lease)
            yield one, other, upstream, server


def asking(relay: Running) -> Asking:
    assert relay.gateway.asking is not None
    return relay.gateway.asking


@needs_server
async def test_the_cap_holds_over_both_and_every_slot_can_be_had_from_either(tmp_path: Path) -> None:
    async with two(tmp_path) as (one, other, upstream, _):
        key, its = one.key(), other.key()
        for number in range(3):
            await begin(one, key, number)
        await until(lambda: len(upstream.requests) == 3)
        await begin(other, its, 3)
        await until(lambda: len(upstream.requests) == 4)
        refused = await begin(other, its, 4)
        assert (await refused.answer())[0] == 429
        assert len(upstream.requests) == 4
        upstream.let_go.put_nowait(None)
        await until(lambda: one.gateway.slots.taken() + other.gateway.slots.taken() == 3)
        await asyncio.sleep(0.02)  # the other has been told that one came free
        served = await begin(other, its, 5)
        for _ in range(4):
            upstream.let_go.put_nowait(None)
        assert (await served.answer())[0] == 200
        await until(lambda: one.gateway.slots.taken() == other.gateway.slots.taken() == 0)


@needs_server
async def test_who_came_later_is_not_refused_by_the_patience_of_who_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keystile.relay.asking.PATIENCE", 1.0)
    async with two(tmp_path) as (one, other, upstream, _):
        key, its = one.key(), other.key()
        for number in range(4):
            await begin(one, key, number)
        await until(lambda: len(upstream.requests) == 4)
        first = await begin(other, its, 4)
        await asyncio.sleep(0.4)
        second = await begin(other, its, 5)
        assert (await first.answer())[0] == 429
        upstream.let_go.put_nowait(None)
        await until(lambda: len(upstream.requests) == 5)
        for _ in range(4):
            upstream.let_go.put_nowait(None)
        assert (await second.answer())[0] == 200


@asynccontextmanager
async def one_that_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Asking, Lease]]:
    """A request that waits for a unit at a relay whose patience nobody outlasts; of all units none is free."""
    monkeypatch.setattr("keystile.relay.asking.PATIENCE", 60.0)
    async with two(folder) as (one, other, upstream, _):
        key, its = one.key(), other.key()
        for number in range(4):
            await begin(one, key, number)
        await until(lambda: len(upstream.requests) == 4)
        waits = await begin(other, its, 4)
        waiting = asking(other)
        await until(lambda: bool(waiting._patience))
        [name] = waiting._patience
        yield waiting, waiting.slots.lease_of(name)
        waits.reset()
        await until(lambda: other.gateway.in_flight == 0)


@needs_server
async def test_who_stands_first_in_line_has_the_whole_patience_whoever_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who came before him has been served meanwhile: what he lacks has been told of a moment ago."""
    async with one_that_waits(tmp_path, monkeypatch) as (waiting, lease):
        waiting._patience[lease.name].cancel()
        waiting._out_of_patience(lease.name, monotonic())  # of who stood there before
        assert not lease.final
        assert lease.name in waiting._patience


@needs_server
async def test_who_stood_still_himself_gives_others_their_time_anew_but_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_that_waits(tmp_path, monkeypatch) as (waiting, lease):
        [(exchange, _)] = waiting._lines[lease.name]
        waiting._lines[lease.name][0] = (exchange, monotonic() - 61.0)
        for believes in (False, True):
            waiting._patience[lease.name].cancel()
            waiting._out_of_patience(lease.name, monotonic() - 1.0)
            assert lease.final is believes


@needs_server
async def test_most_requests_ask_nobody(tmp_path: Path) -> None:
    async with two(tmp_path) as (one, _, upstream, _):
        key = one.key()
        for _ in range(50):
            upstream.let_go.put_nowait(None)
            client = await begin(one, key, 1)
            assert (await client.answer())[0] == 200
        assert asking(one).holder.asked == 1


@needs_server
async def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(tmp_path: Path) -> None:
    async with two(tmp_path) as (one, other, upstream, _):
        key, its = one.key(), other.key()
        for number in range(4):
            await begin(one, key, number)
        await until(lambda: len(upstream.requests) == 4)
        waits = await begin(other, its, 4)
        await until(lambda: len(asking(other)) == 1)
        waits.reset()
        await until(lambda: other.gateway.in_flight == 0)
        await until(lambda: len(asking(other)) == 0)
        assert other.gateway.slots.taken() == 0


@needs_server
async def test_where_refusal_is_the_rule_a_server_that_says_nothing_ends_what_is_in_flight(tmp_path: Path) -> None:
    async with two(tmp_path) as (one, _, upstream, server):
        key = one.key()
        client = await begin(one, key, 0)
        await until(lambda: len(upstream.requests) == 1)
        server.pause()
        assert (await client.answer())[0] == 503
        assert (await (await begin(one, key, 1)).answer())[0] == 503
        assert one.gateway.slots.taken() == 0
        assert asking(one).cut == 1
        server.go_on()
        await until(lambda: not asking(one).slots.lends_nothing())
        upstream.let_go.put_nowait(None)
        upstream.let_go.put_nowait(None)
        assert (await (await begin(one, key, 2)).answer())[0] == 200


@needs_server
async def test_where_each_host_may_count_alone_it_goes_on_without_the_server(tmp_path: Path) -> None:
    async with two(tmp_path, "per_host") as (one, _, upstream, server):
        key = one.key()
        client = await begin(one, key, 0)
        await until(lambda: len(upstream.requests) == 1)
        server.stop()
        await until(lambda: asking(one).slots.unreachable)
        for number in range(1, 4):
            await begin(one, key, number)
        await until(lambda: len(upstream.requests) == 4)
        assert (await (await begin(one, key, 4)).answer())[0] == 429
        upstream.let_go.put_nowait(None)
        assert (await client.answer())[0] == 200
        assert asking(one).cut == 0
        server.start()
        await until(lambda: not asking(one).slots.unreachable)
        await until(lambda: asking(one).holder.held == 3)


@needs_server
async def test_a_restart_of_the_server_within_the_lease_cuts_nothing(tmp_path: Path) -> None:
    # A lease that no stall of this machine outlasts: a heartbeat counts for 0.8 of it.
    async with two(tmp_path, lease=3.0) as (one, other, upstream, server):
        key, its = one.key(), other.key()
        for number in range(3):
            await begin(one, key, number)
        await until(lambda: len(upstream.requests) == 3)
        before = {asking(each).holder.name for each in (one, other)}
        server.stop()
        server.start()
        for each in (asking(one), asking(other)):
            # Its name is another one when it has heard how long a server that has just started lends nothing.
            await until(lambda each=each: each.holder.name not in before | {b""})
            await until(lambda each=each: not each.slots.lends_nothing())
        assert not asking(one).cut
        await begin(other, its, 3)
        assert (await (await begin(other, its, 4)).answer())[0] == 429
        assert len(upstream.requests) == 4


@needs_server
async def test_who_waits_in_line_for_a_slot_gets_one_of_another_host(tmp_path: Path) -> None:
    async with two(tmp_path, over_limit=Waiting(20, 5)) as (one, other, upstream, _):
        key, its = one.key(), other.key()
        for number in range(4):
            await begin(one, key, number)
        await until(lambda: len(upstream.requests) == 4)
        waits = await begin(other, its, 4)
        await until(lambda: other.gateway.waiting is not None and len(other.gateway.waiting) == 1)
        for _ in range(5):
            upstream.let_go.put_nowait(None)
        assert (await waits.answer())[0] == 200


@pytest.mark.parametrize(("rule", "status"), [("refuse", 503), ("per_host", 200)])
async def test_without_a_server_a_relay_starts_and_the_rule_decides(rule: str, status: int) -> None:
    async with HeldUpstream() as upstream, running(upstream.port, slots=lent(free_port(), rule)) as relay:
        key = relay.key()
        upstream.let_go.put_nowait(None)
        assert (await (await begin(relay, key, 0)).answer())[0] == status
        assert asking(relay).link.trouble
