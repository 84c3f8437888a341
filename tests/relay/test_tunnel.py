"""WebSockets: a tunnel where a route serves them and both sides agree, and an ordinary exchange everywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keystile.config.model import Certificate, Listener, Needs, Operation, Tls
from keystile.keys import secret as secrets
from keystile.keys.keyring import KeyRow
from keystile.relay import tunnel as tunnels
from keystile.wire import client as client_module
from keystile.wire.client import PIPELINE_BOUND
from keystile.wire.websocket import accept_for
from tests.e2e.running import make_certificate, trusting
from tests.relay.running import OPERATIONS, Answer, Running, request, running, until
from tests.wire.peers import RawClient, RecordingUpstream

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Key: " + KEY,
    b"Sec-WebSocket-Version: 13",
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + accept_for(KEY) + b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
)
FRAME = b"\x81\x85\x00\x00\x00\x00hello"
HIDDEN = b"GET /any/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
ROUTES = (
    Operation(("GET", "POST"), "/ws", Needs(all_of=frozenset({"Listen"})), "api", "test", 50, websocket=True),
    Operation((), "/open-ws", Needs(public=True), "api", "test", 51, websocket=True),
    *OPERATIONS,
)


def opening(path: str = "/ws", *more: bytes, **how: Any) -> bytes:
    return request(path, *HANDSHAKE, *more, **how)


class SocketServer:
    """An upstream that answers requests with ``first`` and keeps what comes after the head of each connection."""

    def __init__(self, first: bytes = SWITCHED) -> None:
        self.first = first
        self.connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.heads: list[bytes] = []
        self.arrived: list[bytearray] = []
        self.ended: list[bool] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.closes_too = True  # when the other side has closed
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.connections)
        self.connections.append((reader, writer))
        self.arrived.append(bytearray())
        self.ended.append(False)
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            answering = asyncio.create_task(self._answer(writer))
            while data := await reader.read(65536):
                self.arrived[number] += data
            self.ended[number] = True
            await answering
            if self.closes_too:
                writer.close()
        except (OSError, asyncio.IncompleteReadError):
            self.ended[number] = True

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        await self.may_answer.wait()
        writer.write(self.first)

    def send(self, data: bytes, number: int = -1) -> None:
        self.connections[number][1].write(data)

    def close(self, number: int = -1) -> None:
        self.connections[number][1].close()


@asynccontextmanager
async def serving(first: bytes = SWITCHED, **changes: Any) -> AsyncIterator[tuple[Running, SocketServer, bytes]]:
    """A relay in front of a server of WebSockets, and a key for them."""
    upstream = SocketServer(first)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.port = server.sockets[0].getsockname()[1]
    changes.setdefault("operations", ROUTES)
    try:
        async with running(upstream.port, **changes) as relay:
            yield relay, upstream, relay.key("Listen", "ViewContacts")
    finally:
        server.close()
        for _, writer in upstream.connections:
            writer.transport.abort()
        await asyncio.sleep(0)


async def opened(relay: Running, key: bytes, more: bytes = b"", source: str | None = None) -> RawClient:
    """A client whose WebSocket is open."""
    client = await RawClient.connect(relay.port, source)
    await client.send(opening(key=key) + more)
    status, _, _ = await client.answer()
    assert status == 101
    return client


async def is_over(relay: Running) -> None:
    """Every slot is back, and nothing is left of a tunnel."""
    await until(lambda: not relay.gateway.in_flight and not relay.gateway.tunnels)
    assert relay.gateway.slots.taken() == 0


async def the_line(relay: Running) -> dict[str, Any]:
    await is_over(relay)
    [line] = relay.lines
    return line


# -- open ----------------------------------------------------------------------------------------------


async def test_bytes_go_both_ways_as_they_are() -> None:
    async with serving() as (relay, upstream, key):
        client = await RawClient.connect(relay.port)
        more = (b"Sec-WebSocket-Protocol: chat", b"Sec-WebSocket-Extensions: x")
        await client.send(opening("/ws?room=1", *more, key=key))
        answer = Answer(*await client.answer())
        assert answer.status == 101
        assert (answer.field(b"Upgrade"), answer.field(b"Connection")) == (b"websocket", b"Upgrade")
        assert answer.field(b"Sec-WebSocket-Accept") == accept_for(KEY)
        assert answer.field(b"Sec-WebSocket-Protocol") == b"chat"
        assert answer.field(b"Content-Length") is None
        sent = FRAME + bytes(range(256)) + HIDDEN
        await client.send(sent)
        await until(lambda: upstream.arrived[0] == sent)
        upstream.send(b"HTTP/1.1 200 OK\r\n\r\n" + FRAME)
        assert await client.reader.readexactly(19 + len(FRAME)) == b"HTTP/1.1 200 OK\r\n\r\n" + FRAME
        head = Answer(0, upstream.heads[0], b"")
        assert head.head.startswith(b"GET /ws?room=1 HTTP/1.1\r\n")
        assert (head.fields(b"Upgrade"), head.fields(b"Connection")) == ([b"websocket"], [b"Upgrade"])
        assert head.fields(b"Sec-WebSocket-Key") == [KEY]
        assert head.field(b"X-Keystile-Account") == b"owner@example.com"
        assert key not in upstream.heads[0]


async def test_it_is_one_exchange_that_holds_its_slot_and_ends_once() -> None:
    async with serving(limits={"concurrent_requests_per_ip": 1}) as (relay, upstream, key):
        client = await opened(relay, key)
        assert relay.gateway.slots.taken() == 1
        assert (await relay.ask("/v4/contacts", key=key)).status == 429
        await client.send(FRAME)
        await until(lambda: upstream.arrived[0] == FRAME)
        upstream.send(FRAME * 2)
        await client.reader.readexactly(2 * len(FRAME))
        assert relay.counters["websockets_open"] == 1
        await client.close()
        await is_over(relay)
        lines = [line for line in relay.lines if line["status"] == 101]
        assert [(line["bytes_in"], line["bytes_out"], line["cut"], line["refusal"]) for line in lines] == [
            (len(FRAME), 2 * len(FRAME), False, None)
        ]
        counters = relay.counters
        assert (counters["websockets"], counters["websockets_open"], counters["status_1xx"]) == (1, 0, 1)


async def test_a_public_route_may_serve_one() -> None:
    async with serving() as (relay, upstream, _):
        client = await RawClient.connect(relay.port)
        await client.send(opening("/open-ws"))
        assert (await client.answer())[0] == 101
        await client.send(FRAME)
        await until(lambda: upstream.arrived[0] == FRAME)


@pytest.mark.parametrize("key_scopes", [(), ("ViewContacts",)])
async def test_it_is_admitted_like_any_request(key_scopes: tuple[str, ...]) -> None:
    async with serving() as (relay, upstream, _):
        assert (await relay.ask("/ws", *HANDSHAKE)).status == 401
        assert (await relay.ask("/ws", *HANDSHAKE, key=relay.key(*key_scopes))).status == 403
        assert (await relay.ask("/ws", *HANDSHAKE, key=relay.key("Listen", networks=["192.0.2.1"]))).status == 403
        assert upstream.connections == []


async def test_bytes_that_came_with_the_101_and_before_it_are_the_tunnels_first() -> None:
    async with serving(SWITCHED + FRAME) as (relay, upstream, key):
        upstream.may_answer.clear()
        client = await RawClient.connect(relay.port)
        await client.send(opening(key=key) + HIDDEN)
        await until(lambda: upstream.heads)
        await client.send(FRAME)
        await asyncio.sleep(0.05)
        assert upstream.arrived[0] == b"", "bytes went on before the server had switched"
        upstream.may_answer.set()
        assert (await client.answer())[0] == 101
        assert await client.reader.readexactly(len(FRAME)) == FRAME
        await until(lambda: upstream.arrived[0] == HIDDEN + FRAME)
        assert len(upstream.connections) == 1


async def test_what_comes_before_the_101_is_bounded() -> None:
    async with serving() as (relay, upstream, key):
        upstream.may_answer.clear()
        client = await RawClient.connect(relay.port)
        await client.send(opening(key=key))
        await until(lambda: upstream.heads)
        early = bytes(4 << 20)
        sending = asyncio.create_task(client.send(early))
        [served] = relay.gateway.connections
        await until(lambda: served.deaf)
        assert PIPELINE_BOUND < served.held_bytes() < PIPELINE_BOUND + (1 << 19)
        upstream.may_answer.set()
        assert (await client.answer())[0] == 101
        await sending
        await until(lambda: len(upstream.arrived[0]) == len(early))


# -- not asked for, not granted --------------------------------------------------------------------------


async def test_where_the_route_does_not_say_so_upgrade_is_left_out() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, operations=ROUTES) as relay:
        answer = await relay.ask("/any/ws", *HANDSHAKE, key=relay.key())
        assert answer.status == 200
        [received] = upstream.requests
        assert b"pgrade" not in received


@pytest.mark.parametrize(
    "fields",
    [
        (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
        (b"Connection: Upgrade", b"Upgrade: websocket, h2c"),
        (b"Connection: Upgrade", b"Upgrade: h2c, websocket"),
        (b"Connection: Upgrade", b"Upgrade: TLS/1.0"),
        (b"Upgrade: websocket", b"Sec-WebSocket-Key: " + KEY, b"Sec-WebSocket-Version: 13"),
        (b"Connection: keep-alive", *HANDSHAKE[1:]),
    ],
)
async def test_other_upgrades_are_ordinary_requests(fields: tuple[bytes, ...]) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, operations=ROUTES) as relay:
        answer = await relay.ask("/ws", *fields, key=relay.key("Listen"))
        assert answer.status == 200
        [received] = upstream.requests
        assert b"pgrade" not in received
        assert b"HTTP2-Settings" not in received


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (opening(method=b"POST", key=b"<key>", body=b"hello"), [400]),
        (opening(method=b"POST", key=b"<key>"), [400]),
        (opening(key=b"<key>", body=b"") + HIDDEN, [101]),
        (opening("/ws", b"Content-Length: %d" % len(HIDDEN), key=b"<key>") + HIDDEN, [400]),
        (opening("/ws", b"Transfer-Encoding: chunked", key=b"<key>") + b"0\r\n\r\n" + HIDDEN, [400]),
        (opening("/ws", b"Expect: 100-continue", key=b"<key>"), [400]),
        (opening("/ws", b"Sec-WebSocket-Key: " + KEY, key=b"<key>") + HIDDEN, [400]),
        (opening("/ws", b"Sec_WebSocket_Key: " + KEY, key=b"<key>"), [400]),
        (opening("/ws", b"Connection: Sec-WebSocket-Key", key=b"<key>"), [400]),
        (opening(key=b"<key>").replace(KEY, b"short"), [400]),
        (opening(key=b"<key>").replace(b"-Version: 13", b"-Version: 777"), [426]),
        (opening(key=b"<key>").replace(b"-Version: 13", b"-Version: 13\r\nSec-WebSocket-Version: 8"), [400]),
    ],
)
async def test_a_handshake_that_is_not_whole_reaches_nobody(sent: bytes, statuses: list[int]) -> None:
    async with serving() as (relay, upstream, key):
        client = await RawClient.connect(relay.port)
        await client.send(sent.replace(b"<key>", key))
        answer = Answer(*await client.answer())
        assert [answer.status] == statuses
        if answer.status == 426:
            assert answer.field(b"Sec-WebSocket-Version") == b"13"
        if answer.status != 101:
            assert await client.closed() == b"", "what came behind it was read as a request"
            assert not any(b"pgrade" in head for head in upstream.heads)


OK = b"HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n" % accept_for(KEY)


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno", 400),
        (b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n", 426),
        (OK + b"Content-Length: 2\r\n\r\nok", 200),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404),
    ],
)
async def test_any_other_answer_is_an_ordinary_one_and_nothing_of_the_client_is_read_behind_it(
    first: bytes, status: int
) -> None:
    async with serving(first) as (relay, upstream, key):
        client = await RawClient.connect(relay.port)
        behind = request("/v4/contacts", key=key)
        await client.send(opening(key=key) + behind)
        answer = Answer(*await client.answer())
        assert answer.status == status
        assert answer.field(b"Connection") == b"close"
        assert answer.field(b"Upgrade") is None
        await client.send(behind)
        assert await client.closed() == b""
        await is_over(relay)
        assert len(upstream.connections) == 1
        assert upstream.arrived[0] == b""


@pytest.mark.parametrize(
    "first",
    [
        SWITCHED.replace(accept_for(KEY), b"x" * 28),
        SWITCHED.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        SWITCHED.replace(b"Connection: Upgrade", b"Connection: keep-alive"),
        SWITCHED.replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    ],
)
async def test_a_101_that_does_not_answer_what_was_asked_is_a_broken_upstream(first: bytes) -> None:
    async with serving(first) as (relay, upstream, key):
        client = await RawClient.connect(relay.port)
        await client.send(opening(key=key) + HIDDEN)
        answer = Answer(*await client.answer())
        assert (answer.status, answer.slug) == (502, "upstream-broken")
        await until(lambda: upstream.ended[0])
        assert upstream.arrived[0] == b""
        await client.closed()
        await is_over(relay)


async def test_a_101_to_an_ordinary_request_on_such_a_route_is_a_broken_upstream() -> None:
    async with serving() as (relay, _upstream, key):
        answer = await relay.ask("/ws", *HANDSHAKE[2:], key=key)
        assert (answer.status, answer.slug) == (502, "upstream-broken")


async def test_1xx_before_the_101_are_passed_on() -> None:
    async with serving(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + SWITCHED) as (relay, _, key):
        client = await RawClient.connect(relay.port)
        await client.send(opening(key=key))
        assert [(await client.answer())[0] for _ in range(2)] == [103, 101]


# -- back-pressure ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_server", [True, False])
async def test_nothing_is_collected_for_a_side_that_does_not_read(to_server: bool) -> None:
    async with serving() as (relay, upstream, key):
        client = await opened(relay, key)
        server_reader, server_writer = upstream.connections[0]
        writer = client.writer if to_server else server_writer
        reader = server_reader if to_server else client.reader
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        total = 32 << 20
        writer.write(bytes(total))
        [served] = relay.gateway.connections
        [tunnel] = relay.gateway.tunnels
        if to_server:
            await until(lambda: served.deaf)
        else:
            await until(lambda: served.paused)
        await asyncio.sleep(0.1)
        assert 0 < served.held_bytes() < 1 << 20
        assert tunnel.exchange.bytes_in + tunnel.exchange.bytes_out < total
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        if to_server:
            await until(lambda: len(upstream.arrived[0]) == total, 20)
        else:
            assert len(await client.reader.readexactly(total)) == total


# -- ends ------------------------------------------------------------------------------------------------


async def test_when_the_server_closes_the_client_gets_all_and_then_the_end() -> None:
    async with serving() as (relay, upstream, key):
        client = await opened(relay, key)
        upstream.send(FRAME * 1000)
        upstream.close()
        assert await client.closed() == FRAME * 1000
        assert (await the_line(relay))["cut"] is False


async def test_a_client_that_reads_slowly_gets_all_that_the_server_sent_before_it_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "LINGER_SECONDS", 0.1)
    async with serving(limits={"head_timeout": 0.5}) as (relay, upstream, key):
        client = await opened(relay, key)
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        total = 24 << 20
        upstream.send(bytes(total))
        upstream.close()
        [served] = relay.gateway.connections
        await until(lambda: served.paused)
        for _ in range(20):  # as long as the end is not known here, the rest still lies at the server
            assert relay.gateway.tunnels
            await asyncio.sleep(0.05)
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await client.reader.readexactly(total - (1 << 16))) == total - (1 << 16)
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(1.0)
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert await client.closed() == bytes(1 << 16)
        await is_over(relay)


async def test_when_the_server_breaks_off_the_client_is_told() -> None:
    async with serving() as (relay, upstream, key):
        client = await opened(relay, key)
        upstream.connections[0][1].transport.abort()
        assert await client.closed() == b""
        await is_over(relay)


async def test_when_the_client_has_sent_all_the_server_may_answer_on() -> None:
    async with serving() as (relay, upstream, key):
        client = await opened(relay, key)
        upstream.closes_too = False
        await client.send(FRAME)
        client.writer.write_eof()
        await until(lambda: upstream.ended[0])
        assert upstream.arrived[0] == FRAME
        upstream.send(FRAME)
        assert await client.reader.readexactly(len(FRAME)) == FRAME
        assert relay.gateway.tunnels
        upstream.close()
        assert await client.closed() == b""
        await is_over(relay)


@pytest.mark.source_only("it changes a constant, which compiled code has in place")
async def test_after_a_half_close_the_server_has_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels, "HALF_CLOSED_SECONDS", 0.2)
    async with serving(limits={"head_timeout": 1.0}) as (relay, upstream, key):
        client = await opened(relay, key)
        upstream.closes_too = False
        client.writer.write_eof()
        await until(lambda: upstream.ended[0])
        assert await client.closed() == b""
        assert (await the_line(relay))["refusal"] == "out-of-time"


async def test_when_the_client_vanishes_the_server_is_told() -> None:
    async with serving() as (relay, upstream, key):
        client = await opened(relay, key)
        client.cut()
        await until(lambda: upstream.ended[0])
        await is_over(relay)


async def test_the_whole_time_of_a_tunnel_is_bounded() -> None:
    async with serving(limits={"websocket_timeout": 0.4}) as (relay, upstream, key):
        client = await opened(relay, key)
        sending = asyncio.create_task(_keep_busy(upstream))
        await client.closed()
        sending.cancel()
        line = await the_line(relay)
        assert (line["refusal"], line["cut"], line["status"]) == ("out-of-time", True, 101)
        assert line["milliseconds"] >= 400


async def test_a_tunnel_in_which_nothing_moves_ends_and_a_busy_one_does_not() -> None:
    async with serving(limits={"websocket_idle_timeout": 0.4}) as (relay, upstream, key):
        idle = await opened(relay, key)
        busy = await opened(relay, key)
        sending = asyncio.create_task(_keep_busy(upstream))
        await idle.closed()
        assert len(relay.gateway.tunnels) == 1
        for _ in range(8):
            assert await busy.reader.read(100)
        sending.cancel()
        await busy.closed()
        await is_over(relay)


async def _keep_busy(upstream: SocketServer) -> None:
    while True:
        upstream.send(FRAME)
        await asyncio.sleep(0.1)


async def test_a_requests_own_time_is_not_the_tunnels() -> None:
    async with serving(limits={"request_timeout": 0.3, "idle_timeout": 0.3, "head_timeout": 0.3}) as (relay, _, key):
        client = await opened(relay, key)
        began = relay.gateway.clock.now
        await until(lambda: relay.gateway.clock.now > began + 0.9)
        assert relay.gateway.tunnels
        await client.close()


async def test_the_rates_of_bodies_and_answers_are_not_a_tunnels() -> None:
    async with serving(limits={"rate_window": 0.2, "min_body_rate": 1e9, "min_read_rate": 1e9}) as (relay, up, key):
        client = await opened(relay, key)
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        up.send(bytes(16 << 20))
        [served] = relay.gateway.connections
        await until(lambda: served.paused)
        for _ in range(3):
            served.look()
            await asyncio.sleep(0.3)
        assert relay.gateway.tunnels


async def test_when_the_relay_stops_tunnels_have_the_time_of_a_drain() -> None:
    async with serving(limits={"drain_timeout": 0.5}) as (relay, upstream, key):
        client = await opened(relay, key)
        draining = asyncio.create_task(relay.gateway.drain())
        await asyncio.sleep(0.1)
        await client.send(FRAME)
        await until(lambda: upstream.arrived[0] == FRAME)
        await draining
        assert await client.closed() == b""
        await is_over(relay)


# -- keys ------------------------------------------------------------------------------------------------


async def _ends_when(change: Any, slug: str, **key_of: Any) -> None:
    async with serving() as (relay, upstream, _):
        key = relay.key("Listen", **key_of)
        other = relay.key("Listen")
        client, stays = await opened(relay, key), await opened(relay, other)
        change(relay, key)
        await asyncio.wait_for(client.closed(), 3)
        await until(lambda: len(relay.gateway.tunnels) == 1)
        [line] = relay.lines
        assert (line["refusal"], line["cut"]) == (slug, True)
        await stays.send(FRAME)
        await until(lambda: upstream.arrived[1] == FRAME)


def _edit(
    relay: Running, key: bytes, *, scopes: str = "Listen", networks: str = "", expires: float | None = None
) -> None:
    old = relay.keyring.find(secrets.digest(key), 0.0)
    assert old is not None
    relay.keyring.put(
        KeyRow(id=old.id, account="owner@example.com", name="renamed", digest=secrets.digest(key), scopes=scopes,
               networks=networks, expires=expires)
    )  # fmt: skip


def _delete(relay: Running, key: bytes) -> None:
    old = relay.keyring.find(secrets.digest(key), 0.0)
    assert old is not None
    relay.keyring.remove(old.id)


async def test_a_deleted_key_does_not_live_on_in_a_tunnel() -> None:
    await _ends_when(_delete, "invalid-api-key")


async def test_a_key_that_has_expired_does_not_live_on_in_a_tunnel() -> None:
    await _ends_when(lambda relay, key: _edit(relay, key, expires=1.0), "invalid-api-key")


async def test_a_key_that_has_lost_the_scope_does_not_live_on_in_a_tunnel() -> None:
    await _ends_when(lambda relay, key: _edit(relay, key, scopes="Other"), "scope-missing")


async def test_a_key_that_may_not_be_used_from_there_any_more_does_not_live_on_in_a_tunnel() -> None:
    await _ends_when(lambda relay, key: _edit(relay, key, networks="192.0.2.0/24"), "address-not-allowed")


async def test_a_key_that_was_only_renamed_lives_on() -> None:
    async with serving() as (relay, upstream, key):
        client = await opened(relay, key)
        _edit(relay, key)
        for tunnel in list(relay.gateway.tunnels):
            tunnel.look()
        await client.send(FRAME)
        await until(lambda: upstream.arrived[0] == FRAME)


# -- TLS -------------------------------------------------------------------------------------------------


async def test_it_goes_through_tls_and_ends_on_both_sides(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    listener = Listener("127.0.0.1", 0, Tls((Certificate(*certificate),)))
    async with serving(listeners=(listener,)) as (relay, upstream, key):
        for ends in ("server", "client"):
            client = await RawClient.connect(relay.port, tls=trusting(certificate[0]))
            await client.send(opening(key=key))
            assert (await client.answer())[0] == 101
            await client.send(FRAME)
            await until(lambda: upstream.arrived[-1] == FRAME)
            upstream.send(FRAME * 3)
            if ends == "server":
                upstream.close()
                assert await client.closed() == FRAME * 3
            else:
                assert await client.reader.readexactly(3 * len(FRAME)) == FRAME * 3
                await client.close()
                await until(lambda: upstream.ended[-1])
            await is_over(relay)


