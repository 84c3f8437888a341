from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from base64 import b64encode
from collections.abc import Awaitable
from hashlib import sha1
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from keystile.config.model import (
    Certificate,
    Listener,
    Needs,
    Operation,
    Server,
    ServerQueue,
    Tls,
    Upstream,
)
from keystile.relay.gateway import request_ids
from tests.config.certificates import make
from tests.relay.running import OPERATIONS, Answer, Running, request, running, until
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

_LOCAL = ip_address("127.0.0.1")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Paced:
    """An upstream that sends an answer's head at once where the path says /part, and the rest after ``go``."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.server = RecordingUpstream(self._answer)

    async def _answer(self, connection: RecordedConnection, sent: bytes) -> None:
        if b"/part" in sent:
            await connection.send(OK[:-1])
        if b"/now" not in sent:
            await self.go.wait()
        await connection.send(OK[-1:] if b"/part" in sent else OK)


def test_request_ids_count_up_and_never_come_again() -> None:
    ids = request_ids(b"f" * 20)
    made = [next(ids) for _ in range(10_000)]
    assert made == [b"f" * 20 + b"%012x" % number for number in range(10_000)]


# -- public routes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [(), (b"X-Api-Key: bad",), (b"X-Api-Key: a", b"X-Api-Key: b")])
async def test_a_public_route_asks_for_no_key(lines: tuple[bytes, ...]) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        assert (await relay.ask("/open", *lines)).status == 200
        assert b"api-key" not in upstream.received.lower()


# -- the deadline ---------------------------------------------------------------------------------------------


async def test_the_time_of_a_request_runs_from_its_first_byte() -> None:
    paced = Paced()
    limits = {"request_timeout": 5.0, "head_timeout": 1.0}
    async with paced.server as upstream, running(upstream.port, limits=limits) as relay:
        gateway, data = relay.gateway, request("/any/x", key=relay.key())
        client = await RawClient.connect(relay.port)
        await client.send(data[:30])
        await until(lambda: len(gateway.connections) == 1)
        (connection,) = gateway.connections
        await until(lambda: len(connection._waiting) == 30)
        latest = gateway.clock.now + gateway.request_time
        await until(lambda: gateway.clock.now + gateway.request_time > latest)  # some of it passes within the head
        await client.send(data[30:])
        await until(lambda: gateway.in_flight == 1)
        assert connection.due <= latest
        # The next request on the connection has its own time, all of it.
        paced.go.set()
        assert (await client.answer())[0] == 200
        paced.go.clear()
        earliest = gateway.clock.now + gateway.request_time
        await client.send(data)
        await until(lambda: gateway.in_flight == 1)
        assert connection.due >= earliest


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"GET / HT", 408),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n", 408),
        (b"\r\n", 408),
    ],
)
async def test_a_head_must_arrive_in_time(sent: bytes, status: int | None) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, limits={"head_timeout": 0.1}) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(sent)
        rest = await client.closed()
        assert rest[9:12] == (b"%d" % status if status else b"")
        client.reset()
        await until(lambda: not relay.gateway.connections)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([b"HEAD / HTTP/1.1\r\nHo"], 408),
        ([b"HEAD / HTTP/1.1\r\nX: ", b"x" * 2000], 431),
        ([b"HEAD /", b"x" * 2000], 414),
        ([b"\r\nHEAD / HTTP/2.0\r\n\r\n"], 505),
        ([b"HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"], 400),
        ([b"HEAD /\x01 HTTP/1.1\r\n\r\n"], 400),
    ],
)
async def test_a_refused_head_request_gets_no_body_however_little_of_it_is_read(sent: list[bytes], status: int) -> None:
    limits = {"head_timeout": 0.1, "max_head_size": 1024}
    async with RecordingUpstream() as upstream, running(upstream.port, limits=limits) as relay:
        client = await RawClient.connect(relay.port)
        for part in sent:
            await client.send(part)
            await asyncio.sleep(0.01)
        answer = await client.closed()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.endswith(b"\r\n\r\n")
        assert relay.lines[-1]["method"] == "HEAD"


async def test_a_head_that_drips_is_not_given_more_time() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, limits={"head_timeout": 0.15}) as relay:
        client = await RawClient.connect(relay.port)

        async def drip() -> None:
            await client.send(b"GET / HTTP/1.1\r\n")
            while True:
                await client.send(b"A: b\r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert (await client.answer())[0] == 408
        dripping.cancel()


async def test_an_idle_connection_is_closed_after_a_while_and_not_before() -> None:
    async with RecordingUpstream() as upstream, running(
        upstream.port, limits={"idle_timeout": 0.3, "head_timeout": 0.1}
    ) as relay:
        client = await RawClient.connect(relay.port)
        for _ in range(3):
            await client.send(request("/open"))
            assert (await client.answer())[0] == 200
            await asyncio.sleep(0.15)  # longer than a head may take: idling is something else
        assert await client.closed() == b""


@pytest.mark.parametrize("path", ["/any/x", "/any/part"])
async def test_the_upstreams_part_ends_with_the_deadline(path: str) -> None:
    paced = Paced()
    async with paced.server as upstream, running(upstream.port, limits={"request_timeout": 0.2}) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request(path, key=relay.key()))
        if path == "/any/part":
            await client.reader.readuntil(b"\r\n\r\no")
            assert await client.closed() == b""
        else:
            assert (await client.answer())[0] == 504
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 5)
        assert relay.lines[0]["refusal"] == "out-of-time"
        assert relay.lines[0]["cut"] == (path == "/any/part")


# -- stopping -------------------------------------------------------------------------------------------------


async def finishes(draining: Awaitable[None], seconds: float = 30.0) -> None:
    """Stopping ends soon, though ``drain_timeout`` would allow more."""
    await asyncio.wait_for(draining, seconds)


async def test_stopping_answers_what_is_in_flight_and_closes_the_rest() -> None:
    paced = Paced()
    async with paced.server as upstream, running(upstream.port, limits={"drain_timeout": 60.0}) as relay:
        key = relay.key()
        silent, idle, busy, beginning, piped = [await RawClient.connect(relay.port) for _ in range(5)]
        await idle.send(request("/any/now", key=key))
        assert (await idle.answer())[0] == 200
        await busy.send(request("/any/x", key=key))
        await piped.send(request("/any/x", key=key) * 2)
        await beginning.send(b"GET /any/now HTTP/1.1\r\n")
        await until(lambda: relay.gateway.in_flight == 2 and len(relay.gateway.connections) == 5)
        await asyncio.sleep(0.05)
        draining = asyncio.create_task(relay.gateway.drain())
        assert await silent.closed() == b""
        assert await idle.closed() == b""
        # A request that had begun to arrive, and took its time, is told where it stands.
        await until(lambda: relay.gateway.refusing)
        await beginning.send(b"Host: a\r\n\r\n")
        told = Answer(*await beginning.answer())
        assert (told.slug, told.field(b"Connection"), told.field(b"Retry-After")) == ("draining", b"close", b"1")
        assert await beginning.closed() == b""
        with pytest.raises(ConnectionRefusedError):
            await RawClient.connect(relay.port)
        assert not draining.done()
        paced.go.set()
        for client in (busy, piped):
            last = Answer(*await client.answer())
            assert (last.status, last.field(b"Connection")) == (200, b"close")
            assert await client.closed() == b""
            client.reset()
        await finishes(draining)
        assert len(upstream.requests) == 3


async def test_a_connection_whose_answer_had_begun_closes_after_it() -> None:
    """Its head had promised another request, before stopping began."""
    paced = Paced()
    async with paced.server as upstream, running(upstream.port, limits={"drain_timeout": 60.0}) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request("/any/part", key=relay.key()))
        await client.reader.readuntil(b"\r\n\r\no")
        draining = asyncio.create_task(relay.gateway.drain())
        await asyncio.sleep(0)
        paced.go.set()
        assert await client.closed() == b"k"
        await finishes(draining)


async def test_stopping_ends_in_the_time_that_it_has() -> None:
    paced = Paced()
    async with paced.server as upstream, running(upstream.port, limits={"drain_timeout": 0.1}) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request("/any/x", key=relay.key()))
        await until(lambda: len(upstream.requests) == 1)
        await finishes(relay.gateway.drain())
        assert await client.closed() == b""
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 5)
        await until(lambda: relay.gateway.in_flight == 0)
        assert relay.gateway.slots.taken() == 0


async def test_what_is_cut_at_the_end_is_in_the_log_too() -> None:
    paced = Paced()
    async with paced.server as upstream, running(upstream.port, limits={"drain_timeout": 0.1}) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request("/any/x", key=relay.key()))
        await until(lambda: len(upstream.requests) == 1)
        await relay.gateway.drain()
        # Only what the gateway handed over itself: its process ends here.
        assert relay.channel.of(b"L").count(b'"cut":true') == 1
        assert b"key1" in relay.channel.of(b"U")


# -- faults of ours -------------------------------------------------------------------------------------------


@pytest.mark.source_only("it puts an object of its own in the place of a compiled class's")
@pytest.mark.parametrize("origin", [(), (b"Origin: https://page.example",)])
async def test_a_fault_of_ours_costs_one_request_and_no_slot(
    origin: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        key = relay.key()
        table, client = relay.gateway.table, await RawClient.connect(relay.port)

        class Broken:
            def find(self, *_: object) -> None:
                raise RuntimeError("nobody has thought of this")

            find_for_preflight = find

        relay.gateway.table = Broken()  # type: ignore[assignment]
        await client.send(request("/any/x", *origin, key=key))
        answer = Answer(*await client.answer())
        assert (answer.status, answer.slug) == (500, "internal-error")
        assert b"thought" not in answer.body
        relay.gateway.table = table
        await client.send(request("/any/x", key=key))
        assert (await client.answer())[0] == 200
        assert relay.gateway.slots.taken() == relay.gateway.in_flight == 0
        (logged,) = [entry for entry in caplog.records if entry.levelno >= logging.ERROR]
        assert (answer.field(b"X-Request-Id") or b"?").decode() in logged.getMessage()
        assert key.decode() not in caplog.text


async def test_a_task_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("of the task")

    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        relay.gateway.spawn(fail())
        await until(lambda: "of the task" in caplog.text)


async def test_the_store_is_looked_at_once_a_second() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, limits={"head_timeout": 0.1}) as relay:
        looks: list[None] = []
        follower: Any = relay.gateway.follower
        follower.check = lambda: looks.append(None)
        await until(lambda: len(looks) >= 2)


# -- listeners ------------------------------------------------------------------------------------------------


async def _secure(relay: Running, folder: Path) -> tuple[int, ssl.SSLContext]:
    certificate, private_key = make(folder)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(16)
    sock.setblocking(False)
    await relay.listen(sock, Listener("127.0.0.1", 0, Tls((Certificate(certificate, private_key),))))
    trusting = ssl.create_default_context(cafile=str(certificate))
    trusting.check_hostname = False
    return sock.getsockname()[1], trusting


async def test_a_tls_listener_serves_the_same_and_says_so(tmp_path: Path) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        port, trusting = await _secure(relay, tmp_path)
        client = RawClient(*await asyncio.open_connection("127.0.0.1", port, ssl=trusting))
        key = relay.key()
        for path, status in (("/any/x", 200), ("/v4/contacts", 403), ("/any/x", 200)):
            await client.send(request(path, key=key))
            assert (await client.answer())[0] == status
        assert b"\r\nX-Forwarded-Proto: https\r\n" in upstream.requests[0]
        assert {line["tls"] for line in relay.lines} == {"TLSv1.3"}
        assert {line["address"] for line in relay.lines} == {"127.0.0.1"}
        client.reset()
        await until(lambda: not relay.gateway.connections)


async def test_a_connection_that_another_process_accepted_is_served() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        with socket.create_server(("127.0.0.1", 0)) as other:
            theirs = socket.create_connection(other.getsockname())
            accepted, _ = other.accept()
        accepted.setblocking(False)
        theirs.setblocking(False)
        await relay.gateway.adopt(accepted, Listener("127.0.0.1", 0))
        client = RawClient(*await asyncio.open_connection(sock=theirs))
        await client.send(request("/any/x", key=relay.key()))
        assert (await client.answer())[0] == 200
        assert relay.lines[0]["address"] == "127.0.0.1"


async def test_one_request_is_answered_by_one_table() -> None:
    """What has been admitted goes on even where the table is another one by then."""
    paced = Paced()
    async with paced.server as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(request("/any/x", key=relay.key()))
        await until(lambda: len(upstream.requests) == 1)
        only = Operation(("GET",), "/other", Needs(public=True), "api", "test", 0)
        relay.gateway.table = type(relay.gateway.table)((only,))
        paced.go.set()
        assert (await client.answer())[0] == 200
        await client.send(request("/any/x", key=relay.secrets[0]))
        assert (await client.answer())[0] == 404
        assert OPERATIONS[3].path == "/any/*"


async def test_a_websocket_holds_its_place_at_its_server_as_long_as_it_is_open() -> None:
    async def take_up(connection: RecordedConnection, sent: bytes) -> None:
        key = sent.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        accept = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        await connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
        )

    ask = request(
        "/ws",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Version: 13",
    )
    row = Operation(("GET",), "/ws", Needs(public=True), "api", "test", 8, websocket=True)
    async with RecordingUpstream(take_up) as upstream:
        api = Upstream("api", (Server("127.0.0.1", upstream.port),), max_in_flight=1, queue=ServerQueue(0, 1.0))
        async with running(0, upstreams=(api,), operations=(*OPERATIONS, row)) as relay:
            pool = relay.gateway.upstreams["api"].members[0].pool
            client = await RawClient.connect(relay.port)
            await client.send(ask)
            assert (await client.answer())[0] == 101
            assert pool.in_flight == 1
            assert (await relay.ask("/open")).slug == "servers-busy"
            client.reset()
            await until(lambda: pool.in_flight == 0)
            upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            assert (await relay.ask("/open")).status == 200
