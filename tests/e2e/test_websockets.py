"""WebSockets through real processes: aiohttp's server and client at the ends, keys by the command line, a real stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.e2e.api import answering
from tests.e2e.running import Gateway, serving, settings
from tests.process.running import until

#: Seconds within which a deleted key's WebSocket has ended: relays look once a second.
AT_MOST = 3.0


async def echo(request: web.Request) -> web.StreamResponse:
    """Say everything back; ``more`` asks for a large message."""
    if request.headers.get("Upgrade") != "websocket":
        return web.Response(text="ordinary")
    socket = web.WebSocketResponse(protocols=("chat",), max_msg_size=1 << 26)
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    routes: list[dict[str, object]] = [
        {"path": "/ws", "methods": ["GET"], "scope": "Listen", "websocket": True},
        {"path": "/plain", "methods": ["GET"], "scope": "Listen"},
    ]
    limits = {"drain_timeout": "2s", "concurrent_requests_per_ip": 5}
    with (
        answering(echo) as port,
        serving(tmp_path_factory.mktemp("gateway"), settings(port, routes, workers=2, limits=limits)) as gateway,
    ):
        yield gateway


def url(gateway: Gateway, path: str = "/ws") -> str:
    return f"http://127.0.0.1:{gateway.ports[0]}{path}"


async def test_messages_of_every_size_come_back_as_they_went(gateway: Gateway) -> None:
    key = gateway.create_key("sizes", "Listen")
    async with (
        aiohttp.ClientSession(headers={"X-Api-Key": key}) as session,
        session.ws_connect(url(gateway), protocols=("chat",), max_msg_size=1 << 26) as socket,
    ):
        assert socket.protocol == "chat"
        for size in (0, 1, 125, 126, 65535, 65536, 1 << 20, 1 << 24):
            await socket.send_bytes(bytes(size))
            assert len(await socket.receive_bytes(timeout=20)) == size
        await socket.send_str("grüße")
        assert await socket.receive_str() == "grüße"
    await asyncio.to_thread(until, lambda: gateway.status()["slots_taken"] == 0)


async def test_compressed_messages_are_no_affair_of_ours(gateway: Gateway) -> None:
    key = gateway.create_key("compressed", "Listen")
    async with (
        aiohttp.ClientSession(headers={"X-Api-Key": key}) as session,
        session.ws_connect(url(gateway), compress=15) as socket,
    ):
        assert socket.compress
        await socket.send_str("x" * 100_000)
        assert await socket.receive_str() == "x" * 100_000


async def test_a_key_deleted_by_the_command_line_ends_its_websockets_and_no_others(gateway: Gateway) -> None:
    keys = [gateway.create_key(name, "Listen") for name in ("stays", "goes")]
    async with aiohttp.ClientSession() as session:
        stays, goes = [await session.ws_connect(url(gateway), headers={"X-Api-Key": key}) for key in keys]
        await asyncio.to_thread(gateway.keys, "delete", "goes")
        began = time.monotonic()
        message = await goes.receive(timeout=10)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR)
        assert time.monotonic() - began < AT_MOST
        await stays.send_str("still here")
        assert await stays.receive_str(timeout=10) == "still here"
        await stays.close()


async def test_where_the_row_does_not_say_so_there_is_none(gateway: Gateway) -> None:
    key = gateway.create_key("plain", "Listen")
    async with aiohttp.ClientSession(headers={"X-Api-Key": key}) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url(gateway, "/plain"))
        assert refused.value.status == 200
        async with session.get(url(gateway, "/plain")) as answer:
            assert await answer.text() == "ordinary"


async def test_a_stop_ends_websockets_when_its_time_is_over(tmp_path: Path) -> None:
    routes: list[dict[str, object]] = [{"path": "/ws", "methods": ["GET"], "public": True, "websocket": True}]
    with (
        answering(echo) as port,
        serving(tmp_path, settings(port, routes, limits={"drain_timeout": "1s"})) as gateway,
    ):
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(url(gateway))
            stopping = asyncio.create_task(asyncio.to_thread(gateway.stop))
            await asyncio.sleep(0.2)
            await socket.send_str("before the end")
            assert await socket.receive_str(timeout=5) == "before the end"
            assert (await socket.receive(timeout=10)).type is not aiohttp.WSMsgType.TEXT
            assert await stopping == 0
