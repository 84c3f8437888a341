"""Idle connections: what each costs the relay in memory, and whether they are all still served afterwards.

Law: measures from outside (/proc); what is right is judged by ``Idle.faults``. Connections come from many
addresses, as clients do, in two states: open without a byte, and kept alive after one request.
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.soak.client import Client
from tests.soak.gateway import RealGateway, fill
from tests.soak.upstream import Upstream

GOAL = 8.0
"""KiB of relay memory for each connection, at most."""
AT_ONCE = 200
SPARE = 500
"""Descriptors that this process and the gateway need besides."""


@dataclass
class Idle:
    """What was measured in one state of the connections."""

    state: str
    connections: int
    before: int
    after: int
    unserved: int
    seconds: float
    goal: float = GOAL

    @property
    def each(self) -> float:
        """KiB for each connection."""
        return (self.after - self.before) / self.connections

    def faults(self) -> list[str]:
        """What should not have been."""
        found = []
        if self.each > self.goal:
            found.append(f"{self.state}: {self.each:.1f} KiB each, more than {self.goal:g}")
        if self.unserved:
            found.append(f"{self.state}: {self.unserved} connections were not served")
        return found

    def row(self) -> dict[str, object]:
        """For the table."""
        return {
            "connections": self.state,
            "number": self.connections,
            "relay's memory before, KiB": self.before,
            "after, KiB": self.after,
            "KiB each": self.each,
            "not served": self.unserved,
            "s": self.seconds,
        }


def memory_of(pid: int) -> int:
    """KiB of a process's own memory that lie in RAM."""
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith(("RssAnon", "RssShmem")))


def raise_descriptors(wanted: int) -> None:
    """So many descriptors for this process and those that it starts. Raises ``OSError`` where we may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


async def idle(connections: int, directory: Path) -> list[Idle]:
    """Open so many connections to one relay, and look at its memory in both states."""
    raise_descriptors(connections + SPARE)
    limits = (f"connections: {connections + SPARE}", "head_timeout: 10m", "idle_timeout: 10m")
    async with Upstream() as upstream:
        [key] = await fill(directory / "keystile.db", 1)
        with RealGateway(directory, upstream.port, 1, limits=limits) as gateway:
            return await _Work(gateway, key, connections).run()


class _Work:
    def __init__(self, gateway: RealGateway, key: bytes, connections: int) -> None:
        self.gateway = gateway
        self.key = key
        self.number = connections
        [self.relay] = gateway.pids()
        self.clients: list[Client] = []

    async def run(self) -> list[Idle]:
        await self._warm_up()
        before = memory_of(self.relay)
        began = time.monotonic()
        for first in range(0, self.number, AT_ONCE):
            wanted = range(first, min(first + AT_ONCE, self.number))
            self.clients += await asyncio.gather(*map(self._connect, wanted))
        await self._settle()
        fresh = Idle("open, no byte sent", self.number, before, memory_of(self.relay), 0, time.monotonic() - began)
        began = time.monotonic()
        statuses = []
        for first in range(0, self.number, AT_ONCE // 4):
            asked = self.clients[first : first + AT_ONCE // 4]
            statuses += await asyncio.gather(*(client.ask("/soak/now", self.key) for client in asked))
        await self._settle()
        unserved = sum(status != 200 for status in statuses)
        kept = Idle("kept alive after a request", self.number, before, memory_of(self.relay), unserved, 0)
        kept.seconds = time.monotonic() - began
        for client in self.clients:
            client.close()
        return [fresh, kept]

    async def _connect(self, number: int) -> Client:
        return await Client.connect(self.gateway.port, f"127.1.{number // 200 % 250}.{number % 200 + 1}")

    async def _warm_up(self) -> None:
        """What the first requests of a process make it load is no connection's cost."""
        for _ in range(50):
            client = await self._connect(199)
            assert await client.ask("/soak/now", self.key) == 200
            client.close()
        await self._settle()

    async def _settle(self) -> None:
        await asyncio.sleep(2)
        assert not any(client.ended for client in self.clients), "a connection was closed"


async def main(connections: int) -> tuple[list[dict[str, object]], list[str]]:
    """Rows for the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await idle(connections, Path(directory))
    return [each.row() for each in found], [fault for each in found for fault in each.faults()]
