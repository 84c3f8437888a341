"""The turns: start one gateway, prove it, warm it, load it, read what it used, stop it; then the next.

Law: the only place that knows how a measurement is made. Figures are kept raw; ``table.py`` makes sense of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from bench.cases import Case
from bench.check import check_policy
from bench.gateways.gateway import Gateway, Scene
from bench.load import Load, Result
from bench.processes import Cpu, Running, add_up, free_port, machine_cpu, name_of

WARM_UP = 1.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One gateway under one case, once. CPU in seconds over the measured time, memory in bytes.

    ``shares``: each process of the gateway and its part of the CPU. ``others``: what strangers used.
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

    @property
    def per_request(self) -> float:
        """Microseconds of CPU (user and system, all processes of the gateway) for one answered request."""
        return self.cpu.total / self.load.requests * 1e6

    @property
    def rate(self) -> float:
        """Requests answered per second."""
        return self.load.requests / self.load.seconds


@dataclass(frozen=True, slots=True)
class Bench:
    """All that stays the same over the turns."""

    scene: Scene
    load: Load
    backend: Running
    directory: Path
    seconds: float

    def rounds(
        self, count: int, cases: Sequence[Case], gateways: Sequence[Gateway], tell: Callable[[Turn], None]
    ) -> None:
        """Every gateway under every case, ``count`` times; each round goes through the gateways the other way."""
        for number in range(count):
            for case in cases:
                for gateway in gateways if number % 2 == 0 else reversed(gateways):
                    tell(self.turn(number + 1, case, gateway))

    def turn(self, number: int, case: Case, gateway: Gateway) -> Turn:
        """One turn; raises RuntimeError when the gateway does not do the work or an answer was not 200."""
        port = free_port()
        command = gateway.command(self.scene, case, port, self.directory)
        with Running(command, self.scene.gateway_core, self.directory, gateway.name) as running:
            running.wait_for_answer(port, tls=case.tls, status=401)  # no key
            try:
                check_policy(self.scene, port, tls=case.tls)
                self.load.run(case, port, WARM_UP)
                turn = self._measure(number, case, gateway.name, running, port)
            except (RuntimeError, OSError, HTTPException) as fault:
                raise RuntimeError(f"{gateway.name}, {case.name}: {fault}\n{running.last_words()}") from fault
        if case.log:
            _check_log(running, turn)
        return turn

    def _measure(self, number: int, case: Case, name: str, running: Running, port: int) -> Turn:
        machine, backend, before = machine_cpu(), add_up(self.backend.cpu().values()), running.cpu()
        result = self.load.run(case, port, self.seconds)
        after, backend_cpu = running.cpu(), add_up(self.backend.cpu().values()).since(backend).total
        if after.keys() != before.keys():
            raise RuntimeError("its processes changed while it was measured")
        cpu = add_up(after.values()).since(add_up(before.values()))
        shares = [(name_of(pid), after[pid].total - before[pid].total) for pid in after]
        others = machine_cpu() - machine - cpu.total - backend_cpu - result.cpu
        if result.faults or not result.requests:
            raise RuntimeError(f"{result.requests} requests, with faults: {result.faults}")
        return Turn(number, case.name, name, cpu, shares, result, backend_cpu, max(0.0, others), running.memory())


def _check_log(running: Running, turn: Turn) -> None:
    """A gateway that logs must have logged: at least a line for every request of the measured time."""
    with running.output.open("rb") as lines:
        count = sum(1 for line in lines if line.startswith(b"{"))
    running.output.write_bytes(b"")
    if count < turn.load.requests:
        raise RuntimeError(f"{turn.gateway}: {count} log lines for {turn.load.requests} requests")
