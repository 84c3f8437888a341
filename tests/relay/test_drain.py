"""Stopping: who is still served, who is told what, and that no connection is cut with a request on its way."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from pathlib import Path

import pytest

from keystile.config.model import Certificate, Listener, Tls
from keystile.keys.keyring import HeldKey, KeyRow
from keystile.keys.networks import EVERYWHERE
from keystile.relay import drain as steps
from keystile.relay.drain import LAST_MOMENT
from tests.config.certificates import make
from tests.relay.running import Answer, Running, request, running, until
from tests.relay.test_tunnel import FRAME, opened, serving
from tests.wire.peers import OK, RawClient, RecordedConnection, RecordingUpstream

HEALTH = {"health_path": "/healthz"}


async def asked(client: RawClient, data: bytes) -> Answer:
    await client.send(data)
    return Answer(*await client.answer())


def connected(port: int, data: bytes) -> socket.socket:
    """A client whose request is there before anybody has accepted it: the loop has not run meanwhile."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(data)
    client.setblocking(False)
    return client


async def streams(client: socket.socket) -> RawClient:
    return RawClient(*await asyncio.open_connection(sock=client))


@pytest.mark.parametrize("replaced", [False, True])
async def test_who_leaves_serves_on_and_every_answer_is_its_connections_last(replaced: bool) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port, **HEALTH) as relay:
        key = relay.key()
        kept, asking = [await RawClient.connect(relay.port) for _ in range(2)]
        assert (await asked(kept, request("/any/x", key=key))).field(b"Connection") is None
        assert (await asked(asking, request("/healthz"))).status == 200
        relay.gateway.leave(replaced=replaced)
        health = await asked(asking, request("/healthz"))
        assert (health.status, health.field(b"Connection")) == (200 if replaced else 503, b"close")
        assert health.body == (b'{"status": "ok"}\n' if replaced else b'{"status": "draining"}\n')
        fresh = await RawClient.connect(relay.port)
        for client in (kept, fresh):
            answer = await asked(client, request("/any/x", key=key))
            assert (answer.status, answer.field(b"Connection")) == (200, b"close")
            assert await client.closed() == b""


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("replaced", [False, True])
async def test_an_answer_that_began_before_is_not_the_last_one_since_it_has_not_said_so(
    replaced: bool, secure: bool, tmp_path: Path
) -> None:
    """Found as one request in 86,155 that failed while the gateway was upgraded."""
    go_on = asyncio.Event()

    async def in_two_parts(connection: RecordedConnection, request: bytes) -> None:
        if go_on.is_set():
            await connection.send(OK)
            return
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await go_on.wait()
        await connection.send(b"after")

    async with RecordingUpstream(in_two_parts) as upstream, running(upstream.port) as relay:
        port, trusting = await _tls(relay, tmp_path)
        client = await RawClient.connect(port if secure else relay.port, tls=trusting if secure else None)
        await client.send(request("/any/x", key=relay.key()))
        await client.reader.readuntil(b"\r\n\r\n")
        relay.gateway.leave(replaced=replaced)
        go_on.set()
        assert await client.reader.readexactly(5) == b"after"
        answer = await asked(client, request("/any/x", key=relay.key()))
        assert (answer.status, answer.field(b"Connection")) == (200, b"close")
        assert await client.closed() == b""


async def _tls(relay: Running, folder: Path) -> tuple[int, ssl.SSLContext]:
    certificate, private_key = make(folder)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(10)
    sock.setblocking(False)
    await relay.listen(sock, Listener("127.0.0.1", 0, Tls((Certificate(certificate, private_key),))))
    trusting = ssl.create_default_context(cafile=str(certificate))
    trusting.check_hostname = False
    return sock.getsockname()[1], trusting


async def test_who_waits_to_be_accepted_when_accepting_ends_is_served(tmp_path: Path) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        port, trusting = await _tls(relay, tmp_path)
        relay.gateway.leave()
        plain = [connected(relay.port, request("/any/x", key=relay.key())) for _ in range(5)]
        secure = socket.create_connection(("127.0.0.1", port))
        secure.setblocking(False)
        draining = asyncio.create_task(relay.gateway.drain())
        client = RawClient(*await asyncio.open_connection(sock=secure, ssl=trusting, server_hostname="localhost"))
        assert (await asked(client, request("/any/x", key=relay.key()))).status == 200
        for each in plain:
            assert (await (await streams(each)).answer())[0] == 200
        await asyncio.wait_for(draining, 10)
        assert len(upstream.requests) == 6


async def test_after_that_connections_are_refused_even_where_others_have_the_socket_too() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        [(_, server)] = relay.gateway._servers
        with socket.socket(fileno=os.dup(server.sockets[0].fileno())):
            await relay.gateway.accept_no_more()
            with pytest.raises(ConnectionRefusedError):
                await RawClient.connect(relay.port)


async def test_who_was_replaced_leaves_those_who_wait_to_the_other() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        [(_, server)] = relay.gateway._servers
        with socket.socket(fileno=os.dup(server.sockets[0].fileno())) as other:
            relay.gateway.leave(replaced=True)
            waiting = connected(relay.port, b"x")
            await relay.gateway.accept_no_more()
            late = connected(relay.port, b"y")
            accepted = [other.accept()[0] for _ in range(2)]
            assert {each.recv(1) for each in accepted} == {b"x", b"y"}
            for each in (waiting, late, *accepted):
                each.close()


