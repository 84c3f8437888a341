from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from keystile.config.model import (
    MANAGEMENT_UPSTREAM,
    Breaker,
    HealthCheck,
    ManagementRoutes,
    Needs,
    Operation,
    Retries,
    Server,
    ServerQueue,
    Upstream,
)
from keystile.keys.keyring import KeyRow
from keystile.keys.secret import digest, generate
from keystile.limits.servers import DOWN, UNKNOWN, UP, Said
from keystile.relay.counters import COUNTERS
from keystile.relay.refusal import Refusal
from keystile.relay.upstreams import host_field
from keystile.wire import unix
from tests.relay.ground import Ground, of_the_source
from tests.relay.running import OPERATIONS, Answer, odd_servers, request, running, until
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream


@pytest.mark.parametrize(
    ("server", "field"),
    [
        (Server("api.internal", 80), b"api.internal"),
        (Server("api.internal", 8080), b"api.internal:8080"),
        (Server("::1", 80), b"[::1]"),
        (Server("::1", 9000), b"[::1]:9000"),
        (Server("10.0.0.1", 443), b"10.0.0.1:443"),
        (Server("localhost", 0, unix=Path("/run/api.sock")), b"localhost"),
    ],
)
def test_the_host_field_is_the_servers_own_name(server: Server, field: bytes) -> None:
    assert host_field(server) == field


