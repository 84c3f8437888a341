"""All turns one after the other: what each came to is told and written down at once, and none ends the run.

Law: knows what a turn may fail of and what follows from it; how a turn is measured stands in ``run.py``.
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import Protocol

from bench.plan import Progress, Step
from bench.processes import Running
from bench.record import Record
from bench.turn import Failure, Turn

# What a gateway that cannot start, dies, hangs or answers nonsense comes to, and tools that fail on it.
FAULTS = (RuntimeError, OSError, HTTPException, subprocess.SubprocessError, ValueError, LookupError)
GIVE_UP_AFTER = 2
"""Failures of one gateway in one case, after which it is not tried there again: each may take minutes."""


class Turns(Protocol):
    """Whoever can play a turn: ``run.Bench``."""

    @property
    def backend(self) -> Running:
        """What all gateways stand before."""

    def turn(self, step: Step) -> Turn:
        """Play ``step``."""


def play(bench: Turns, steps: Sequence[Step], record: Record, seconds: float, keep: Callable[[], None]) -> None:
    """Play ``steps`` into ``record``, with ``keep`` after each; RuntimeError when the backend is gone."""
    progress = Progress(steps, seconds)
    failed: Counter[tuple[str, str]] = Counter()
    for step in steps:
        cell = step.case.name, step.name
        began = time.monotonic()
        if failed[cell] >= GIVE_UP_AFTER:
            told = _fail(record, step, f"not tried again after {GIVE_UP_AFTER} failures")
        else:
            try:
                turn = bench.turn(step)
            except FAULTS as fault:
                if bench.backend.process.poll() is not None:
                    raise RuntimeError(f"the backend has ended: {bench.backend.last_words()}") from fault
                failed[cell] += 1
                told = _fail(record, step, str(fault) or repr(fault))
            else:
                record.turns.append(turn)
                told = line(turn)
        progress.took(step, time.monotonic() - began)
        keep()
        print(f"{told}  [{progress.words()}]", flush=True)


def _fail(record: Record, step: Step, reason: str) -> str:
    record.failures.append(Failure(step.round, step.case.name, step.name, reason))
    return f"round {step.round}  {step.case.name:12} {step.name:9} FAILED: {reason}"


def line(turn: Turn) -> str:
    """A turn in one line."""
    load, seconds = turn.load, turn.load.seconds
    parts = [f"{name} {used / load.requests * 1e6:.2f}" for name, used in turn.shares]
    return (
        f"round {turn.round}  {turn.case:12} {turn.gateway:9} {turn.per_request:7.2f} µs/request "
        f"{turn.rate:8,.0f}/s  core {turn.cpu.total / seconds:4.0%}  load {load.cpu / seconds:4.0%}  "
        f"backend {turn.backend_cpu / seconds:4.0%}  others {turn.others / seconds:4.0%}"
        + ("" if turn.start is None else f"  start {turn.start:.2f} s")
        + (f"  p50 {load.p50:.0f} p99 {load.p99:.0f} late {load.pace.late_p99:.0f} µs" if load.pace else "")
        + (f"  ({', '.join(parts)})" if len(parts) > 1 else "")
    )
