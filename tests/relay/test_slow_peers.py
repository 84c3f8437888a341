"""Slow and greedy peers: floors under rates, caps on connections and on memory, and everybody else is served."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import ExitStack
from typing import Any

import pytest

from keystile.wire.client import ClientConnection
from tests.relay.running import Answer, Running, odd_servers, request, running, until, with_upstreams
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

QUICK = {"head_timeout": 0.5, "rate_window": 0.5, "min_body_rate": 1000.0, "min_read_rate": 1000.0}


async def drip(client: RawClient, piece: bytes, pause: float = 0.05) -> None:
    """Send a little again and again, until the connection ends."""
    try:
        while True:
            await client.send(piece)
            await asyncio.sleep(pause)
    except OSError:
        return


async def slots_are_back(relay: Running) -> None:
    await until(lambda: not relay.gateway.in_flight)
    assert relay.gateway.slots.taken() == 0


# -- bodies that do not come -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "piece"),
    [(b"Content-Length: 100000", b"x"), (b"Transfer-Encoding: chunked", b"1\r\nx\r\n"),
     (b"Transfer-Encoding: chunked", b"1;" + b"extension" * 20 + b"\r\nx\r\n"), (b"Content-Length: 5", b"")],
)  # fmt: skip
async def test_a_body_that_comes_too_slowly_is_refused_and_its_slot_comes_back(field: bytes, piece: bytes) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, limits=QUICK) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request("/any/a", field, method=b"POST", key=relay.key()))
        dripping = asyncio.create_task(drip(client, piece) if piece else asyncio.sleep(0))
        answer = Answer(*await client.answer())
        assert (answer.status, answer.slug) == (408, "body-too-slow")
        await dripping
        await slots_are_back(relay)
        [line] = relay.lines
        assert (line["status"], line["refusal"]) == (408, "body-too-slow")
        assert line["milliseconds"] >= 500
        await until(lambda: upstream.connections[0].closed.is_set())


async def test_a_body_that_keeps_the_pace_is_served_however_long_it_takes() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, limits=QUICK) as relay:
        client = await RawClient.connect(relay.port)
        size = 30 * 100
        await client.send(request("/any/a", b"Content-Length: %d" % size, method=b"POST", key=relay.key()))
        for _ in range(30):
            await client.send(bytes(100))
            await asyncio.sleep(0.05)
        assert (await client.answer())[0] == 200
        assert relay.lines[0]["milliseconds"] > 1400


async def test_without_floors_a_slow_body_has_the_whole_time_of_a_request() -> None:
    limits = {**QUICK, "min_body_rate": None, "request_timeout": 2.0}
    async with RecordingUpstream() as upstream, running(upstream.port, limits=limits) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request("/any/a", b"Content-Length: 5", method=b"POST", key=relay.key()))
        assert (await client.answer())[0] == 504


async def test_a_client_is_not_blamed_for_a_server_that_does_not_read() -> None:
    with odd_servers() as (deaf, _, _):
        limits = {**QUICK, "request_timeout": 2.5}
        async with RecordingUpstream() as upstream, running(
            upstream.port, limits=limits, **with_upstreams(upstream.port, deaf)
        ) as relay:
            client = await RawClient.connect(relay.port)
            size = 64 << 20
            await client.send(request("/deaf/a", b"Content-Length: %d" % size, method=b"POST", key=relay.key()))
            sending = asyncio.create_task(drip(client, bytes(1 << 20), 0))
            await until(lambda: relay.gateway.recorder.requests == 1)
            assert relay.lines[0]["refusal"] == "out-of-time"
            sending.cancel()


async def test_a_client_is_not_blamed_while_the_server_is_being_connected_to() -> None:
    with odd_servers() as (_, full, _):
        limits = {**QUICK, "connect_timeout": 1.5}
        async with RecordingUpstream() as upstream, running(
            upstream.port, limits=limits, **with_upstreams(upstream.port, full)
        ) as relay:
            client = await RawClient.connect(relay.port)
            fields = (b"Content-Length: 5", b"Expect: 100-continue")
            await client.send(request("/full/a", *fields, method=b"POST", key=relay.key()))
            assert Answer(*await client.answer()).slug == "connect-timeout"


# -- answers that are not read ---------------------------------------------------------------------------


async def large(connection: RecordedConnection, _: bytes) -> None:
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20))
    await connection.send(bytes(64 << 20))


async def slow_reader(port: int) -> socket.socket:
    """A client with a small window that reads nothing by itself."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


@pytest.mark.parametrize("head", [b"Content-Length: %d" % (64 << 20), b"Connection: close"])
async def test_an_answer_that_is_not_read_is_cut_and_its_slot_comes_back(head: bytes) -> None:
    async def large(connection: RecordedConnection, _: bytes) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % head)
        await connection.send(bytes(64 << 20))

    async with RecordingUpstream(large) as upstream, running(upstream.port, limits=QUICK) as relay:
        with await slow_reader(relay.port) as client:
            client.sendall(request("/any/a", key=relay.key()))
            await until(lambda: relay.gateway.slots.taken() == 1)
            await slots_are_back(relay)
            [line] = relay.lines
            assert (line["status"], line["refusal"], line["cut"]) == (200, "answer-too-slow", True)
            assert line["bytes_out"] < 16 << 20
            await until(lambda: upstream.connections[0].closed.is_set())


