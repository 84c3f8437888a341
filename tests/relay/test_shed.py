"""A relay with more to do than it can do: what it refuses, how, and whom it goes on serving."""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import ipaddress
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keystile.config.model import Cors, ManagementRoutes
from keystile.limits.overload import LEAST_BUDGET, Level
from keystile.relay import shed
from keystile.relay.shed import Shedder
from tests.relay.running import Answer, Running, request, running, until
from tests.wire.peers import RawClient, RecordingUpstream


@asynccontextmanager
async def loaded(level: Level, **changes: Any) -> AsyncIterator[tuple[Running, RecordingUpstream, bytes]]:
    """A relay that stays at this level, whatever its lag; at ``SHEDDING`` every request is one too many."""
    changes.setdefault("limits", {"max_lag": None, "max_memory": 1 << 40})
    async with RecordingUpstream() as upstream, running(upstream.port, **changes) as relay:
        hold_at(relay, level)
        yield relay, upstream, relay.key("ViewContacts")
        hold_at(relay, Level.CALM)


def hold_at(relay: Running, level: Level) -> None:
    shedder = relay.gateway.shedder
    rules = shedder.rules
    parts = {Level.CALM: 0.0, Level.NO_NEWCOMERS: 0.9, Level.SHEDDING: 1.0}
    shedder.relief.weigh = lambda: int((1 << 40) * parts[level])
    rules.weigh(shedder.relief.weigh())
    # By lag too, where each request is one too many: the turn that never ends has begun all that it may. Looks change
    # nothing of it, since there is no max_lag.
    rules._by_lag = level
    rules._budget, rules._admitted = LEAST_BUDGET, int(LEAST_BUDGET)
    shedder._go_to(level, time.monotonic())


async def ask(client: RawClient, data: bytes) -> Answer:
    await client.send(data)
    return Answer(*await client.answer())


# -- requests --------------------------------------------------------------------------------------------


async def test_a_request_is_refused_with_503_and_retry_after_and_reaches_no_upstream() -> None:
    async with loaded(Level.CALM) as (relay, upstream, key):
        client = await RawClient.connect(relay.port)
        hold_at(relay, Level.SHEDDING)
        answer = await ask(client, request(key=key))
        assert (answer.status, answer.slug) == (503, "overloaded")
        assert answer.field(b"Retry-After") == b"1"
        assert answer.field(b"X-Request-Id")
        assert answer.field(b"Connection") is None
        assert not upstream.requests
        assert relay.gateway.slots.taken() == relay.gateway.in_flight == 0
        counters = relay.counters
        names = ("requests", "requests_shed", "refused_overloaded", "status_5xx", "relays_shedding")
        assert [counters[name] for name in names] == [1, 1, 1, 1, 1]
        assert not relay.lines, "what is refused is counted, not logged one by one"


async def test_who_waits_as_it_was_told_is_served_on_the_same_connection() -> None:
    async with loaded(Level.CALM) as (relay, upstream, key):
        client = await RawClient.connect(relay.port)
        hold_at(relay, Level.SHEDDING)
        assert (await ask(client, request(key=key))).status == 503
        [kept] = relay.gateway.connections
        assert kept.deaf
        await until(lambda: not kept.deaf)
        assert not kept.rest
        hold_at(relay, Level.CALM)
        assert (await ask(client, request(key=key))).status == 200
        assert len(upstream.requests) == 1


async def test_who_does_not_wait_is_not_read_refused_again_and_rests_twice_as_long() -> None:
    async with loaded(Level.CALM) as (relay, _, key):
        client = await RawClient.connect(relay.port)
        hold_at(relay, Level.SHEDDING)
        await client.send(request(key=key) * 2)
        assert (await client.answer())[0] == 503
        [kept] = relay.gateway.connections
        assert kept.rest == shed.REST_SECONDS
        await asyncio.sleep(0.2)
        assert relay.counters["requests"] == 1, "the second one has come, and waits"
        assert (await client.answer())[0] == 503
        assert relay.counters["requests"] == 2
        assert (await ask(client, request(key=key))).status == 503
        assert kept.rest == 2 * shed.REST_SECONDS


async def test_what_was_sent_too_early_is_served_where_it_is_over() -> None:
    async with loaded(Level.CALM) as (relay, _, key):
        client = await RawClient.connect(relay.port)
        hold_at(relay, Level.SHEDDING)
        await client.send(request(key=key) * 3)
        assert (await client.answer())[0] == 503
        hold_at(relay, Level.CALM)
        assert [(await client.answer())[0] for _ in range(2)] == [200, 200]


