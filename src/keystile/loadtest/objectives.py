"""What a run must keep: stated as ``p99=50ms`` or ``failed=0.1%``, and judged by figures.

Law: texts and numbers. How figures are gathered stands elsewhere; an objective for which there is no figure is
missed, since nobody has shown that it was kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

Unit = Literal["seconds", "share", "rate", "exact"]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False, le=1e15)]
"""A figure, also in a document that somebody hands us."""

MOST: Final[Mapping[str, Unit]] = {
    "p50": "seconds",
    "p95": "seconds",
    "p99": "seconds",
    "failed": "share",
    "refused": "share",
}
"""Objectives that name the most that may be, and their units."""
MEANING: Final[Mapping[str, str]] = {
    "p50": "half of the requests took at most",
    "p95": "95 of 100 requests took at most",
    "p99": "99 of 100 requests took at most",
    "failed": "unexpected answers and lost requests",
    "refused": "requests that were refused as the scenario allows",
    "throughput": "requests a second that ended as they should",
    "cap": "never more in flight for one address than the cap, and never fewer let in",
}
HELP: Final = (
    "p50, p95 or p99=50ms, failed=0.1%, refused=20%, throughput=100/s or 95% of the rate, cap=exact; NAME=none"
)
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(us|ms|s)").fullmatch
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)%").fullmatch
_RATE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)/s").fullmatch
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class BadObjective(ValueError):
    """An objective that nobody can read; the text says how to write one."""


@dataclass(frozen=True, slots=True)
class Objective:
    """``name`` and its limit: seconds, a share (1 is all), requests a second, or 1 for ``exact``."""

    name: Annotated[str, Field(max_length=20)]
    limit: Finite
    unit: Unit

    @property
    def is_least(self) -> bool:
        """Whether the limit is the least that must be, not the most that may be."""
        return self.name == "throughput"


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured, by the objectives' names; ``throughput`` in requests a second.

    ``offered``: the requests a second that were to be made, None where users call as fast as answers come.
    ``cap``: whether it was kept exactly, None where nothing shows it.
    """

    most: Mapping[str, float | None]
    throughput: float
    offered: float | None = None
    cap: bool | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One objective, what was measured (in its unit), and whether it was kept."""

    objective: Objective
    measured: Finite | None
    passed: bool


def parse(text: str) -> Objective:
    """Read ``NAME=LIMIT``. Raises BadObjective."""
    name, equals, limit = text.partition("=")
    if name not in MEANING or not equals:
        raise BadObjective(f"{text!r} is no objective; write one of: {HELP}")
    if name == "cap":
        if limit != "exact":
            raise BadObjective(f"{text!r}: cap has no other limit than exact")
        return Objective("cap", 1.0, "exact")
    units: tuple[Unit, ...] = ("rate", "share") if name == "throughput" else (MOST[name],)
    for unit in units:
        if (found := _read(limit, unit)) is not None:
            return Objective(name, found, unit)
    raise BadObjective(f"{text!r}: cannot read {limit!r}; write for example {_example(name)}")


def settle(usual: Iterable[str], given: Iterable[str]) -> tuple[Objective, ...]:
    """The usual objectives with those given in their places; ``NAME=none`` takes one away. Raises BadObjective."""
    chosen = {each.name: each for each in map(parse, usual)}
    for text in given:
        name, _, limit = text.partition("=")
        if limit == "none" and name in MEANING:
            chosen.pop(name, None)
        else:
            chosen[name] = parse(text)
    return tuple(chosen[name] for name in MEANING if name in chosen)


def judge(objective: Objective, figures: Figures) -> Verdict:
    """Whether the figures keep it."""
    measured = _measured(objective, figures)
    if measured is None:
        return Verdict(objective, None, passed=False)
    least = objective.is_least or objective.unit == "exact"
    kept = measured >= objective.limit if least else measured <= objective.limit
    return Verdict(objective, measured, kept)


def written(value: float | None, unit: Unit) -> str:
    """A figure for people: ``12.3 ms``, ``0.1 %``, ``250 / s``, ``exact``."""
    if value is None:
        return "unknown"
    if unit == "seconds":
        return duration(value)
    if unit == "share":
        return f"{value * 100:.3g} %"
    if unit == "rate":
        return f"{value:,.0f} / s" if value >= 100 else f"{value:.3g} / s"
    return "exact" if value else "not exact"


def duration(seconds: float) -> str:
    """``640 µs``, ``12.3 ms`` or ``1.25 s``: three digits."""
    for least, size, name in ((1.0, 1.0, "s"), (1e-3, 1e-3, "ms")):
        if seconds >= least:
            return f"{seconds / size:.3g} {name}" if seconds / size < 999.5 else f"{seconds / size:.0f} {name}"
    return f"{seconds * 1e6:.0f} µs"


def _measured(objective: Objective, figures: Figures) -> float | None:
    if objective.name == "cap":
        return None if figures.cap is None else float(figures.cap)
    if objective.name != "throughput":
        return figures.most.get(objective.name)
    if objective.unit == "rate":
        return figures.throughput
    return figures.throughput / figures.offered if figures.offered else None


def _read(limit: str, unit: Unit) -> float | None:
    if unit == "seconds":
        found = _DURATION(limit)
        return float(found[1]) * _SECONDS[found[2]] if found else None
    found = _SHARE(limit) if unit == "share" else _RATE(limit)
    value = float(found[1]) if found else None
    if value is None or unit == "rate":
        return value
    return value / 100 if value <= 100 else None


def _example(name: str) -> str:
    if name == "throughput":
        return "throughput=100/s or throughput=95%"
    return f"{name}=50ms" if MOST[name] == "seconds" else f"{name}=0.1%"
