"""Upgrades under traffic: who calls must not notice.

Law: measures; every request that is sent ends in exactly one count. Callers call over plain and TLS connections, kept
and new ones; one address is at its cap all the time, so that a slot lost or given twice would show; one request is
in flight over each upgrade. The program that is upgraded to is the same again, executed anew each time.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from keystile.process.control import ask_to_upgrade
from tests.soak.client import Client
from tests.soak.gateway import RealGateway, fill
from tests.soak.traffic import Traffic, with_tls
from tests.soak.upstream import Upstream

CROWDED = "127.0.7.1"
"""The address that is at its cap."""
LONG = "127.0.7.2"
"""The address whose one request is in flight over an upgrade."""
CAP = 20
ENDED_WITHIN = 60.0
"""Seconds after which relays that were replaced must have ended."""


@dataclass
class Found:
    """What was counted. ``crowded``: statuses of the address that asks for ``CAP`` + 5 at once, again and again."""

    traffic: Traffic
    asked: int = 0
    faults_told: list[str] = field(default_factory=list)
    waited: int = 0
    long: list[int] = field(default_factory=list)
    highest: int = 0
    over: int = 0
    crowded: dict[int, int] = field(default_factory=dict)
    slots_left: int = 0
    pids: set[int] = field(default_factory=set)
    supervisors: set[int] = field(default_factory=set)
    restarts: int = 0
    took: list[float] = field(default_factory=list)

    def faults(self) -> list[str]:
        """What should not have been."""
        found = [*self.traffic.faults(), *self.faults_told]
        if self.long != [200] * self.asked:
            found.append(f"requests in flight over an upgrade were answered {self.long}")
        if self.over or self.highest > CAP:
            found.append(f"{self.highest} in flight for one address")
        if set(self.crowded) - {200, 429}:
            found.append(f"the crowded address was answered {self.crowded}")
        if self.slots_left:
            found.append(f"{self.slots_left} slots are lost")
        if len(self.supervisors) != 1:
            found.append("the supervisor's process is another one")
        if self.restarts:
            found.append(f"{self.restarts} processes died")
        return found

    def row(self) -> dict[str, object]:
        """For the table."""
        took = sorted(self.took) or [0.0]
        return {
            "upgrades": self.asked,
            "of these after waiting for the last one's relays": self.waited,
            "one upgrade, median s": took[len(took) // 2],
            "relays there have been": len(self.pids),
            "requests sent": self.traffic.sent,
            "answered with 200": self.traffic.statuses[200],
            "failed": self.traffic.failed,
            "connections": self.traffic.connections,
            "answers that ended their connection": self.traffic.moved,
            "answers to the address at its cap": self.crowded,
            "most in flight for it": self.highest,
            "slots taken at the end": self.slots_left,
        }


class Soak:
    """One gateway that is upgraded, and all who call it."""

    def __init__(self, gateway: RealGateway, upstream: Upstream, traffic: Traffic) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.found = Found(traffic)
        self.key = traffic.key
        self.stopping = False

    async def crowd(self) -> None:
        """More at once than may be, on new connections, until the end."""
        while not self.stopping:
            clients = await asyncio.gather(*(Client.connect(self.gateway.port, CROWDED) for _ in range(CAP + 5)))
            for status in await asyncio.gather(*(client.ask("/soak/for/200", self.key) for client in clients)):
                self.found.crowded[status] = self.found.crowded.get(status, 0) + 1
            for client in clients:
                client.close()

    async def upgrade(self) -> None:
        """One upgrade, while one request is in flight from before it until after it."""
        client = await Client.connect(self.gateway.port, LONG)
        held = asyncio.ensure_future(client.ask("/soak/hold", self.key))
        while LONG not in self.upstream.held:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        began = time.monotonic()
        answer = await asyncio.to_thread(ask_to_upgrade, self.gateway.store)
        while answer["fault"] and "still finish" in answer["fault"] and time.monotonic() < began + ENDED_WITHIN:
            self.found.waited += 1
            await asyncio.sleep(0.2)
            answer = await asyncio.to_thread(ask_to_upgrade, self.gateway.store)
        self.found.took.append(time.monotonic() - began)
        self.found.asked += 1
        if answer["fault"]:
            self.found.faults_told.append(answer["fault"])
        self.upstream.release(LONG)
        self.found.long.append(await held)
        client.close()
        for process in (await asyncio.to_thread(self.gateway.status))["processes"]:
            known = {"relay": self.found.pids, "supervisor": self.found.supervisors}.get(process["role"])
            if known is not None:
                known.add(process["pid"])

    async def run(self, count: int, pause: float, calm: float) -> Found:
        """Everybody calls, and one upgrade comes after the other."""
        found = self.found
        found.traffic.start(pause=calm)
        crowd = asyncio.ensure_future(self.crowd())
        await asyncio.sleep(0.5)
        for _ in range(count):
            await self.upgrade()
            await asyncio.sleep(pause)
        self.stopping = True
        await asyncio.gather(found.traffic.stop(), crowd)
        found.highest, found.over = self.upstream.highest, self.upstream.over
        found.slots_left = await asyncio.to_thread(self.gateway.slots_left, 10.0)
        found.restarts = int((await asyncio.to_thread(self.gateway.status))["restarts"])
        return found


async def soak(count: int, relays: int, folder: Path, pause: float = 0.5, calm: float = 0.005) -> Found:
    """So many upgrades while callers call, each with a pause of ``calm`` seconds; what was counted."""
    async with Upstream(CAP) as upstream:
        gateway = RealGateway(folder, upstream.port, relays, cap=CAP)
        tls = with_tls(gateway)
        text = gateway.file.read_text(encoding="utf-8")
        gateway.file.write_text(text.replace("drain_timeout: 5s", "drain_timeout: 30s"), encoding="utf-8")
        [key] = await fill(gateway.store, 1)
        with gateway:
            return await Soak(gateway, upstream, Traffic(gateway.port, tls, key)).run(count, pause, calm)


async def main(count: int, relays: int) -> tuple[list[dict[str, object]], list[str]]:
    """The row of the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await soak(count, relays, Path(directory))
    return [found.row()], found.faults()
