"""Overload: a gateway held to a share of one core, offered several times what it carries, then its usual load again.

Law: measures; what is right is judged by ``Overloaded.faults``. First a closed loop with more and more connections.
Then its best in an open loop (requests come whether the last ones were answered or not): rising rates from many
addresses, over kept connections and new ones. Then, so as well, several times that. The callers are rude: they
take no notice of Retry-After. A kept connection that waits for its answer is not asked again: that is ``unsent``.

Useful is an answer of 200; its latency is from the moment the request was sent; how long connecting took is told apart.
``usual`` latency is that in the closed loop with 64 connections, which is saturation: the load of docs/performance.md.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from bench import backend
from bench.processes import Running, free_port

from tests.soak.client import request
from tests.soak.gateway import RealGateway, cpu_of, fill
from tests.soak.share import share
from tests.soak.upstream import Upstream

PATH = "/v4/contacts"
HEALTH = "/healthz"
CONNECTIONS = (16, 32, 64, 128, 256)
"""Of the closed loop, in turn."""
USUAL = 64
"""Of these, those at which the usual latency is taken."""
PARTS = (0.5, 0.65, 0.8, 0.95, 1.1)
"""Of the closed loop's best rate, in turn: what is offered to find the best of the open loop."""
ADDRESSES = [f"127.2.{n // 200}.{n % 200 + 1}" for n in range(400)]
USEFUL = 0.8
"""Part of the best rate that useful answers must keep."""
SLOWER = 2.0
"""How many times its usual latency an admitted request may take."""
SETTLE = 4.0
"""Seconds of overload that are not looked at: it has to be noticed first."""
TICK = 0.004
"""Seconds between two turns of the open loop."""


@dataclass
class Phase:
    """What came back in some seconds. ``latencies`` (seconds) of useful answers, in the order in which they came."""

    seconds: float = 0.0
    offered: int = 0
    unsent: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    connected: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    health_failed: int = 0
    cpu: float = 0.0

    @property
    def cost(self) -> float:
        """Microseconds of the gateway's CPU for each useful answer, whatever it did besides."""
        return self.cpu / max(1, self.answers[200]) * 1e6

    @property
    def useful(self) -> float:
        """Useful answers a second."""
        return self.answers[200] / self.seconds

    def quantile(self, part: float) -> float:
        """Of the latencies, milliseconds."""
        return _part(self.latencies, part)


def _part(seconds: list[float], part: float) -> float:
    known = sorted(seconds) or [0.0]
    return known[min(len(known) - 1, int(part * len(known)))] * 1000


class Caller(asyncio.Protocol):
    """One connection. ``phase``: where its answers are counted. ``again``: send the next at once (closed loop)."""

    __slots__ = ("again", "began", "bytes", "done", "heard", "once", "phase", "ready", "transport")

    def __init__(self, load: Load, *, again: bool = False, once: bool = False) -> None:
        self.ready = load.ready
        self.phase = load.phase
        self.bytes = load.bytes
        self.again = again
        self.once = once
        self.began = 0.0
        self.heard = b""
        self.done: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.once:
            self.phase.connected.append(time.monotonic() - self.began)
            self.send()
        elif self.again:
            self.send()
        else:
            self.ready.append(self)

    def send(self) -> None:
        """A request, now."""
        self.began = time.monotonic()
        self.transport.write(self.bytes)

    def data_received(self, data: bytes) -> None:
        if self.heard:
            data = self.heard + data
        at = data.find(b"\r\n\r\n")
        length = data.find(b"Content-Length: ", 0, at) + 16 if at > 0 else 0
        if length < 16 or len(data) < at + 4 + int(data[length : data.index(b"\r", length)]):
            self.heard = data
            return
        self.heard = b""
        self._answered(int(data[9:12]))

    def _answered(self, status: int) -> None:
        phase, began = self.phase, self.began
        self.began = 0.0
        phase.answers[status] += 1
        if status == 200:
            phase.latencies.append(time.monotonic() - began)
        if self.once:
            self.transport.abort()
            self._over()
        elif self.again:
            self.send()
        else:
            self.ready.append(self)

    def connection_lost(self, _: Exception | None) -> None:
        if self.began and not self.once:
            self.phase.answers[0] += 1
        self.began = -1.0
        self._over()

    def _over(self) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_result(None)


