"""Which turns there will be, which not and why, and how long those that are left may take.

Law: arithmetic and words; starts nothing and reads no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from bench.cases import Case
from bench.gateways.gateway import Gateway
from bench.turn import STRAIGHT

MOST_CORES = 4
"""Cores that two relays, the load and the backend need without sharing."""
AROUND = 5.0
"""Seconds of a turn beside the measured ones, until one has been seen: start, check, warm-up, stop."""


@dataclass(frozen=True, slots=True)
class Step:
    """A turn to come. ``gateway`` None: the load goes straight to the backend."""

    round: int
    case: Case
    gateway: Gateway | None

    @property
    def name(self) -> str:
        """Whose turn it is."""
        return STRAIGHT if self.gateway is None else self.gateway.name


def steps(rounds: int, cases: Sequence[Case], gateways: Sequence[Gateway]) -> list[Step]:
    """Every gateway under every case that it can do, ``rounds`` times; each round in the opposite order of gateways."""
    return list(_steps(rounds, cases, gateways))


def _steps(rounds: int, cases: Sequence[Case], gateways: Sequence[Gateway]) -> Iterator[Step]:
    for number in range(rounds):
        for case in cases:
            able: list[Gateway | None] = [each for each in gateways if can(each, case)]
            if case.paced:
                able.insert(0, None)
            for gateway in able if number % 2 == 0 else reversed(able):
                yield Step(number + 1, case, gateway)


def can(gateway: Gateway, case: Case) -> bool:
    """Whether ``gateway`` does all that ``case`` is about."""
    return not case.asks or case.asks not in gateway.leaves_out


def lacking(cases: Sequence[Case], gateways: Sequence[Gateway]) -> list[str]:
    """A sentence for each gateway and case that do not go together."""
    return [
        f"{gateway.name} in {case.name}: it leaves out {case.asks}"
        for case in cases
        for gateway in gateways
        if not can(gateway, case)
    ]


def too_wide(cases: Iterable[Case], cores: int) -> list[str]:
    """A sentence for each case that needs more cores than there are."""
    return [
        f"{case.name}: {cores} cores, and it needs {MOST_CORES}" for case in cases if case.relays > 1 and narrow(cores)
    ]


def narrow(cores: int) -> bool:
    """Whether there are too few cores for more relays than one."""
    return cores < MOST_CORES


class Progress:
    """How many turns are done, and about how many seconds the others take: each as long as the last like it."""

    def __init__(self, planned: Sequence[Step], seconds: float) -> None:
        self._left = list(planned)
        self._guess = seconds + AROUND
        self._took: dict[tuple[str, str], float] = {}
        self.planned = len(planned)

    def took(self, step: Step, seconds: float) -> None:
        """``step`` is done, whatever became of it."""
        self._left.remove(step)
        self._took[step.case.name, step.name] = seconds

    def left(self) -> float:
        """Seconds that the turns to come may take."""
        return sum(map(self._expected, self._left))

    def words(self) -> str:
        """Such as "12 of 40, about 7 min left"."""
        seconds = self.left()
        told = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        return f"{self.planned - len(self._left)} of {self.planned}" + (f", about {told} left" if self._left else "")

    def _expected(self, step: Step) -> float:
        """By itself in the round before, or else by the others in this case, or else by a guess."""
        own = self._took.get((step.case.name, step.name))
        if own is not None:
            return own
        alike = [seconds for (case, _), seconds in self._took.items() if case == step.case.name]
        return mean(alike) if alike else self._guess
