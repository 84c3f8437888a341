"""A raw client: one connection from an address of our choice, one request at a time.

Law: bytes only. It knows from an answer's request id which relay it talks to (``relay``: the digits that are one
process's own), and says that a connection ended instead of hiding it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from itertools import count
from typing import Self, cast

from tests.soak.answers import Answer, AnswerReader

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
    """``done(client, status)`` is called for every answer, and with ENDED where a request got none.

    ``answer``: the last one.
    """

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.transport: asyncio.Transport
        self.address = ("", 0)
        self.relay = b""
        self.busy = False
        self.ended = False
        self.done: Callable[[Client, int], None] = _nobody
        self.answer: Answer | None = None
        self.reader = AnswerReader()

    @classmethod
    async def connect(cls, port: int, source: str, context: ssl.SSLContext | None = None) -> Self:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(cls, "127.0.0.1", port, local_addr=(source, 0), ssl=context)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def send(self, path: str, key: bytes, body: bytes | None = None) -> None:
        """Write a request now; the answer goes to ``done``."""
        self.send_bytes(request(path, key, self.number, body))

    def send_bytes(self, data: bytes) -> None:
        """Write these bytes of a request (perhaps not all of it) now; the answer goes to ``done``."""
        assert not self.busy
        self.busy = True
        self.answer = None
        if self.ended:
            self._finish(ENDED)
        else:
            self.transport.write(data)

    async def ask(self, path: str, key: bytes, body: bytes | None = None) -> int:
        """The status of the answer to one request, or ENDED."""
        return await self.ask_bytes(request(path, key, self.number, body))

    async def ask_bytes(self, data: bytes) -> int:
        """The same for a request in these bytes."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def done(_: Client, status: int) -> None:
            if not future.done():
                future.set_result(status)

        self.done = done
        self.send_bytes(data)
        return await future

    def data_received(self, data: bytes) -> None:
        answer = self.reader.feed(data)
        if not self.busy or (answer is not None and answer.surplus):
            self.too_much(data)
        if answer is None or not self.busy:
            return
        self.answer = answer
        self.relay = self.relay or answer.relay
        self._finish(answer.status)

    def too_much(self, data: bytes) -> None:
        """More has come than an answer to what was asked."""
        raise AssertionError(f"more than one answer: {data!r}")

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
