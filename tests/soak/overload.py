"""Overload: a gateway held to a share of one core, offered several times what it carries, then its usual load again.

Law: measures; what is right is judged by ``Overloaded.faults``. Turn after turn: the usual load; rising rates, of which
the one with the most useful answers is its best; several times that; the usual load again. Rates are an open loop:
requests come whether the last ones were answered or not, from many addresses, over kept connections and new ones. The
callers are rude: they take no notice of Retry-After. A kept connection that waits for its answer is not asked again:
that is ``unsent``.

Useful is an answer of 200; its latency is from the moment the request was sent; how long connecting took is told apart.
Best is the top of the curve of useful answers over offered ones, of the same callers. A closed loop of few connections
carries more, since its requests come in whole turns (``usual``, with 64 connections: the load of docs/performance.md):
it is told, and usual latencies are those.
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
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import cast

from bench import backend
from bench.processes import Running, free_port

from tests.processor import cpu_of
from tests.soak.client import request
from tests.soak.gateway import RealGateway, fill
from tests.soak.share import share
from tests.soak.upstream import Upstream

PATH = "/v4/contacts"
HEALTH = "/healthz"
CONNECTIONS = (16, 32, 64, 128, 256)
"""Of the closed loop, in turn."""
USUAL = 64
"""Of these, those at which the usual latency is taken."""
PARTS = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2)
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
class Turn:
    """The usual load, the best of the open loop, several times that, and the usual load again: one after the other."""

    usual: Phase
    best: Phase
    over: Phase
    after: Phase

    @property
    def useful(self) -> float:
        """Useful answers under overload, as part of the best."""
        return self.over.useful / self.best.useful

    def slower(self, part: float) -> float:
        """A quantile of the latencies of admitted requests under overload, to the usual one."""
        return self.over.quantile(part) / self.usual.quantile(part)


@dataclass
class Overloaded:
    """What was found. Ratios are medians over the turns: a machine's speed changes from one moment to the next."""

    how: str
    turns: list[Turn]
    facts: dict[str, object]

    @property
    def useful(self) -> float:
        """Useful answers under overload, as part of the best of the same turn."""
        return median(turn.useful for turn in self.turns)

    def slower(self, part: float) -> float:
        """A quantile of the latencies of admitted requests under overload, to the usual one of the same turn."""
        return median(turn.slower(part) for turn in self.turns)

    def faults(self) -> list[str]:
        """What is not as it should be."""
        middle, worst = self.slower(0.5), self.slower(0.99)
        failed = sum(turn.over.health_failed for turn in self.turns)
        refused = sum(turn.after.answers[503] for turn in self.turns)
        judged = {
            f"useful answers fell to {self.useful:.0%} of the best": self.useful < USEFUL,
            f"admitted requests took {middle:.1f} times their usual (median)": middle > SLOWER,
            f"admitted requests took {worst:.1f} times their usual (p99)": worst > SLOWER,
            f"health failed {failed} times": failed > 0,
            "nothing was refused: it was no overload": not all(turn.over.answers[503] for turn in self.turns),
            f"afterwards {refused} were refused": refused > 0,
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
    part: float, times: float, seconds: float, kept: int, new: float, limits: tuple[str, ...], seed: int, turns: int
) -> Overloaded:
    """One gateway, so many times from its best through overload to its usual load again."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as name:
        directory = Path(name)
        async with _upstream(directory) as upstream:
            [key] = await fill(directory / "keystile.db", 1)
            with RealGateway(directory, upstream, 1, 1000, limits=limits, health_path=HEALTH) as gateway:
                pids = [pid for role in ("supervisor", "management", "relay") for pid in gateway.pids(role)]
                with share(pids, part) as how:
                    load = Load(gateway.port, key, seed, pids)
                    return await _measure(gateway, load, how, Offer(times, seconds, kept, new), turns)


@dataclass
class Offer:
    """``times`` the best for ``seconds`` over ``kept`` connections, and ``new``: what part comes on new ones."""

    times: float
    seconds: float
    kept: int
    new: float


async def _measure(gateway: RealGateway, load: Load, how: str, offer: Offer, turns: int) -> Overloaded:
    steps = {count: await load.closed(count, offer.seconds / 3) for count in CONNECTIONS}
    most = max(step.useful for step in steps.values())
    await _calm(gateway)
    facts: dict[str, object] = {}
    found = [await _turn(gateway, load, offer, most, facts) for _ in range(turns)]
    said = [f"{count}: {one.useful:.0f}/s {one.quantile(0.5):.1f} ms" for count, one in steps.items()]
    facts["closed loop, once before"] = ", ".join(said)
    return Overloaded(how, found, facts)


async def _best(load: Load, offer: Offer, most: float) -> Phase:
    """The top of the curve: the phase with the most useful answers of rates that rise from little to too much."""
    found = []
    for part in PARTS:
        flood = asyncio.ensure_future(load.open(most * part, offer.new, offer.seconds / 3 + 1))
        await asyncio.sleep(0.5)
        found.append(await load.watch(Phase(), offer.seconds / 3))
        await flood
    return max(found, key=lambda phase: phase.useful)


async def _turn(gateway: RealGateway, load: Load, offer: Offer, most: float, facts: dict[str, object]) -> Turn:
    await _calm(gateway)
    usual = await load.closed(USUAL, offer.seconds / 3)
    await load.connect(offer.kept, again=False)
    best = await _best(load, offer, most)
    over = Phase()
    flood = asyncio.ensure_future(load.open(best.useful * offer.times, offer.new, offer.seconds + SETTLE + 1))
    await asyncio.sleep(SETTLE)
    health = asyncio.ensure_future(watch_health(gateway.port, over))
    await load.watch(over, offer.seconds)
    health.cancel()
    facts |= await asyncio.to_thread(_facts, gateway)
    await flood
    load.hang_up()
    facts["calm again after s"] = await _calm(gateway)
    return Turn(usual, best, over, await load.closed(USUAL, offer.seconds / 3))


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
    part: float, times: float, seconds: float, kept: int, new: float, limits: tuple[str, ...], seed: int, turns: int
) -> tuple[list[dict[str, object]], list[str]]:
    """Rows for the table, and faults."""
    found = await measure(part, times, seconds, kept, new, limits, seed, turns)
    return [row(found, part, times)], found.faults()


def row(found: Overloaded, part: float, times: float) -> dict[str, object]:
    """All that is worth telling; where there is one figure, it is the median over the turns."""
    turns = found.turns
    connected = [each for turn in turns for each in turn.over.connected]
    health = [each for turn in turns for each in turn.over.health]

    def middle(what: Callable[[Turn], float]) -> float:
        return median(map(what, turns))

    return {
        "held to": f"{part:.0%} of a core, by {found.how}",
        "turns": len(turns),
        "best: useful/s": middle(lambda turn: turn.best.useful),
        "usual: useful/s": middle(lambda turn: turn.usual.useful),
        "usual: p50, p99 ms": f"{middle(_quantile('usual', 0.5)):.1f}, {middle(_quantile('usual', 0.99)):.1f}",
        "µs CPU for a useful answer: usual": middle(lambda turn: turn.usual.cost),
        "the same: best": middle(lambda turn: turn.best.cost),
        "the same: overload": middle(lambda turn: turn.over.cost),
        "offered/s": middle(lambda turn: turn.over.offered / turn.over.seconds),
        "offered to best": f"{middle(lambda turn: turn.over.offered / turn.over.seconds / turn.best.useful):.1f} "
        f"(asked {times:g})",
        "of these unsent/s": middle(lambda turn: turn.over.unsent / turn.over.seconds),
        "the load itself was late, p50, p99 ms": f"{middle(lambda turn: _part(turn.over.late, 0.5)):.1f}, "
        f"{middle(lambda turn: _part(turn.over.late, 0.99)):.1f}",
        "overload: useful/s": middle(lambda turn: turn.over.useful),
        "overload: useful to best": f"{found.useful:.0%} ({_spread(turn.useful for turn in turns)})",
        "overload: useful to usual": f"{middle(lambda turn: turn.over.useful / turn.usual.useful):.0%}",
        "overload: p50, p99 ms": f"{middle(_quantile('over', 0.5)):.1f}, {middle(_quantile('over', 0.99)):.1f}",
        "overload: p50 to usual": f"{found.slower(0.5):.2f} ({_spread(turn.slower(0.5) for turn in turns)})",
        "overload: p99 to usual": f"{found.slower(0.99):.2f} ({_spread(turn.slower(0.99) for turn in turns)})",
        "overload: refused/s (503)": middle(lambda turn: turn.over.answers[503] / turn.over.seconds),
        "overload: new ones that got nothing/s": middle(lambda turn: turn.over.answers[-1] / turn.over.seconds),
        "overload: connecting, p50, most ms": f"{_part(connected, 0.5):.1f}, {_part(connected, 1):.1f}",
        "overload: connections lost": sum(turn.over.answers[0] for turn in turns),
        "overload: health asked, failed": f"{len(health)}, {sum(turn.over.health_failed for turn in turns)}",
        "overload: health p50, most ms": f"{_part(health, 0.5):.0f}, {_part(health, 1):.0f}",
        "after: useful to usual": f"{middle(lambda turn: turn.after.useful / turn.usual.useful):.0%}",
        "after: refused": sum(turn.after.answers[503] for turn in turns),
        **found.facts,
    }


def _quantile(phase: str, part: float) -> Callable[[Turn], float]:
    return lambda turn: cast(Phase, getattr(turn, phase)).quantile(part)


def _spread(ratios: Iterable[float]) -> str:
    known = sorted(ratios)
    return f"{known[0]:.2f} to {known[-1]:.2f}"
