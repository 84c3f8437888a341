"""Turns: however fast its bytes come, a connection has a row of reads in each; and who does not read is not woken."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from keystile.config.model import Certificate, Listener, Needs, Operation, Server, Tls, Upstream, UpstreamTls
from keystile.relay.gateway import Gateway
from keystile.wire.turns import LONG_READ, ROW, long_read
from tests.e2e.running import make_certificate, trusting
from tests.relay.running import OPERATIONS, Running, running
from tests.wire.transports import ANSWERED, KeepingApplication, KeptTransport, carried, connected

MIB = 1 << 20
SIZE = 32 * MIB
BUFFER = 256_000
"""What uvloop reads at once."""
PIECE = bytes(MIB)
OPEN = Operation((), "/bodies", Needs(public=True), "api", "test", 50)
LONG = b"x" * LONG_READ
SHORT = b"x" * (LONG_READ - 1)


class Turns:
    """The most bytes that exchanges passed on in one turn of the loop."""

    def __init__(self, gateway: Gateway) -> None:
        self.most = 0
        self.all = 0
        self.is_over = False
        self._gateway = gateway
        self._before = 0
        self._tick()

    def _tick(self) -> None:
        served = [cast(Any, client.served) for client in self._gateway.connections]
        passed = sum(exchange.bytes_in + exchange.bytes_out for exchange in served if exchange is not None)
        self.most, self._before = max(self.most, passed - self._before), passed
        self.all = max(self.all, passed)
        if not self.is_over:
            asyncio.get_running_loop().call_soon(self._tick)


class Api:
    """The API, in a thread: it takes a body and answers it with one. Pieces leave as fast as they are taken."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            accepted, _ = self._listening.accept()
            with over_tls(accepted, self._context, server_side=True) as connection:
                read_body(connection, SIZE if read_head(connection).startswith(b"POST") else 0)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % SIZE)
                send_body(connection)

    def close(self) -> None:
        self._listening.close()


def over_tls(connection: socket.socket, context: ssl.SSLContext | None, *, server_side: bool) -> socket.socket:
    connection.settimeout(60)
    if context is None:
        return connection
    name = None if server_side else "localhost"
    return context.wrap_socket(connection, server_side=server_side, server_hostname=name)


