"""What will happen when, from a seed: the same seed, the same schedule.

Law: dice and rows (``story.py``). What processes and the kernel make of it is not the same twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.story import EVENTS

PAUSE = 0.8
"""Seconds from one event to the next, in the middle; those of different fields may overlap."""
LEAD = 1.0
"""Seconds of traffic before the first."""


@dataclass(frozen=True, slots=True)
class Planned:
    """``at``: seconds from the beginning; ``lasts``: seconds; ``seed``: of all other choices that it has to make."""

    at: float
    what: str
    lasts: float
    seed: int

    def __str__(self) -> str:
        lasts = f", for {self.lasts:.2f} s" if self.lasts else ""
        return f"{self.at:7.2f} s  {self.what}{lasts}"


def schedule(seed: int, seconds: float, only: str = "") -> list[Planned]:
    """The events of so many seconds. Each kind comes once before dice decide alone, where there is time for that.

    ``only``: those whose name holds one of these words, which commas separate.
    """
    return list(_drawn(random.Random(seed), seconds, only.split(",")))


def _drawn(dice: random.Random, seconds: float, only: list[str]) -> Iterator[Planned]:
    rows = [row for row in EVENTS.values() if any(word in row.name for word in only)]
    weights = [row.weight for row in rows]
    first = dice.sample(rows, len(rows))
    at = LEAD
    while at < seconds:
        row = first.pop() if first else dice.choices(rows, weights)[0]
        lasts = dice.uniform(*row.lasts) if row.lasts[1] else 0.0
        yield Planned(at, row.name, lasts, dice.getrandbits(32))
        at += dice.uniform(0.5, 1.5) * PAUSE
