"""A client's connection: order, framing, limits and time."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keystile.wire.application import Bounds
from keystile.wire.client import (
    HEAD,
    LINGER_BYTES,
    LINGER_SECONDS,
    PIPELINE_BOUND,
    REMEMBERED_HEAD,
    ClientConnection,
)
from keystile.wire.tls_transport import UNREAD
from tests.relay.running import request, running, until
from tests.wire.judge import judge_answer
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream
from tests.wire.splitting import in_pieces, splits
from tests.wire.transports import ANSWERED, REFUSED, KeepingApplication, KeptTransport, connected

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: a\r\n"
BODY = POST + b"Content-Length: 5\r\n\r\nhello"
CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

Outcome = tuple[list[tuple[bytes, bytes, bytes]], bool, bool]


def outcome(pieces: list[bytes]) -> Outcome:
    """The whole requests that came out, whether something was refused, and whether the connection goes on."""
    application = KeepingApplication()
    client, transport = connected(application)
    for piece in pieces:
        if not transport.ended:
            client.data_received(piece)
    assert transport.sent == ANSWERED * len(application.requests) + REFUSED * application.refusals
    ended = bool(transport.ended)
    client.eof_received()
    client.connection_lost(None)
    assert not application.connections
    return application.requests, bool(application.refusals), ended


_fragments = st.sampled_from(
    [GET, BODY, CHUNKS, b"GET ", b"/", b"/a", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: a\r\n", b"\r\n", b"\r", b"\n",
     b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n",
     b"X: y\r\n", b" fold\r\n", b"5\r\n", b"hello", b"0\r\n\r\n", b"\x00", b"\xff", b": ", b"PRI * HTTP/2.0\r\n\r\n",
     POST, b"Upgrade: x\r\nConnection: upgrade\r\n", b"Content_Length: 1\r\n", b"GET http://a/ HTTP/1.1\r\n", b"-"]
)  # fmt: skip
_streams = st.lists(st.one_of(_fragments, st.binary(max_size=6)), max_size=12).map(b"".join)


@given(_streams, splits)
@example(b"-GET / HTTP/1.1\r\nHost: a", [1])
@example(GET + b"\r\n" + GET, [len(GET) + 1])
def test_arbitrary_bytes_mean_the_same_in_every_split_and_nothing_is_raised(stream: bytes, cuts: list[int]) -> None:
    # The empty line at the end makes every head that was begun a whole one.
    stream += b"\r\n\r\n"
    assert outcome(in_pieces(stream, cuts)) == outcome([stream])


@given(st.lists(st.sampled_from([GET, BODY, CHUNKS]), min_size=1, max_size=5), splits)
def test_requests_come_out_as_they_went_in(requests: list[bytes], cuts: list[int]) -> None:
    came_out, refused, ended = outcome(in_pieces(b"".join(requests), cuts))
    assert [(line, body) for line, _, body in came_out] == [
        (b"GET /a", b"") if request is GET else (b"POST /b", b"hello") for request in requests
    ]
    assert not refused
    assert not ended


_SAME_FIELDS = [
    b"%b %b HTTP/1.1\r\nHost: a\r\n\r\n" % (method, target)
    for method in (b"GET", b"POST", b"HEAD")
    for target in (b"/", b"/a", b"/b?c", b"http://a/")
]


@given(st.lists(st.sampled_from([*_SAME_FIELDS, BODY, CHUNKS]), min_size=2, max_size=12))
@example([_SAME_FIELDS[0], _SAME_FIELDS[0], _SAME_FIELDS[4], _SAME_FIELDS[4], _SAME_FIELDS[0]])
@example([GET, GET, BODY, GET, GET, CHUNKS, GET])
def test_what_came_before_on_a_connection_does_not_change_what_a_request_says(requests: list[bytes]) -> None:
    """Heads that repeat are not parsed again: method, target and fields are still this request's."""
    came_out, refused, ended = outcome(requests)
    assert came_out == [outcome([request])[0][0] for request in requests]
    assert not refused
    assert not ended


def test_no_bytes_are_no_request() -> None:
    application = KeepingApplication()
    client, _ = connected(application)
    client.data_received(b"")
    for _ in range(2):
        client.data_received(GET)
        client.data_received(b"")
    client.begin_anew(Bounds(1, None, None, 1.0))  # forgets what it remembers
    client.data_received(b"")
    assert len(application.requests) == 2


def test_long_heads_are_not_kept_by_an_idle_connection() -> None:
    client, _ = connected(KeepingApplication(max_head_size=64 * 1024))
    for _ in range(3):
        client.data_received(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * REMEMBERED_HEAD))
        assert len(client._last_head) + len(client._last_target) == 0
    client.data_received(GET)
    assert client._last_head == GET


