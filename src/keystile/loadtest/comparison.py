"""Two runs compared: what was kept before and after, by how much figures moved, and what got worse.

Law: pure. A figure is worse where its objective is missed now and was kept before, or where it moved in the wrong
direction by more than a tenth: less is what the same run differs by from one time to the next. The objectives are the
second run's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keystile.loadtest import histogram, wording
from keystile.loadtest.objectives import Objective, Unit, Verdict, written
from keystile.loadtest.records import Record, summed

TOLERANCE: Final = 0.1
_LEAST: Final[dict[Unit, float]] = {"seconds": 0.001, "share": 0.0005, "rate": 0.5, "exact": 0.0}
"""Differences below these (1 ms, 0.05 %, one request in two seconds) are none, whatever their ratio."""


@dataclass(frozen=True, slots=True)
class Change:
    """One objective in both runs; ``before`` is None where that run did not have it."""

    objective: Objective
    before: Verdict | None
    after: Verdict
    ratio: float | None
    is_worse: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both runs that nobody stated an objective for, as people read it."""

    name: str
    before: str
    after: str
    ratio: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both runs and what changed between them."""

    before: Record
    after: Record
    changes: tuple[Change, ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]

    @property
    def is_worse(self) -> bool:
        """Whether anything got worse."""
        return any(change.is_worse for change in self.changes)


def compare(before: Record, after: Record) -> Comparison:
    """Compare two runs."""
    known = {verdict.objective.name: verdict for verdict in before.verdicts}
    changes = tuple(_change(known.get(verdict.objective.name), verdict) for verdict in after.verdicts)
    return Comparison(before, after, changes, _figures(before, after), _notes(before, after))


def row(change: Change) -> tuple[str, ...]:
    """One objective as a row: verdict, name, before, after, ratio."""
    before = "–" if change.before is None else wording.measured(change.before)
    return (word(change), change.objective.name, before, wording.measured(change.after), ratio_text(change.ratio))


def word(change: Change) -> str:
    """What became of it in one word."""
    if change.is_worse:
        return "WORSE"
    return "kept" if change.after.passed else "missed"


def verdict(found: Comparison) -> str:
    """The whole in one line."""
    worse = [change.objective.name for change in found.changes if change.is_worse]
    return f"worse: {', '.join(worse)}" if worse else "nothing got worse"


def ratio_text(ratio: float | None) -> str:
    """``1.25 ×``; a dash where there is none."""
    return "–" if ratio is None else f"{ratio:.2f} ×"


def for_programs(found: Comparison, page: str) -> dict[str, object]:
    """What ``--json`` prints."""
    return {
        "worse": found.is_worse,
        "report": page,
        "changes": [
            {
                "objective": each.objective.name,
                "before": None if each.before is None else each.before.measured,
                "after": each.after.measured,
                "ratio": each.ratio,
                "worse": each.is_worse,
            }
            for each in found.changes
        ],
    }


def _change(before: Verdict | None, after: Verdict) -> Change:
    # In another unit (requests a second, a share of those asked for) the two are not the same figure.
    if before is not None and before.objective.unit != after.objective.unit:
        before = None
    old, new = (None if each is None else each.measured for each in (before, after))
    lost = before is not None and before.passed and not after.passed
    return Change(after.objective, before, after, _ratio(old, new), lost or _moved(after.objective, old, new))


def _moved(objective: Objective, old: float | None, new: float | None) -> bool:
    """Whether a figure moved in the wrong direction by more than chance moves it."""
    if old is None or new is None:
        return False
    by = old - new if objective.is_least or objective.unit == "exact" else new - old
    return by > max(old * TOLERANCE, _LEAST[objective.unit])


def _ratio(old: float | None, new: float | None) -> float | None:
    return new / old if old and new is not None else None


def _figures(before: Record, after: Record) -> tuple[Figure, ...]:
    """Requests, what failed, and times, whatever the objectives were."""
    pairs: list[tuple[str, float | None, float | None, Unit]] = []
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        old, new = (
            histogram.percentile(histogram.total(w.latency for w in one.windows), share) for one in (before, after)
        )
        pairs.append((name, old, new, "seconds"))
    for name, count in (("requests", _ended), ("refused, rightly", _refused), ("failed", _wrong)):
        old, new = (count(one) / one.seconds if one.seconds else None for one in (before, after))
        pairs.append((f"{name} a second", old, new, "rate"))
    return tuple(
        Figure(name, written(old, unit), written(new, unit), ratio_text(_ratio(old, new)))
        for name, old, new, unit in pairs
    )


def _ended(one: Record) -> int:
    return sum(window.ended for window in one.windows)


def _refused(one: Record) -> int:
    return sum(count for _, count in summed(one.windows, "refused"))


def _wrong(one: Record) -> int:
    return sum(count for _, count in summed(one.windows, "wrong"))


def _notes(before: Record, after: Record) -> tuple[str, ...]:
    """What makes the two hard to compare."""
    notes = []
    if before.scenario != after.scenario:
        notes.append(f"These are two scenarios: {before.scenario} and {after.scenario}.")
    if (before.users, before.rate, before.seconds) != (after.users, after.rate, after.seconds):
        notes.append("Callers, rate or length of the runs differ.")
    if before.machine != after.machine:
        notes.append(f"The load came from different machines: {before.machine}; {after.machine}.")
    return tuple(notes)
