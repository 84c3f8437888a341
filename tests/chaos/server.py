"""One server behind the gateway, a process of its own: it writes down what it sees, and fails when it is told to.

Law: it believes the gateway's X-Forwarded-For and X-Request-Id, and the caller's X-Chaos-Id. What it sees goes to a
file, line by line and at once, so that a server that is killed has said all. Moments are the monotonic clock's, which
all processes of a machine share. The path says how a request is answered: ``/NAME/now``, ``/NAME/for/MS``,
``/NAME/hold`` (until it is told to), ``/NAME/size/BYTES``, ``/NAME/chunks/BYTES``, ``/NAME/echo`` and ``/NAME/ws``.

Lines on its standard input: ``mode NAME`` (see ``MODES``), ``release ADDRESS``; it ends where they end. Lines of the
file: ``b`` a request has begun; ``e`` it was answered; ``x`` its connection had gone, when it was last known not to
have, and when that was noticed; ``s`` bytes came that belong to no request.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
import zlib
from typing import cast

import uvloop

from keystile.wire.websocket import accept_for
from tests.soak.answers import REQUEST_ID, Answer, AnswerReader
from tests.soak.upstream import FORWARDED, has_ended

MODES = ("ok", "refuse", "close", "half", "stall", "error", "garbage")
"""What it can be told: all is well; it does not listen; closes instead of answering; sends half an answer; answers when
another mode begins; answers 500; answers what is no HTTP."""
CHAOS_ID = re.compile(rb"(?i)\r\nx-chaos-id: *(\d+)")
WEBSOCKET_KEY = re.compile(rb"(?i)\r\nsec-websocket-key: *([^\r]+)")
HEALTH = -1
"""The number of a question whether it is well: management's own, which is written down nowhere."""
HELD_AT_MOST = 8.0
"""Seconds after which a request that nobody releases is answered by itself."""
BLOCK = b"0123456789abcdef" * 1024