def test_a_request_is_not_begun_before_the_one_before_it_is_answered() -> None:
    application = KeepingApplication(holds=True)
    client, transport = connected(application)
    client.data_received(GET + BODY + CHUNKS)
    for count in (1, 2, 3):
        assert len(application.requests) == count
        assert transport.sent == ANSWERED * (count - 1)
        application.answer(application.held[-1])
    assert client.state == HEAD


def test_what_waits_behind_a_request_is_bounded() -> None:
    application = KeepingApplication(holds=True)
    client, transport = connected(application)
    client.data_received(GET)
    count = 1 + PIPELINE_BOUND // len(GET)
    for _ in range(count - 1):
        client.data_received(GET)
        assert transport.is_reading()
    client.data_received(GET)
    assert not transport.is_reading()
    client.resume()
    assert not transport.is_reading(), "what waits does so until its turn, whatever the body's other side does"
    for i in range(count + 1):
        assert len(application.requests) == i + 1
        application.answer(application.held[i])
    assert transport.is_reading()
    assert transport.sent == ANSWERED * (count + 1)


def test_what_has_come_over_tls_and_waits_counts_as_held(monkeypatch: pytest.MonkeyPatch) -> None:
    client, transport = connected(KeepingApplication(holds=True))
    client.data_received(POST + b"Content-Length: 500\r\n\r\n")
    monkeypatch.setattr(transport, "get_extra_info", {UNREAD: 300}.get)
    client.pause()
    assert client.held_bytes() == 300
    client.resume()
    assert client.held_bytes() == 0


def test_a_body_stops_and_goes_on_as_it_is_told() -> None:
    application = KeepingApplication(holds=True)
    client, transport = connected(application)
    client.data_received(POST + b"Content-Length: 500\r\n\r\n")
    client.pause()
    assert not transport.is_reading()
    client.resume()
    assert transport.is_reading()


@pytest.mark.parametrize("last", [b"", b"G", b"GET / HTTP/1.1\r\nHost"])
def test_time_runs_from_the_first_byte_of_a_head(last: bytes) -> None:
    application = KeepingApplication()
    client, transport = connected(application)
    assert client.due == 1010.0
    client.data_received(GET)
    assert client.due == 1075.0
    application.clock.now = 1020.0
    if last:
        client.data_received(last[:1])
        assert client.due == 1030.0
    application.clock.now = 1025.0
    for byte in last[1:]:
        client.data_received(bytes([byte]))
    if last:
        assert client.due == 1030.0, "more of a head gives it no more time"
    client.out_of_time()
    assert transport.sent == ANSWERED + (REFUSED if last else b"")
    assert last or transport.how() == "aborted"


def test_a_request_has_its_time_from_its_first_byte() -> None:
    application = KeepingApplication(holds=True)
    client, _ = connected(application)
    client.data_received(GET[:5])
    application.clock.now = 1005.0
    client.data_received(GET[5:])
    assert client.due == 1600.0
    application.answer(application.held[0])
    assert client.due == 1080.0
    client.data_received(GET)
    assert client.due == 1605.0