@pytest.mark.parametrize("count", [1, 2, 3, 4])
async def test_every_server_gets_its_share_on_one_connection(count: int) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(RecordingUpstream()) for _ in range(count)]
        api = Upstream("api", tuple(Server("127.0.0.1", server.port) for server in servers))
        relay = await stack.enter_async_context(running(0, upstreams=(api,)))
        client = await RawClient.connect(relay.port)
        for _ in range(60):
            await client.send(request("/open"))
            assert (await client.answer())[0] == 200
        assert [len(server.requests) for server in servers] == [60 // count] * count
        assert [len(server.connections) for server in servers] == [1] * count
        # Whichever server it goes to: the name that is sent is one for the upstream.
        hosts = {sent.split(b"\r\n")[1] for server in servers for sent in server.requests}
        assert hosts == {b"Host: 127.0.0.1:%d" % servers[0].port}


async def test_a_server_that_is_gone_costs_no_request() -> None:
    with odd_servers() as (_, _, gone):
        async with RecordingUpstream() as upstream:
            api = Upstream("api", (*gone.servers, Server("127.0.0.1", upstream.port), *gone.servers))
            async with running(0, upstreams=(api,)) as relay:
                for _ in range(9):
                    assert (await relay.ask("/open")).status == 200
                assert len(upstream.requests) == 9


async def test_a_server_that_cannot_be_connected_to_is_passed_over() -> None:
    with odd_servers() as (_, full, gone):
        async with RecordingUpstream() as upstream:
            api = Upstream("api", (*full.servers, Server("127.0.0.1", upstream.port)))
            async with running(0, upstreams=(api,), limits={"connect_timeout": 0.1}) as relay:
                assert [(await relay.ask("/open")).status for _ in range(4)] == [200] * 4
            neither = Upstream("api", (*full.servers, *gone.servers))
            async with running(0, upstreams=(neither,), limits={"connect_timeout": 0.1}) as relay:
                slugs = {(await relay.ask("/open")).slug for _ in range(2)}
                assert slugs <= {"connect-timeout", "upstream-unreachable"}


async def test_connections_are_kept_and_used_again() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        for _ in range(10):
            assert (await relay.ask("/open")).status == 200
        assert len(upstream.connections) == 1
        clients = [await RawClient.connect(relay.port) for _ in range(5)]
        for client in clients:
            await client.send(request("/open") * 3)
        for client in clients:
            for _ in range(3):
                assert (await client.answer())[0] == 200
        assert len(upstream.connections) <= 5


async def test_a_server_that_comes_back_is_used_again() -> None:
    spare = socket.socket()
    spare.bind(("127.0.0.1", 0))
    port = spare.getsockname()[1]
    async with running(port) as relay:
        assert (await relay.ask("/open")).slug == "upstream-unreachable"
        spare.close()
        server = await asyncio.start_server(_serve, "127.0.0.1", port)
        assert (await relay.ask("/open")).status == 204
        server.close()
        await until(lambda: relay.gateway.in_flight == 0)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


# -- breakers, without sockets ---------------------------------------------------------------------------------

QUICK = Breaker(connect_failures=3, errors=0.5, of_at_least=10, within=10.0, open_for=5.0)


async def many(ground: Ground, times: int, status: int | dict[str, int] = 200, **how: Any) -> Counter[str]:
    """So many requests, one after the other, each answered so where it was sent; where they went, or why not."""
    went: Counter[str] = Counter()
    for _ in range(times):
        asking = await ground.asked(**how)
        went[asking.to[-1] if asking.to else str(asking.refusal)] += 1
        if asking.upstream is not None:
            asking.answer(status.get(asking.to[-1], 200) if isinstance(status, dict) else status)
    return went


@of_the_source
async def test_when_no_server_can_be_connected_to_requests_are_refused_at_once_and_it_is_said_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ground = Ground(2, breaker=QUICK)
    ground.down(0)
    ground.down(1)
    assert await many(ground, 3) == {str(Refusal.UPSTREAM_UNREACHABLE): 3}
    tries = ground.pool(0).asked + ground.pool(1).asked
    assert tries == 6
    assert await many(ground, 50, method=b"POST") == {str(Refusal.NO_SERVER): 50}
    assert ground.pool(0).asked + ground.pool(1).asked == tries  # nobody was connected to
    assert sum("none of its 2 servers" in text for text in caplog.messages) == 1
    ground.now += 60
    for member in ground.members:
        member.checked_down = True
    await many(ground, 50)
    assert sum("none of its 2 servers" in text for text in caplog.messages) == 2
    assert sum("left out for 5 s: 3 connections in a row could not be made" in text for text in caplog.messages) == 2


@of_the_source
async def test_a_server_that_is_left_out_is_asked_for_nothing_until_one_request_tries_it() -> None:
    ground = Ground(2, breaker=QUICK)
    ground.down(0)
    assert await many(ground, 20) == {"b": 20}
    assert ground.pool(0).asked == 3
    ground.pass_time(5)
    assert await many(ground, 20) == {"b": 20}  # one tried it in vain, and was passed on
    assert ground.pool(0).asked == 4
    ground.pass_time(9)
    await many(ground, 5)
    assert ground.pool(0).asked == 4  # twice as long
    ground.pass_time(1)
    ground.up(0)
    went = await many(ground, 21)
    assert went["a"] >= 10
    assert ground.group.opened == 1


@of_the_source
async def test_only_an_idempotent_request_without_a_body_tries_while_another_server_is_there() -> None:
    ground = Ground(2, breaker=QUICK)
    ground.down(0)
    await many(ground, 20)
    ground.pass_time(5)
    assert await many(ground, 10, method=b"POST", body=True) == {"b": 10}
    assert await many(ground, 10, method=b"PUT", body=True) == {"b": 10}
    assert ground.pool(0).asked == 3
    await many(ground, 1)
    assert ground.pool(0).asked == 4


@of_the_source
async def test_a_request_that_would_be_refused_may_be_the_one_that_tries_whatever_it_is() -> None:
    ground = Ground(1, breaker=QUICK)
    ground.down(0)
    await many(ground, 5, method=b"POST")
    ground.up(0)
    assert await many(ground, 1, method=b"POST") == {str(Refusal.NO_SERVER): 1}
    ground.now += 5  # no tick has come by
    assert await many(ground, 3, method=b"POST", body=True) == {"a": 3}


@of_the_source
async def test_while_one_tries_the_others_are_refused_and_a_trial_without_an_end_makes_way_for_another() -> None:
    ground = Ground(1, breaker=replace(QUICK, even_the_last=True))
    await many(ground, 10, 500)
    ground.now += 5
    trying = await ground.asked()
    assert trying.to == ["a"]
    assert await many(ground, 5) == {str(Refusal.NO_SERVER): 5}
    trying.leave()
    assert await many(ground, 5) == {str(Refusal.NO_SERVER): 5}
    ground.now += 5
    assert await many(ground, 2) == {"a": 2}


@of_the_source
async def test_a_connection_is_enough_to_know_that_a_server_can_be_reached_again() -> None:
    """An answer may take minutes; nobody else is refused that long."""
    ground = Ground(1, breaker=QUICK)
    ground.down(0)
    await many(ground, 3)
    ground.up(0)
    ground.now += 5
    slow = await ground.asked()
    assert slow.to == ["a"]
    assert await many(ground, 5) == {"a": 5}


@of_the_source
async def test_while_a_connection_is_tried_the_others_are_refused() -> None:
    ground = Ground(1, breaker=QUICK)
    ground.down(0)
    await many(ground, 3)
    ground.now += 5
    ground.pool(0).may.clear()
    trying = ground.ask()
    assert await many(ground, 5) == {str(Refusal.NO_SERVER): 5}
    ground.pool(0).may.set()
    await ground.settled()
    assert trying.refusal is Refusal.UPSTREAM_UNREACHABLE
    assert await many(ground, 5) == {str(Refusal.NO_SERVER): 5}


@of_the_source
async def test_too_many_errors_leave_a_server_out_and_a_good_answer_brings_it_back() -> None:
    ground = Ground(2, breaker=QUICK, retries=Retries(0))
    ill = {"a": 500}
    assert (await many(ground, 19, ill)) == {"a": 9, "b": 10}
    assert len(ground.group.usable) == 2
    await many(ground, 1, ill)
    assert [member.name for member in ground.group.usable] == ["b:80"]
    assert await many(ground, 20, ill) == {"b": 20}
    ground.pass_time(5)
    assert (await many(ground, 5, ill))["a"] == 1  # it tries, and is as ill as before
    ground.pass_time(10)
    assert (await many(ground, 10))["a"] >= 4


@of_the_source
async def test_broken_answers_are_errors_too_and_a_client_that_leaves_is_none() -> None:
    ground = Ground(2, breaker=QUICK, retries=Retries(0))
    for _ in range(40):
        asking = await ground.asked()
        asking.leave()
    assert len(ground.group.usable) == 2
    for _ in range(60):
        asking = await ground.asked()
        if asking.to == ["a"]:
            asking.breaks(heard=True)
        else:
            asking.leave()
    assert [member.name for member in ground.group.usable] == ["b:80"]


@of_the_source
async def test_errors_never_take_out_the_last_server_unless_that_is_asked_for() -> None:
    """Else one caller who calls what fails shuts out everybody."""
    for servers in (1, 2):
        ground = Ground(servers, breaker=QUICK, retries=Retries(0))
        assert (await many(ground, 200, 500)).total() == 200
        assert len(ground.group.usable) == 1
        assert not [one for one in await many(ground, 50, 500) if "Refusal" in one]
    ground = Ground(1, breaker=replace(QUICK, even_the_last=True))
    assert await many(ground, 30, 503) == {"a": 10, str(Refusal.NO_SERVER): 20}
    ground.now += 5
    assert await many(ground, 5) == {"a": 5}


@of_the_source
async def test_a_server_that_was_not_reached_is_well_when_it_answers_whatever_it_says() -> None:
    ground = Ground(1, breaker=QUICK)
    ground.down(0)
    await many(ground, 3)
    ground.up(0)
    ground.now += 5
    assert await many(ground, 10, 500) == {"a": 10}


@of_the_source
async def test_without_a_breaker_servers_are_never_left_out() -> None:
    ground = Ground(2, breaker=None, retries=Retries(0))
    ground.down(0)
    assert await many(ground, 50, 500) == {"b": 50}
    assert ground.pool(0).asked > 20


# -- health checks, without sockets ------------------------------------------------------------------------------

CHECK = HealthCheck("/health", interval=5.0)


@of_the_source
async def test_what_the_checks_say_counts_for_the_servers_of_this_upstream() -> None:
    ground = Ground(2, health_check=CHECK)
    ground.group.hear(Said(bytes([DOWN, DOWN, UP, DOWN]), 0.0), 2)
    assert await many(ground, 10) == {"a": 10}
    ground.group.hear(Said(bytes([DOWN, DOWN, UNKNOWN, UP]), 0.0), 2)
    assert await many(ground, 10) == {"a": 5, "b": 5}


@of_the_source
async def test_all_down_is_believed() -> None:
    ground = Ground(2, health_check=CHECK)
    ground.group.hear(Said(bytes([DOWN, DOWN]), 0.0), 0)
    assert await many(ground, 10) == {str(Refusal.NO_SERVER): 10}


@of_the_source
async def test_what_was_said_last_holds_for_a_while_and_then_nothing_is_known() -> None:
    """Management is dead, or speaks of another configuration."""
    for silence in (None, Said(bytes([DOWN, DOWN]), 26.0)):
        ground = Ground(2, health_check=CHECK)
        ground.group.hear(Said(bytes([DOWN, UP]), 0.0), 0)
        ground.now += 25
        ground.group.hear(silence, 0)
        assert await many(ground, 10) == {"b": 10}
        ground.now += 1
        ground.group.hear(silence, 0)
        assert await many(ground, 10) == {"a": 5, "b": 5}


@of_the_source
async def test_a_page_that_is_too_short_says_nothing_of_the_rest() -> None:
    ground = Ground(2, health_check=CHECK)
    ground.group.hear(Said(bytes([DOWN]), 0.0), 0)
    assert [member.checked_down for member in ground.members] == [True, False]
    ground.group.hear(Said(b"", 0.0), 7)
    assert len(ground.group.usable) == 2


@of_the_source
async def test_without_checks_nothing_is_heard() -> None:
    ground = Ground(2)
    ground.group.hear(Said(bytes([DOWN, DOWN]), 0.0), 0)
    assert len(ground.group.usable) == 2


@of_the_source
async def test_a_server_that_the_checks_bring_back_need_not_be_tried_and_begins_slowly() -> None:
    ground = Ground(2, health_check=CHECK, breaker=QUICK, slow_start=20.0)
    ground.down(0)
    await many(ground, 20)
    ground.group.hear(Said(bytes([DOWN, UP]), 0.0), 0)
    ground.up(0)
    ground.pass_time(20)
    assert await many(ground, 10) == {"b": 10}
    ground.group.hear(Said(bytes([UP, UP]), 0.0), 0)
    assert 1 <= (await many(ground, 110))["a"] <= 20


# -- real servers --------------------------------------------------------------------------------------------------


async def counting(connection: RecordedConnection, _: bytes) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def test_a_server_that_dies_under_traffic_costs_no_idempotent_request_and_every_answer_is_accounted_for() -> None:
    async with AsyncExitStack() as stack:
        dying, other = [await stack.enter_async_context(RecordingUpstream(counting)) for _ in range(2)]
        api = Upstream("api", tuple(Server("127.0.0.1", one.port) for one in (dying, other)))
        relay = await stack.enter_async_context(running(0, upstreams=(api,)))
        statuses: Counter[int] = Counter()

        async def call(times: int) -> None:
            client = await RawClient.connect(relay.port)
            for _ in range(times):
                await client.send(request("/open"))
                statuses[(await client.answer())[0]] += 1

        calls = [asyncio.create_task(call(50)) for _ in range(8)]
        await until(lambda: statuses.total() > 40)
        await dying.__aexit__()
        await asyncio.gather(*calls)
        assert statuses == {200: 400}
        assert len(other.requests) > 200
        assert relay.gateway.slots.taken() == 0
        assert relay.gateway.in_flight == 0
        assert relay.counters["requests"] == 400


async def test_an_answer_of_503_and_when_to_come_back_is_given_at_once_while_no_server_is_there() -> None:
    with odd_servers() as (_, _, gone):
        api = Upstream("api", gone.servers, breaker=QUICK)
        async with running(0, upstreams=(api,)) as relay:
            for _ in range(3):
                assert (await relay.ask("/open")).slug == "upstream-unreachable"
            for _ in range(10):
                answer = await relay.ask("/open")
                assert (answer.slug, answer.field(b"Retry-After")) == ("no-server", b"1")
            assert relay.counters["refused_no_server"] == 10
            at = COUNTERS.index("upstream_breaker_opened")
            await until(lambda: relay.stored[at : at + 1] == [1])


async def test_a_request_whose_body_has_left_is_not_sent_again_and_one_without_a_body_is() -> None:
    async def drop(connection: RecordedConnection, _: bytes) -> None:
        connection.cut()

    async with AsyncExitStack() as stack:
        bad, good = [await stack.enter_async_context(RecordingUpstream(one)) for one in (drop, counting)]
        api = Upstream("api", tuple(Server("127.0.0.1", one.port) for one in (bad, good)))
        relay = await stack.enter_async_context(running(0, upstreams=(api,)))
        statuses = [(await relay.ask("/open", method=b"PUT", body=b"whole")).status for _ in range(8)]
        assert sorted(statuses) == [200] * 4 + [502] * 4  # its body left with the head
        assert len(good.requests) == 4
        assert [(await relay.ask("/open", method=b"DELETE")).status for _ in range(4)] == [200] * 4
        assert len(good.requests) == 8
        assert relay.counters["upstream_retries"] == 2


async def test_a_put_whose_body_was_still_to_come_is_sent_whole_to_the_other_server() -> None:
    heads: list[bytes] = []

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.transport.abort()

    leaving = await asyncio.start_server(leave, "127.0.0.1", 0)
    async with RecordingUpstream(counting) as good:
        servers = (leaving.sockets[0].getsockname()[1], good.port)
        api = Upstream("api", tuple(Server("127.0.0.1", port) for port in servers))
        async with running(0, upstreams=(api,)) as relay:
            for _ in range(4):
                before = len(heads)
                client = await RawClient.connect(relay.port)
                await client.send(request("/open", b"Content-Length: 5", method=b"PUT"))
                await until(lambda before=before: len(heads) > before or good.connections)
                await asyncio.sleep(0.02)
                await client.send(b"whole")
                assert (await client.answer())[0] == 200
            assert 1 <= len(heads) <= 2
            assert len(good.requests) == 4
            assert all(sent.endswith(b"\r\n\r\nwhole") for sent in good.requests)
    leaving.close()


async def test_an_answer_that_never_comes_is_an_error_of_the_server_but_not_a_request_that_never_does() -> None:
    async def never(connection: RecordedConnection, _: bytes) -> None:
        await connection.closed.wait()

    rules = replace(QUICK, of_at_least=2)
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(RecordingUpstream(one)) for one in (never, counting)]
        api = Upstream("api", tuple(Server("127.0.0.1", one.port) for one in servers), breaker=rules)
        relay = await stack.enter_async_context(running(0, upstreams=(api,), limits={"request_timeout": 0.1}))
        group = relay.gateway.upstreams["api"]
        for _ in range(8):
            answer = await relay.ask("/open", b"Content-Length: 5", method=b"POST")
            assert answer.slug == "out-of-time"
        assert len(group.usable) == 2
        statuses = [(await relay.ask("/open")).status for _ in range(16)]
        assert statuses.count(504) == 4  # of the eight requests that it had then: half
        assert [member.server.port for member in group.usable] == [servers[1].port]


