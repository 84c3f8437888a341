"""One relay stopped (SIGSTOP) for seconds: do the others serve, and what waits, for how long?

Law: measures. Three kinds of callers: *kept* connections on relays that run, *kept* ones on the stopped relay, and
*new* connections, of which some come into the stopped relay's queue.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.client import Client
from tests.soak.gateway import RealGateway, fill, send, stop
from tests.soak.patience import until
from tests.soak.upstream import Upstream

KEPT, NEW = "127.0.5.1", "127.0.5.2"
HELD = "127.0.5.3"
HELD_THERE = 5
"""Requests that the stopped relay has in flight, and their slots with it."""
CAP = 20
NEW_CONNECTION_WITHIN = 1.0
"""Seconds; a new connection should not notice more than the neighbours' look and a busy machine."""


@dataclass
class Stops:
    """Latencies in seconds of requests that began while a relay was stopped."""

    relays: int
    seconds: float
    times: int = 0
    running: list[float] = field(default_factory=list)
    stopped: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    let_in_meanwhile: list[int] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    over: int = 0
    slots_left: int = -1
    restarts: int = 0

    def faults(self) -> list[str]:
        """What should not have been."""
        found = []
        if odd := self.statuses - Counter({200: 10**9}):
            found.append(f"other answers: {dict(odd)}")
        if max(self.new, default=0) > NEW_CONNECTION_WITHIN:
            found.append(f"a new connection waited {max(self.new):.2f} s")
        if max(self.running, default=0) > NEW_CONNECTION_WITHIN:
            found.append(f"a relay that ran took {max(self.running):.2f} s")
        if self.over or self.slots_left:
            found.append(f"{self.over} over the cap, {self.slots_left} slots left")
        if any(number != CAP - HELD_THERE for number in self.let_in_meanwhile):
            found.append(f"beside {HELD_THERE} in the stopped relay were let in: {self.let_in_meanwhile}")
        return found

    def row(self) -> dict[str, object]:
        """For the table."""
        return {
            "relays": self.relays,
            "stops": self.times,
            "of so many seconds": self.seconds,
            "kept connections on running relays: calls, worst ms": _worst(self.running),
            "new connections: calls, worst ms": _worst(self.new),
            "kept connections on the stopped relay: calls, worst ms": _worst(self.stopped),
            f"let in beside {HELD_THERE} in flight there (cap {CAP})": self.let_in_meanwhile,
            "health says meanwhile": dict(self.said),
            "other answers than 200": dict(self.statuses - Counter({200: 10**9})) or 0,
            "over the cap": self.over,
            "slots left": self.slots_left,
            "restarts": self.restarts,
        }


def _worst(latencies: list[float]) -> str:
    return f"{len(latencies):,}, {max(latencies, default=0) * 1000:,.0f}"


