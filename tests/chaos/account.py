"""The account on paper: tables for people, one JSON object for programs.

Law: text of what was judged; judges nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.judge import Account, timeline
from tests.chaos.rules import RULES, TOO_MANY, Column
from tests.chaos.story import EVENTS, Story

MOST_TOLD = 30
"""Remainders that are told with their time line."""


@dataclass(slots=True)
class Result:
    """All of one run. ``facts``: figures by name, in order; ``phases``: names in order."""

    seed: int
    account: Account
    story: Story
    facts: dict[str, Any] = field(default_factory=dict)
    phases: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The exit code: 0 only where nothing remains."""
        return 1 if self.account.remainder or not self.account.is_whole else 0


def kinds(account: Account) -> list[dict[str, object]]:
    """A row for each kind of request."""
    found: dict[str, Counter[Column]] = {}
    for (kind, rule), number in account.by_rule.items():
        found.setdefault(kind, Counter())[rule.column] += number
    return [
        {"kind": kind, "explained": columns.total(), **{column.value: columns[column] for column in Column}}
        for kind, columns in sorted(found.items())
    ]


def rules(account: Account) -> list[dict[str, object]]:
    """A row for each rule that explained something."""
    sums = {rule: sum(n for (_, its), n in account.by_rule.items() if its is rule) for rule in RULES}
    return [{"rule": rule.name, "column": rule.column.value, "requests": n} for rule, n in sums.items() if n]


def events(story: Story) -> list[dict[str, object]]:
    """A row for each kind of event."""
    done = Counter(event.what for event in story.done())
    skipped = Counter(event.what for event in story.events if event.skipped)
    rows = ({"event": name, "done": done[name], "skipped": skipped[name]} for name in EVENTS)
    return [row for row in rows if row["done"] or row["skipped"]]


def whole(account: Account) -> dict[str, object]:
    """The account itself."""
    return {
        "sent": account.sent,
        **{column.value: account.column(column) for column in Column},
        "requests that no rule explains": account.unexplained,
        "sum is right": account.is_whole,
        "most in flight of one address, as the servers saw it": account.highest,
        "remainder": len(account.remainder),
    }


def failed(account: Account, phase: str) -> int:
    """Requests of a phase that were not answered by rule, but for those that found the cap full."""
    return sum(
        number
        for (its, rule), number in account.by_phase.items()
        if its == phase and rule.column is not Column.ANSWERED and TOO_MANY not in rule.problems
    ) + sum(f", {phase})" in fault.text for fault in account.remainder)


def told(result: Result) -> list[str]:
    """The remainder, one by one, with what went on around it."""
    lines = []
    for fault in result.account.remainder[:MOST_TOLD]:
        lines.append(f"REMAINDER: {fault.text}")
        lines += [f"    {line}" for line in timeline(fault, result.story)]
    left = len(result.account.remainder) - MOST_TOLD
    return [*lines, *([f"… and {left} more"] if left > 0 else [])]


def as_json(result: Result) -> dict[str, object]:
    """Everything, for programs."""
    return {
        "seed": result.seed,
        "account": whole(result.account),
        "facts": result.facts,
        "kinds": kinds(result.account),
        "rules": rules(result.account),
        "events": events(result.story),
        "remainder": [
            {"text": fault.text, "around": timeline(fault, result.story)} for fault in result.account.remainder
        ],
    }