async def test_a_server_on_a_unix_socket_serves_beside_one_on_tcp(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 40)
    folder.mkdir()
    opened = unix.bound(folder / "api.sock")
    server = await asyncio.start_unix_server(_serve, sock=opened)
    async with RecordingUpstream() as upstream:
        api = Upstream("api", (Server("localhost", 0, unix=folder / "api.sock"), Server("127.0.0.1", upstream.port)))
        async with running(0, upstreams=(api,)) as relay:
            assert sorted([(await relay.ask("/open")).status for _ in range(6)]) == [200] * 3 + [204] * 3
            assert b"Host: localhost\r\n" in upstream.requests[0]
    server.close()


@pytest.mark.parametrize("how", ["reset", "time", "refused"])
async def test_a_request_that_ends_in_the_line_gives_slot_and_place_back(how: str) -> None:
    async def never(connection: RecordedConnection, _: bytes) -> None:
        await connection.closed.wait()

    async with RecordingUpstream(never) as upstream:
        wait = 0.05 if how == "refused" else 30.0
        api = Upstream(
            "api", (Server("127.0.0.1", upstream.port),), max_in_flight=1, queue=ServerQueue(10, wait)
        )
        limits = {"request_timeout": 0.3} if how == "time" else {}
        async with running(0, upstreams=(api,), limits=limits) as relay:
            line = relay.gateway.upstreams["api"].line
            clients = [await RawClient.connect(relay.port) for _ in range(4)]
            for client in clients:
                await client.send(request("/any/x", key=relay.key()))
            await until(lambda: upstream.requests and relay.gateway.in_flight == 4)
            assert relay.gateway.slots.taken() == 4
            if how == "reset":
                assert len(line) == 3
                for client in clients:
                    client.cut()
            else:
                slug = {"time": "out-of-time", "refused": "servers-busy"}[how]
                answers = await asyncio.gather(*(client.answer() for client in clients[1:]))
                assert {Answer(*answer).slug for answer in answers} == {slug}
                clients[0].cut()
            await until(lambda: relay.gateway.in_flight == 0)
            assert (len(line), relay.gateway.slots.taken()) == (0, 0)
            assert relay.gateway.upstreams["api"].members[0].pool.in_flight == 0
            assert len(upstream.requests) <= 4
            upstream.answer = counting
            assert (await relay.ask("/any/x", key=relay.key())).status == 200


