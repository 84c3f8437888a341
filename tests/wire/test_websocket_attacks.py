"""Opening handshakes under attack: a tunnel opens only where both sides agreed, and nothing hides behind the others."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from keystile.config.model import Needs, Operation
from tests.relay.running import Running, running, until
from tests.wire import judge
from tests.wire.judge import judge_answer
from tests.wire.peers import RawClient, RecordedConnection, RecordingUpstream
from tests.wire.websocket_attacks import HANDSHAKES, SWITCHED, Handshake

OPERATIONS = (
    Operation((), "/ws", Needs(), "api", "attacks", 50, websocket=True),
    Operation((), "/any/*", Needs(), "api", "attacks", 51),
)
ASK = b"GET /any/%b HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\n\r\n"


def _name(row: Handshake) -> str:
    return f"{row.family}: {row.name}"


async def ask(client: RawClient, name: bytes, key: bytes) -> None:
    """An honest request gets its own answer."""
    await client.send(ASK % (name, key))
    answer = await judge_answer(client)
    assert (answer.start, answer.body) == (b"200", b"/any/" + name)


async def carry_on(row: Handshake, relay: Running, upstream: RecordingUpstream, client: RawClient, key: bytes) -> None:
    """What comes after the answer: a tunnel, another request, or the end."""
    first = upstream.connections[0] if row.reached else None
    if row.through is not None:
        assert first is not None
        expected = row.through.replace(b"<key>", key)
        await until(lambda: len(first.received.partition(b"\r\n\r\n")[2]) >= len(expected), judge.WAIT)
        assert first.received.partition(b"\r\n\r\n")[2] == expected
        behind = row.answered.partition(SWITCHED)[2]
        assert await asyncio.wait_for(client.reader.readexactly(len(behind)), judge.WAIT) == behind
        client.reset()
    elif row.goes_on:
        await ask(client, b"probe", key)
    else:
        with suppress(ConnectionError):
            await client.send(ASK % (b"probe", key))
        assert await client.closed() == b"", "something was answered on a connection that had to end"
    if first is not None and (row.status == 502 or row.through is not None):
        await asyncio.wait_for(first.closed.wait(), judge.WAIT)
        assert len(first.requests) == 1 or row.through is not None


@pytest.mark.parametrize("row", HANDSHAKES, ids=_name)
async def test_nothing_hides_behind_a_handshake(row: Handshake) -> None:
    relays: list[Running] = []

    async def answer(connection: RecordedConnection, request: bytes) -> None:
        target = request.split(b" ", 2)[1]
        if connection is upstream.connections[0] and connection.requests[0] is request and row.reached:
            if row.early:
                await until(lambda: any(len(each._waiting) == len(row.through or b"") + added for each in
                                        relays[0].gateway.connections))  # fmt: skip
            await connection.send(row.answered)
        elif row.through is None:  # what is in a tunnel is nobody's request
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    async with RecordingUpstream(answer) as upstream, running(upstream.port, operations=OPERATIONS) as relay:
        relays.append(relay)
        key = relay.key()
        added = (row.through or b"").count(b"<key>") * (len(key) - len(b"<key>"))
        client = await RawClient.connect(relay.port)
        await client.send(row.sent.replace(b"<key>", key))
        status, head, _ = await client.answer(to_head=row.sent.startswith(b"HEAD "))
        while status == 103:
            status, head, _ = await client.answer()
        assert status == row.status
        assert (b"\r\nupgrade:" in head.lower()) is (row.status == 101)
        await carry_on(row, relay, upstream, client, key)
        if row.through is None:
            assert b"smuggled" not in upstream.received
            assert b"pgrade: h2c" not in upstream.received
        # The next one, on a connection of its own, gets its own answer.
        if row.through is None:
            await ask(await RawClient.connect(relay.port), b"other", key)
        await until(lambda: not relay.gateway.in_flight and not relay.gateway.tunnels)
        assert relay.gateway.slots.taken() == 0
        first = 1 if row.reached else 0
        if row.through is None:
            assert len(upstream.requests) == first + row.goes_on + 1