@pytest.mark.source_only("it changes a constant, which compiled code has in place")
async def test_a_rest_ends_at_its_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shed, "REST_SECONDS", 0.01)
    monkeypatch.setattr(shed, "LONGEST_REST_SECONDS", 0.04)
    async with loaded(Level.CALM) as (relay, _, key):
        client = await RawClient.connect(relay.port)
        hold_at(relay, Level.SHEDDING)
        monkeypatch.setattr(relay.gateway.shedder.rules, "returners", lambda: 0)
        rests: list[float] = []

        def push(heap: list[Any], one: Any) -> None:
            rests.append(one[2].rest)
            heapq.heappush(heap, one)

        monkeypatch.setattr(shed, "heappush", push)
        await client.send(request(key=key) * 9)
        assert [(await client.answer())[0] for _ in range(9)] == [503] * 9
        assert rests[:3] == [0.01, 0.02, 0.04]
        assert max(rests) == 0.04


async def test_a_trusted_proxys_connection_never_rests() -> None:
    trusted = (ipaddress.ip_network("127.0.0.0/8"),)
    async with loaded(Level.CALM, trusted_proxies=trusted) as (relay, _, key):
        client = await RawClient.connect(relay.port)
        hold_at(relay, Level.SHEDDING)
        for _ in range(20):
            assert (await ask(client, request("/v4/contacts", b"X-Forwarded-For: 192.0.2.1", key=key))).status == 503
        [kept] = relay.gateway.connections
        assert not kept.deaf


async def test_what_was_admitted_is_served_to_its_end() -> None:
    release = asyncio.Event()

    async def answer(connection: Any, _: bytes) -> None:
        await release.wait()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with loaded(Level.CALM) as (relay, upstream, key):
        upstream.answer = answer
        client = await RawClient.connect(relay.port)
        await client.send(request(key=key))
        await until(lambda: upstream.requests)
        hold_at(relay, Level.SHEDDING)
        await asyncio.sleep(0.1)
        release.set()
        assert (await client.answer())[0] == 200


async def test_a_body_that_has_not_come_yet_ends_the_connection() -> None:
    async with loaded(Level.CALM) as (relay, _, key):
        whole = await RawClient.connect(relay.port)
        begun = await RawClient.connect(relay.port)
        await until(lambda: len(relay.gateway.connections) == 2)
        hold_at(relay, Level.SHEDDING)
        answer = await ask(whole, request("/any/a", method=b"POST", key=key, body=b"whole"))
        assert (answer.status, answer.field(b"Connection")) == (503, None)
        answer = await ask(begun, request("/any/a", b"Content-Length: 100", method=b"POST", key=key))
        assert (answer.status, answer.field(b"Connection")) == (503, b"close")
        assert await begun.closed() == b""


async def test_heads_and_older_clients_and_browsers_are_answered_as_they_can_read_it() -> None:
    cors = Cors(("https://app.example",), (), 600)
    async with loaded(Level.CALM, cors=cors) as (relay, _, key):
        clients = [await RawClient.connect(relay.port) for _ in range(4)]
        await until(lambda: len(relay.gateway.connections) == 4)
        hold_at(relay, Level.SHEDDING)
        await clients[0].send(request(method=b"HEAD", key=key))
        assert Answer(*await clients[0].answer(to_head=True)).status == 503
        old = await ask(clients[1], request("/v4/contacts", b"Connection: keep-alive", key=key, version=b"1.0"))
        assert old.field(b"Connection") == b"keep-alive"
        last = await ask(clients[2], request("/v4/contacts", b"Connection: close", key=key))
        assert last.field(b"Connection") == b"close"
        assert await clients[2].closed() == b""
        page = await ask(clients[3], request("/nowhere", b"Origin: https://app.example", key=key))
        assert page.field(b"Access-Control-Allow-Origin") == b"https://app.example"


async def test_health_and_the_services_own_calls_are_never_refused() -> None:
    async with loaded(Level.CALM, health_path="/healthz") as (relay, _, key):
        client = await RawClient.connect(relay.port)
        hold_at(relay, Level.SHEDDING)
        for _ in range(3):
            assert (await ask(client, request("/healthz"))).status == 200
        assert (await ask(client, request(key=key))).status == 503


