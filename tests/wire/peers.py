"""The two sides of a proxy under test: a raw client, and an upstream that records exact bytes and answers as told.

Both speak bytes and know no HTTP, so that nothing here repairs what a test means to be broken.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from ssl import SSLContext
from typing import ClassVar, Self

Answer = Callable[["RecordedConnection", bytes], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _cut(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class RecordedConnection:
    """One connection that the upstream accepted: ``received`` is every byte of it, ``requests`` the whole requests."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = b""
        self.requests: list[bytes] = []
        self.closed = asyncio.Event()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.transport.abort()

    def cut(self) -> None:
        """End with RST, even where all that came has been read."""
        _cut(self.writer)


class RecordingUpstream:
    """A server that keeps what it was sent. ``answer`` gets each whole request; by default it sends ``OK``."""

    def __init__(self, answer: Answer | bytes = OK, host: str = "127.0.0.1") -> None:
        self.answer = answer
        self._host = host
        self.connections: list[RecordedConnection] = []
        self.context: ssl.SSLContext | None = None
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0, limit=1 << 20, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self.connections:
            connection.writer.transport.abort()
        await asyncio.sleep(0)

    @property
    def requests(self) -> list[bytes]:
        return [request for connection in self.connections for request in connection.requests]

    @property
    def received(self) -> bytes:
        return b"".join(connection.received for connection in self.connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = RecordedConnection(reader, writer)
        self.connections.append(connection)
        pending = b""
        due: asyncio.Queue[bytes] = asyncio.Queue()
        answering = asyncio.create_task(self._answer_in_turn(connection, due))
        try:
            while data := await reader.read(65536):
                connection.received += data
                pending += data
                while (end := _request_end(pending)) >= 0:
                    request, pending = pending[:end], pending[end:]
                    connection.requests.append(request)
                    due.put_nowait(request)
        except OSError:
            pass  # the other side has gone: that is what many tests are about
        finally:
            connection.closed.set()
            await asyncio.sleep(0)
            answering.cancel()
            writer.close()

    async def _answer_in_turn(self, connection: RecordedConnection, due: asyncio.Queue[bytes]) -> None:
        with suppress(OSError):
            while True:
                request = await due.get()
                if isinstance(self.answer, bytes):
                    await connection.send(self.answer)
                else:
                    await self.answer(connection, request)


def _request_end(data: bytes) -> int:
    """Where the first request in ``data`` ends, or -1. Only for requests that the gateway itself has framed."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return -1
    head_end += 4
    head = data[:head_end].lower()
    if b"\r\ntransfer-encoding: chunked\r\n" in head:
        return _chunks_end(data, head_end)
    length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
    end = head_end + (int(length[1]) if length else 0)
    return end if len(data) >= end else -1


def _chunks_end(data: bytes, position: int) -> int:
    """Where the chunked body that begins at ``position`` ends, or -1. The gateway sends no trailers."""
    while (line_end := data.find(b"\r\n", position)) >= 0:
        size = int(data[position:line_end], 16)
        position = line_end + size + 4
        if not size:
            return position if len(data) >= position else -1
    return -1


class RawClient:
    """A client that sends bytes and reads answers by their framing."""

    opened: ClassVar[list[RawClient]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.opened.append(self)

    @classmethod
    def close_all(cls) -> None:
        """Every test leaves its clients open; whoever ends the gateway ends them."""
        while cls.opened:
            client = cls.opened.pop()  # held until it is closed: a writer that goes away open is an error
            client.reset()

    @classmethod
    async def connect(cls, port: int, source: str | None = None, tls: SSLContext | None = None) -> RawClient:
        local = (source, 0) if source else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=local, limit=1 << 22, ssl=tls))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, to_head: bool = False) -> tuple[int, bytes, bytes]:
        """Status, head and body of the next answer. Raises ``IncompleteReadError`` where it is cut."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        status = int(head[9:12])
        lowered = head.lower()
        if to_head or status in (204, 304) or status < 200:
            return status, head, b""
        length = re.search(rb"\r\ncontent-length: (\d+)\r\n", lowered)
        if length:
            return status, head, await asyncio.wait_for(self.reader.readexactly(int(length[1])), 10)
        if b"transfer-encoding: chunked" in lowered:
            return status, head, await self._chunked()
        return status, head, await asyncio.wait_for(self.reader.read(), 10)

    async def _chunked(self) -> bytes:
        body = b""
        while size := int((await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 10))[:-2], 16):
            body += await asyncio.wait_for(self.reader.readexactly(size), 10)
            assert await self.reader.readexactly(2) == b"\r\n"
        assert await self.reader.readexactly(2) == b"\r\n"
        return body

    async def closed(self) -> bytes:
        """What else comes until the connection ends; a reset counts as an end."""
        try:
            return await asyncio.wait_for(self.reader.read(), 10)
        except ConnectionError:
            return b""

    async def until_reset(self) -> None:
        """Read until the connection is reset (``ConnectionError``) or ends."""
        while await asyncio.wait_for(self.reader.read(65536), 10):
            pass

    def reset(self) -> None:
        self.writer.transport.abort()

    def cut(self) -> None:
        """End with RST, whatever has been sent."""
        _cut(self.writer)

    async def close(self) -> None:
        self.writer.close()
        await asyncio.sleep(0)
