"""Callers of several hosts, and the API behind them: each request is written down, from its first byte to its end.

Law: both sides of the gateways, and nothing of what is right. A caller looks whether a kept connection has been ended
before it writes on it, as all clients do; it sends to hosts that a balancer offers.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

from tests.cluster.diary import CUT, NO_ANSWER, NO_CONNECTION, WRONG, Diary, Entry, Seen
from tests.cluster.fleet import Fleet

PATIENCE = 20.0
PROBLEM = "urn:keystile:problem:"


class Api(asyncio.Protocol):
    """``GET /MS`` with ``X-Call: NUMBER`` is answered with the number after so many milliseconds, and written down."""

    diary: ClassVar[Diary]
    opened: ClassVar[set[asyncio.BaseTransport]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.opened.add(transport)
        self.timer: asyncio.TimerHandle | None = None
        self.call = (0, "", 0.0)

    def data_received(self, data: bytes) -> None:
        head = data.lower()
        delay = int(data.split(b" ", 2)[1].rpartition(b"/")[2]) / 1000
        number = int(head.partition(b"x-call: ")[2].split(b"\r\n", 1)[0])
        address = head.partition(b"x-forwarded-for: ")[2].split(b"\r\n", 1)[0].split(b",")[0].decode()
        self.call = (number, address, time.monotonic())
        self.timer = asyncio.get_running_loop().call_later(delay, self._answer)

    def _answer(self) -> None:
        self._done()
        body = b"%d" % self.call[0]
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))  # type: ignore[attr-defined]

    def _done(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.diary.seen.append(Seen(*self.call, time.monotonic()))

    def connection_lost(self, exc: Exception | None) -> None:
        self.opened.discard(self.transport)
        self._done()


class Caller:
    """One client of ``address``; ``crowd``: how many of that address there are."""

    def __init__(self, fleet: Fleet, diary: Diary, address: str, crowd: int, dice: random.Random) -> None:
        self.fleet, self.diary, self.address, self.crowd, self.dice = fleet, diary, address, crowd, dice
        self._kept: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self.stopped = False

    async def run(self, delay: int, pause: float) -> None:
        """Call hosts at random until it is stopped, with pauses of so many seconds in the mean."""
        while not self.stopped:
            offered = [host.at for host in self.fleet.hosts if host.is_offered]
            if offered:
                outcome = await self.call(self.dice.choice(offered), delay)
                if outcome in ("429", "503", NO_CONNECTION):
                    await asyncio.sleep(0.03)
            await asyncio.sleep(self.dice.expovariate(1 / pause))
        self.close()

    async def beside(self, host: int, delay: int) -> str:
        """A request of another client of the same address; its outcome."""
        other = Caller(self.fleet, self.diary, self.address, self.crowd, self.dice)
        try:
            return await other.call(host, delay)
        finally:
            other.close()

    def close(self) -> None:
        """Let go of all connections."""
        for _, writer in self._kept.values():
            writer.close()
        self._kept.clear()

    async def call(self, host: int, delay: int, key: str = "", secret: str = "") -> str:
        """One request; its outcome."""
        entry = self.diary.begin(host, self.address, self.crowd, time.monotonic(), key)
        try:
            async with asyncio.timeout(PATIENCE):
                outcome = await self._call(entry, delay, secret or self.fleet.secret)
        except TimeoutError:
            outcome = NO_ANSWER
            self._drop(host)
        entry.ended, entry.outcome = time.monotonic(), outcome
        return outcome

    async def _call(self, entry: Entry, delay: int, secret: str) -> str:
        host = entry.host
        for _ in range(3):  # what has come unasked is read
            await asyncio.sleep(0)
        if host in self._kept and (self._kept[host][0].at_eof() or self._kept[host][1].is_closing()):
            self._drop(host)
        try:
            if host not in self._kept:
                self._kept[host] = await asyncio.open_connection("127.0.0.1", self.fleet.hosts[host].port)
        except OSError:
            return NO_CONNECTION
        reader, writer = self._kept[host]
        entry.sent = time.monotonic()
        writer.write(
            f"GET /{delay} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {self.address}\r\nX-Api-Key: {secret}\r\n"
            f"X-Call: {entry.number}\r\n\r\n".encode("ascii")
        )
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            body = await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0))
        except (OSError, asyncio.IncompleteReadError):
            self._drop(host)
            return CUT
        if b"\r\nconnection: close" in head:
            self._drop(host)
        return _outcome(entry, head[9:12].decode("ascii"), head, body)

    def _drop(self, host: int) -> None:
        if host in self._kept:
            self._kept.pop(host)[1].close()


def _outcome(entry: Entry, status: str, head: bytes, body: bytes) -> str:
    if b"problem+json" in head:
        with suppress(ValueError, KeyError):
            entry.problem = str(json.loads(body)["type"]).removeprefix(PROBLEM)
        return status
    return status if body == b"%d" % entry.number else f"{WRONG}: {status} {body[:40]!r}"


@asynccontextmanager
async def api(diary: Diary) -> AsyncIterator[int]:
    """The API, and its port."""
    Api.diary = diary
    server = await asyncio.get_running_loop().create_server(Api, "127.0.0.1", 0, backlog=4096)
    yield int(server.sockets[0].getsockname()[1])
    server.close()
    for transport in list(Api.opened):
        transport.close()
    await asyncio.sleep(0.05)  # what is being closed is closed


@asynccontextmanager
async def traffic(
    fleet: Fleet, diary: Diary, dice: random.Random, calm: int = 3, crowded: int = 1, many: int = 40
) -> AsyncIterator[None]:
    """8 clients of each calm address, and ``many`` of each crowded one, while the block lasts."""
    addresses = [(f"10.0.0.{at + 1}", 8, 30, 0.2) for at in range(calm)]
    addresses += [(f"10.0.1.{at + 1}", many, 120, 0.05) for at in range(crowded)]
    callers, tasks = [], []
    for address, crowd, delay, pause in addresses:
        for _ in range(crowd):
            caller = Caller(fleet, diary, address, crowd, random.Random(dice.random()))
            callers.append(caller)
            tasks.append(asyncio.create_task(caller.run(delay, pause)))
    try:
        yield
    finally:
        for caller in callers:
            caller.stopped = True
        await asyncio.gather(*tasks)
