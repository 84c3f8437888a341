"""What the gateway's processes use of the machine: processor time and memory by role, for metrics.

Law: it reads /proc (proc(5)) of the processes it is told of, when somebody asks; one that has just ended is left out.
Processor time never goes back: what was last seen of a process that is gone goes on counting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from keystile.management.metrics import Sample, labels

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
# Fields of /proc/PID/stat behind the command, which may hold anything and ends in the last ")".
_USER, _SYSTEM, _BEGAN, _RESIDENT = 11, 12, 19, 21


def age_of(pid: int, proc: Path = Path("/proc")) -> float:
    """Seconds since a process began, as the kernel counts them (suspended ones too). Raises OSError."""
    began = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[_BEGAN]
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(began) / _TICK)


class Processes:
    """``proc``: where the kernel tells of processes."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._seen: dict[tuple[str, int, str], float] = {}
        self._gone: dict[str, float] = {}

    def samples(self, running: Mapping[str, Iterable[int]]) -> list[Sample]:
        """For the process ids of each role."""
        memory = dict.fromkeys(running, 0)
        seen: dict[tuple[str, int, str], float] = {}
        for role, pids in running.items():
            for pid in pids:
                fields = self._fields(pid)
                if fields:
                    memory[role] += int(fields[_RESIDENT]) * _PAGE
                    # The moment it began tells a process from another that got its id.
                    who = role, pid, fields[_BEGAN]
                    # Never less than before: a look that comes later may find a tick less (seen by chaos).
                    seen[who] = max((int(fields[_USER]) + int(fields[_SYSTEM])) / _TICK, self._seen.get(who, 0.0))
        for who, seconds in self._seen.items():
            if who not in seen:
                self._gone[who[0]] = self._gone.get(who[0], 0.0) + seconds
        self._seen = seen
        return [
            *(("process_resident_memory_bytes", labels(role=role), size) for role, size in memory.items()),
            *(("process_cpu_seconds_total", labels(role=role), self._cpu(role)) for role in running),
        ]

    def kept(self) -> dict[str, Any]:
        """What was seen last and what is gone, for JSON; ``restore`` goes on from there."""
        return {"seen": [[*who, seconds] for who, seconds in self._seen.items()], "gone": self._gone}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what was ``kept``, instead of what is here."""
        self._seen = {(role, pid, began): seconds for role, pid, began, seconds in kept["seen"]}
        self._gone = dict(kept["gone"])

    def _fields(self, pid: int) -> list[str]:
        try:
            text = (self._proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        return text.rpartition(")")[2].split()

    def _cpu(self, role: str) -> float:
        return self._gone.get(role, 0.0) + sum(seconds for who, seconds in self._seen.items() if who[0] == role)
