"""A malformed request is answered without being quoted."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from keystile.management import server
from keystile.management.server import UNREADABLE, Runner, close_after


@pytest.mark.parametrize(
    "sent",
    [b"SECRET\r\n\r\n", b"GET /\x01SECRET HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: SECRET\x00\r\n\r\n"],
)
async def test_what_cannot_be_read_is_not_quoted(sent: bytes) -> None:
    runner = Runner(web.Application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    writer.write(sent)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    await runner.cleanup()
    assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    assert b"Content-Type: application/problem+json" in answer
    assert UNREADABLE.encode() in answer
    assert b"SECRET" not in answer


async def _served(monkeypatch: pytest.MonkeyPatch) -> Runner:
    monkeypatch.setattr(server, "HEAD_WITHIN", 0.05)
    runner = Runner(web.Application(), keepalive_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHos",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHos",
    ],
)
async def test_a_connection_without_a_whole_head_is_not_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    runner = await _served(monkeypatch)
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    writer.write(sent)
    async with asyncio.timeout(20):
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 404") == sent.count(b"\r\n\r\n")
    writer.close()
    await runner.cleanup()


async def test_connections_of_one_address_are_bounded_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_PER_ADDRESS", 2)
    runner = Runner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    where = runner.addresses[0][:2]
    held = [await asyncio.open_connection(*where) for _ in range(2)]
    assert await _asked(where) == b"HTTP/1.1 503 Service Unavailable"
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(20):
        while await _asked(where) != b"HTTP/1.1 404 Not Found":  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
    await runner.cleanup()


async def test_connections_are_bounded_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 1)
    runner = Runner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    where = runner.addresses[0][:2]
    _, writer = await asyncio.open_connection(*where)
    assert await _asked(where) == b"HTTP/1.1 503 Service Unavailable"
    writer.close()
    await runner.cleanup()


async def test_requests_under_way_are_finished_before_another_takes_over() -> None:
    go = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        await go.wait()
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/slow", slow)
    runner = Runner(app, shutdown_timeout=0.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    where = runner.addresses[0][:2]
    idle, busy = [await asyncio.open_connection(*where) for _ in range(2)]
    busy[1].write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    await asyncio.sleep(0.05)
    await site.stop()
    finishing = asyncio.ensure_future(runner.finish(lambda: 20))
    await asyncio.sleep(0.05)
    assert not finishing.done()
    go.set()
    await finishing  # although a connection lies idle
    assert (await busy[0].readuntil(b"done")).startswith(b"HTTP/1.1 200")
    await runner.finish(lambda: 0.1, one_request_each=True)  # but not for ever
    await runner.cleanup()
    assert await idle[0].read() == b""
    for _, writer in (idle, busy):
        writer.close()


async def test_where_each_connection_carries_one_request_its_answer_says_so() -> None:
    app = web.Application()
    app.on_response_prepare.append(close_after)
    runner = Runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 404")
    assert answer.count(b"\r\nConnection: close\r\n") == 1
    writer.close()
    await runner.finish(lambda: 20, one_request_each=True)
    await runner.cleanup()


async def _asked(where: tuple[str, int]) -> bytes:
    """The first line of an answer to a request on a connection of its own."""
    reader, writer = await asyncio.open_connection(*where)
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n")[0]
