"""Doors: who comes in through a PROXY protocol header or a TLS handshake, and for whom."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keystile.config.model import Certificate, Listener, Tls
from keystile.wire.client import ClientConnection
from keystile.wire.door import AT_ONCE, Door
from tests.e2e.running import make_certificate, trusting
from tests.relay.running import Answer, Running, request, running, until
from tests.wire.peers import RawClient, RecordingUpstream
from tests.wire.proxy_headers import RIGHT, WRONG, v2

TRUSTED = (ipaddress.ip_network("127.0.0.0/8"),)
HEADER = b"PROXY TCP4 192.0.2.7 10.0.0.9 5678 443\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def behind_a_proxy(
    tls: tuple[Path, Path] | None = None, *, proxy_protocol: bool = True, **changes: Any
) -> AsyncIterator[tuple[Running, RecordingUpstream, bytes]]:
    """A relay whose listener wants a header first; its upstream; a key for everything."""
    listener = Listener("127.0.0.1", 0, Tls((Certificate(*tls),)) if tls else None, proxy_protocol=proxy_protocol)
    changes.setdefault("trusted_proxies", TRUSTED)
    async with RecordingUpstream() as upstream, running(upstream.port, listeners=(listener,), **changes) as relay:
        yield relay, upstream, relay.key("ViewContacts")


async def answer(client: RawClient) -> Answer:
    return Answer(*await client.answer())


def told(upstream: RecordingUpstream) -> bytes:
    """What the upstream was told of the one caller."""
    [received] = upstream.requests
    return Answer(200, received, b"").field(b"X-Forwarded-For") or b""


def closed_before_a_request(relay: Running, counter: str) -> bool:
    return relay.counters[counter] == 1 and not relay.gateway.crowd.present and not relay.gateway.newcomers


# -- headers -------------------------------------------------------------------------------------------


async def test_the_address_in_the_header_is_the_caller_and_the_sockets_is_logged_beside_it() -> None:
    async with behind_a_proxy() as (relay, upstream, key):
        client = await RawClient.connect(relay.port, "127.0.0.9")
        await client.send(HEADER + request(key=key))
        assert (await answer(client)).status == 200
        assert told(upstream) == b"192.0.2.7"
        [line] = relay.lines
        assert (line["address"], line["socket"]) == ("192.0.2.7", "127.0.0.9")


@pytest.mark.parametrize(("header", "address"), [row[1:] for row in RIGHT], ids=[row[0] for row in RIGHT])
async def test_every_right_header_lets_the_requests_behind_it_in(header: bytes, address: str | None) -> None:
    async with behind_a_proxy() as (relay, upstream, key):
        client = await RawClient.connect(relay.port)
        await client.send(header + request(key=key) * 2)
        assert [(await answer(client)).status for _ in range(2)] == [200, 200]
        assert {line["address"] for line in relay.lines} == {address or "127.0.0.1"}
        assert upstream.requests[0].startswith(b"GET /v4/contacts HTTP/1.1\r\n")


@pytest.mark.parametrize("header", [row[1] for row in WRONG], ids=[row[0] for row in WRONG])
async def test_every_wrong_header_ends_the_connection_without_a_word(header: bytes) -> None:
    async with behind_a_proxy() as (relay, upstream, key):
        client = await RawClient.connect(relay.port)
        await client.send(header + request(key=key))
        assert await client.closed() == b""
        await until(lambda: closed_before_a_request(relay, "connections_bad_header"))
        assert upstream.received == b""


async def test_a_header_may_come_byte_by_byte() -> None:
    async with behind_a_proxy() as (relay, _upstream, key):
        for header in (HEADER, v2()):
            client = await RawClient.connect(relay.port)
            for byte in header + request(key=key):
                await client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await answer(client)).status == 200
        assert {line["address"] for line in relay.lines} == {"192.0.2.7"}


async def test_who_is_no_trusted_proxy_is_closed_before_a_byte_is_read() -> None:
    async with behind_a_proxy(trusted_proxies=(ipaddress.ip_network("127.0.0.2/32"),)) as (relay, _upstream, key):
        client = await RawClient.connect(relay.port, "127.0.0.1")
        assert await client.closed() == b""
        await until(lambda: closed_before_a_request(relay, "connections_untrusted"))
        client = await RawClient.connect(relay.port, "127.0.0.2")
        await client.send(HEADER + request(key=key))
        assert (await answer(client)).status == 200


async def test_on_other_listeners_a_header_is_no_request() -> None:
    async with behind_a_proxy(proxy_protocol=False) as (relay, upstream, key):
        for header in (HEADER, v2()):
            client = await RawClient.connect(relay.port)
            await client.send(header + request(key=key))
            assert (await answer(client)).status == 400
            await client.closed()
        assert upstream.received == b""


async def test_fields_about_others_are_not_believed_from_the_announced_client() -> None:
    async with behind_a_proxy() as (relay, upstream, key):
        client = await RawClient.connect(relay.port)
        forged = (b"X-Forwarded-For: 6.6.6.6", b"Forwarded: for=6.6.6.6")
        await client.send(HEADER + request("/v4/contacts", *forged, key=key))
        assert (await answer(client)).status == 200
        assert told(upstream) == b"192.0.2.7"
        assert b"6.6.6.6" not in upstream.received


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(0x20, 0, b""), v2(0x21, 0, b""), v2(0x21, 0x12)])
async def test_where_nobody_is_announced_the_proxys_trust_is_not_its_clients(header: bytes) -> None:
    """A proxy that speaks no HTTP has not written these fields: its client has."""
    async with behind_a_proxy() as (relay, upstream, key):
        client = await RawClient.connect(relay.port)
        await client.send(header + request("/v4/contacts", b"X-Forwarded-For: 6.6.6.6", key=key))
        assert (await answer(client)).status == 200
        assert told(upstream) == b"127.0.0.1"


async def test_an_announced_proxy_is_believed_about_its_client() -> None:
    async with behind_a_proxy() as (relay, _upstream, key):
        client = await RawClient.connect(relay.port, "127.0.0.9")
        header = b"PROXY TCP4 127.0.0.5 127.0.0.6 1 2\r\n"
        await client.send(header + request("/v4/contacts", b"X-Forwarded-For: 6.6.6.6, 192.0.2.8", key=key))
        assert (await answer(client)).status == 200
        [line] = relay.lines
        assert (line["address"], line["socket"]) == ("192.0.2.8", "127.0.0.9")


async def test_restrictions_and_the_cap_are_the_announced_addresses() -> None:
    async with behind_a_proxy(limits={"concurrent_requests_per_ip": 1}) as (relay, upstream, _):
        held = asyncio.Event()

        async def hold(connection: Any, data: bytes) -> None:
            await held.wait()
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        upstream.answer = hold
        key = relay.key("ViewContacts", networks=["192.0.2.0/24"])
        clients = []
        for source in (b"192.0.2.7", b"192.0.2.7", b"192.0.2.8", b"198.51.100.1"):
            client = await RawClient.connect(relay.port)
            await client.send(b"PROXY TCP4 %b 10.0.0.9 1 2\r\n" % source + request(key=key))
            clients.append(client)
            await until(lambda: relay.gateway.in_flight or relay.gateway.recorder.requests)
            await asyncio.sleep(0.05)
        assert [(await answer(client)).status for client in (clients[1], clients[3])] == [429, 403]
        held.set()
        assert [(await answer(client)).status for client in (clients[0], clients[2])] == [200, 200]


async def test_a_header_must_come_in_time() -> None:
    async with behind_a_proxy(limits={"head_timeout": 0.2}) as (relay, _, _key):
        silent, begun = await RawClient.connect(relay.port), await RawClient.connect(relay.port)
        await begun.send(HEADER[:20])
        assert [await client.closed() for client in (silent, begun)] == [b"", b""]
        await until(lambda: relay.counters["connections_bad_header"] == 2)
        assert not relay.gateway.crowd.present


async def test_a_health_check_that_connects_and_leaves_is_nothing_to_speak_of() -> None:
    async with behind_a_proxy() as (relay, _, _key):
        client = await RawClient.connect(relay.port)
        await until(lambda: relay.gateway.newcomers)
        await client.close()
        await until(lambda: not relay.gateway.newcomers)
        assert relay.counters["connections_bad_header"] == 0
        begun = await RawClient.connect(relay.port)
        await begun.send(b"PROXY")
        begun.writer.write_eof()
        await until(lambda: closed_before_a_request(relay, "connections_bad_header"))


async def test_when_the_relay_stops_nobody_waits_at_the_door() -> None:
    async with behind_a_proxy() as (relay, _, _key):
        client = await RawClient.connect(relay.port)
        await until(lambda: relay.gateway.newcomers)
        await relay.gateway.drain()
        assert await client.closed() == b""
        assert not relay.gateway.newcomers
        with pytest.raises(OSError, match="refused"):
            await RawClient.connect(relay.port)


# -- TLS -----------------------------------------------------------------------------------------------


async def secured(client: RawClient, certificate: Path, header: bytes = b"") -> RawClient:
    """The same connection after ``header`` in clear and a TLS handshake."""
    if header:
        await client.send(header)
    await client.writer.start_tls(trusting(certificate), server_hostname="127.0.0.1")
    return client


@pytest.mark.parametrize("header", [HEADER, v2()])
async def test_tls_begins_behind_the_header(certificate: tuple[Path, Path], header: bytes) -> None:
    async with behind_a_proxy(certificate) as (relay, upstream, key):
        client = await secured(await RawClient.connect(relay.port, "127.0.0.9"), certificate[0], header)
        await client.send(request(key=key) * 2)
        assert [(await answer(client)).status for _ in range(2)] == [200, 200]
        assert {(line["address"], line["socket"], line["tls"]) for line in relay.lines} == {
            ("192.0.2.7", "127.0.0.9", "TLSv1.3")
        }
        assert b"X-Forwarded-Proto: https" in upstream.received


async def test_a_header_and_a_client_hello_may_come_in_one_piece(certificate: tuple[Path, Path]) -> None:
    async with behind_a_proxy(certificate) as (relay, _, key):
        inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trusting(certificate[0]).wrap_bio(inside, outside, server_hostname="127.0.0.1")
        client = await RawClient.connect(relay.port)
        sent = HEADER
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await client.send(sent + outside.read())
                sent = b""
                inside.write(await client.reader.read(65536))
        tls.write(request(key=key))
        await client.send(outside.read())
        received = b""
        while not received.startswith(b"HTTP/1.1 200 OK"):
            inside.write(await client.reader.read(65536))
            try:
                received += tls.read(65536)
            except ssl.SSLWantReadError:
                continue
        assert relay.lines[0]["address"] == "192.0.2.7"


async def test_a_header_inside_tls_is_no_request(certificate: tuple[Path, Path]) -> None:
    async with behind_a_proxy(certificate) as (relay, upstream, key):
        client = await secured(await RawClient.connect(relay.port), certificate[0], HEADER)
        await client.send(HEADER + request(key=key))
        assert (await answer(client)).status == 400
        assert upstream.received == b""


async def test_a_handshake_that_fails_or_never_ends_leaves_nothing(certificate: tuple[Path, Path]) -> None:
    async with behind_a_proxy(certificate, proxy_protocol=False, limits={"head_timeout": 0.3}) as (relay, _, _key):
        silent, noisy = await RawClient.connect(relay.port), await RawClient.connect(relay.port)
        await until(lambda: relay.gateway.crowd.present == 2)
        await noisy.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await answer(noisy)).status == 400  # it may stay until its time is over, and no longer
        await noisy.closed()
        await silent.closed()
        await until(lambda: relay.gateway.crowd.present == 0)
        assert not relay.gateway.connections


async def test_a_handshake_counts_as_a_connection_from_its_first_byte(certificate: tuple[Path, Path]) -> None:
    limits = {"connections_per_ip": 2}
    async with behind_a_proxy(certificate, proxy_protocol=False, trusted_proxies=(), limits=limits) as (relay, _, key):
        silent = [await RawClient.connect(relay.port) for _ in range(2)]
        await until(lambda: relay.gateway.crowd.present == 2)
        third = await RawClient.connect(relay.port)
        assert await third.closed() == b""
        assert relay.counters["connections_too_many"] == 1
        other = await secured(await RawClient.connect(relay.port, "127.0.0.2"), certificate[0])
        await other.send(request(key=key))
        assert (await answer(other)).status == 200
        silent[0].reset()
        await until(lambda: relay.gateway.crowd.present == 2)
        again = await secured(await RawClient.connect(relay.port), certificate[0])
        await again.send(request(key=key))
        assert (await answer(again)).status == 200
        again.reset()
        other.reset()
        silent[1].reset()
        await until(lambda: relay.gateway.crowd.present == 0)


async def test_announced_clients_are_counted_by_their_own_address() -> None:
    async with behind_a_proxy(limits={"connections_per_ip": 1}) as (relay, _, key):
        first, second, other = [await RawClient.connect(relay.port) for _ in range(3)]
        await first.send(HEADER + request(key=key))
        assert (await answer(first)).status == 200
        await second.send(HEADER + request(key=key))
        assert await second.closed() == b""
        await other.send(HEADER.replace(b"192.0.2.7", b"192.0.2.8") + request(key=key))
        assert (await answer(other)).status == 200
        assert relay.counters["connections_too_many"] == 1
        first.reset()
        other.reset()
        await until(lambda: relay.gateway.crowd.present == 0)


async def test_connections_fetched_from_another_relay_come_through_the_same_door(
    certificate: tuple[Path, Path],
) -> None:
    async with behind_a_proxy(certificate) as (relay, _, key):
        listening = socket.create_server(("127.0.0.1", 0))
        connecting = asyncio.create_task(RawClient.connect(listening.getsockname()[1]))
        accepted, _ = await asyncio.to_thread(listening.accept)
        accepted.setblocking(False)
        await relay.gateway.adopt(accepted, relay.gateway.settings.listeners[0])
        client = await secured(await connecting, certificate[0], HEADER)
        await client.send(request(key=key))
        assert (await answer(client)).status == 200
        assert relay.lines[0]["address"] == "192.0.2.7"
        listening.close()


# -- accepting -----------------------------------------------------------------------------------------


class FullSocket:
    """A listening socket of a process that has no descriptor left for a while."""

    def __init__(self, error: int, accepted: list[str]) -> None:
        self.error = error
        self.accepted = accepted

    def fileno(self) -> int:
        return 99

    def accept(self) -> tuple[Any, Any]:
        if self.accepted:
            return SimpleNamespace(setblocking=lambda _: None, name=self.accepted.pop()), None
        raise OSError(self.error, "")


class KeptLoop:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.later: list[Any] = []

    def add_reader(self, fd: int, callback: Any, *arguments: Any) -> None:
        self.said.append("add")

    def remove_reader(self, fd: int) -> None:
        self.said.append("remove")

    def call_later(self, seconds: float, callback: Any, *arguments: Any) -> None:
        self.later.append((callback, arguments))


def never() -> ClientConnection:
    raise AssertionError("nobody is let in")


def opened_door(listening: FullSocket) -> tuple[Door, KeptLoop, list[Any]]:
    loop = KeptLoop()
    door = Door(cast(Any, SimpleNamespace(loop=loop, newcomers=set())), None, never, proxy_protocol=False)
    welcomed: list[Any] = []
    door.welcome = welcomed.append  # type: ignore[method-assign,assignment]
    door.open(cast(Any, listening))
    return door, loop, welcomed


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_descriptors_it_accepts_again_after_a_pause_and_does_not_spin(error: int) -> None:
    listening = FullSocket(error, ["one"])
    door, loop, welcomed = opened_door(listening)
    door._accept(cast(Any, listening))
    assert [each.name for each in welcomed] == ["one"]
    assert loop.said == ["add", "remove"]
    [(callback, arguments)] = loop.later
    callback(*arguments)
    assert loop.said == ["add", "remove", "add"]


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ECONNABORTED])
def test_when_nobody_is_there_it_waits_for_the_next(error: int) -> None:
    listening = FullSocket(error, [])
    door, loop, _ = opened_door(listening)
    door._accept(cast(Any, listening))
    assert (loop.said, loop.later) == (["add"], [])


@pytest.mark.source_only("it replaces a method or a function that compiled code calls directly")
def test_a_crowd_at_the_door_does_not_keep_requests_waiting() -> None:
    listening = FullSocket(errno.EAGAIN, ["x"] * 100)
    door, _, welcomed = opened_door(listening)
    door._accept(cast(Any, listening))
    assert len(welcomed) == AT_ONCE


# -- holding -------------------------------------------------------------------------------------------


async def test_a_held_door_lets_nobody_in_but_who_is_fetched() -> None:
    async with behind_a_proxy() as (relay, _, key):
        [(_, door)] = relay.gateway.doors()
        door.hold()
        client = await RawClient.connect(relay.port)
        await client.send(HEADER + request(key=key))
        await asyncio.sleep(0.1)
        assert not relay.gateway.crowd.present
        fetched = door.fetch()
        assert fetched is not None
        assert door.fetch() is None
        await relay.gateway.adopt(fetched, relay.gateway.settings.listeners[0])
        assert (await answer(client)).status == 200
        door.go_on()
        again = await RawClient.connect(relay.port)
        await again.send(HEADER + request(key=key))
        assert (await answer(again)).status == 200


async def test_a_door_that_paused_does_not_open_while_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystile.wire.door.PAUSE_SECONDS", 0.01)
    async with behind_a_proxy() as (relay, _, key):
        [(_, door)] = relay.gateway.doors()
        assert isinstance(door, Door)
        assert door._listening is not None
        door._pause(door._listening)
        door.hold()
        client = await RawClient.connect(relay.port)
        await client.send(HEADER + request(key=key))
        await asyncio.sleep(0.1)
        assert not relay.gateway.crowd.present
        door.go_on()
        assert (await answer(client)).status == 200
