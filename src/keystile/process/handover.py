"""What one version of the supervisor hands to the next, which takes its place in the same process (execve).

Law: numbers, words and open files, written down; how they are used is ``supervisor.py``'s. The children are not asked:
they stay children of the same process, and their lines, the sockets and the shared memory stay open over the exec.

Both versions must lay out alike what they share: ``layouts`` says how this one does, and ``proof.py`` compares.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from keystile.limits import servers, slots
from keystile.process import channel, memory, post, snapshot
from keystile.storage import doorbell

FORMAT: Final = 1
"""Of the state itself; it counts on when a field means something else."""
SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2})
"""Those that the supervisor hears: they wait while it is being replaced."""
LARGEST: Final = 64 * 1024 * 1024


class NotUnderstood(Exception):
    """A state that this version cannot take up; the message says why."""


def layouts() -> dict[str, str]:
    """How this version lays out what processes share, by its name."""
    return {
        "state": str(FORMAT),
        "slot table": slots.LAYOUT,
        "counter pages": memory.LAYOUT,
        "server pages": servers.LAYOUT,
        "doorbell": doorbell.LAYOUT,
        "messages": post.LAYOUT,
        "channel": channel.LAYOUT,
    }


@dataclass(frozen=True, slots=True)
class Files:
    """Descriptors. ``groups``: the sockets of each listener; ``before``: the snapshot that
    would be put back, or -1; ``answer``: the connection of whoever asked for the upgrade, or -1.
    """

    lock: int
    control: int
    slots: int
    counters: int
    servers: int
    sending: int
    receiving: int
    snapshot: int
    before: int
    management: int
    calls: int
    groups: list[list[int]]
    answer: int = -1

    def all(self) -> list[int]:
        """Every one of them."""
        single = [value for value in asdict(self).values() if isinstance(value, int)]
        return [fd for fd in (*single, *(fd for group in self.groups for fd in group)) if fd >= 0]


@dataclass(frozen=True, slots=True)
class Filled:
    """A place with a child in it. ``leaves_by``: as in ``place.py``."""

    role: str
    number: int
    page: int
    pid: int
    line: int
    ready: bool
    standby: bool
    failures: int
    leaves_by: float | None


@dataclass(frozen=True, slots=True)
class State:
    """All that a supervisor knows. Moments are monotonic: the clock goes on over an exec.

    ``parts``: as in ``supervisor.py``. ``charge``: one that children are given.
    ``empty``: role, number, page and failures of places without a child. ``configurations``: what ``acceptance.py`` has
    to remember. ``report``: what the upgrade has done so far.
    """

    version: str
    layouts: dict[str, str]
    files: Files
    places: list[Filled]
    empty: list[tuple[str, int, int, int]]
    parts: dict[str, Any]
    charge: str
    configurations: dict[str, Any]
    began: float
    report: dict[str, Any] = field(default_factory=dict)

    def descriptors(self) -> list[int]:
        """All that has to stay open."""
        return [*self.files.all(), *(one.line for one in self.places if one.line >= 0)]

    def close(self) -> None:
        """Let go of what was opened for it alone: it is not handed over after all."""
        for fd in (self.files.before, self.files.answer):
            if fd >= 0:
                os.close(fd)

    def seal(self) -> int:
        """Write it into memory; the descriptor is not inheritable."""
        return snapshot.memory_file("keystile-state", json.dumps(asdict(self)).encode())


def read(fd: int) -> State:
    """The state behind a descriptor. Raises NotUnderstood."""
    written = json.loads(os.pread(fd, LARGEST, 0))
    differing = [name for name, layout in layouts().items() if written.get("layouts", {}).get(name) != layout]
    if differing:
        raise NotUnderstood(f"it lays out otherwise: {', '.join(differing)}")
    try:
        fields = {
            **written,
            "files": Files(**written["files"]),
            "places": [Filled(**one) for one in written["places"]],
            "empty": [tuple(one) for one in written["empty"]],
        }
        return State(**fields)
    except (KeyError, TypeError) as error:
        raise NotUnderstood(f"the state is not understood: {error}") from error


@contextmanager
def inheritable(fds: list[int]) -> Iterator[None]:
    """Descriptors that outlive an exec, while the block lasts (after it: where the exec failed)."""
    for fd in fds:
        os.set_inheritable(fd, True)
    try:
        yield
    finally:
        for fd in fds:
            os.set_inheritable(fd, False)


def command(module: str, fd: int) -> list[str]:
    """How a module of whatever version lies on disk now is executed, with a state."""
    return [sys.executable, "-P", "-m", module, str(fd)]


def execute(state: State, module: str) -> None:
    """Go on as ``module``. Signals must be blocked by now (``SIGNALS``). Returns never; raises OSError."""
    fd = state.seal()
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        with inheritable([fd, *state.descriptors()]):
            os.execv(sys.executable, command(module, fd))
    finally:
        os.close(fd)
