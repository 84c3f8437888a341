from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from keystile.config.model import MANAGEMENT_UPSTREAM, ManagementRoutes, Needs, Operation, Server, Upstream
from keystile.keys.keyring import KeyRow
from keystile.keys.secret import digest, generate
from keystile.relay.upstreams import host_field
from keystile.wire import unix
from tests.relay.running import OPERATIONS, odd_servers, request, running, until
from tests.wire.peers import RawClient, RecordingUpstream


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
        row = KeyRow("key1", "owner@example.com", "n", "View", "", None, digest(new), 0, digest(old), 1e11, 0)
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
