"""A relay that gets no more memory, under load: what it cannot serve fails, and nothing else.

Law: measures. The kernel is told to give one relay no further page (RLIMIT_AS), and strangers send it heads that do not
end. Whatever meets that may be cut or refused, also a caller on that relay who happens to need a page; but none on the
other one, and no slot is lost; the relay goes on, or ends and is replaced.
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.client import ENDED, Client
from tests.soak.gateway import RealGateway, fill
from tests.soak.upstream import Upstream

CALLERS = 8
STRANGERS = 300
HEAD = b"GET /soak/now HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 30_000


@dataclass
class Shortage:
    """What was counted. ``met``: how often memory was asked for in vain, as the relays' log says."""

    sent: int = 0
    during: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    of_victim: int = 0
    met: int = 0
    restarts: int = 0
    slots_left: int = 0

    def faults(self) -> list[str]:
        """What should not have been."""
        found = []
        if self.sent - self.of_victim != self.statuses[200]:
            found.append(f"requests failed on the other relay: {dict(self.statuses)}, {self.of_victim} on this one")
        if not self.met or not self.during:
            found.append("no relay was short of memory while requests came")
        # The one without memory may end by it, and is replaced: where a handler fails and uvloop finds no memory for
        # telling of that either, its loop ends by the second MemoryError (in some runs, since relays load less and so
        # have less in reserve; before, with 2,500 strangers only).
        if self.restarts > 1 or self.slots_left:
            found.append(f"{self.restarts} processes died, {self.slots_left} slots are taken at the end")
        return found

    def row(self) -> dict[str, object]:
        """For the table."""
        return {
            "requests": self.sent,
            "of these while a relay had no memory": self.during,
            "times that memory was asked for in vain": self.met,
            "failed on this relay": self.of_victim,
            "failed on the other": self.sent - self.statuses[200] - self.of_victim,
            "processes that died": self.restarts,
        }


class Soak:
    """One gateway, its callers, and the strangers."""

    def __init__(self, gateway: RealGateway, key: bytes) -> None:
        self.gateway = gateway
        self.key = key
        self.found = Shortage()
        self.victim = 0
        self.short = False
        self.stopping = False

    async def call(self, source: str) -> None:
        """Call until the end, on one connection as long as it lasts."""
        client = await Client.connect(self.gateway.port, source)
        while not self.stopping:
            self.found.sent += 1
            self.found.during += self.short
            status = await client.ask("/soak/now", self.key)
            self.found.statuses[status] += 1
            pid = self.gateway.pid_of(client.relay, client.address) if client.relay else self.victim
            self.found.of_victim += status != 200 and pid == self.victim
            if status == ENDED:
                client = await Client.connect(self.gateway.port, source)
        client.close()

    async def run(self, seconds: float) -> None:
        """Callers all the time; strangers while one relay is short of memory."""
        callers = [asyncio.ensure_future(self.call(f"127.0.7.{at % 4 + 1}")) for at in range(CALLERS)]
        await asyncio.sleep(1.0)
        victim = self.victim = self.gateway.pids()[0]
        _give_no_more(victim)
        self.short = True
        strangers = [await self._stranger(at) for at in range(STRANGERS)]
        await asyncio.sleep(seconds)
        self.short = False
        with suppress(ProcessLookupError):  # it has ended by it; how many may is judged below
            resource.prlimit(victim, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for each in strangers:
            each.close()
        self.stopping = True
        await asyncio.gather(*callers)
        self.found.met = self.gateway.errors.read_text(encoding="utf-8").count("MemoryError")
        self.found.slots_left = self.gateway.slots_left(5.0)
        self.found.restarts = int(self.gateway.status()["restarts"])

    async def _stranger(self, number: int) -> Client:
        client = await Client.connect(self.gateway.port, f"127.0.8.{number % 200 + 1}")
        client.transport.write(HEAD)
        return client


def _give_no_more(pid: int) -> None:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize(), resource.RLIM_INFINITY))


async def soak(seconds: float, folder: Path) -> Shortage:
    """So many seconds without memory on one of two relays."""
    async with Upstream() as upstream:
        [key] = await fill(folder / "keystile.db", 1)
        with RealGateway(folder, upstream.port, 2) as gateway:
            work = Soak(gateway, key)
            await work.run(seconds)
    return work.found


async def main(seconds: float) -> tuple[list[dict[str, object]], list[str]]:
    """The row of the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await soak(seconds, Path(directory))
    return [found.row()], found.faults()