class Load:
    """Callers on one gateway."""

    def __init__(self, port: int, key: bytes, seed: int, pids: list[int]) -> None:
        self.port = port
        self._pids = pids
        self.bytes = request(PATH, key)
        self.phase = Phase()
        self.ready: list[Caller] = []
        self.callers: list[Caller] = []
        self._dice = random.Random(seed)
        self._opening: set[asyncio.Task[None]] = set()

    def begin(self, phase: Phase) -> None:
        """Count from now on in ``phase``."""
        self.phase = phase
        for caller in self.callers:
            caller.phase = phase

    async def connect(self, number: int, *, again: bool) -> None:
        """So many kept connections, over all addresses in turn."""
        loop = asyncio.get_running_loop()
        for at in range(number):
            where = (ADDRESSES[at % len(ADDRESSES)], 0)
            _, caller = await loop.create_connection(
                lambda: Caller(self, again=again), "127.0.0.1", self.port, local_addr=where
            )
            self.callers.append(caller)
            if not again:  # they have been there for a while, and have asked before, when the load comes
                await asyncio.sleep(0.003)
                if self.ready and (ready := self.ready.pop()).began == 0.0:
                    ready.send()

    async def closed(self, connections: int, seconds: float) -> Phase:
        """The closed loop: each connection asks again once it is answered."""
        await self.connect(connections, again=True)
        await asyncio.sleep(seconds / 3)
        phase = await self.watch(Phase(), seconds)
        self.hang_up()
        return phase

    async def watch(self, phase: Phase, seconds: float) -> Phase:
        """Count for so long."""
        self.begin(phase)
        began, used = time.monotonic(), self._used()
        await asyncio.sleep(seconds)
        phase.seconds, phase.cpu = time.monotonic() - began, self._used() - used
        self.begin(Phase())
        return phase

    def _used(self) -> float:
        return sum(cpu_of(pid) for pid in self._pids)

    async def open(self, rate: float, new: float, seconds: float) -> None:
        """The open loop: ``rate`` requests a second, ``new`` of them on connections of their own."""
        end, last, owed = time.monotonic() + seconds, time.monotonic(), 0.0
        while (now := time.monotonic()) < end:
            self.phase.late.append(now - last - TICK)
            owed += rate * (now - last)
            last = now
            count = int(owed)
            owed -= count
            self._send(count, new)
            await asyncio.sleep(TICK)

    def _send(self, count: int, new: float) -> None:
        dice, ready, phase = self._dice, self.ready, self.phase
        phase.offered += count
        fresh = sum(dice.random() < new for _ in range(count))
        for _ in range(fresh):
            if len(self._opening) < 500:
                task = asyncio.ensure_future(self._once(phase))
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)
            else:
                phase.unsent += 1
        for _ in range(count - fresh):
            while ready:
                at = dice.randrange(len(ready))
                ready[at], ready[-1] = ready[-1], ready[at]
                caller = ready.pop()
                if caller.began == 0.0:
                    caller.send()
                    break
            else:
                phase.unsent += 1  # every connection waits for an answer: a caller of flesh would wait too

    async def _once(self, phase: Phase) -> None:
        caller = Caller(self, once=True)
        caller.began = time.monotonic()
        loop = asyncio.get_running_loop()
        caller.done = loop.create_future()
        where = (self._dice.choice(ADDRESSES), 0)
        try:
            async with asyncio.timeout(3):
                await loop.create_connection(lambda: caller, "127.0.0.1", self.port, local_addr=where)
                await caller.done
        except (OSError, TimeoutError):
            phase.answers[-1] += 1

    def hang_up(self) -> None:
        """Close every connection."""
        for caller in self.callers:
            caller.again = False
            caller.began = 0.0
            caller.transport.abort()
        self.callers.clear()
        self.ready.clear()


