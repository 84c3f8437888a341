"""The cap of 20 in flight for one address, and every way in which a slot comes back."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from keystile.relay.end import end
from tests.relay.running import Answer, Running, odd_servers, request, running, until, with_upstreams
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream

CAP = 20
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def cut(client: RawClient) -> None:
    """Leave with RST, as a client does that is killed in the middle of things."""
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.transport.abort()


class Held:
    """An upstream that holds requests until it is told how to go on, in front of it a relay, and 20 held clients.

    What an answer is made of is said by the path: /any/hold (nothing comes before ``go``), /any/part (head and
    one byte come), /any/flood (bytes come as fast as they are taken).
    """

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.upstream = RecordingUpstream(self._answer)
        self.clients: list[RawClient] = []
        self.relay: Running
        self.key = b""

    async def _answer(self, connection: RecordedConnection, sent: bytes) -> None:
        if b"/any/part" in sent:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        elif b"/any/flood" in sent:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
            while not connection.closed.is_set():
                await connection.send(bytes(65536))
        if b"/any/now" not in sent:
            await self.go.wait()
        await connection.send(b"k" if b"/any/part" in sent else SHORT)

    @property
    def heads(self) -> int:
        """How many requests the upstream has begun to see."""
        return self.upstream.received.count(b"\r\nVia: 1.1 keystile\r\n")

    async def send(self, data: bytes, count: int = CAP, source: str | None = None) -> list[RawClient]:
        clients = [await RawClient.connect(self.relay.port, source) for _ in range(count)]
        for client in clients:
            await client.send(data)
        self.clients += clients
        return clients

    async def hold(self, path: str = "/any/hold", *fields: bytes, seen: bool = True, **how: Any) -> None:
        """Have as many requests in flight as may be."""
        before = len(self.upstream.connections)
        await self.send(request(path, *fields, key=self.key, **how))
        await until(lambda: self.relay.gateway.slots.taken() == CAP)
        if seen:
            await until(lambda: len(self.upstream.connections) >= before + CAP)

    async def statuses(self, clients: list[RawClient]) -> list[int]:
        return [status for status, _, _ in await asyncio.gather(*(client.answer() for client in clients))]


@asynccontextmanager
async def held(**limits: Any) -> AsyncIterator[Held]:
    one = Held()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(one.upstream)
        others = stack.enter_context(odd_servers())
        changes = with_upstreams(one.upstream.port, *others)
        one.relay = await stack.enter_async_context(running(one.upstream.port, limits=limits, **changes))
        one.key = one.relay.key()
        yield one


async def twenty_succeed(one: Held) -> None:
    """20 more are in flight together, the 21st is not, and all are answered."""
    await until(lambda: one.relay.gateway.slots.taken() == 0)
    assert one.relay.gateway.in_flight == 0
    one.go.clear()
    clients = await one.send(request("/any/hold", key=one.key))
    await until(lambda: one.relay.gateway.slots.taken() == CAP)
    assert (await one.relay.ask("/any/now", key=one.key)).status == 429
    one.go.set()
    assert await one.statuses(clients) == [200] * CAP
    await until(lambda: one.relay.gateway.slots.taken() == 0)


async def test_of_100_requests_at_once_exactly_20_reach_the_upstream() -> None:
    async with held() as one:
        clients = await one.send(request("/any/hold", key=one.key), 100)
        answers = [asyncio.create_task(client.answer()) for client in clients]
        await until(lambda: sum(answer.done() for answer in answers) == 80)
        refused = [Answer(*answer.result()) for answer in answers if answer.done()]
        assert {(answer.status, answer.field(b"Retry-After")) for answer in refused} == {(429, b"1")}
        assert b"Up to 20 requests from one address" in refused[0].body
        await until(lambda: len(one.upstream.requests) >= 20)  # refusals are quicker than what goes on
        assert len(one.upstream.requests) == 20
        # Another address is served meanwhile, with as many of its own.
        others = await one.send(request("/any/hold", key=one.key), 25, "127.0.0.2")
        await until(lambda: len(one.upstream.requests) == 40)
        assert one.relay.gateway.slots.highest() == 20
        # Idle connections hold nothing: the 80 refused ones are kept alive, and served once there is room.
        one.go.set()
        assert [status for status, _, _ in await asyncio.gather(*answers)].count(200) == 20
        assert sorted(await one.statuses(others)) == [200] * 20 + [429] * 5
        await until(lambda: one.relay.gateway.slots.taken() == 0)
        again = [client for client, answer in zip(clients, answers, strict=True) if answer.result()[0] == 429]
        for client in again[:20]:
            await client.send(request("/any/hold", key=one.key))
        assert await one.statuses(again[:20]) == [200] * 20
        await twenty_succeed(one)


# -- ways out -----------------------------------------------------------------------------------------------

POST: dict[str, Any] = {"method": b"POST"}


async def done(one: Held) -> None:
    await one.hold()
    one.go.set()
    assert await one.statuses(one.clients) == [200] * CAP


async def client_resets_while_waiting(one: Held) -> None:
    await one.hold()
    for client in one.clients:
        cut(client)


async def client_closes_while_waiting(one: Held) -> None:
    await one.hold()
    for client in one.clients:
        await client.close()


async def client_resets_while_uploading(one: Held) -> None:
    await one.send(request("/any/hold", b"Content-Length: 1000000", key=one.key, **POST) + bytes(100_000))
    await until(lambda: len(one.upstream.received) > CAP * 100_000)
    assert one.relay.gateway.slots.taken() == CAP
    for client in one.clients:
        cut(client)


async def client_closes_while_uploading_chunks(one: Held) -> None:
    await one.send(request("/any/hold", b"Transfer-Encoding: chunked", key=one.key, **POST) + b"5\r\nhello\r\n9\r\nha")
    await until(lambda: one.upstream.received.count(b"ha") >= CAP)
    for client in one.clients:
        await client.close()


async def client_resets_while_downloading(one: Held) -> None:
    await one.hold("/any/part")
    for client in one.clients:
        await client.reader.readuntil(b"\r\n\r\no")
        cut(client)


async def client_resets_a_download_that_it_does_not_read(one: Held) -> None:
    clients = await one.send(request("/any/flood", key=one.key))
    for client in clients:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: all(client.paused for client in one.relay.gateway.connections))
    assert one.relay.gateway.slots.taken() == CAP
    for client in clients:
        cut(client)


async def client_resets_before_the_upstream_is_connected(one: Held) -> None:
    await one.hold("/full/x", seen=False)
    for client in one.clients:
        cut(client)


async def client_resets_an_upload_before_the_upstream_is_connected(one: Held) -> None:
    await one.hold("/full/x", b"Content-Length: 1000", seen=False, **POST)
    for client in one.clients:
        cut(client)


async def upstream_resets_before_its_answer(one: Held) -> None:
    await one.hold()
    for connection in one.upstream.connections:
        connection.reset()
    assert await one.statuses(one.clients) == [502] * CAP


async def upstream_resets_within_its_answer(one: Held) -> None:
    await one.hold("/any/part")
    for client in one.clients:
        await client.reader.readuntil(b"\r\n\r\no")
    for connection in one.upstream.connections:
        connection.reset()
    for client in one.clients:
        assert await client.closed() == b""


async def deadline_before_the_answer(one: Held) -> None:
    await one.hold()
    assert await one.statuses(one.clients) == [504] * CAP


async def deadline_within_the_answer(one: Held) -> None:
    await one.hold("/any/part")
    for client in one.clients:
        await client.reader.readuntil(b"\r\n\r\no")
    for client in one.clients:
        assert await client.closed() == b""


async def deadline_within_an_upload(one: Held) -> None:
    await one.hold("/any/hold", b"Content-Length: 1000", **POST)
    assert await one.statuses(one.clients) == [504] * CAP


async def too_large_after_admission(one: Held) -> None:
    await one.hold("/any/hold", b"Transfer-Encoding: chunked", **POST)
    for client in one.clients:
        await client.send(b"3e8\r\n" + bytes(1000) + b"\r\n")
    assert await one.statuses(one.clients) == [413] * CAP


async def unreadable_after_admission(one: Held) -> None:
    await one.hold("/any/hold", b"Transfer-Encoding: chunked", **POST)
    for client in one.clients:
        await client.send(b"no size\r\n")
    assert await one.statuses(one.clients) == [400] * CAP


async def upstream_is_gone(one: Held) -> None:
    clients = await one.send(request("/gone/x", key=one.key))
    assert await one.statuses(clients) == [502] * CAP


async def upstream_cannot_be_connected_to(one: Held) -> None:
    await one.hold("/full/x", seen=False)
    assert await one.statuses(one.clients) == [504] * CAP


async def pipelined_and_done(one: Held) -> None:
    await one.send(request("/any/hold", key=one.key) * 5)
    await until(lambda: len(one.upstream.requests) == CAP)
    assert one.relay.gateway.slots.taken() == CAP
    one.go.set()
    for _ in range(5):
        assert await one.statuses(one.clients) == [200] * CAP


async def pipelined_and_reset(one: Held) -> None:
    await one.send(request("/any/hold", key=one.key) * 5)
    await until(lambda: len(one.upstream.requests) == CAP)
    for client in one.clients:
        cut(client)


async def pipelined_and_refused(one: Held) -> None:
    await one.send(request("/any/hold", key=one.key) + request("/v4/contacts", key=one.key) + b"rubbish\r\n\r\n")
    await until(lambda: len(one.upstream.requests) == CAP)
    one.go.set()
    for status in (200, 403, 400):
        assert await one.statuses(one.clients) == [status] * CAP


async def answered_before_the_upload_is_through(one: Held) -> None:
    await one.send(request("/any/part", b"Content-Length: 1000", key=one.key, **POST) + bytes(10))
    await until(lambda: len(one.upstream.connections) == CAP)
    for connection in one.upstream.connections:
        await until(lambda connection=connection: connection.received.endswith(bytes(10)))
        await connection.send(SHORT)
    assert await one.statuses(one.clients) == [200] * CAP


WAYS: list[tuple[Callable[[Held], Awaitable[None]], dict[str, Any]]] = [
    (done, {}),
    (client_resets_while_waiting, {}),
    (client_closes_while_waiting, {}),
    (client_resets_while_uploading, {}),
    (client_closes_while_uploading_chunks, {}),
    (client_resets_while_downloading, {}),
    (client_resets_a_download_that_it_does_not_read, {}),
    (client_resets_before_the_upstream_is_connected, {}),
    (client_resets_an_upload_before_the_upstream_is_connected, {}),
    (upstream_resets_before_its_answer, {}),
    (upstream_resets_within_its_answer, {}),
    (deadline_before_the_answer, {"request_timeout": 0.4}),
    (deadline_within_the_answer, {"request_timeout": 0.4}),
    (deadline_within_an_upload, {"request_timeout": 0.4}),
    (too_large_after_admission, {"max_body_size": 999}),
    (unreadable_after_admission, {}),
    (upstream_is_gone, {}),
    (upstream_cannot_be_connected_to, {"connect_timeout": 0.3}),
    (pipelined_and_done, {}),
    (pipelined_and_reset, {}),
    (pipelined_and_refused, {}),
    (answered_before_the_upload_is_through, {}),
]


@pytest.mark.parametrize(("way", "limits"), WAYS, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_slot_comes_back_on_every_way_out(
    way: Callable[[Held], Awaitable[None]], limits: dict[str, Any]
) -> None:
    async with held(**limits) as one:
        await way(one)
        await until(lambda: one.relay.gateway.slots.taken() == 0)
        if way not in (done, pipelined_and_done, pipelined_and_refused):
            await until(lambda: all(connection.closed.is_set() for connection in one.upstream.connections))
        await twenty_succeed(one)


# -- clients that go while they are not read -------------------------------------------------------------------


LEAVING = {"closes": lambda client: client.writer.transport.abort(), "resets": cut}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
async def test_a_client_that_leaves_while_the_upstream_reads_nothing_gives_its_slot_back(
    leave: Callable[[RawClient], None],
) -> None:
    """Reading has stopped, so no byte and no end of the stream can tell."""
    async with held() as one:
        (client,) = await one.send(request("/deaf/x", b"Content-Length: 99999999", key=one.key, **POST), 1)
        (connection,) = one.relay.gateway.connections
        while connection.transport.is_reading():
            client.writer.write(bytes(65536))
            await asyncio.sleep(0.001)
        assert one.relay.gateway.slots.taken() == 1
        leave(client)
        await until(lambda: one.relay.gateway.slots.taken() == 0)


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
async def test_a_client_that_leaves_behind_a_full_pipeline_gives_its_slot_back(
    leave: Callable[[RawClient], None],
) -> None:
    async with held() as one:
        (client,) = await one.send(request("/any/hold", key=one.key), 1)
        (connection,) = one.relay.gateway.connections
        while connection.transport.is_reading():
            client.writer.write(request("/any/x", key=one.key) * 20)
            await asyncio.sleep(0.001)
        leave(client)
        await until(lambda: one.relay.gateway.slots.taken() == 0)
        assert len(one.upstream.requests) == 1


# -- the rest -------------------------------------------------------------------------------------------------


async def test_a_slot_is_back_before_the_answer_can_be_acted_upon() -> None:
    async with RecordingUpstream() as upstream, running(
        upstream.port, limits={"concurrent_requests_per_ip": 1}
    ) as relay:
        key = relay.key()
        clients = [await RawClient.connect(relay.port) for _ in range(4)]
        for i in range(200):
            client = clients[i % 4]
            await client.send(request("/any/x", key=key))
            assert (await client.answer())[0] == 200
        await clients[0].send(request("/any/x", key=key) * 100)
        assert {(await clients[0].answer())[0] for _ in range(100)} == {200}


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"no answer",
    ],
)
async def test_a_slot_is_back_before_the_last_byte_leaves(answer: bytes) -> None:
    """Else a client that is quick, or a relay that loses its core after the write, is refused below the cap."""
    async with RecordingUpstream(answer) as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        peer = client.writer.get_extra_info("socket")
        came_before: list[bytes] = []
        give_back = relay.gateway.slots.give_back

        def watched(row: int) -> None:
            with socket.socket(fileno=os.dup(peer.fileno())) as same:
                try:
                    came_before.append(same.recv(65536, socket.MSG_PEEK | socket.MSG_DONTWAIT))
                except BlockingIOError:
                    came_before.append(b"")
            give_back(row)

        setattr(relay.gateway.slots, "give_back", watched)  # noqa: B010 (mypy)
        await client.send(request("/any/x", key=relay.key()))
        assert (await client.answer())[0] in (200, 502)
        assert came_before == [b""]


async def test_a_slot_is_held_until_a_slow_reader_has_the_last_byte() -> None:
    size = 20_000_000

    async def large(connection: RecordedConnection, sent: bytes) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

    async with RecordingUpstream(large) as upstream, running(upstream.port) as relay:
        client = await RawClient.connect(relay.port)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(request("/any/x", key=relay.key()))
        await until(lambda: any(one.paused for one in relay.gateway.connections))
        assert relay.gateway.slots.taken() == 1
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await client.answer())[2]) == size
        await until(lambda: relay.gateway.slots.taken() == 0)


async def test_ending_twice_gives_one_slot_back() -> None:
    async with held() as one:
        await one.send(request("/any/hold", key=one.key), 2)
        await until(lambda: len(one.upstream.requests) == 2)
        exchange: Any = next(iter(one.relay.gateway.connections)).served
        exchange.client_gone()
        end(exchange)
        exchange.client_gone()
        assert one.relay.gateway.slots.taken() == 1
        assert one.relay.gateway.in_flight == 1
        assert one.relay.counters["requests"] == 1


#: How far a client gets before it leaves: what it sends, and whether the upstream is to have seen it.
PHASES: list[tuple[str, bytes, bool]] = [
    ("", b"", False),
    ("", b"GET /any/hold HT", False),
    ("/any/hold", b"", False),
    ("/any/hold", b"", True),
    ("/any/part", b"", True),
    ("/any/flood", b"", True),
    ("/full/x", b"", False),
    ("/deaf/x", bytes(70_000), False),
    ("/any/hold", bytes(70_000), True),
    ("/v4/contacts", b"", False),
]


async def test_1000_clients_that_leave_in_every_phase_leave_nothing_behind() -> None:
    async with held(concurrent_requests_per_ip=50) as one:
        for batch in range(20):
            path, more, seen = PHASES[batch % len(PHASES)]
            uploading = (b"Content-Length: 1000000",) if len(more) > 1000 else ()
            head = request(path, *uploading, key=one.key) if path else b""
            before = one.heads
            clients = await one.send(head + more, 50)
            if seen:
                await until(lambda before=before: one.heads == before + 50)
            for client in clients:
                if batch < len(PHASES):
                    cut(client)
                else:
                    await client.close()
            await until(lambda: not one.relay.gateway.connections)
        used = [connection for connection in one.upstream.connections if connection.received]
        await until(lambda: all(connection.closed.is_set() for connection in used))
        assert one.relay.gateway.slots.taken() == 0
        assert one.relay.gateway.in_flight == 0
        assert one.relay.counters["cut"] >= 600
        assert len(one.clients) == 1000
        with suppress(OSError):
            assert (await one.relay.ask("/any/now", key=one.key)).status == 200