def test_after_a_refusal_what_comes_is_read_and_forgotten_for_a_while() -> None:
    application = KeepingApplication()
    client, transport = connected(application)
    client.data_received(b"nonsense\r\n\r\n" + GET)
    assert transport.how() == ""
    assert client.due == 1000.0 + application.clock.after(LINGER_SECONDS)
    for _ in range(LINGER_BYTES // 65536):
        client.data_received(GET * (65536 // len(GET)))
        assert transport.how() == ""
    client.data_received(b"x" * 65536)
    assert transport.how() != ""
    assert application.requests == []


def test_a_client_that_is_gone_ends_what_it_asked_for() -> None:
    application = KeepingApplication(holds=True)
    client, _ = connected(application)
    client.data_received(GET)
    client.connection_lost(ConnectionResetError())
    assert client.served is None


def test_only_idle_connections_are_ended_when_draining() -> None:
    idle, busy, begun = KeepingApplication(), KeepingApplication(holds=True), KeepingApplication()
    for application, data, ended in ((idle, GET, True), (busy, GET, False), (begun, GET + b"GET /", False)):
        client, transport = connected(application)
        client.data_received(data)
        client.close_if_idle()
        assert (transport.eof, transport.how()) == (ended, "")


def test_what_crosses_the_end_of_an_idle_connection_is_not_served_and_not_answered_with_a_reset() -> None:
    application = KeepingApplication()
    client, transport = connected(application)
    client.close_if_idle()
    client.data_received(GET)
    assert (application.requests, transport.how()) == ([], "")
    assert client.due <= application.clock.now + 2
    client.close_if_idle()  # a second look changes nothing
    client.out_of_time()
    assert transport.how() == "aborted"


def test_a_connection_is_not_idle_when_bytes_have_come_that_nobody_has_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = ClientConnection(KeepingApplication())
        client.connection_made(transport := KeptTransport(ours))
        theirs.send(b"G")
        client.close_if_idle()
        assert not transport.eof
        ours.recv(1)
        client.close_if_idle()
        assert transport.eof


# -- through a real relay --------------------------------------------------------------------------------

ASK = b"GET /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n\r\n"


@pytest.mark.parametrize("begun", [b"G", b"\r\n", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: y"])
@pytest.mark.parametrize("first", [False, True])
async def test_a_head_that_was_begun_and_does_not_end_gets_408(begun: bytes, first: bool) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, limits={"head_timeout": 0.1}) as relay:
        client = await RawClient.connect(relay.port)
        if not first:
            await client.send(ASK % relay.key())
            assert (await judge_answer(client)).start == b"200"
        await client.send(begun)
        answer = await judge_answer(client)
        assert (answer.start, answer.values(b"connection")) == (b"408", [b"close"])
        assert await client.closed() == b""


async def test_a_head_that_dribbles_gets_no_more_time() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, limits={"head_timeout": 0.1}) as relay:
        client = await RawClient.connect(relay.port)
        answering = asyncio.create_task(judge_answer(client))
        with suppress(ConnectionError):
            for byte in b"GET / HTTP/1.1\r\nX: " + b"y" * 5000:
                await client.send(bytes([byte]))
                await asyncio.sleep(0.01)
                if answering.done():
                    break
        assert (await answering).start == b"408"


async def test_a_connection_on_which_nothing_comes_is_closed_without_a_word() -> None:
    limits = {"head_timeout": 0.1, "idle_timeout": 0.1}
    async with RecordingUpstream() as upstream, running(upstream.port, limits=limits) as relay:
        silent, idle = await RawClient.connect(relay.port), await RawClient.connect(relay.port)
        await idle.send(ASK % relay.key())
        assert (await judge_answer(idle)).start == b"200"
        assert await silent.closed() == b""
        assert await idle.closed() == b""


async def test_an_idle_connection_outlives_the_time_for_heads() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, limits={"head_timeout": 0.05}) as relay:
        client = await RawClient.connect(relay.port)
        for _ in range(3):
            await client.send(ASK % relay.key())
            assert (await judge_answer(client)).start == b"200"
            await asyncio.sleep(0.15)


async def test_a_request_in_flight_outlives_the_times_for_heads_and_idling() -> None:
    async def slowly(connection: RecordedConnection, request: bytes) -> None:
        await asyncio.sleep(0.3)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    limits = {"head_timeout": 0.05, "idle_timeout": 0.05}
    async with RecordingUpstream(slowly) as upstream, running(upstream.port, limits=limits) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(ASK % relay.key())
        assert (await judge_answer(client)).start == b"200"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /any/" + b"a" * 600 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"414"),
        (b"GET /any/" + b"a" * 5000, b"414"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1100 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 5000, b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5 + b"\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", b"413"),
        (b"POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n", b"413"),
    ],
)
async def test_each_limit_has_its_status(sent: bytes, status: bytes) -> None:
    limits = {"max_head_size": 1024, "max_fields": 5, "max_body_size": 10}
    async with RecordingUpstream() as upstream, running(upstream.port, limits=limits) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(sent)
        assert (await judge_answer(client)).start == status
        assert await client.closed() == b""
        assert upstream.requests == []


async def test_a_head_of_the_greatest_size_and_number_of_fields_is_served() -> None:
    limits = {"max_head_size": 512, "max_fields": 4}
    async with RecordingUpstream() as upstream, running(upstream.port, limits=limits) as relay:
        client = await RawClient.connect(relay.port)
        head = (ASK % relay.key())[:-2] + b"X: y\r\nZ: %b\r\n\r\n"
        fits = head % (b"z" * (512 - len(head) + 2))
        assert len(fits) == 512
        await client.send(fits)
        assert (await judge_answer(client)).start == b"200"
        await client.send(fits.replace(b"Z: ", b"Z: z"))
        assert (await judge_answer(client)).start == b"431"


