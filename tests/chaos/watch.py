"""What is looked at from outside while all goes on: processes at work, counters that must never go backwards.

Law: reads the management address, the status and the log; changes nothing.
"""

from __future__ import annotations

import asyncio
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keystile.process.control import NotRunning
from tests.chaos.ground import WORKERS
from tests.soak.gateway import RealGateway

EVERY = 0.4
SAMPLE = re.compile(r"(?m)^keystile_(\w+_total(?:\{[^}]*\})?) (\S+)$")
OF_MANAGEMENT = frozenset(
    {
        "configurations_taken_total",
        "configurations_refused_total",
        "log_lines_unwritten_total",
        "last_uses_unwritten_total",
        "usage_unwritten_total",
        "old_tls_unwritten_total",
    }
)
"""Counters that management keeps for itself: they begin anew with each management process."""
ENDED = re.compile(r"(?m)keystile: relay (\d+) (was ended by \S+|ended with status [1-9]\d*)")
DOOMED = re.compile(r"(?m)keystile: relay (\d+) (?:is stopped while it counts for all|gave no sign of life)")
PUT_BACK = re.compile(r"is put back, because processes die by it: \w+ (\d+) was ended by SIGKILL at its start")
STEADY_AFTER = 1.3
"""Seconds at work after which a process may be killed: who dies at its start is a new configuration's fault."""


@dataclass(slots=True)
class Backwards:
    """Samples of counters, one after the other; ``fell``: those that became less, by name."""

    last: dict[str, float] = field(default_factory=dict)
    samples: int = 0
    fell: list[str] = field(default_factory=list)
    renewed: bool = False

    def take(self, text: str) -> None:
        """One answer of /metrics. ``renewed``: there has been another management process since the last one."""
        now = {name: float(value) for name, value in SAMPLE.findall(text)}
        for name, value in now.items():
            before = self.last.get(name, 0.0)
            if value < before and not (self.renewed and name.partition("{")[0] in OF_MANAGEMENT):
                self.fell.append(f"{name} fell from {before:g} to {value:g}")
        self.last |= now
        self.samples += 1
        self.renewed = False


class Watch:
    """Looks again and again. ``at_work``: since when a process is known to work, by pid."""

    def __init__(self, gateway: RealGateway) -> None:
        self.gateway = gateway
        self.counters = Backwards()
        self.at_work: dict[int, float] = {}
        self.unanswered: Counter[str] = Counter()
        self._management: list[int] = []
        self._task: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Look once more, and never again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.look()

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """One sample; who answers is at work, whoever it was when it was asked before and after.

        One at a time: of two at once the earlier answer could be taken behind the later one.
        """
        async with self._one_at_a_time:
            await self._look()

    async def _look(self) -> None:
        before = await self.pids("management")
        try:
            text = await asyncio.to_thread(_metrics, self.gateway.management)
        except OSError as error:
            self.unanswered[type(error).__name__] += 1
            return
        after = await self.pids("management")
        if before == after:
            self.note_work(*after)
        self.counters.renewed = self.counters.renewed or not before == after == self._management
        self._management = after
        self.counters.take(text)

    def note_work(self, *pids: int) -> None:
        """These have been seen to work."""
        for pid in pids:
            self.at_work.setdefault(pid, time.monotonic())

    async def pids(self, role: str) -> list[int]:
        """The processes of a role; none while nobody can say."""
        try:
            return await asyncio.to_thread(self.gateway.pids, role)
        except NotRunning:
            return []

    async def steady(self, role: str) -> list[int]:
        """Those of a role that have worked for a while, if all of them have; else none."""
        now = time.monotonic()
        pids = await self.pids(role)
        whole = len(pids) == (WORKERS if role == "relay" else 1)
        return pids if whole and all(now - self.at_work.get(pid, now) > STEADY_AFTER for pid in pids) else []


def _metrics(management: str) -> str:
    with urllib.request.urlopen(f"{management}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def doomed(log: str, stopped: set[int]) -> frozenset[int]:
    """Relays that the supervisor has killed because they were stopped, and that we had stopped."""
    return frozenset(int(pid) for pid in DOOMED.findall(log)) & frozenset(stopped)


def of_log(log: str, ours: set[int]) -> list[str]:
    """What must not stand in the gateway's own log: faults of programs, and deaths that are not ours."""
    found = [f"relay {pid} {how} and nobody did that" for pid, how in ENDED.findall(log) if int(pid) not in ours]
    for sign in ("Traceback", "internal error", "Task exception was never retrieved", " is put back"):
        found += [f"in the log: {line.strip()}" for line in log.splitlines() if sign in line and not _by_us(line, ours)]
    return found


def at_the_end(status: Mapping[str, Any]) -> list[str]:
    """What is wrong with the status when all traffic has ended."""
    found = []
    roles = Counter(each["role"] for each in status["processes"])
    if roles != Counter({"supervisor": 1, "management": 1, "relay": WORKERS}):
        found.append(f"at the end there are the processes {dict(roles)}")
    if status["slots_taken"]:
        found.append(f"{status['slots_taken']} slots are taken at the end")
    return found


def secrets_in(files: list[Path], secrets: list[bytes]) -> list[str]:
    """Which secrets stand in which files, without saying them."""
    found = []
    for file in files:
        text = file.read_bytes() if file.exists() else b""
        found += [f"secret {number} stands in {file.name}" for number, each in enumerate(secrets) if each in text]
    return found


def _by_us(line: str, ours: set[int] | frozenset[int]) -> bool:
    """Whether a configuration was put back because we had killed somebody at their start: that is as it must be."""
    found = PUT_BACK.search(line)
    return found is not None and int(found[1]) in ours
