"""Programs pinned to a core, and what they used of it.

Law: knows processes and /proc, nothing of what they serve. Times are seconds of CPU. Linux only.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
POLL = 0.01
"""Seconds between two looks whether a program answers: how finely its start is timed."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time in seconds: ``total`` from the scheduler's nanoseconds, the two shares from 10 ms ticks."""

    user: float
    system: float
    total: float

    def since(self, earlier: Cpu) -> Cpu:
        """What was used between two readings; the shares are scaled to the finer total."""
        user, system = self.user - earlier.user, self.system - earlier.system
        total = self.total - earlier.total
        share = user / (user + system) if user + system else 0.0
        return Cpu(total * share, total * (1 - share), total)


def add_up(readings: Iterable[Cpu]) -> Cpu:
    """The CPU of several processes together."""
    every = list(readings)
    return Cpu(sum(r.user for r in every), sum(r.system for r in every), sum(r.total for r in every))


class Running:
    """A started program with all its children, in a process group of its own; stop() ends every one of them.

    ``core``: where they may run; several as ``2,3``.
    """

    def __init__(self, command: Sequence[str], core: int | str, directory: Path, label: str) -> None:
        self.label = label
        self.output = directory / f"{label}.out"
        self.errors = directory / f"{label}.err"
        with self.output.open("wb") as out, self.errors.open("wb") as err:
            self.started = time.monotonic()
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=directory,
                start_new_session=True,
            )

    def cpu(self) -> dict[int, Cpu]:
        """What each of its processes has used so far, by process id."""
        return {pid: _cpu_of(pid) for pid in self.tree()}

    def tree(self) -> list[int]:
        """Its process ids, children included."""
        parents = _parents()
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def memory(self) -> int:
        """Bytes of memory in all its processes; what they share is counted once in all (proportional set size)."""
        return sum(_memory_of(pid) for pid in self.tree())

    def wait_for_answer(
        self, port: int, seconds: float = 20.0, *, tls: bool = False, status: int | None = None
    ) -> float:
        """Until 127.0.0.1:``port`` answers GET / with ``status`` (None: whatever it says); RuntimeError with the
        program's own words if never. Returns the seconds from the process's start until that answer was there.

        That it accepts is not enough: the socket may be there before whoever answers on it, and he before his routes.
        """
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.label} ended with {self.process.returncode}: {self.last_words()}")
            said = _answer(port, tls)
            if said is not None and status in (None, said):
                return time.monotonic() - self.started
            time.sleep(POLL)
        raise RuntimeError(f"{self.label} does not answer on port {port}: {self.last_words()}")

    def last_words(self) -> str:
        """The end of what it wrote to standard error, or to standard output."""
        text = self.errors.read_text(errors="replace") or self.output.read_text(errors="replace")
        return text[-2000:]

    def stop(self) -> None:
        """SIGTERM, five seconds of patience, then SIGKILL to the whole group."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def machine_cpu() -> float:
    """CPU seconds that everything on this machine has used (user, system, interrupts; neither idle nor stolen)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]]
    return TICK * (sum(fields) - fields[3] - fields[4])


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def connect(port: int, tls: bool, seconds: float) -> http.client.HTTPConnection:
    """A connection to 127.0.0.1:``port``, not made yet; with TLS whoever is there is believed."""
    if not tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=seconds, context=context)


def _answer(port: int, tls: bool) -> int | None:
    """The status of an answer, None where there is none."""
    connection = connect(port, tls, 1)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer.status


def _cpu_of(pid: int) -> Cpu:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    nanoseconds = sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return Cpu(int(fields[11]) * TICK, int(fields[12]) * TICK, nanoseconds / 1e9)


def name_of(pid: int) -> str:
    """What a process is called: the last part of its Python module, or its program's name."""
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1].rpartition(".")[2]
    return Path(words[0]).name


def _memory_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _parents() -> dict[int, int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # one that has just ended
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    return parents
