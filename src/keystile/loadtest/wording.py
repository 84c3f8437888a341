"""How limits and figures are written for people, on the terminal and in the reports.

Law: words only.
"""

from __future__ import annotations

from keystile.loadtest.objectives import Objective, Unit, Verdict, written


def limit(objective: Objective) -> str:
    """``≤ 50 ms``, ``≥ 95 % of the rate``, ``exact``."""
    if objective.unit == "exact":
        return "exact"
    if not objective.is_least:
        return f"≤ {written(objective.limit, objective.unit)}"
    return f"≥ {written(objective.limit, objective.unit)}{_of(objective.name, objective.unit)}"


def measured(verdict: Verdict) -> str:
    """What was measured, in the same unit."""
    objective = verdict.objective
    if verdict.measured is None:
        return "unknown"
    return f"{written(verdict.measured, objective.unit)}{_of(objective.name, objective.unit)}"


def _of(name: str, unit: Unit) -> str:
    return " of the rate" if name == "throughput" and unit == "share" else ""