@pytest.mark.parametrize("piece", [2048, 1 << 16])
async def test_an_answer_that_is_read_at_pace_is_not_cut(piece: int) -> None:
    """Even where it is read so slowly that the kernel's buffer has no room for more in a whole window."""
    async with RecordingUpstream(large) as upstream, running(upstream.port, limits=QUICK) as relay:
        with await slow_reader(relay.port) as client:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, request("/any/a", key=relay.key()))
            for _ in range(40):
                assert await asyncio.wait_for(loop.sock_recv(client, piece), 5)
                await asyncio.sleep(0.05)
            assert relay.gateway.in_flight == 1


# -- too many connections --------------------------------------------------------------------------------


async def test_one_address_has_as_many_connections_as_it_may_and_others_are_served() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, limits={"connections_per_ip": 3}) as relay:
        key = relay.key("ViewContacts")
        held = [await RawClient.connect(relay.port) for _ in range(3)]
        await until(lambda: len(relay.gateway.connections) == 3)
        newest = await RawClient.connect(relay.port)
        answer = Answer(*await newest.answer())
        assert (answer.status, answer.slug) == (503, "too-many-connections")
        assert answer.field(b"Connection") == b"close"
        assert answer.field(b"Retry-After") == b"1"
        assert await newest.closed() == b""
        assert (await relay.ask("/v4/contacts", key=key, source="127.0.0.2")).status == 200
        assert relay.counters["connections_too_many"] == relay.counters["refused_too_many_connections"] == 1
        held[0].reset()
        await until(lambda: len(relay.gateway.connections) == 2)
        assert (await relay.ask("/v4/contacts", key=key)).status == 200


async def test_in_all_there_are_as_many_connections_as_there_may_be() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, limits={"connections": 4}) as relay:
        clients = [await RawClient.connect(relay.port, f"127.0.0.{n}") for n in range(1, 5)]
        await until(lambda: len(relay.gateway.connections) == 4)
        newest = await RawClient.connect(relay.port, "127.0.0.9")
        assert Answer(*await newest.answer()).slug == "too-many-connections"
        for client in clients:
            client.reset()
        await until(lambda: not relay.gateway.crowd.present)


async def test_a_trusted_proxy_is_not_counted_by_address() -> None:
    trusted = (ipaddress.ip_network("127.0.0.0/8"),)
    async with RecordingUpstream() as upstream, running(
        upstream.port, limits={"connections_per_ip": 1}, trusted_proxies=trusted
    ) as relay:
        clients = [await RawClient.connect(relay.port) for _ in range(10)]
        for client in clients:
            await client.send(request("/v4/contacts", key=relay.key("ViewContacts")))
            assert (await client.answer())[0] == 200


async def test_nothing_is_left_of_ten_thousand_visits() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, limits={"connections_per_ip": 5}) as relay:
        for _ in range(50):
            clients = [await RawClient.connect(relay.port, f"127.0.0.{n}") for n in range(1, 9)]
            for client in clients:
                client.cut()
        await until(lambda: not relay.gateway.connections)
        assert (relay.gateway.crowd.present, len(relay.gateway.crowd)) == (0, 0)


# -- memory ----------------------------------------------------------------------------------------------


async def test_who_holds_most_memory_is_cut_first_and_only_as_many_as_must() -> None:
    limits: dict[str, Any] = {"max_buffered": 1 << 20, "min_read_rate": None}
    async with RecordingUpstream(large) as upstream, running(upstream.port, limits=limits) as relay:
        with ExitStack() as sockets:
            for _ in range(8):
                sockets.enter_context(client := await slow_reader(relay.port))
                client.sendall(request("/any/a", key=relay.key()))
            small = await RawClient.connect(relay.port, "127.0.0.2")
            await small.send(b"GET / HTTP/1.1\r\n")
            connections = relay.gateway.connections
            await until(lambda: relay.gateway.recorder.cut_for_memory > 0, 10)
            await until(lambda: sum(map(ClientConnection.held_bytes, connections)) <= 1 << 20)
            assert any(client.peer.text == "127.0.0.2" for client in connections)
            assert 4 <= len(connections) == 9 - relay.counters["connections_cut_for_memory"]
            assert relay.counters["cut"] == relay.counters["connections_cut_for_memory"]


async def test_what_is_held_in_memory_is_told() -> None:
    async with RecordingUpstream(large) as upstream, running(upstream.port, limits={"min_read_rate": None}) as relay:
        with await slow_reader(relay.port) as client:
            client.sendall(request("/any/a", key=relay.key()))
            await until(lambda: relay.counters["bytes_held"] > 0)
            assert relay.counters["bytes_held"] < 1 << 20


async def test_a_server_connection_whose_answer_was_read_slowly_serves_the_next_request() -> None:
    """Reading is paused while the client does not read; after the answer's last piece it must go on again."""
    body = bytes(200_000)
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def answer(connection: RecordedConnection, asked: bytes) -> None:
        await connection.send(large if b"/any/large" in asked else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with RecordingUpstream(answer) as upstream, running(upstream.port) as relay:
        with await slow_reader(relay.port) as slow:
            await until(lambda: relay.gateway.connections)
            [served] = relay.gateway.connections
            served.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(slow, request("/any/large", key=relay.key()))
            await until(lambda: served.paused)
            await asyncio.sleep(0.05)  # what is left of the answer has come, and is read in one piece
            got = 0
            while got < len(body):
                got += len(await asyncio.wait_for(loop.sock_recv(slow, 20_000), 5))
        other = await RawClient.connect(relay.port)
        await other.send(request("/any/small", key=relay.key()))
        assert Answer(*await other.answer()).body == b"ok"
        assert len(upstream.connections) == 1
