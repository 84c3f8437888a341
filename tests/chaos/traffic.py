"""Callers of all kinds, from several addresses, until they are told to stop.

Law: they call and note (``calls.py``); none of them knows what is being done to the gateway. But for the crowd and the
bursts no address has as many callers as the cap has slots, so none of theirs may be refused for it.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from base64 import b64encode
from collections.abc import Coroutine
from typing import Any

from tests.chaos.calls import PATIENCE, Calls, Line, head
from tests.chaos.ground import Ports
from tests.chaos.kinds import CUT, NO_ANSWER, WRONG
from tests.chaos.ledger import Entry
from tests.chaos.servers import Servers
from tests.soak.patience import until

AT_ONCE = 25
REFUSED_OF_THESE = 5
CROWD = 26
CROWDED, BURSTING = "127.0.1.20", "127.0.1.30"
LARGE = 2 * 1024 * 1024
BODIES = 60_000


class Traffic:
    """All callers. ``key`` has the scope that the routes need."""

    def __init__(self, calls: Calls, servers: Servers, ports: Ports, key: bytes, dice: random.Random) -> None:
        self._calls = calls
        self._servers = servers
        self._ports = ports
        self._key = key
        self._dice = dice
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    def start(self) -> None:
        """Begin to call."""
        self._stopping = False
        self._tasks = [asyncio.ensure_future(caller) for caller in self._callers()]

    async def stop(self) -> None:
        """Send nothing more, and wait for the answers to what was sent. Raises what a caller has failed of."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    def failed(self) -> bool:
        """Whether a caller has ended by a fault of its own."""
        return any(task.done() and task.exception() is not None for task in self._tasks)

    def _callers(self) -> list[Coroutine[Any, Any, None]]:
        return [
            *(self._get("GET, kept connection", f"127.0.1.{n}", "/calm/now", kept=True) for n in (1, 1, 2)),
            *(self._get("GET, new connection", "127.0.1.3", "/calm/now", kept=False) for _ in range(2)),
            *(self._get("GET, kept, shaky upstream", "127.0.1.4", "/shaky/now", kept=True) for _ in range(3)),
            self._get("GET, new, shaky upstream", "127.0.1.4", "/shaky/for/20", kept=False),
            self._get("GET, kept, lone upstream", "127.0.1.4", "/lone/now", kept=True),
            self._post("POST with length", "127.0.1.5", "/calm/echo", chunked=False),
            self._post("POST in chunks", "127.0.1.5", "/calm/echo", chunked=True),
            self._post("POST, shaky upstream", "127.0.1.5", "/shaky/echo", chunked=False),
            self._get("download with length", "127.0.1.6", f"/calm/size/{LARGE}", kept=True, pause=0.3),
            self._get("download in chunks", "127.0.1.6", f"/calm/chunks/{LARGE}", kept=True, pause=0.3),
            self._get("download, shaky upstream", "127.0.1.6", f"/shaky/size/{LARGE}", kept=True, pause=0.3),
            *(self._send_slowly() for _ in range(3)),
            *(self._read_slowly() for _ in range(2)),
            self._leave("leaves before the answer", "GET", "/calm/for/300"),
            self._leave("leaves within the answer", "GET", f"/calm/size/{2 * LARGE}"),
            self._leave("leaves within its body", "POST", "/calm/echo", b"Content-Length: 100000\r\n"),
            *(self._get("crowd of 26", CROWDED, "/calm/for/120", kept=True) for _ in range(CROWD)),
            self._burst(),
            *(self._get("GET over TLS, kept", "127.0.1.7", "/calm/now", kept=True, tls=True) for _ in range(2)),
            self._get("GET over TLS, new", "127.0.1.7", "/calm/now", kept=False, tls=True, pause=0.1),
            *(self._websocket() for _ in range(3)),
            self._refused(),
        ]

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(self._dice.uniform(0.5, 1.5) * seconds)

    async def _line(self, entry: Entry, source: str, old: Line | None = None, *, tls: bool = False) -> Line | None:
        """The line that is there, or another."""
        if old is not None and not old.ended:
            return old
        port = self._ports.tls if tls else self._ports.plain
        line = await self._calls.connect(entry, port, source, self._tls if tls else None)
        if line is None:
            await self._pause(0.05)
        return line

    def _begin(self, kind: str, source: str) -> Entry:
        return self._calls.ledger.begin(kind, time.monotonic(), source)

    # -- whole requests -------------------------------------------------------------------------------

    async def _get(
        self, kind: str, source: str, path: str, *, kept: bool, tls: bool = False, pause: float = 0.03
    ) -> None:
        line: Line | None = None
        while not self._stopping:
            entry = self._begin(kind, source)
            line = await self._line(entry, source, line, tls=tls)
            if line is not None:
                await self._calls.ask(entry, line, head(entry, "GET", path, self._key))
                if not kept:
                    line.hang_up()
            await self._pause(pause)
        if line is not None:
            line.hang_up()

    async def _post(self, kind: str, source: str, path: str, *, chunked: bool) -> None:
        line: Line | None = None
        while not self._stopping:
            entry = self._begin(kind, source)
            line = await self._line(entry, source, line)
            if line is not None:
                body = self._dice.randbytes(self._dice.randint(1, BODIES))
                framing, framed = self._framed(body, chunked=chunked)
                await self._calls.ask(entry, line, head(entry, "POST", path, self._key, framing) + framed, body)
            await self._pause(0.06)
        if line is not None:
            line.hang_up()

    def _framed(self, body: bytes, *, chunked: bool) -> tuple[bytes, bytes]:
        """The line that says how, and the body so."""
        if not chunked:
            return b"Content-Length: %d\r\n" % len(body), body
        size = self._dice.randint(1000, BODIES)
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        return b"Transfer-Encoding: chunked\r\n", chunks + b"0\r\n\r\n"

    async def _refused(self) -> None:
        """What the gateway must answer itself."""
        line: Line | None = None
        source = "127.0.1.8"
        rows = (
            ("wrong key", "GET", "/calm/now", b"0" * 96),
            ("no key", "GET", "/calm/now", b""),
            ("missing scope", "GET", "/guarded/now", self._key),
            ("unknown path", "GET", "/nowhere", self._key),
            ("wrong method", "POST", "/read/now", self._key),
        )
        while not self._stopping:
            for kind, method, path, key in rows:
                entry = self._begin(kind, source)
                line = await self._line(entry, source, line)
                if line is not None:
                    await self._calls.ask(entry, line, head(entry, method, path, key))
                await self._pause(0.04)

    # -- slow ones, and those who leave ---------------------------------------------------------------

    async def _send_slowly(self) -> None:
        """The head in two pieces, the body in five."""
        source = "127.0.1.9"
        while not self._stopping:
            entry = self._begin("slow to send", source)
            line = await self._line(entry, source)
            if line is None:
                continue
            body = self._dice.randbytes(5 * 400)
            data = head(entry, "POST", "/calm/echo", self._key, b"Content-Length: %d\r\n" % len(body))
            asked = asyncio.ensure_future(self._calls.ask(entry, line, data[:50], body))
            for piece in (data[50:], *(body[at : at + 400] for at in range(0, len(body), 400))):
                await self._pause(0.15)
                if not line.ended:
                    line.transport.write(piece)
            await asked
            line.hang_up()

    async def _read_slowly(self) -> None:
        source = "127.0.1.9"
        while not self._stopping:
            entry = self._begin("slow to read", source)
            line = await self._line(entry, source)
            if line is None:
                continue
            data = head(entry, "GET", f"/calm/size/{3 * LARGE}", self._key)
            asked = asyncio.ensure_future(self._calls.ask(entry, line, data))
            while not asked.done():
                if not line.ended and not line.transport.is_closing():
                    line.transport.pause_reading()
                    await self._pause(0.05)
                    line.transport.resume_reading()
                await asyncio.wait([asked], timeout=0.002)
            line.hang_up()
            await self._pause(0.1)

    async def _leave(self, kind: str, method: str, path: str, more: bytes = b"") -> None:
        """Hang up somewhere on the way."""
        source = "127.0.1.10"
        while not self._stopping:
            entry = self._begin(kind, source)
            line = await self._line(entry, source)
            if line is None:
                continue
            begun = bytes(1000) if more else b""
            asked = asyncio.ensure_future(
                self._calls.ask(entry, line, head(entry, method, path, self._key, more) + begun)
            )
            if "within the answer" in kind:
                await until(lambda of=line, end=asked: of.reader.begun or end.done(), 5)  # type: ignore[misc]
            else:
                await asyncio.wait([asked], timeout=self._dice.uniform(0, 0.25))
            self._calls.leave(entry, line)
            asked.cancel()
            await asyncio.wait([asked])
            await self._pause(0.1)

    # -- many at once, and long -----------------------------------------------------------------------

    async def _burst(self) -> None:
        """25 at once, held by the server until the cap has been met."""
        lines: list[Line | None] = [None] * AT_ONCE
        while not self._stopping:
            entries = [self._begin("burst of 25", BURSTING) for _ in lines]
            lines = [await self._line(entry, BURSTING, line) for entry, line in zip(entries, lines, strict=True)]
            asked = [
                asyncio.ensure_future(self._calls.ask(entry, line, head(entry, "GET", "/calm/hold", self._key)))
                for entry, line in zip(entries, lines, strict=True)
                if line is not None
            ]
            await until(lambda all_of=asked: sum(map(asyncio.Task.done, all_of)) >= REFUSED_OF_THESE, 1)  # type: ignore[misc]
            while any(not each.done() for each in asked):
                await self._servers.order("calm", f"release {BURSTING}")
                await asyncio.wait(asked, timeout=0.05)
            await self._pause(0.7)

    async def _websocket(self) -> None:
        source = "127.0.1.11"
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n"
        while not self._stopping:
            entry = self._begin("WebSocket", source)
            line = await self._line(entry, source)
            if line is None:
                continue
            key = b64encode(self._dice.randbytes(16))
            outcome = await self._calls.answered(entry, line, head(entry, "GET", "/calm/ws", self._key, upgrade % key))
            if outcome == "101":
                outcome = await self._talk(line)
            elif outcome == "200":
                outcome = f"{WRONG}200 to a handshake"
            self._calls.ledger.end(entry, time.monotonic(), outcome)
            line.hang_up()
            await self._pause(0.1)

    async def _talk(self, line: Line) -> str:
        """Say something and hear it again, a few times."""
        line.tunnel = bytearray()
        for _ in range(self._dice.randint(2, 8)):
            said = self._dice.randbytes(self._dice.randint(1, BODIES))
            line.tunnel.clear()
            if not line.ended:
                line.transport.write(said)
            try:
                async with asyncio.timeout(PATIENCE):
                    if not await line.hears(len(said)):
                        return CUT
            except TimeoutError:
                return NO_ANSWER
            if bytes(line.tunnel) != said:
                return f"{WRONG}the tunnel brings back something else"
            await self._pause(0.1)
        return CUT if line.ended else "101"