async def test_servers_that_leave_the_settings_finish_what_they_have_and_those_that_stay_are_kept() -> None:
    go = asyncio.Event()

    async def slow(connection: RecordedConnection, sent: bytes) -> None:
        if b"/slow" in sent:
            await go.wait()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with AsyncExitStack() as stack:
        seen = [await stack.enter_async_context(RecordingUpstream(slow)) for _ in range(2)]
        servers = tuple(Server("127.0.0.1", one.port) for one in seen)
        relay = await stack.enter_async_context(running(0, upstreams=(Upstream("api", servers),)))
        clients = [await RawClient.connect(relay.port) for _ in range(4)]
        for client in clients:
            await client.send(request("/any/slow", key=relay.key()))
        await until(lambda: len(seen[0].requests) == len(seen[1].requests) == 2)
        wanted = replace(relay.gateway.settings, upstreams=(Upstream("api", servers[:1]),))
        relay.gateway.take(wanted)
        go.set()
        assert [(await client.answer())[0] for client in clients] == [200] * 4
        await until(lambda: all(one.reader.at_eof() for one in seen[1].connections))
        assert (await relay.ask("/open")).status == 200
        assert len(seen[0].connections) == 2
        assert len(seen[1].requests) == 2


# -- the gateway's own management process --------------------------------------------------------------------


