"""A turn: start one gateway, prove it, warm it, load it, read what it used, stop it.

Law: the only place that knows how a measurement is made. Figures are kept raw; ``table.py`` makes sense of them.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from bench.backend import HELD
from bench.cases import Case
from bench.check import check_policy
from bench.gateways.gateway import Gateway, Scene
from bench.load import HOST, Load
from bench.plan import Step
from bench.processes import Cpu, Running, add_up, connect, free_port, machine_cpu, name_of
from bench.turn import Turn

WARM_UP = 1.0
SEEN_WITHIN = 300.0
"""Seconds for a million addresses to come, at 3,400 a second or more."""
START = 90.0
"""Seconds that a gateway has to begin: some read 100,000 keys slowly."""
SETTLED_WITHIN = 60.0
"""Seconds that it may go on with its start after its first answer: some read 10,000 operations once more for a page."""
LOOK = 0.25
IDLE = 0.1
"""Of a core, taken while nobody asks: with less the start is over."""


@dataclass(frozen=True, slots=True)
class Stage:
    """So many keys and operations: what stands around, its load, and where the gateways were prepared for it.

    ``unready``: the gateways that could not be prepared, and why.
    """

    scene: Scene
    load: Load
    directory: Path
    unready: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Bench:
    """All that stays the same over the turns. ``stages``: by the case's keys and operations (``stage_of``)."""

    stages: Mapping[tuple[int, int], Stage]
    backend: Running
    seconds: float

    def turn(self, step: Step) -> Turn:
        """One turn; raises RuntimeError when the gateway does not do the work or an answer was not as it should be."""
        if step.gateway is None:
            return self._straight(step)
        return self._through(step, step.gateway)

    def _straight(self, step: Step) -> Turn:
        """The same load with no gateway between; the CPU is then the backend's."""
        stage = self.stages[stage_of(step.case)]
        _warm_up(stage.load, step.case, stage.scene.backend_port)
        return self._measure(step, self.backend, stage.scene.backend_port, None)

    def _through(self, step: Step, gateway: Gateway) -> Turn:
        case, port = step.case, free_port()
        stage = self.stages[stage_of(case)]
        if gateway.name in stage.unready:
            raise RuntimeError(stage.unready[gateway.name])
        scene, load = stage.scene, stage.load
        command = gateway.command(scene, case, port, stage.directory)
        with Running(command, scene.gateway_cores(case.relays), stage.directory, gateway.name) as running:
            start = running.wait_for_answer(port, START, tls=case.tls, status=401)  # no key
            try:
                check_policy(scene, port, tls=case.tls, behind=bool(case.addresses))
                settle(lambda: add_up(running.cpu().values()).total)
                with all_taken(case, port, load.secrets["any"]):
                    _warm_up(load, case, port)
                    turn = self._measure(step, running, port, start)
            except (RuntimeError, OSError, HTTPException) as fault:
                raise RuntimeError(f"{_ended(running)}{fault}\n{running.last_words()}".strip()) from fault
        if case.log:
            _check_log(running, turn)
        return turn

    def _measure(self, step: Step, running: Running, port: int, start: float | None) -> Turn:
        machine, backend, before = machine_cpu(), self._backend_cpu(running), running.cpu()
        result = self.stages[stage_of(step.case)].load.run(step.case, port, self.seconds)
        after, backend_cpu = running.cpu(), self._backend_cpu(running).since(backend).total
        if after.keys() != before.keys():
            raise RuntimeError("its processes changed while it was measured")
        cpu = add_up(after.values()).since(add_up(before.values()))
        shares = [(name_of(pid), after[pid].total - before[pid].total) for pid in after]
        others = max(0.0, machine_cpu() - machine - cpu.total - backend_cpu - result.cpu)
        if result.faults or not result.requests:
            raise RuntimeError(f"{result.requests} requests, with faults: {result.faults}")
        memory = running.memory()
        return Turn(step.round, step.case.name, step.name, cpu, shares, result, backend_cpu, others, memory, start)

    def _backend_cpu(self, running: Running) -> Cpu:
        """The backend's, unless it is itself what is measured."""
        return add_up(() if running is self.backend else self.backend.cpu().values())


def _ended(running: Running) -> str:
    """A word where the gateway is no longer there; who has just died is given a moment to have done so."""
    with suppress(subprocess.TimeoutExpired):
        return f"it ended with {running.process.wait(0.5)}: "
    return ""


def settle(used: Callable[[], float]) -> None:
    """Wait until who has begun is idle: what the rest of a start takes is the cost of no request.

    ``used``: seconds of processor so far. Raises RuntimeError where it stays busy.
    """
    give_up, before = time.monotonic() + SETTLED_WITHIN, used()
    while time.monotonic() < give_up:
        time.sleep(LOOK)
        now = used()
        if now - before < IDLE * LOOK:
            return
        before = now
    raise RuntimeError(f"busy for {SETTLED_WITHIN:g} s after its start, with nothing to do")


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
def all_taken(case: Case, port: int, secret: str, within: float = 5.0) -> Iterator[None]:
    """Where a case is about refusals by a cap of one: that one request, begun ``within`` seconds, is in flight."""
    if case.refused != 429:
        yield
        return
    connection = connect(port, case.tls, within)
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