class Soak:
    """Callers on one gateway, of which one relay after the other is stopped."""

    def __init__(self, gateway: RealGateway, upstream: Upstream, key: bytes, seconds: float) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.key = key
        self.found = Stops(gateway.workers, seconds)

    async def connect_all(self, source: str, each: int) -> dict[int, list[Client]]:
        """So many connections to each relay, by process."""
        by_pid: dict[int, list[Client]] = {pid: [] for pid in self.gateway.pids()}
        async with asyncio.timeout(30):
            while min(map(len, by_pid.values())) < each:
                client = await Client.connect(self.gateway.port, source)
                assert await client.ask("/soak/now", self.key) == 200
                mine = by_pid[self.gateway.pid_of(client.relay, client.address)]
                if len(mine) < each:
                    mine.append(client)
                else:
                    client.close()
        return by_pid

    async def timed(self, client: Client, into: list[float]) -> None:
        began = time.monotonic()
        self.found.statuses[await client.ask("/soak/now", self.key)] += 1
        into.append(time.monotonic() - began)

    async def call_kept(self, client: Client, end: float, into: list[float]) -> None:
        while time.monotonic() < end:
            await self.timed(client, into)
            await asyncio.sleep(0.01)

    async def call_new(self, end: float) -> None:
        while time.monotonic() < end:
            began = time.monotonic()
            client = await Client.connect(self.gateway.port, NEW)
            self.found.statuses[await client.ask("/soak/now", self.key)] += 1
            self.found.new.append(time.monotonic() - began)
            client.close()
            await asyncio.sleep(0.01)

    async def stop(self, pid: int, kept: dict[int, list[Client]], held: dict[int, list[Client]]) -> None:
        """Stop one relay for a while."""
        there = [asyncio.ensure_future(each.ask("/soak/hold", self.key)) for each in held[pid][:HELD_THERE]]
        assert await until(lambda: self.upstream.in_flight[HELD] == HELD_THERE, 5)
        stop(pid)
        end = time.monotonic() + self.found.seconds
        others = [client for each in kept if each != pid for client in kept[each]]
        calls = [asyncio.ensure_future(self.call_kept(client, end, self.found.running)) for client in others]
        calls += [asyncio.ensure_future(self.call_new(end)) for _ in range(4)]
        calls += [asyncio.ensure_future(self.timed(client, self.found.stopped)) for client in kept[pid]]
        beside = [client for each in held if each != pid for client in held[each]]
        await self._fill_up(beside)
        await asyncio.sleep(max(0.0, end - 0.2 - time.monotonic()))
        self.found.said[await asyncio.to_thread(self._health)] += 1
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        send(pid, signal.SIGCONT)
        self.upstream.release(HELD)
        await asyncio.gather(*calls, *there)
        self.found.times += 1

    async def _fill_up(self, clients: list[Client]) -> None:
        """The slots of the stopped relay's requests stay taken: beside them go exactly as many as are left."""
        asked = [asyncio.ensure_future(client.ask("/soak/hold", self.key)) for client in clients[:CAP]]
        decided = HELD_THERE + len(asked)
        await until(lambda: self.upstream.in_flight[HELD] + sum(each.done() for each in asked) >= decided, 5)
        self.found.let_in_meanwhile.append(self.upstream.in_flight[HELD] - HELD_THERE)
        mine = self.upstream.held[HELD]
        self.upstream.held[HELD] = mine[:HELD_THERE]
        for connection in mine[HELD_THERE:]:
            connection.answer()
        await asyncio.gather(*asked)

    def _health(self) -> str:
        with urllib.request.urlopen(f"{self.gateway.management}/health", timeout=5) as answer:
            said = json.load(answer)
        return str(said["status"]) + (" (silent)" if "silent" in json.dumps(said) else "")


@asynccontextmanager
async def soaking(relays: int, seconds: float, directory: Path) -> AsyncIterator[Soak]:
    """A gateway with an upstream that holds."""
    async with Upstream(CAP) as upstream:
        [key] = await fill(directory / "keystile.db", 1)
        with RealGateway(directory, upstream.port, relays) as gateway:
            yield Soak(gateway, upstream, key, seconds)


async def measure(seconds: float, times: int, relays: int, seed: int, directory: Path) -> Stops:
    """Stop so many relays, one after the other."""
    dice = random.Random(seed)
    async with soaking(relays, seconds, directory) as soak:
        kept = await soak.connect_all(KEPT, 4 if relays < 4 else 2)
        held = await soak.connect_all(HELD, CAP)
        for _ in range(times):
            await soak.stop(dice.choice(list(kept)), kept, held)
        for client in (each for group in (kept, held) for mine in group.values() for each in mine):
            client.close()
        found = soak.found
        found.slots_left = soak.gateway.slots_left(1.0)
        found.restarts = int(soak.gateway.status()["restarts"])
        found.over = soak.upstream.over
    return found


async def main(seconds: float, times: int, relays: int, seed: int) -> tuple[list[dict[str, object]], list[str]]:
    """Facts for the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await measure(seconds, times, relays, seed, Path(directory))
    return [found.row()], found.faults()
