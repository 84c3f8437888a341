"""A gateway that needs no program of its own, and a bench that measures nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from bench.cases import Case
from bench.gateways.gateway import Gateway, Scene
from bench.plan import Step
from bench.processes import Running
from bench.turn import Turn

from tests.bench.examples import turn


class Plain:
    """A name and what it leaves out; its program ends at once with a word."""

    def __init__(self, name: str, *leaves_out: str) -> None:
        self.name = name
        self.leaves_out: tuple[str, ...] = leaves_out

    def missing(self) -> str | None:
        return None

    def prepare(self, scene: Scene, directory: Path) -> None: ...

    def command(self, scene: Scene, case: Case, port: int, directory: Path) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('cannot begin')"]

    def version(self) -> str:
        return f"{self.name} 1.0"


def gateways(*names: str) -> list[Gateway]:
    return [Plain(name) for name in names]


class Played:
    """Turns without a machine: whoever is named in ``faults`` fails with that, every time."""

    def __init__(self, faults: dict[str, Exception] | None = None, *, backend_ended: bool = False) -> None:
        self.faults = faults or {}
        self.asked: list[tuple[int, str, str]] = []
        code = 1 if backend_ended else None
        process = SimpleNamespace(poll=lambda: code)
        self.backend = cast(Running, SimpleNamespace(process=process, last_words=lambda: "no room"))

    def turn(self, step: Step) -> Turn:
        self.asked.append((step.round, step.case.name, step.name))
        if step.name in self.faults:
            raise self.faults[step.name]
        return turn(step.name, case=step.case.name, number=step.round)
