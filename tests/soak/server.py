"""``python -m tests.soak.server PORT FILE``: an upstream's server that writes down every request before it answers.

Law: each request's id goes into the file (appended, one write) as soon as its head has been read, so it is there
whatever becomes of this process. How it behaves is told by ``FILE.mode``: ``well``, ``slow`` (300 ms) or ``ill``
(500, at once; its health check too).
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import cast

HEAD = re.compile(rb"(GET|POST) /(soak/([^ /]+)|health) HTTP/1\.1\r\n")
SLOW = 0.3
"""Seconds that an answer takes in the mode ``slow``."""


class Serving(asyncio.Protocol):
    """One connection: one request at a time, of which the body is four bytes or none."""

    def __init__(self, log: int, mode: Path) -> None:
        self._log = log
        self._mode = mode
        self._heard = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        found = HEAD.match(head + b"\r\n")
        if not end or found is None or (found[1] == b"POST" and len(body) < 4):
            return
        self._heard = b""
        if found[3]:
            os.write(self._log, b"%b %b\n" % (found[1], found[3]))
        mode = self._mode.read_text().strip()
        if mode == "slow" and found[3]:
            asyncio.get_running_loop().call_later(SLOW, self._answer, b"200 OK")
        else:
            self._answer(b"500 Internal Server Error" if mode == "ill" else b"200 OK")

    def _answer(self, status: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 %b\r\nX-From: server\r\nContent-Length: 2\r\n\r\nok" % status)


async def main(port: int, file: Path) -> None:
    """Serve until killed."""
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    mode = file.with_name(f"{file.name}.mode")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Serving(log, mode), "127.0.0.1", port, reuse_address=True, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
