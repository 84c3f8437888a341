from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest

from keystile.config.model import Server, Upstream
from keystile.relay.upstreams import UpstreamGroup
from tests.relay.running import odd_servers, request, running, until
from tests.wire.peers import RawClient, RecordingUpstream


@pytest.mark.parametrize(
    ("server", "field"),
    [
        (Server("api.internal", 80), b"api.internal"),
        (Server("api.internal", 8080), b"api.internal:8080"),
        (Server("::1", 80), b"[::1]"),
        (Server("::1", 9000), b"[::1]:9000"),
        (Server("10.0.0.1", 443), b"10.0.0.1:443"),
    ],
)
async def test_the_host_field_is_the_servers_own_name(server: Server, field: bytes) -> None:
    assert UpstreamGroup(Upstream("api", (server,)), 1.0).host_field == field


async def test_servers_take_turns() -> None:
    group = UpstreamGroup(Upstream("api", tuple(Server("a", port) for port in (1, 2, 3))), 1.0)
    turns = [group.next_pool().port for _ in range(6)]
    assert sorted(turns[:3]) == [1, 2, 3]
    assert turns[3:] == turns[:3]
    for _ in range(4):
        assert sorted(pool.port for pool in group.in_turn()) == [1, 2, 3]


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