@asynccontextmanager
async def answering(store: Path) -> AsyncIterator[list[bytes]]:
    """What stands where management does; the heads that it was sent."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
            except asyncio.IncompleteReadError:
                break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        writer.close()

    opened = unix.bound(unix.beside(store, "management"))
    server = await asyncio.start_unix_server(serve, sock=opened)
    try:
        yield heads
    finally:
        server.close()


CALLS = Operation(("GET",), "/calls", Needs(all_of=frozenset({"View"})), MANAGEMENT_UPSTREAM, "test", -1)


def with_calls(tmp_path: Path) -> dict[str, Any]:
    return {
        "store": tmp_path / "k.db",
        "operations": (CALLS,),
        "management_routes": ManagementRoutes(""),
        "keys": {"query_parameter": "apikey"},
    }


def identity(head: bytes) -> dict[bytes, bytes]:
    lines = [line.partition(b": ") for line in head.split(b"\r\n")]
    return {name: value for name, _, value in lines if name.lower().startswith(b"x-keystile-")}


async def test_management_is_told_who_calls_with_which_secret_and_from_where(tmp_path: Path) -> None:
    async with answering(tmp_path / "k.db") as heads, running(9, **with_calls(tmp_path)) as relay:
        secret = relay.key("View")
        forged = [b"X-Keystile-Presented: 00", b"x_keystile_address: 6.6.6.6", b"X-Keystile-Key: other"]
        for _ in range(2):
            assert (await relay.ask("/calls", *forged, key=secret)).body == b"[]"
        for head in heads:
            assert identity(head) == {
                b"X-Keystile-Account": b"owner@example.com",
                b"X-Keystile-Key": b"key1",
                b"X-Keystile-Scopes": b"View",
                b"X-Keystile-Presented": digest(secret).hex().encode(),
                b"X-Keystile-Address": b"127.0.0.1",
            }
            assert b"Host: management\r\n" in head
            assert secret not in head


async def test_the_caller_behind_a_trusted_proxy_is_the_one_that_management_is_told(tmp_path: Path) -> None:
    trusting = {**with_calls(tmp_path), "trusted_proxies": (ip_network("127.0.0.0/8"),)}
    async with answering(tmp_path / "k.db") as heads, running(9, **trusting) as relay:
        secret = relay.key("View")
        assert (await relay.ask("/calls", b"X-Forwarded-For: 6.6.6.6, 192.0.2.7", key=secret)).status == 200
        assert identity(heads[0])[b"X-Keystile-Address"] == b"192.0.2.7"


async def test_each_request_on_a_connection_tells_its_own_secret(tmp_path: Path) -> None:
    """A key in an overlap has two, and in the query neither changes the fields that are remembered."""
    async with answering(tmp_path / "k.db") as heads, running(9, **with_calls(tmp_path)) as relay:
        new, old = relay.key("View"), generate().encode()
        row = KeyRow("key1", "owner@example.com", "n", "View", "", None, digest(new), digest(old), 1e11)
        relay.keyring.put(row)
        client = await RawClient.connect(relay.port)
        for secret in (old, new, old):
            await client.send(request(f"/calls?apikey={secret.decode()}"))
            assert (await client.answer())[0] == 200
        told = [identity(head)[b"X-Keystile-Presented"] for head in heads]
        assert told == [digest(secret).hex().encode() for secret in (old, new, old)]
        relay.secrets.append(old)


async def test_other_upstreams_are_not_told_the_digest_of_a_key() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        secret = relay.key("ViewContacts")
        assert (await relay.ask(key=secret)).status == 200
        assert digest(secret).hex().encode() not in upstream.requests[0].lower()
        assert b"X-Keystile-Address" not in upstream.requests[0]


async def test_without_the_setting_nothing_leads_to_management() -> None:
    async with running(9) as relay:
        assert set(relay.gateway.upstreams) == {"api"}


async def test_refusals_of_the_services_own_calls_carry_its_member_and_others_do_not(tmp_path: Path) -> None:
    operations = (*OPERATIONS, CALLS)
    async with running(9, **{**with_calls(tmp_path), "operations": operations}) as relay:
        weak = relay.key("Other")
        for key, status in ((None, 401), (weak, 403), (relay.key("View"), 502)):
            answer = await relay.ask("/calls", key=key)
            said = json.loads(answer.body)
            assert (answer.status, said["Error"]) == (status, said["detail"])
        assert "Error" not in json.loads((await relay.ask(key=weak)).body)
        assert "Error" not in json.loads((await relay.ask("/nowhere", key=weak)).body)
