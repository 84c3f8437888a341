"""The API behind the gateway of a demonstration run: answers everything from memory, and sees who is in flight.

Law: this is somebody's API, which knows nothing of Keystile but ``X-Forwarded-For``. It asks for no key. It ends
when its standard input does, and says on its last line what it saw: for each twentieth of a second (by the monotonic
clock), the most requests of an address that it had in hand at a moment. That is the cap as the gateway kept it, seen
from outside.

``python -m keystile.loadtest.api`` listens on a free port of 127.0.0.1 and prints it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import parse_qs, urlsplit

import httptools
import uvloop
from pydantic import TypeAdapter

PREFIX: Final = "/-/loadtest"
HELD: Final = f"{PREFIX}/held"
LARGE: Final = f"{PREFIX}/large"
UPLOAD: Final = f"{PREFIX}/upload"
"""GET takes ``ms`` milliseconds; GET has ``kib`` KiB; POST takes any body."""
LOOKS: Final = 20
"""Looks a second."""
_LONGEST_MS: Final = 10_000
_LARGEST_KIB: Final = 4096
_CONTACT: Final = json.dumps({"Email": "ann@example.com", "Status": "Active", "Activity": {"TotalSent": 12}}).encode()


@dataclass(slots=True)
class Seen:
    """By address and number of a twentieth of a second in which something changed: the most in flight, and the last."""

    counts: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)


_FORM: Final = TypeAdapter(Seen)


def read(line: bytes) -> Seen:
    """What the API's last line says. Raises ValueError."""
    return _FORM.validate_json(line)


class Looking:
    """How many requests each address has in flight."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: dict[str, int] = {}
        self.seen = Seen()

    def begin(self, address: str) -> None:
        """One more."""
        self._note(address, self._open.get(address, 0) + 1)

    def end(self, address: str) -> None:
        """One fewer."""
        self._note(address, self._open[address] - 1)

    def _note(self, address: str, now_open: int) -> None:
        look = int(self._clock() * LOOKS)
        counts = self.seen.counts.setdefault(address, {})
        most, _ = counts.get(look, (0, 0))
        counts[look] = (max(most, self._open.get(address, 0), now_open), now_open)
        self._open[address] = now_open


class Serving(asyncio.Protocol):
    """One connection of the gateway's: one request after another."""

    def __init__(self, looking: Looking) -> None:
        self._looking = looking
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._later: asyncio.TimerHandle | None = None
        self._target = b""
        self._address = ""
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without being a subclass

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever was in flight has ended."""
        if self._later is not None:
            self._later.cancel()
        self._end()

    def data_received(self, data: bytes) -> None:
        """Parse; what is no HTTP ends the connection."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            assert self._transport is not None
            self._transport.close()

    # httptools calls these.

    def on_message_begin(self) -> None:
        """Forget the request before."""
        self._target, self._address = b"", ""

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note who calls."""
        if name.lower() == b"x-forwarded-for":
            self._address = value.decode("latin-1").rpartition(",")[2].strip()

    def on_headers_complete(self) -> None:
        """From here on it is in flight."""
        self._looking.begin(self._address)
        self._counted = True

    def on_message_complete(self) -> None:
        """Answer, now or when it was asked to."""
        parts = urlsplit(self._target.decode("latin-1"))
        asked = parse_qs(parts.query)
        if parts.path == HELD:
            seconds = min(_number(asked, "ms"), _LONGEST_MS) / 1000
            self._later = asyncio.get_running_loop().call_later(seconds, self._answer, _CONTACT)
        else:
            self._answer(b"x" * 1024 * min(_number(asked, "kib"), _LARGEST_KIB) if parts.path == LARGE else _CONTACT)

    def _answer(self, body: bytes) -> None:
        assert self._transport is not None
        # Counted out before it is written: the gateway gives the slot back when it has the last byte.
        self._end()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)

    def _end(self) -> None:
        if self._counted:
            self._looking.end(self._address)
            self._counted = False


async def serve() -> None:
    """Listen, say where, go on until standard input ends, and say what was seen."""
    looking = Looking()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Serving(looking), "127.0.0.1", 0, backlog=1024)
    async with server:
        print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)
        sys.stdout.buffer.write(_FORM.dump_json(looking.seen) + b"\n")
        sys.stdout.buffer.flush()


def _number(asked: dict[str, list[str]], name: str) -> int:
    text = asked.get(name, ["0"])[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0


if __name__ == "__main__":
    uvloop.run(serve())