async def test_a_refusal_can_be_read_though_its_body_is_still_being_sent() -> None:
    """Closing at once would reset the connection, and the reset destroys what the client has not read yet."""
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        await client.send(b"POST /any/a HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + b"x" * 1000)
        await until(lambda: relay.gateway.in_flight == 0 and relay.gateway.recorder.requests == 1)
        for _ in range(50):
            await client.send(b"x" * 1000)
            await asyncio.sleep(0)
        assert (await judge_answer(client)).start == b"401"
        assert await client.closed() == b""
        client.reset()
        await until(lambda: not relay.gateway.connections)


async def test_pipelining_stops_reading_at_its_bound() -> None:
    released = asyncio.Event()

    async def held(connection: RecordedConnection, request: bytes) -> None:
        await released.wait()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with RecordingUpstream(held) as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        sent = asyncio.create_task(client.send((ASK % relay.key()) * 2000))
        await until(lambda: any(not c.transport.is_reading() for c in relay.gateway.connections))
        (connection,) = relay.gateway.connections
        # One read of the loop may go over the bound; more than that is not kept.
        assert len(connection._waiting) <= PIPELINE_BOUND + 256 * 1024
        assert len(upstream.requests) == 1
        released.set()
        for _ in range(2000):
            assert (await judge_answer(client)).start == b"200"
        await sent
        assert len(upstream.requests) == 2000


async def test_a_client_that_reads_nothing_stops_the_upstream_and_keeps_its_slot() -> None:
    size, wrote = 48 * 1024 * 1024, 0

    async def large(connection: RecordedConnection, request: bytes) -> None:
        nonlocal wrote
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while wrote < size:
            await connection.send(b"x" * 65536)
            wrote += 65536

    async with RecordingUpstream(large) as upstream, running(upstream.port) as relay:
        # A plain socket: a stream would read ahead by itself.
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", relay.port))
            await loop.sock_sendall(sock, ASK % relay.key())
            await until(lambda: bool(upstream.connections) and wrote > 0)
            (client,) = relay.gateway.connections
            await until(lambda: client.paused)
            before = -1
            while before != wrote:
                before = wrote
                await asyncio.sleep(0.1)
            assert wrote < size // 2
            assert relay.gateway.slots.taken() == 1
            received = 0
            head = await loop.sock_recv(sock, 65536)
            received = len(head) - head.index(b"\r\n\r\n") - 4
            while received < size:
                if wrote < size:
                    assert relay.gateway.slots.taken() == 1, "the slot was given back before the last byte"
                received += len(await loop.sock_recv(sock, 1 << 20))
            assert (received, wrote) == (size, size)
            await until(lambda: relay.gateway.slots.taken() == 0)


async def test_an_upstream_that_reads_nothing_stops_the_client() -> None:
    async with DeafUpstream() as (port, accepted), running(port) as relay:
        client = await RawClient.connect(relay.port)
        size = 48 * 1024 * 1024
        head = b"POST /any/a HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\nContent-Length: %d\r\n\r\n"
        await client.send(head % (relay.key(), size))
        sending = asyncio.create_task(client.send(b"x" * size))
        await until(lambda: any(not c.transport.is_reading() for c in relay.gateway.connections))
        (connection,) = relay.gateway.connections
        assert connection.served is not None
        assert connection.served.bytes_in < size // 2  # type: ignore[attr-defined]
        assert not sending.done()
        assert len(accepted) == 1
        assert relay.gateway.slots.taken() == 1
        # Reading has stopped, so the reset does not come as a failed read: it has to be looked for.
        client.cut()
        await until(lambda: relay.gateway.slots.taken() == 0)
        with suppress(ConnectionError):
            await sending


async def test_a_client_that_leaves_with_requests_in_line_is_noticed() -> None:
    async def never(connection: RecordedConnection, request: bytes) -> None:
        await connection.closed.wait()

    async with RecordingUpstream(never) as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        sending = asyncio.create_task(client.send((ASK % relay.key()) * 100_000))
        await until(lambda: any(not c.transport.is_reading() for c in relay.gateway.connections))
        client.cut()
        await until(lambda: relay.gateway.slots.taken() == 0)
        await asyncio.wait_for(upstream.connections[0].closed.wait(), 5)
        with suppress(ConnectionError):
            await sending


class DeafUpstream:
    """A server that accepts and reads nothing."""

    async def __aenter__(self) -> tuple[int, list[socket.socket]]:
        self.accepted: list[socket.socket] = []
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(8)
        self.sock.setblocking(False)
        self.task = asyncio.create_task(self._accept())
        return self.sock.getsockname()[1], self.accepted

    async def _accept(self) -> None:
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self.sock)
            self.accepted.append(connection)

    async def __aexit__(self, *exc: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for sock in (self.sock, *self.accepted):
            sock.close()


async def test_bytes_that_were_not_read_yet_are_known_without_reading_them() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        await until(lambda: relay.gateway.connections)
        [connection] = relay.gateway.connections
        assert not connection.has_unread()
        connection.pause()
        assert not connection.has_unread()
        await client.send(request("/open"))
        await until(connection.has_unread)
        connection.resume()
        assert (await client.answer())[0] == 200
        assert not connection.has_unread()
        connection.transport.close()
        assert not connection.has_unread()
