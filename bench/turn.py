"""What comes out of a turn: figures as they were read, or why there are none.

Law: data alone. ``run.py`` makes them, ``record.py`` keeps them, ``table.py`` makes sense of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.load import Result
from bench.processes import Cpu

STRAIGHT = "direct"
"""In a gateway's place: the load went to the backend with nothing between, which is what latency is added to."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One gateway under one case, once. CPU in seconds over the measured time, memory in bytes.

    ``shares``: each process of the gateway and its part of the CPU. ``others``: what strangers used. ``start``: seconds
    from the process's start until its first right answer (None: nothing was started, or an older bench did not look).
    """

    round: int
    case: str
    gateway: str
    cpu: Cpu
    shares: list[tuple[str, float]]
    load: Result
    backend_cpu: float
    others: float
    memory: int
    start: float | None = None

    @property
    def per_request(self) -> float:
        """Microseconds of CPU (user and system, all processes of the gateway) for one answered request."""
        return self.cpu.total / self.load.requests * 1e6

    @property
    def rate(self) -> float:
        """Requests answered per second."""
        return self.load.requests / self.load.seconds


@dataclass(frozen=True, slots=True)
class Failure:
    """A turn without figures, and why."""

    round: int
    case: str
    gateway: str
    reason: str