def test_only_calls_that_go_to_management_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> None:
        routes = ManagementRoutes("/v4/contacts")
        async with loaded(Level.CALM) as (relay, _, _):
            shedder = relay.gateway.shedder
            shedder.go_by(relay.gateway.settings.limits, b"/healthz", routes)
            assert shedder.stays(b"GET", b"/healthz")
            assert not shedder.stays(b"GET", b"/healthz/x")
            assert not shedder.stays(b"GET", b"/v4/contacts"), "it goes to the API"
            shedder.go_by(relay.gateway.settings.limits, None, ManagementRoutes("/any"))
            assert not shedder.stays(b"GET", b"/any/a")
            monkeypatch.setattr(relay.gateway.upstreams["api"], "is_management", True)
            assert shedder.stays(b"GET", b"/any/a?x=1")
            assert not shedder.stays(b"GET", b"/anything")
            assert not shedder.stays(b"GET", b"/open")

    asyncio.run(look())


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_the_slots_of_the_address_are_what_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    async with loaded(Level.CALM) as (relay, upstream, key):

        async def silent(*_: object) -> None: ...

        upstream.answer = silent
        clients = [await RawClient.connect(relay.port, "127.0.0.9") for _ in range(3)]
        other = await RawClient.connect(relay.port, "127.0.0.10")
        await until(lambda: len(relay.gateway.connections) == 4)
        hold_at(relay, Level.SHEDDING)

        def admits(count: int) -> bool:
            asked.append(count)
            return True

        monkeypatch.setattr(relay.gateway.shedder.rules, "admits", admits)
        for number, client in enumerate([*clients, other], 1):
            await client.send(request(key=key))
            await until(lambda: relay.gateway.in_flight == number)  # noqa: B023 - asked at once
        assert asked == [0, 1, 2, 0]


# -- new connections -------------------------------------------------------------------------------------


async def test_new_connections_are_refused_in_a_word_and_kept_ones_served() -> None:
    async with loaded(Level.CALM) as (relay, _, key):
        kept = await RawClient.connect(relay.port)
        assert (await ask(kept, request(key=key))).status == 200
        hold_at(relay, Level.NO_NEWCOMERS)
        relay.gateway.shedder._next_newcomer = float("inf")
        new = await RawClient.connect(relay.port)
        answer = await ask(new, request(key=key))
        assert (answer.status, answer.slug, answer.field(b"Connection")) == (503, "overloaded", b"close")
        assert json.loads(answer.body)["status"] == 503
        assert await new.closed() == b""
        assert (await ask(kept, request(key=key))).status == 200
        counters = relay.counters
        assert (counters["connections_shed"], counters["relays_holding_back"], counters["requests"]) == (1, 1, 2)


async def test_a_few_are_let_in_whatever_happens_and_all_once_it_is_over() -> None:
    async with loaded(Level.NO_NEWCOMERS) as (relay, _, key):
        assert (await relay.ask(key=key)).status == 200
        assert relay.gateway.is_overloaded()
        hold_at(relay, Level.CALM)
        assert not relay.gateway.is_overloaded()
        for _ in range(40):
            assert (await relay.ask(key=key)).status == 200


async def test_new_connections_that_ask_for_health_are_let_in() -> None:
    async with loaded(Level.CALM, health_path="/healthz") as (relay, _, key):
        hold_at(relay, Level.SHEDDING)
        relay.gateway.shedder._next_newcomer = float("inf")
        for _ in range(5):
            assert (await relay.ask("/healthz")).status == 200
        assert (await relay.ask(key=key)).status == 503


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_one_that_has_waited_too_long_is_refused_though_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shed, "waited", lambda accepted: 1.5)
    async with loaded(Level.NO_NEWCOMERS) as (relay, _, key):
        assert (await relay.ask(key=key)).status == 503


# -- looks -----------------------------------------------------------------------------------------------