def read_head(connection: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += received(connection, 1)
    return head


def read_body(connection: socket.socket, left: int) -> None:
    while left:
        left -= len(received(connection, min(left, MIB)))


def received(connection: socket.socket, most: int) -> bytes:
    data = connection.recv(most)
    if not data:
        raise ConnectionError("cut")
    return data


def send_body(connection: socket.socket) -> None:
    for _ in range(SIZE // len(PIECE)):
        connection.sendall(PIECE)


def call(port: int, method: bytes, context: ssl.SSLContext | None) -> int:
    """Send a body where there is one, read the answer; its status."""
    with over_tls(socket.create_connection(("127.0.0.1", port)), context, server_side=False) as connection:
        size = SIZE if method == b"POST" else 0
        connection.sendall(b"%b /bodies HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (method, size))
        if size:
            send_body(connection)
        status = int(read_head(connection)[9:12])
        read_body(connection, SIZE)
    return status


@asynccontextmanager
async def relay_of(api: Api, listener: Listener, trust: UpstreamTls | None) -> AsyncIterator[Running]:
    server = Server("127.0.0.1", api.port, tls=trust is not None)
    upstream = Upstream("api", (server,), tls=trust)
    operations = (OPEN, *OPERATIONS)
    async with running(api.port, operations=operations, listeners=(listener,), upstreams=(upstream,)) as relay:
        yield relay


@pytest.mark.parametrize("secured", ["nobody", "client", "upstream"])
@pytest.mark.parametrize("method", [b"POST", b"GET"])
async def test_nobody_has_more_of_a_turn_than_a_row(tmp_path: Path, method: bytes, secured: str) -> None:
    chain, key = make_certificate(tmp_path)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(chain, key)
    api = Api(served if secured == "upstream" else None)
    tls = Tls((Certificate(chain, key),)) if secured == "client" else None
    trust = UpstreamTls(ca=chain) if secured == "upstream" else None
    try:
        async with relay_of(api, Listener("127.0.0.1", 0, tls=tls), trust) as relay:
            turns = Turns(relay.gateway)
            context = trusting(chain) if secured == "client" else None
            assert await asyncio.to_thread(call, relay.port, method, context) == 200
            turns.is_over = True
    finally:
        api.close()
    assert turns.all > SIZE // 2  # it has seen what happened
    assert turns.most <= 5 * BUFFER  # four after the one with the head; without turns eight megabytes


class Reading:
    """What reads from ``transport``."""

    def __init__(self) -> None:
        self.deaf = False
        self.row = 0
        self.transport = KeptTransport()

    def read(self, times: int = ROW) -> None:
        for _ in range(times):
            long_read(self, self.transport)


async def test_the_last_of_a_row_is_the_last_of_its_turn_and_reading_goes_on_in_the_next() -> None:
    reading = Reading()
    for _ in range(2):
        reading.read(ROW - 1)
        assert reading.transport.is_reading()
        reading.read(1)
        assert not reading.transport.is_reading()
        await asyncio.sleep(0)
        assert reading.transport.is_reading()


async def test_who_does_not_read_is_not_woken() -> None:
    reading = Reading()
    reading.read()
    reading.deaf = True  # by what was read
    await asyncio.sleep(0)
    assert not reading.transport.is_reading()


async def test_who_has_ended_is_left_alone() -> None:
    reading = Reading()
    reading.read()
    reading.transport.close()
    await asyncio.sleep(0)
    assert not reading.transport.is_reading()


PIECES = pytest.mark.parametrize(("data", "pauses"), [(LONG, True), (SHORT, False)])


@PIECES
async def test_a_body_from_a_client(data: bytes, pauses: bool) -> None:
    client, transport = connected(KeepingApplication())
    client.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
    for _ in range(ROW):
        assert transport.is_reading()
        client.data_received(data)
    assert transport.is_reading() is not pauses
    await asyncio.sleep(0)
    assert transport.is_reading()


async def test_a_body_whose_end_ends_the_connection() -> None:
    client, transport = connected(KeepingApplication())
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (ROW * len(LONG))
    client.data_received(head)
    for _ in range(ROW):
        client.data_received(LONG)
    assert transport.ended
    await asyncio.sleep(0)
    assert not transport.is_reading()


async def test_a_body_whose_end_is_the_last_of_a_row_is_followed_by_the_next_request() -> None:
    application = KeepingApplication()
    client, transport = connected(application)
    client.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (ROW * len(LONG)))
    for _ in range(ROW):
        client.data_received(LONG)
    assert (transport.sent, transport.is_reading()) == (ANSWERED, False)
    await asyncio.sleep(0)
    assert transport.is_reading()
    client.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert transport.sent == 2 * ANSWERED


async def test_a_server_whose_answers_end_is_the_last_of_a_row_is_read_when_it_is_used_again() -> None:
    one, other = socket.socketpair()
    with one, other:
        upstream, transport, answer, pool = carried(one)
        upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (ROW * len(LONG)))
        for _ in range(ROW):
            upstream.data_received(LONG)
        assert (answer.outcome, pool.given_back, transport.is_reading()) == ("whole", [upstream], False)
        await asyncio.sleep(0)
        assert transport.is_reading()


class KeptTunnel:
    """What a tunnel got."""

    def __init__(self) -> None:
        self.got = b""

    def from_client(self, data: bytes) -> None:
        self.got += data

    def client_done(self) -> bool:
        return False


@PIECES
async def test_bytes_through_a_tunnel(data: bytes, pauses: bool) -> None:
    client, transport = connected(KeepingApplication())
    tunnel = KeptTunnel()
    client.open_tunnel(tunnel)
    for _ in range(ROW):
        assert transport.is_reading()
        client.data_received(data)
    assert transport.is_reading() is not pauses
    assert tunnel.got == ROW * data
    await asyncio.sleep(0)
    assert transport.is_reading()


@PIECES
async def test_a_body_from_a_server(data: bytes, pauses: bool) -> None:
    one, other = socket.socketpair()
    with one, other:
        upstream, transport, _, _ = carried(one)
        upstream.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(ROW):
            assert transport.is_reading()
            upstream.data_received(data)
        assert transport.is_reading() is not pauses
        await asyncio.sleep(0)
        assert transport.is_reading()