async def watch_health(port: int, phase: Phase) -> None:
    """Ask the health path on a new connection and on a kept one, ten times a second, until cancelled."""
    while True:
        await asyncio.sleep(0.2)
        began = time.monotonic()
        try:
            async with asyncio.timeout(5):
                ok = await _is_well(port)
        except (OSError, TimeoutError):
            ok = False
        phase.health.append(time.monotonic() - began)
        phase.health_failed += not ok


async def _is_well(port: int) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % HEALTH.encode())
        return (await reader.read(15)).startswith(b"HTTP/1.1 200")
    finally:
        writer.transport.abort()


@dataclass
class Overloaded:
    """What was found."""

    how: str
    best: Phase
    usual: Phase
    over: Phase
    after: Phase
    facts: dict[str, object]

    @property
    def useful(self) -> float:
        """Useful answers under overload, as part of the best."""
        return self.over.useful / self.best.useful

    @property
    def slower(self) -> tuple[float, float]:
        """Median and 99th percentile of admitted requests under overload, to the usual ones."""
        return tuple(self.over.quantile(q) / self.usual.quantile(q) for q in (0.5, 0.99))  # type: ignore[return-value]  # two of them

    def faults(self) -> list[str]:
        """What is not as it should be."""
        median, worst = self.slower
        judged = {
            f"useful answers fell to {self.useful:.0%} of the best": self.useful < USEFUL,
            f"admitted requests took {median:.1f} times their usual (median)": median > SLOWER,
            f"admitted requests took {worst:.1f} times their usual (p99)": worst > SLOWER,
            f"health failed {self.over.health_failed} times": self.over.health_failed > 0,
            "nothing was refused: it was no overload": self.over.answers[503] == 0,
            f"afterwards {self.after.answers[503]} were refused": self.after.answers[503] > 0,
        }
        return [text for text, wrong in judged.items() if wrong]


@asynccontextmanager
async def _upstream(directory: Path) -> AsyncIterator[int]:
    if shutil.which("nginx") is None or shutil.which("taskset") is None:
        async with Upstream(10_000) as upstream:
            yield upstream.port
        return
    port = free_port()
    os.chmod(directory, 0o755)  # nginx's worker is another user
    command = backend.command(backend.write_configuration(directory, port))
    with Running(command, 0, directory, "backend") as running:
        await asyncio.to_thread(running.wait_for_answer, port)
        yield port


