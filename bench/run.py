"""The turns: start one gateway, prove it, warm it, load it, read what it used, stop it; then the next.

Law: the only place that knows how a measurement is made. Figures are kept raw; ``table.py`` makes sense of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from bench.backend import HELD
from bench.cases import Case
from bench.check import check_policy
from bench.gateways.gateway import Gateway, Scene
from bench.load import HOST, Load, Result
from bench.processes import Cpu, Running, add_up, connect, free_port, machine_cpu, name_of

WARM_UP = 1.0
SEEN_WITHIN = 300.0
"""Seconds for a million addresses to come, at 3,400 a second or more."""
START = 90.0
"""Seconds that a gateway has to begin: some read 100,000 keys slowly."""


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
class Stage:
    """So many keys and operations: what stands around, its load, and where the gateways were prepared for it."""

    scene: Scene
    load: Load
    directory: Path


@dataclass(frozen=True, slots=True)
class Bench:
    """All that stays the same over the turns. ``stages``: by the case's keys and operations (``stage_of``)."""

    stages: Mapping[tuple[int, int], Stage]
    backend: Running
    seconds: float

    def rounds(
        self, count: int, cases: Sequence[Case], gateways: Sequence[Gateway], tell: Callable[[Turn], None]
    ) -> None:
        """Every gateway under every case, ``count`` times; each round goes through the gateways the other way."""
        for number in range(count):
            for case in cases:
                able = [gateway for gateway in gateways if case.asks not in gateway.leaves_out]
                for gateway in able if number % 2 == 0 else reversed(able):
                    tell(self.turn(number + 1, case, gateway))

    def turn(self, number: int, case: Case, gateway: Gateway) -> Turn:
        """One turn; raises RuntimeError when the gateway does not do the work or an answer was not as it should be."""
        port = free_port()
        stage = self.stages[stage_of(case)]
        scene, load = stage.scene, stage.load
        command = gateway.command(scene, case, port, stage.directory)
        with Running(command, scene.gateway_cores(case.relays), stage.directory, gateway.name) as running:
            running.wait_for_answer(port, START, tls=case.tls, status=401)  # no key
            try:
                check_policy(scene, port, tls=case.tls, behind=bool(case.addresses))
                with _all_taken(case, port, load.secrets["any"]):
                    _warm_up(load, case, port)
                    turn = self._measure(number, case, gateway.name, running, port)
            except (RuntimeError, OSError, HTTPException) as fault:
                raise RuntimeError(f"{gateway.name}, {case.name}: {fault}\n{running.last_words()}") from fault
        if case.log:
            _check_log(running, turn)
        return turn

    def _measure(self, number: int, case: Case, name: str, running: Running, port: int) -> Turn:
        machine, backend, before = machine_cpu(), add_up(self.backend.cpu().values()), running.cpu()
        result = self.stages[stage_of(case)].load.run(case, port, self.seconds)
        after, backend_cpu = running.cpu(), add_up(self.backend.cpu().values()).since(backend).total
        if after.keys() != before.keys():
            raise RuntimeError("its processes changed while it was measured")
        cpu = add_up(after.values()).since(add_up(before.values()))
        shares = [(name_of(pid), after[pid].total - before[pid].total) for pid in after]
        others = machine_cpu() - machine - cpu.total - backend_cpu - result.cpu
        if result.faults or not result.requests:
            raise RuntimeError(f"{result.requests} requests, with faults: {result.faults}")
        return Turn(number, case.name, name, cpu, shares, result, backend_cpu, max(0.0, others), running.memory())


def _warm_up(load: Load, case: Case, port: int) -> None:
    """A second; or, where a case is about many addresses, until each of them has come."""
    seen = load.run(case, port, WARM_UP).requests
    give_up = time.monotonic() + SEEN_WITHIN
    while seen < case.addresses:
        if time.monotonic() > give_up:
            raise RuntimeError(f"{seen} of {case.addresses} addresses came within {SEEN_WITHIN:g} s")
        seen += load.run(case, port, 5 * WARM_UP, seen).requests


def stage_of(case: Case) -> tuple[int, int]:
    """Which stage a case is played on: its keys and its operations, 0 for as many as the bench is told."""
    return case.keys, case.routes


@contextmanager
def _all_taken(case: Case, port: int, secret: str) -> Iterator[None]:
    """Where a case is about refusals by a cap of one: that one request is in flight meanwhile."""
    if case.refused != 429:
        yield
        return
    connection = connect(port, case.tls, 5)
    try:
        connection.request("GET", HELD, headers={"X-Api-Key": secret, "Host": HOST})
        connection.getresponse()
        yield
    finally:
        connection.close()


def _check_log(running: Running, turn: Turn) -> None:
    """A gateway that logs must have logged: at least a line for every request of the measured time."""
    with running.output.open("rb") as lines:
        count = sum(1 for line in lines if line.startswith(b"{"))
    running.output.write_bytes(b"")
    if count < turn.load.requests:
        raise RuntimeError(f"{turn.gateway}: {count} log lines for {turn.load.requests} requests")