class Server:
    """What all connections share."""

    def __init__(self, records: int) -> None:
        self.mode = "ok"
        self.held: dict[str, list[Connection]] = {}
        self.stalled: list[Connection] = []
        self.busy: dict[str, set[Connection]] = {}
        self._records = records
        self._number = 0
        self._listening: asyncio.Server | None = None

    async def listen(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(
            lambda: Connection(self), "127.0.0.1", port, backlog=1024, reuse_address=True
        )

    def refuse(self) -> None:
        """Listen no more; connections stay."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def write(self, *words: object) -> None:
        os.write(self._records, " ".join(map(str, words)).encode() + b"\n")

    def begin(self, connection: Connection, head: bytes) -> int:
        """A request: who else is in flight is known to be still there by looking. Returns its number here."""
        self._number += 1
        now = time.monotonic()
        mine = self.busy.setdefault(connection.address, set())
        for other in mine:
            other.look(now)
        mine.add(connection)
        relay = REQUEST_ID.search(head)
        chaos = CHAOS_ID.search(head)
        method = head[: head.find(b" ")].decode()
        self.write(
            "b", now, self._number, int(chaos[1]) if chaos else 0, connection.address, method,
            relay[1].decode() if relay else "-",
        )  # fmt: skip
        return self._number

    async def obey(self, port: int) -> None:
        """Do what standard input says, until it ends."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := (await reader.readline()).decode().split():
            if line[0] == "release":
                self.release(line[1])
            elif line[1] in MODES:
                await self._go_over(line[1], port)
            print("done", flush=True)

    def release(self, address: str) -> None:
        """Answer all that is held for an address."""
        for connection in self.held.pop(address, []):
            connection.answer()

    async def _go_over(self, mode: str, port: int) -> None:
        self.mode = mode
        if mode == "refuse":
            self.refuse()
        elif self._listening is None:
            await self.listen(port)
        stalled, self.stalled = self.stalled, []
        for connection in stalled:
            connection.serve()


class Connection(asyncio.Protocol):
    """One of the gateway's connections: one request at a time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport: asyncio.Transport
        self.address = ""
        self.number = 0  # of the request in flight; 0: none
        self.alive = 0.0  # when it was last known not to have ended
        self.gone = False
        self.tunnel = False
        self._request: Answer | None = None
        self._id = b"0"
        self._reader = AnswerReader()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.tunnel:
            self.alive = time.monotonic()
            self.transport.write(data)
            return
        request = self._reader.feed(data)
        head = request.head if request is not None else self._reader.head
        if head and not self.number:
            self._begin(head)
        if request is not None:
            if request.surplus:
                self.server.write("s", time.monotonic(), self.number)
            self._request = request
            self.serve()

    def _begin(self, head: bytes) -> None:
        if head.startswith(b"GET /health/"):
            self.number = HEALTH
            return
        forwarded = FORWARDED.search(head)
        self.address = forwarded[1].decode() if forwarded else "?"
        chaos = CHAOS_ID.search(head)
        self._id = chaos[1] if chaos else b"0"
        self.gone = False
        self.number = self.server.begin(self, head)
        self.alive = time.monotonic()

    # -- answers --------------------------------------------------------------------------------------

    def serve(self) -> None:
        """The whole request is there."""
        mode = self.server.mode
        if mode == "stall" and not self.gone:
            self.server.stalled.append(self)
        elif mode == "close":
            self._spoil(b"")
        elif mode == "half":
            self._spoil(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        elif mode == "garbage":
            self._spoil(b"SSH-2.0-garbage\r\n\r\n\0\1\2")
        elif mode == "error":
            self._send(b"500 Broken", b"it is broken")
        elif self.number:
            self._do()

    def _do(self) -> None:
        assert self._request is not None
        path = self._request.head.split(b" ", 2)[1].split(b"/")
        what, more = path[2], int(path[3]) if len(path) > 3 else 0
        loop = asyncio.get_running_loop()
        match what:
            case b"for":
                self._timer = loop.call_later(more / 1000, self.answer)
            case b"hold":
                self.server.held.setdefault(self.address, []).append(self)
                self._timer = loop.call_later(HELD_AT_MOST, self.answer)
            case b"size" | b"chunks":
                self._send(b"200 OK", (BLOCK * (more // len(BLOCK) + 1))[:more], chunked=what == b"chunks")
            case b"echo":
                self._send(b"200 OK", b"%d %d" % (self._request.size, self._request.crc))
            case b"ws":
                self._switch()
            case _:
                self.answer()

    def answer(self) -> None:
        """In two letters; nothing where nothing is in flight any more."""
        self._send(b"200 OK", b"ok")

    def _send(self, status: bytes, body: bytes, *, chunked: bool = False) -> None:
        if not self.number:
            return
        head = b"HTTP/1.1 %b\r\nX-Chaos-Id: %b\r\nX-Chaos-Crc: %d\r\n" % (status, self._id, zlib.crc32(body))
        self._over()
        if chunked:
            pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            self.transport.write(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        else:
            self.transport.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def _spoil(self, data: bytes) -> None:
        if data:
            self.transport.write(data)
        self._over()
        self.transport.close()

    def _switch(self) -> None:
        assert self._request is not None
        key = WEBSOCKET_KEY.search(self._request.head)
        assert key is not None, "the gateway lets no other request come here"
        self.tunnel = True
        fields = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n" % accept_for(key[1])
        self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n%bX-Chaos-Id: %b\r\n\r\n" % (fields, self._id))

    def look(self, now: float) -> None:
        """Whether the other side is still there."""
        self.gone = self.gone or self.transport.is_closing() or has_ended(self.transport)
        if not self.gone:
            self.alive = now

    # -- the end --------------------------------------------------------------------------------------

    def _over(self) -> None:
        """The request is in flight no more: from now on if the other side is there, else from an unknown moment on."""
        if not self.number:
            return
        now = time.monotonic()
        self.look(now)
        if self.number == HEALTH:
            self.number = 0
            return
        if self.gone:
            self.server.write("x", self.alive, now, self.number)
        else:
            self.server.write("e", now, self.number)
        self.number = 0
        self.server.busy[self.address].discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def eof_received(self) -> None:
        self.gone = True
        self._over()

    def connection_lost(self, _: Exception | None) -> None:
        self.gone = True
        self._over()


async def main(port: int, records: str) -> None:
    """Serve until standard input ends."""
    server = Server(os.open(records, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    await server.listen(port)
    print("ready", flush=True)
    await server.obey(port)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
