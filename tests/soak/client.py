"""A raw client: one connection from an address of our choice, one request at a time.

Law: bytes only. It knows from an answer's request id which relay it talks to (``relay``: the digits that are one
process's own), and says that a connection ended instead of hiding it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from itertools import count
from typing import cast

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
REQUEST_ID = re.compile(rb"(?i)\r\nx-request-id: *([0-9a-f]{20})")
ENDED = 0
"""Instead of a status: the connection ended before the answer was whole."""
_numbers = count(1)


def request(path: str, key: bytes, number: int = 0, body: bytes | None = None) -> bytes:
    """The bytes of one call: a POST where it has a body. ``number`` tells the upstream which client it came from."""
    return b"%b %b HTTP/1.1\r\nHost: soak.example\r\nX-Api-Key: %b\r\nX-Soak-Client: %d\r\n%b\r\n%b" % (
        b"GET" if body is None else b"POST",
        path.encode(),
        key,
        number,
        b"" if body is None else b"Content-Length: %d\r\n" % len(body),
        body or b"",
    )


class Client(asyncio.Protocol):
    """``done(client, status)`` is called for every answer, and with ENDED where a request got none."""

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.transport: asyncio.Transport
        self.address = ("", 0)
        self.relay = b""
        self.busy = False
        self.ended = False
        self.done: Callable[[Client, int], None] = _nobody
        self._heard = b""

    @classmethod
    async def connect(cls, port: int, source: str) -> Client:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, "127.0.0.1", port, local_addr=(source, 0))
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def send(self, path: str, key: bytes, body: bytes | None = None) -> None:
        """Write a request now; the answer goes to ``done``."""
        assert not self.busy
        self.busy = True
        if self.ended:
            self._finish(ENDED)
        else:
            self.transport.write(request(path, key, self.number, body))

    async def ask(self, path: str, key: bytes, body: bytes | None = None) -> int:
        """The status of the answer to one request, or ENDED."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def done(_: Client, status: int) -> None:
            if not future.done():
                future.set_result(status)

        self.done = done
        self.send(path, key, body)
        return await future

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head_end = self._heard.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = LENGTH.search(self._heard, 0, head_end)
        whole = head_end + 4 + (int(length[1]) if length else 0)
        if len(self._heard) < whole:
            return
        assert len(self._heard) == whole, "more than one answer"
        status = int(self._heard[9:12])
        if not self.relay and (found := REQUEST_ID.search(self._heard, 0, head_end + 2)):
            self.relay = found[1]
        self._heard = b""
        self._finish(status)

    def connection_lost(self, _: Exception | None) -> None:
        self.ended = True
        if self.busy:
            self._finish(ENDED)

    def _finish(self, status: int) -> None:
        self.busy = False
        self.done(self, status)

    def close(self) -> None:
        """Leave; an unanswered request is not reported."""
        self.busy = False
        self.transport.abort()


def _nobody(_: Client, __: int) -> None:
    return
