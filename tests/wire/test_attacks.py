"""The attack suite: rows of bytes against a real relay, judged by what comes out at its other end.

What matters: how many requests the upstream received and whether each is clean; whether every answer is well
framed; whether the connection was closed when it had to be; whether the next request gets its own answer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest

from keystile.config.model import Certificate, Listener, Tls
from tests.config.certificates import make
from tests.relay.running import Running, running, until
from tests.wire import client_attacks, upstream_attacks
from tests.wire.client_attacks import ATTACKS, Attack
from tests.wire.judge import Received, judge_answer, judge_request
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream
from tests.wire.upstream_attacks import EVIL, MISANSWERS, Misanswer

ASK = b"GET /any/%b HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n\r\n"


async def path_back(connection: RecordedConnection, request: bytes) -> None:
    """Answers with the request's target, so that an answer given to the wrong request is seen."""
    method, target = request.split(b" ", 2)[:2]
    body = b"" if method == b"HEAD" else target
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), body))


async def deliver(client: RawClient, data: bytes, in_pieces: bool) -> None:
    """Send ``data`` at once, or in pieces of a byte each (some hundreds of pieces where it is long)."""
    client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    step = max(1, len(data) // 500) if in_pieces else len(data)
    with suppress(ConnectionError):  # it may be closed in the middle: that is what refusing means
        for i in range(0, len(data), step):
            await client.send(data[i : i + step])
            await asyncio.sleep(0)


async def ask(relay: Running, client: RawClient, name: bytes, key: bytes) -> None:
    """An honest request gets its own answer."""
    await client.send(ASK % (name, key))
    answer = await judge_answer(client)
    assert (answer.start, answer.body) == (b"200", b"/any/" + name)


async def attacked(attack: Attack, in_pieces: bool, tls: Tls | None = None) -> None:
    listeners = (Listener("127.0.0.1", 0, tls),)
    async with (
        RecordingUpstream(path_back) as upstream,
        running(upstream.port, limits=dict(attack.limits), listeners=listeners) as relay,
    ):
        key = relay.key()
        context = None if tls is None else trusting()
        client = await RawClient.connect(relay.port, tls=context)
        await deliver(client, attack.sent.replace(b"<key>", key), in_pieces)
        for statuses in attack.answers:
            answer = await judge_answer(client)
            assert int(answer.start) in statuses, answer
        assert (b"close" in answer.values(b"connection")) is attack.closed, "the answer says whether it is the last"
        if attack.closed:
            with suppress(ConnectionError):
                await client.send(ASK % (b"probe", key))
            assert await client.closed() == b"", "something was answered on a connection that had to end"
        else:
            await ask(relay, client, b"probe", key)
        await ask(relay, await RawClient.connect(relay.port, tls=context), b"other", key)
        received = judged(upstream, b"https" if tls else b"http")
        probes = () if attack.closed else (b"GET /any/probe",)
        assert tuple(one.start for one in received) == (*attack.reached, *probes, b"GET /any/other")
        assert received[0].body == attack.body
        for bytes_ in attack.absent:
            assert bytes_ not in upstream.received
        assert key not in upstream.received
        await nothing_left(relay, upstream, clients=2)


def trusting() -> ssl.SSLContext:
    """A client that speaks TLS with whomever."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def judged(upstream: RecordingUpstream, proto: bytes = b"http") -> list[Received]:
    """Every whole request, in the order of connections; a cut one may only be the last of its connection."""
    return [judge_request(request, proto=proto) for request in upstream.requests]


async def nothing_left(relay: Running, upstream: RecordingUpstream, clients: int) -> None:
    """No slot, no request in flight, no upstream connection that still waits for the rest of a request."""
    await until(lambda: relay.gateway.slots.taken() == 0 and relay.gateway.in_flight == 0)
    for connection in upstream.connections:
        if connection.received != b"".join(connection.requests):
            await asyncio.wait_for(connection.closed.wait(), 5)
    assert len(relay.gateway.connections) <= clients


def _name(row: Attack | Misanswer) -> str:
    return f"{row.family}: {row.name}"


def _rows(attacks: Iterable[Attack]) -> list[Any]:
    """Rows for pytest; those that still fail for a fault that was found are expected to."""
    return [
        pytest.param(row, id=_name(row), marks=[pytest.mark.xfail(strict=True, reason=row.found)] if row.found else [])
        for row in attacks
    ]


@pytest.mark.parametrize("attack", _rows(ATTACKS))
async def test_nothing_gets_through_that_was_not_meant(attack: Attack) -> None:
    await attacked(attack, in_pieces=False)


@pytest.mark.parametrize("attack", _rows(row for row in ATTACKS if row.in_pieces))
async def test_nothing_gets_through_byte_by_byte(attack: Attack) -> None:
    await attacked(attack, in_pieces=True)


#: Two rows of each family: decryption hands bytes over in its own pieces, and ends connections its own way.
OVER_TLS = [row for family in client_attacks.FAMILIES for row in [r for r in ATTACKS if r.family == family][::4][:2]]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return Tls((Certificate(*make(tmp_path_factory.mktemp("tls"))),))


@pytest.mark.parametrize("attack", _rows(OVER_TLS))
async def test_nothing_gets_through_over_tls(attack: Attack, tls: Tls) -> None:
    await attacked(attack, in_pieces=False, tls=tls)


@pytest.mark.parametrize("row", MISANSWERS, ids=_name)
async def test_no_answer_poisons_the_next(row: Misanswer) -> None:
    async def misanswer(connection: RecordedConnection, request: bytes) -> None:
        if b"/any/a" not in request:
            await path_back(connection, request)
            return
        for piece in row.sent:
            await connection.send(piece)
            await asyncio.sleep(0.001)
        if row.then == "close":
            connection.writer.close()
        elif row.then == "reset":
            # Only what has arrived can be judged: let it be read before the reset destroys it.
            await asyncio.sleep(0.02)
            connection.cut()

    async with RecordingUpstream(misanswer) as upstream, running(upstream.port) as relay:
        key = relay.key()
        client = await RawClient.connect(relay.port)
        line = b"%b /any/a %b\r\n" % (row.method, row.version)
        await client.send(line + b"Host: a\r\nX-Api-Key: %b\r\n%b\r\n" % (key, row.fields))
        closes = await answered(client, row)
        if closes:
            assert await client.closed() == b""
            client = await RawClient.connect(relay.port)
        for name in (b"one", b"two"):
            await ask(relay, client, name, key)
        await ask(relay, await RawClient.connect(relay.port), b"three", key)
        assert [one.start for one in judged(upstream)].count(row.method + b" /any/a") == 1
        first, *others = (connection.requests for connection in upstream.connections)
        assert (len(first) > 1) is row.reused, "the first connection carried another request, or should have"
        assert sum(map(len, others)) == (0 if row.reused else 3)
        await nothing_left(relay, upstream, clients=3)


async def answered(client: RawClient, row: Misanswer) -> bool:
    """Judge what the client gets for a row; whether the connection has to end then."""
    if row.status is None:
        # An HTTP/1.0 answer's end is the connection's: only a reset tells that it was cut.
        cut_answer = client.until_reset() if row.version == b"HTTP/1.0" else judge_answer(client)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await cut_answer
        return True
    if row.version == b"HTTP/1.1":
        answer = await judge_answer(client, to_head=row.method == b"HEAD")
        assert int(answer.start) == row.status
        if row.status != 502:
            assert answer.body == row.body
        assert b"evil" not in answer.body or row.body.endswith(EVIL)
        return b"close" in answer.values(b"connection")
    status, head, body = await client.answer()
    assert (status, body) == (row.status, row.body)
    assert b"transfer-encoding" not in head.lower()
    return b"\r\nconnection: close\r\n" in head.lower()


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        pytest.param(answer, then, id=f"ended at every byte: {name}, {then}")
        for name, answer in upstream_attacks.ENDED_ANYWHERE.items()
        for then in ("close", "reset")
    ],
)
async def test_an_answer_that_ends_at_any_byte_is_never_taken_for_whole(answer: bytes, then: str) -> None:
    ends = iter(range(len(answer)))

    async def partly(connection: RecordedConnection, request: bytes) -> None:
        await connection.send(answer[: next(ends)])
        if then == "reset":
            await asyncio.sleep(0.002)
            connection.cut()
        else:
            connection.writer.close()

    outcomes = Counter[str]()
    async with RecordingUpstream(partly) as upstream, running(upstream.port) as relay:
        key = relay.key()
        for _ in range(len(answer)):
            client = await RawClient.connect(relay.port)
            await client.send(ASK % (b"a", key))
            try:
                received = await judge_answer(client)
            except (asyncio.IncompleteReadError, ConnectionError):
                outcomes["cut"] += 1
            else:
                assert received.start == b"502"
                outcomes["502"] += 1
            client.reset()
        assert len(upstream.requests) == len(answer)
        await until(lambda: relay.gateway.slots.taken() == 0)
    # Whole heads that were read before their end are cut; a reset may overtake what was sent before it.
    body_bytes = len(answer) - answer.rindex(b"OK\r\n") - len(b"OK\r\n")
    assert outcomes["502"] >= len(answer) - body_bytes
    assert outcomes["cut"] > 0


@pytest.mark.parametrize(
    "late",
    upstream_attacks.IDLE_BYTES.values(),
    ids=[f"bytes on an idle connection: {name}" for name in upstream_attacks.IDLE_BYTES],
)
async def test_bytes_on_an_idle_connection_end_it(late: bytes) -> None:
    async with RecordingUpstream(path_back) as upstream, running(upstream.port) as relay:
        key = relay.key()
        client = await RawClient.connect(relay.port)
        for i in range(3):
            await ask(relay, client, b"%d" % i, key)
            assert len(upstream.connections) == i + 1, "a connection that had spoken out of turn was used again"
            await upstream.connections[-1].send(late)
        await ask(relay, client, b"last", key)
        assert len(upstream.connections) == 4
        for connection in upstream.connections[:3]:
            await asyncio.wait_for(connection.closed.wait(), 5)


async def test_bytes_that_come_between_two_looks_are_not_the_next_answer() -> None:
    """They lie in the kernel, unread, when the next request takes the connection."""
    async with RecordingUpstream(path_back) as upstream, running(upstream.port) as relay:
        key = relay.key()
        client = await RawClient.connect(relay.port)
        await ask(relay, client, b"first", key)
        (connection,) = upstream.connections
        # Both are written before the loop looks at any socket again.
        connection.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.writer.write(ASK % (b"second", key))
        connection.writer.write(EVIL)
        answer = await judge_answer(client)
        assert (answer.start, answer.body) == (b"200", b"/any/second")
        assert len(upstream.connections) == 2


@pytest.mark.parametrize("family", client_attacks.FAMILIES + upstream_attacks.FAMILIES)
def test_every_family_has_five_rows(family: str) -> None:
    rows: list[Attack | Misanswer] = [*ATTACKS, *MISANSWERS]
    names = [row.name for row in rows if row.family == family]
    assert len(names) >= 5
    assert len(set(names)) == len(names)