async def test_it_sheds_while_the_loop_is_kept_busy_and_recovers_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "keystile.relay")
    busy = True

    def burn() -> None:
        end = time.thread_time() + 0.03
        while time.thread_time() < end:
            pass
        if busy:
            asyncio.get_running_loop().call_soon(burn)

    limits = {"max_lag": 0.02}
    async with RecordingUpstream() as upstream, running(upstream.port, limits=limits) as relay:
        key = relay.key("ViewContacts")
        clients = [await RawClient.connect(relay.port) for _ in range(20)]
        await until(lambda: len(relay.gateway.connections) == 20)
        burn()
        await until(lambda: relay.gateway.shedding, 30)
        for client in clients:
            await client.send(request(key=key))
        answers = [answer[0] for answer in await asyncio.gather(*(client.answer() for client in clients))]
        assert set(answers) <= {200, 503}
        assert answers.count(503) >= 1
        assert 200 in answers
        busy = False
        await until(lambda: not relay.gateway.is_overloaded(), 60)
        assert [(await ask(client, request(key=key))).status for client in clients] == [200] * 20
        assert (await relay.ask(key=key)).status == 200
        assert relay.counters["requests_shed"] == answers.count(503)
    said = "\n".join(caplog.messages)
    assert "overloaded: a turn takes " in said
    assert "counted, not logged one by one" in said


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_a_look_times_one_whole_turn_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async with loaded(Level.CALM) as (relay, _, _):
        shedder = relay.gateway.shedder
        lags: list[float] = []
        monkeypatch.setattr(shedder.rules, "look", lambda lag, *_, **__: lags.append(lag))
        await until(lambda: len(lags) >= 2)
        assert min(lags) < 0.3
        assert shedder._timer is not None
        shedder._timer.cancel()
        lags.clear()
        shedder._begin_turn()
        asyncio.get_running_loop().call_soon(time.sleep, 0.3)
        await until(lambda: lags)
        assert 0.3 <= lags[0] < 10


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "no descriptor")])
async def test_looks_go_on_after_one_that_failed(error: Exception) -> None:
    async with loaded(Level.CALM) as (relay, _, _):
        shedder, failed = relay.gateway.shedder, asyncio.Event()

        def fails() -> int:
            failed.set()
            raise error

        shedder.relief.weigh = fails
        await asyncio.wait_for(failed.wait(), 30)
        shedder.relief.weigh = lambda: 1 << 40
        await until(lambda: relay.gateway.shedding)
        shedder.relief.weigh = lambda: 1
        await until(lambda: not relay.gateway.is_overloaded())


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
async def test_there_is_one_chain_of_looks_whoever_begins_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with loaded(Level.CALM) as (relay, _, _):
        shedder, looks = relay.gateway.shedder, 0

        def look(*_: Any, **__: Any) -> None:
            nonlocal looks
            looks += 1

        for _ in range(5):
            shedder._plan()
        await asyncio.sleep(0)
        monkeypatch.setattr(shedder.rules, "look", look)
        await asyncio.sleep(10 * shed.LOOK_SECONDS)
        assert 1 <= looks <= 12, "and not five times as many"


async def test_without_a_bound_nobody_looks() -> None:
    limits = {"max_lag": None, "max_memory": None}
    async with RecordingUpstream() as upstream, running(upstream.port, limits=limits) as relay:
        assert relay.gateway.shedder._timer is None


async def test_another_bound_begins_calmly() -> None:
    async with loaded(Level.SHEDDING) as (relay, _, key):
        shedder, limits = relay.gateway.shedder, relay.gateway.settings.limits
        told = []
        for wanted in (limits, dataclasses.replace(limits, max_lag=5.0)):
            shedder.go_by(wanted, None, None)
            told.append(relay.gateway.shedding)
        assert told == [True, False], "with the same bounds it goes on"
        assert (await relay.ask(key=key)).status == 200


async def test_lines_about_levels_are_few(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.WARNING, "keystile.relay")
    async with loaded(Level.CALM) as (relay, _, _):
        shedder = relay.gateway.shedder
        assert shedder._timer is not None
        shedder._timer.cancel()
        now = shedder._said_at = 1000.0
        for step in range(1, 101):
            shedder._go_to(Level(step % 3), now + step / 10)
        assert 1 <= len(caplog.messages) <= 2, "ten seconds of changes"
        monkeypatch.setattr(shedder, "_said", Level.SHEDDING)
        shedder._go_to(Level.CALM, now + 100)
    assert "overload is over" in caplog.messages[-1]


# -- memory ----------------------------------------------------------------------------------------------


async def test_memory_at_its_bound_sheds_closes_idle_connections_and_is_over_when_it_is_free() -> None:
    async with loaded(Level.CALM) as (relay, _, key):
        clients = [await RawClient.connect(relay.port) for _ in range(9)]
        await until(lambda: len(relay.gateway.connections) == 9)
        shedder: Shedder = relay.gateway.shedder
        shedder.relief.weigh = lambda: 1 << 40
        await until(lambda: relay.gateway.shedding)
        await until(lambda: len(relay.gateway.connections) == 7)
        shedder.relief.weigh = lambda: 1
        await until(lambda: not relay.gateway.is_overloaded())
        assert (await relay.ask(key=key)).status == 200
        assert clients