async def measure(
    part: float, times: float, seconds: float, kept: int, new: float, limits: tuple[str, ...], seed: int
) -> Overloaded:
    """One gateway, from its best through overload to its usual load again."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as name:
        directory = Path(name)
        async with _upstream(directory) as upstream:
            [key] = await fill(directory / "keystile.db", 1)
            with RealGateway(directory, upstream, 1, 1000, limits=limits, health_path=HEALTH) as gateway:
                pids = [pid for role in ("supervisor", "management", "relay") for pid in gateway.pids(role)]
                with share(pids, part) as how:
                    load = Load(gateway.port, key, seed, pids)
                    return await _measure(gateway, load, how, times, seconds, kept, new)


async def _measure(
    gateway: RealGateway, load: Load, how: str, times: float, seconds: float, kept: int, new: float
) -> Overloaded:
    steps = {count: await load.closed(count, seconds / 3) for count in CONNECTIONS}
    most, usual = max(step.useful for step in steps.values()), steps[USUAL]
    await _calm(gateway)
    await load.connect(kept, again=False)
    best = Phase(1.0)
    for part in PARTS:
        flood = asyncio.ensure_future(load.open(most * part, new, seconds / 3 + 1))
        await asyncio.sleep(0.5)
        best = max(best, await load.watch(Phase(), seconds / 3), key=lambda phase: phase.useful)
        await flood
    over = Phase()
    flood = asyncio.ensure_future(load.open(best.useful * times, new, seconds + SETTLE + 1))
    await asyncio.sleep(SETTLE)
    health = asyncio.ensure_future(watch_health(gateway.port, over))
    await load.watch(over, seconds)
    health.cancel()
    facts = await asyncio.to_thread(_facts, gateway)
    await flood
    load.hang_up()
    facts["calm again after s"] = await _calm(gateway)
    after = await load.closed(USUAL, seconds / 3)
    said = [f"{count}: {one.useful:.0f}/s {one.quantile(0.5):.1f} ms" for count, one in steps.items()]
    facts["closed loop"] = ", ".join(said)
    facts["useful to the best of the closed loop"] = f"{over.useful / most:.0%}"
    return Overloaded(how, best, usual, over, after, facts)


async def _calm(gateway: RealGateway) -> float:
    """Wait until no relay holds back any more; the seconds that it took."""
    began = time.monotonic()
    while await asyncio.to_thread(gateway.metric, "relays_holding_back"):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.1)
    return time.monotonic() - began


def _facts(gateway: RealGateway) -> dict[str, object]:
    began = time.monotonic()
    with urllib.request.urlopen(f"{gateway.management}/health", timeout=20) as answer:
        said = answer.read().decode()
    took = time.monotonic() - began
    return {
        "management's health": said.strip(),
        "management answered in ms": took * 1000,
        "lag ms": gateway.metric("loop_lag_seconds") * 1000,
        "relays shedding": gateway.metric("relays_shedding"),
        "requests shed": gateway.metric("requests_shed_total"),
        "connections shed": gateway.metric("connections_shed_total"),
    }


async def main(
    part: float, times: float, seconds: float, kept: int, new: float, limits: tuple[str, ...], seed: int
) -> tuple[list[dict[str, object]], list[str]]:
    """Rows for the table, and faults."""
    found = await measure(part, times, seconds, kept, new, limits, seed)
    return [row(found, part, times)], found.faults()


def row(found: Overloaded, part: float, times: float) -> dict[str, object]:
    """All that is worth telling."""
    over, best, usual, after = found.over, found.best, found.usual, found.after
    median, worst = found.slower
    health = sorted(over.health) or [0.0]
    return {
        "held to": f"{part:.0%} of a core, by {found.how}",
        "best: useful/s": best.useful,
        f"usual ({USUAL} connections): p50, p99 ms": f"{usual.quantile(0.5):.1f}, {usual.quantile(0.99):.1f}",
        "CPU of a core, best, overload": f"{best.cpu / best.seconds:.2f}, {over.cpu / over.seconds:.2f}",
        "µs CPU for a useful answer, best, overload": f"{best.cost:.0f}, {over.cost:.0f}",
        "offered/s": over.offered / over.seconds,
        "offered to best": f"{over.offered / over.seconds / best.useful:.1f} (asked {times:g})",
        "the load itself was late, p50, p99 ms": f"{_part(over.late, 0.5):.1f}, {_part(over.late, 0.99):.1f}",
        "of these unsent/s": over.unsent / over.seconds,
        "overload: useful/s": over.useful,
        "overload: useful to best": f"{found.useful:.0%}",
        "overload: p50, p99 ms": f"{over.quantile(0.5):.1f}, {over.quantile(0.99):.1f}",
        "overload: p50, p99 to usual": f"{median:.2f}, {worst:.2f}",
        "overload: refused/s (503)": over.answers[503] / over.seconds,
        "overload: new ones that got nothing/s": over.answers[-1] / over.seconds,
        "overload: connecting, p50, most ms": f"{_part(over.connected, 0.5):.1f}, {_part(over.connected, 1):.1f}",
        "overload: connections lost": over.answers[0],
        "overload: health asked, failed": f"{len(over.health)}, {over.health_failed}",
        "overload: health p50, most ms": f"{health[len(health) // 2] * 1000:.0f}, {health[-1] * 1000:.0f}",
        "after: useful/s": after.useful,
        "after: p50, p99 ms": f"{after.quantile(0.5):.1f}, {after.quantile(0.99):.1f}",
        "after: refused": after.answers[503],
        **found.facts,
    }
