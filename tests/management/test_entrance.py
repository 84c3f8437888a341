"""Connections stay while one application follows the other, and none ends on which a request is to be seen.

Law: clients write on plain sockets, without a look at what the server does: at the very moment, before the loop has
had a turn to read it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from keystile.management import entrance
from keystile.management.entrance import Entrance
from keystile.management.server import Runner
from tests.e2e.running import make_certificate, trusting

TRIES = 100
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


class Address:
    """A management address; ``over`` is set by whoever has put another configuration in force."""

    def __init__(self) -> None:
        self.over = False
        self.entrance = Entrance(lambda: self.over, access_log=None, keepalive_timeout=75.0)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._runners: list[Runner] = []
        self._turns: list[web.Server] = []

    async def next(self, text: str, before: asyncio.Event | None = None, tls: ssl.SSLContext | None = None) -> None:
        """The turn of an application that answers ``text`` (after ``before``)."""

        async def answer(request: web.Request) -> web.Response:
            await request.read()
            if before is not None:
                await before.wait()
            return web.Response(text=text)

        app = web.Application()
        app.router.add_route("*", "/", answer)
        self._runners.append(Runner(app))
        await self._runners[-1].setup()
        self._turns.append(await self.entrance.open(self._runners[-1], self._listening.dup(), tls, 100))

    async def finish(self, within: float = 20.0) -> None:
        """The first turn that is not finished yet."""
        await self.entrance.finish(self._turns.pop(0), within)
        await self._runners.pop(0).cleanup()

    async def end(self, linger: float = 0.0, last: float = 20.0) -> None:
        await self.entrance.end(lambda: linger, last)

    def connect(self) -> socket.socket:
        connected = socket.create_connection(self._listening.getsockname())
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    async def close(self) -> None:
        await self.end(last=0.0)
        for each in self._runners:
            await each.cleanup()
        self._listening.close()


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    made = Address()
    yield made
    await made.close()


async def answered(client: socket.socket, times: int = 0) -> bytes:
    """What the server says, up to the end of so many answers, or all that it says to its end."""
    said, loop = b"", asyncio.get_running_loop()
    async with asyncio.timeout(20):
        while not times or said.count(b"]") < times:
            more = await loop.sock_recv(client, 65536)
            if not more:
                break
            said += more
    return said


@asynccontextmanager
async def kept(address: Address, number: int = 1) -> AsyncIterator[list[socket.socket]]:
    """Connections that have been used and are kept."""
    connected = [address.connect() for _ in range(number)]
    try:
        for each in connected:
            each.sendall(GET)
            assert await answered(each, 1)
        yield connected
    finally:
        for each in connected:
            each.close()


async def pause(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def one_after_the_other(address: Address) -> None:
    address.entrance.close()
    await address.finish()


@pytest.mark.parametrize("asked", [GET, POST])
async def test_whatever_comes_while_the_turn_changes_is_answered(address: Address, asked: bytes) -> None:
    await address.next("[0]")
    answers = 0
    async with kept(address, 4) as (early, pipelined, halved, late):
        for number in range(1, TRIES + 1):
            early.sendall(asked)
            pipelined.sendall(asked * 3)
            halved.sendall(asked[:20])
            await pause(number % 7)
            address.over = True
            await pause(number % 2)
            late.sendall(asked)
            await pause(number % 8)
            address.entrance.close()
            ending = asyncio.ensure_future(address.finish())
            await pause(number % 5)
            halved.sendall(asked[20:])
            address.over = False
            await address.next(f"[{number}]")
            said = [await answered(each, times) for each, times in ((early, 1), (pipelined, 3), (halved, 1), (late, 1))]
            assert said[-1].endswith(f"[{number}]".encode()), "it came when the next configuration was in force"
            answers += sum(each.count(b"HTTP/1.1 200") for each in said)
            await ending
    assert answers == 6 * TRIES


async def test_what_an_application_has_begun_it_finishes_while_the_next_one_serves(address: Address) -> None:
    go = asyncio.Event()
    await address.next("[old]", go)
    go.set()
    async with kept(address, 2) as (slow, quick):
        go.clear()
        slow.sendall(GET)
        await asyncio.sleep(0.05)
        address.entrance.close()
        ending = asyncio.ensure_future(address.finish())
        await address.next("[new]")
        quick.sendall(GET)
        assert (await answered(quick, 1)).endswith(b"[new]")
        assert not ending.done()
        go.set()
        assert (await answered(slow, 1)).endswith(b"[old]")
        await ending
        slow.sendall(GET)
        assert (await answered(slow, 1)).endswith(b"[new]")


async def test_what_takes_too_long_is_cut_and_nothing_else(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "CUT_WITHIN", 0.01)
    go = asyncio.Event()
    await address.next("[old]", go)
    go.set()
    async with kept(address, 2) as (slow, idle):
        go.clear()
        slow.sendall(GET)
        await asyncio.sleep(0.05)
        address.entrance.close()
        idle.sendall(GET)
        await address.finish(within=0.05)
        assert await answered(slow) == b""
        assert address.entrance.waiting == 1
        await address.next("[new]")
        assert (await answered(idle, 1)).endswith(b"[new]")


async def test_connections_are_counted_and_looked_at_over_turns(address: Address) -> None:
    await address.next("[0]")
    async with kept(address, 3) as (first, *_):
        (crowd,) = {each.crowd for each in address.entrance.connections}
        await one_after_the_other(address)
        await address.next("[1]")
        assert (crowd.present, crowd.of(b"127.0.0.1")) == (3, 3)
        timers = [(each._looking, each._keepalive_handle) for each in address.entrance.connections]
        assert all(timer is not None and not timer.cancelled() for pair in timers for timer in pair)
        first.close()
        while crowd.present == 3:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
        assert (crowd.present, len(address.entrance.connections)) == (2, 2)


async def test_a_kept_connection_is_silent_for_so_long_over_turns(address: Address) -> None:
    address.entrance._server._kwargs["keepalive_timeout"] = 0.2
    await address.next("[0]")
    async with kept(address) as (client,):
        await one_after_the_other(address)
        await address.next("[1]")
        assert await answered(client) == b""


async def test_tls_may_come_and_whoever_is_there_stays(address: Address, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    await address.next("[plain]")
    async with kept(address) as (plain,):
        await one_after_the_other(address)
        await address.next("[TLS]", tls=context)
        plain.sendall(GET)
        assert (await answered(plain, 1)).endswith(b"[TLS]")
        reader, writer = await asyncio.open_connection(
            sock=address.connect(), ssl=trusting(certificate), server_hostname="localhost"
        )
        for _ in range(2):
            writer.write(GET)
            assert (await reader.readuntil(b"]")).endswith(b"[TLS]")
            await one_after_the_other(address)
            await address.next("[TLS]", tls=context)
        writer.write(GET)
        await writer.drain()
        await address.end()
        assert b"\r\nConnection: close\r\n" in await reader.read()
        writer.close()


# -- the end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [GET, POST])
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4])
async def test_no_connection_ends_on_which_a_request_is_to_be_seen(address: Address, asked: bytes, turns: int) -> None:
    await address.next("[0]")
    async with kept(address, 9) as (halved, idle, *clients):
        halved.sendall(asked[:20])
        await asyncio.sleep(0.05)
        for each in clients:
            each.sendall(asked)
        await pause(turns)
        asyncio.get_running_loop().call_later(0.05, halved.sendall, asked[20:])
        await address.end()
        assert await answered(idle) == b""
        for each in (halved, *clients):
            assert (await answered(each)).endswith(b"[0]")


async def test_who_waits_for_the_next_turn_at_the_end_is_answered(address: Address) -> None:
    await address.next("[0]")
    async with kept(address) as (client,):
        address.over = True
        client.sendall(GET)
        while not address.entrance.waiting:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
        address.over = False
        await address.end()
        assert (await answered(client)).endswith(b"[0]")


async def test_a_replaced_one_lingers_and_tells_everybody_who_asks_again(address: Address) -> None:
    await address.next("[0]")
    seconds = [20.0]
    async with kept(address, 3) as (first, second, idle):
        ending = asyncio.ensure_future(address.entrance.end(lambda: seconds[0], 1.0))
        for each in (first, second):
            await asyncio.sleep(0.1)
            each.sendall(POST)
            said = await answered(each)
            assert said.endswith(b"[0]")
            assert b"\r\nConnection: close\r\n" in said
        assert len(address.entrance.connections) == 1
        seconds[0] = 0.0
        assert await answered(idle) == b""
        await ending


async def test_a_replaced_one_that_nobody_has_a_connection_to_does_not_linger(address: Address) -> None:
    await address.next("[0]")
    async with asyncio.timeout(10):
        await address.end(linger=1000.0)


async def test_requests_that_do_not_end_are_cut_at_the_end(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "CUT_WITHIN", 0.01)
    go = asyncio.Event()
    await address.next("[0]", go)
    client = address.connect()
    client.sendall(GET)
    await asyncio.sleep(0.05)
    await address.end(last=0.05)
    assert await answered(client) == b""
    client.close()