@pytest.mark.parametrize("secure", [False, True])
async def test_a_request_on_its_way_when_accepting_ends_is_answered(secure: bool, tmp_path: Path) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        port, trusting = await _tls(relay, tmp_path)
        idle = await RawClient.connect(port if secure else relay.port, tls=trusting if secure else None)
        assert (await asked(idle, request("/any/x", key=relay.key()))).status == 200
        draining = asyncio.create_task(relay.gateway.drain())
        await asyncio.sleep(LAST_MOMENT / 3)
        answer = await asked(idle, request("/any/x", key=relay.key()))
        assert (answer.status, answer.field(b"Connection")) == (200, b"close")
        assert await idle.closed() == b""
        await asyncio.wait_for(draining, 10)


async def test_a_request_that_lies_unread_when_idle_ones_end_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LAST_MOMENT", 0.0)
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        clients = [connected(relay.port, b"") for _ in range(20)]
        await until(lambda: len(relay.gateway.connections) == 20)
        draining = asyncio.create_task(relay.gateway.drain())
        for client in clients:
            client.send(request("/any/x", key=relay.key()))
        assert [(await (await streams(client)).answer())[0] for client in clients] == [200] * 20
        await asyncio.wait_for(draining, 10)


@pytest.mark.source_only("it changes a constant, which compiled code has in place")
async def test_idle_connections_of_one_that_was_replaced_live_until_shortly_before_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "FAREWELL", 0.3)
    limits = {"drain_timeout": 1.2}
    async with RecordingUpstream() as upstream, running(upstream.port, limits=limits) as relay:
        late, silent = [await RawClient.connect(relay.port) for _ in range(2)]
        await until(lambda: len(relay.gateway.connections) == 2)
        relay.gateway.leave(replaced=True)
        draining = asyncio.create_task(relay.gateway.drain())
        await asyncio.sleep(LAST_MOMENT * 2)
        assert (await asked(late, request("/any/x", key=relay.key()))).status == 200
        assert await silent.reader.read() == b"", "it is ended, not reset"
        await asyncio.wait_for(draining, 10)


async def test_an_idle_tls_connection_ends_with_a_close_notify(tmp_path: Path) -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        port, trusting = await _tls(relay, tmp_path)
        trusting.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        idle = await RawClient.connect(port, tls=trusting)
        await until(lambda: relay.gateway.connections)
        draining = asyncio.create_task(relay.gateway.drain())
        assert await idle.reader.read() == b""  # without it: ssl.SSLError, UNEXPECTED_EOF_WHILE_READING
        await asyncio.wait_for(draining, 10)


async def test_a_tunnel_gets_its_end_and_no_reset() -> None:
    async with serving(limits={"drain_timeout": 0.5}) as (relay, upstream, key):
        client = await opened(relay, key)
        draining = asyncio.create_task(relay.gateway.drain())
        await asyncio.sleep(0.1)
        upstream.send(FRAME)
        assert await client.reader.readexactly(len(FRAME)) == FRAME
        assert await client.reader.read() == b""  # a reset would raise
        await draining
        [line] = relay.lines
        assert line["refusal"] == "draining"


class Narrow:
    """A channel with room for one message now and then; ``shut``: for none any more."""

    def __init__(self) -> None:
        self.asked = 0
        self.shut = False
        self.taken: list[tuple[bytes, bytes]] = []

    def send(self, kind: bytes, payload: bytes) -> bool:
        self.asked += 1
        if self.shut or self.asked % 3:
            return False
        self.taken.append((kind, payload))
        return True


async def _used(relay: Running, keys: int) -> Narrow:
    """A channel that management does not read fast enough, and keys in use of which it has to be told."""
    channel = Narrow()
    relay.gateway.recorder._channel = channel
    for number in range(keys):
        row = KeyRow(f"{number:016x}", "a@b.c", "name", "", "", None, number.to_bytes(32, "big"))
        key = HeldKey(row, row.account, frozenset(), EVERYWHERE)
        assert relay.gateway.recorder.uses.takes(key)
        key.used_at, key.requests = 1.0, 2
    return channel


async def test_who_stops_tells_of_every_key_before_it_ends_as_fast_as_management_reads() -> None:
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        channel = await _used(relay, 1000)
        await relay.gateway.drain()
        told = [row for kind, payload in channel.taken if kind == b"C" for row in json.loads(payload)]
        assert sorted(key for key, *_ in told) == [f"{number:016x}" for number in range(1000)]
        assert sum(row[-1] for row in told) == 2000
        assert (relay.counters["uses_dropped"], relay.counters["usage_dropped"]) == (0, 0)


async def test_who_stops_does_not_wait_for_ever_for_a_management_that_reads_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "LAST_WORDS", 0.05)
    async with RecordingUpstream() as upstream, running(upstream.port) as relay:
        channel = await _used(relay, 10)
        channel.shut = True
        await relay.gateway.drain()
        assert (relay.counters["uses_dropped"], relay.counters["usage_dropped"]) == (10, 20)
