"""A malformed request is answered without being quoted."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from keystile.management.server import UNREADABLE, Runner


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
    assert UNREADABLE.encode() in answer
    assert b"SECRET" not in answer
