"""kill -9 of management under load: who calls the API must not notice.

Law: measures; every request that is sent ends in exactly one count. Callers call without a pause on kept
connections and, every so often, on a new one; management is killed again as soon as another has begun its work.
A request that is answered with anything but 200, or not at all, is a failed one. Beside them keys are made, edited and
deleted all the time (``changes.py``); and what the metrics have once shown must not go back.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.changes import CHANGERS, ROUTES, SCOPES, Changer, Changes, check
from tests.soak.client import ENDED, Client
from tests.soak.gateway import RealGateway, fill, send
from tests.soak.upstream import Upstream

ADDRESSES = ["127.0.5.1", "127.0.5.2"]
CALLERS = 8
"""For each address: less than the cap, so that none is refused."""
CALLS_ON_ONE = 200
"""Calls on one connection; then the caller makes another."""
BACK_WITHIN = 60.0
"""Seconds after which a management that has not come back counts as gone."""


@dataclass
class Kills:
    """What was counted."""

    relays: int
    sent: int = 0
    connections: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    while_down: int = 0
    kills: int = 0
    not_back: int = 0
    down: list[float] = field(default_factory=list)
    slowest: float = 0.0
    seconds: float = 0.0
    changes: Changes = field(default_factory=Changes)
    lost: list[str] = field(default_factory=list)
    samples: int = 0
    went_back: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return self.sent - self.statuses[200]

    def faults(self) -> list[str]:
        """What should not have been."""
        found = []
        if self.failed:
            found.append(f"{self.failed} requests failed: {dict(self.statuses)}")
        if self.sent != self.statuses.total():
            found.append(f"{self.sent - self.statuses.total()} requests are not accounted for")
        if self.not_back:
            found.append(f"management did not come back {self.not_back} times")
        if not self.while_down:
            found.append("no request was made while management was down")
        if not self.changes.there:
            found.append("no key was changed")
        return [*found, *self.lost[:5], *self.went_back[:5]]

    def row(self) -> dict[str, object]:
        """For the table."""
        down = sorted(self.down) or [0.0]
        return {
            "relays": self.relays,
            "seconds": self.seconds,
            "kills -9 of management": self.kills,
            "management away, median ms": 1000 * down[len(down) // 2],
            "management away, longest ms": 1000 * down[-1],
            "requests": self.sent,
            "of these while management was away": self.while_down,
            "connections": self.connections,
            "failed": self.failed,
            "slowest answer, ms": 1000 * self.slowest,
            "changes of keys answered": sum(n for how, n in self.changes.statuses.items() if how.split()[1][0] == "2"),
            "changes without an answer": self.changes.unknown,
            "changes lost, or there by half": len(self.lost),
            "looks at the metrics": self.samples,
            "counters that went back": len(self.went_back),
        }


class Soak:
    """One gateway, its callers, and who kills its management."""

    def __init__(self, gateway: RealGateway, key: bytes) -> None:
        self.gateway = gateway
        self.key = key
        self.found = Kills(gateway.workers)
        self.away = False
        self.stopping = False
        self._counters: dict[str, float] = {}

    async def call(self, source: str) -> None:
        """Call until the end."""
        while not self.stopping:
            client = await Client.connect(self.gateway.port, source)
            self.found.connections += 1
            for _ in range(CALLS_ON_ONE):
                if self.stopping or await self.ask(client) == ENDED:
                    break
            client.close()

    async def ask(self, client: Client) -> int:
        """One counted request."""
        found = self.found
        found.sent += 1
        found.while_down += self.away
        began = time.monotonic()
        status = await client.ask("/soak/now", self.key)
        found.slowest = max(found.slowest, time.monotonic() - began)
        found.statuses[status] += 1
        return status

    async def kill(self) -> None:
        """Kill management, and wait until another answers."""
        for pid in await asyncio.to_thread(self.gateway.pids, "management"):
            self.away = True
            began = time.monotonic()
            send(pid, signal.SIGKILL)
            back = await self._is_back(began + BACK_WITHIN)
            self.away = False
            self.found.kills += 1
            self.found.down.append(time.monotonic() - began)
            self.found.not_back += not back
            self.look_at_counters(await asyncio.to_thread(_counters, f"{self.gateway.management}/metrics"))

    def look_at_counters(self, now: dict[str, float]) -> None:
        """None may be less than it was."""
        self.found.samples += 1
        back = [name for name, value in self._counters.items() if now.get(name, -1.0) < value]
        self.found.went_back += [f"{name} went from {self._counters[name]:g} to {now.get(name)}" for name in back]
        self._counters = now

    async def _is_back(self, give_up: float) -> bool:
        while time.monotonic() < give_up:
            if await asyncio.to_thread(_answers, f"{self.gateway.management}/health"):
                return True
        return False

    async def run(self, seconds: float, pause: float) -> None:
        """Callers all the time, kills one after the other with a pause between."""
        began = time.monotonic()
        callers = [asyncio.ensure_future(self.call(source)) for source in ADDRESSES for _ in range(CALLERS)]
        changers = [Changer(self.gateway.port, self.key, number, self.found.changes) for number in range(CHANGERS)]
        changing = [asyncio.ensure_future(changer.run()) for changer in changers]
        await asyncio.sleep(pause)
        while time.monotonic() < began + seconds:
            await self.kill()
            await asyncio.sleep(pause)
        for changer in changers:
            changer.stopping = True
        await asyncio.gather(*changing)
        self.stopping = True
        await asyncio.gather(*callers)
        self.found.seconds = time.monotonic() - began


def _answers(url: str) -> bool:
    """Whether somebody says there that all is well; who connects while nobody does waits in the queue."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        time.sleep(0.01)
        return False


def _counters(url: str) -> dict[str, float]:
    """Every counter with its labels."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        lines = (line.rpartition(" ") for line in answer.read().decode().splitlines() if line[0] != "#")
        return {name: float(value) for name, _, value in lines if "_total" in name}


async def soak(seconds: float, relays: int, directory: Path, pause: float = 0.5) -> Kills:
    """So many seconds of traffic through so many relays."""
    async with Upstream() as upstream:
        [key] = await fill(directory / "keystile.db", 1, SCOPES)
        gateway = RealGateway(directory, upstream.port, relays, per_account=10_000)
        gateway.file.write_text(gateway.file.read_text(encoding="utf-8") + ROUTES, encoding="utf-8")
        with gateway:
            work = Soak(gateway, key)
            await work.run(seconds, pause)
        work.found.lost = list(check(gateway.store, work.found.changes))
    return work.found


async def main(seconds: float, relays: int) -> tuple[list[dict[str, object]], list[str]]:
    """Facts for the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await soak(seconds, relays, Path(directory))
    return [found.row()], found.faults()
