"""Which outcome of a request is explained by what: rows of data, asked from the first to the last.

Law: data. An outcome that no row explains is part of the remainder, and the remainder is a fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tests.chaos.facts import LEFT_OUT_AFTER, Facts
from tests.chaos.kinds import CUT, NO_CONNECTION
from tests.chaos.ledger import Entry

CAP = 20
TOO_MANY = "too-many-at-once"


class Column(Enum):
    """Where a request stands in the account."""

    ANSWERED = "answered by rule"
    INSIDE = "failed inside a killed process"
    REFUSED = "refused or failed by rule"


@dataclass(frozen=True, slots=True)
class Rule:
    """``outcomes``: those that it explains, empty: those that are right for the kind. ``problems``: the types of
    refusals, empty: whatever it says. ``when``: whether it explains this one."""

    name: str
    column: Column
    outcomes: tuple[str, ...]
    when: Callable[[Entry, Facts], bool]
    problems: tuple[str, ...] = ()

    def explains(self, entry: Entry, facts: Facts) -> bool:
        """Whether it is the reason of the entry's outcome."""
        if entry.outcome not in (self.outcomes or entry.kind.right):
            return False
        if self.problems and entry.problem not in self.problems:
            return False
        return self.when(entry, facts)


def _always(_: Entry, __: Facts) -> bool:
    return True


def _inside(entry: Entry, facts: Facts) -> bool:
    return facts.was_inside(entry)


def _spoilt(entry: Entry, facts: Facts) -> bool:
    return facts.was_spoilt(entry)


def _left_out(entry: Entry, facts: Facts) -> bool:
    return facts.was_spoilt(entry, LEFT_OUT_AFTER)


def _full(entry: Entry, facts: Facts) -> bool:
    return entry.kind.capped and facts.most_held(entry) >= CAP


def _unheard(entry: Entry, facts: Facts) -> bool:
    return "key" in entry.kind.name and bool(entry.note) and facts.bell_was_away(entry)


def _held_up(entry: Entry, facts: Facts) -> bool:
    return facts.met_a_held_mutex(entry)


_REFUSED = Column.REFUSED
RULES = (
    Rule("as it must be", Column.ANSWERED, (), _always),
    Rule("cut with the relay that it was in", Column.INSIDE, (CUT, NO_CONNECTION), _inside),
    Rule("cut, since its upstream failed", _REFUSED, (CUT,), _spoilt),
    Rule("500 of the failing upstream itself", _REFUSED, ("500",), _spoilt),
    Rule("502, since its upstream failed", _REFUSED, ("502",), _spoilt, ("upstream-unreachable", "upstream-broken")),
    Rule("503, since its servers failed and were left out", _REFUSED, ("503",), _left_out, ("no-server",)),
    Rule("504, since its upstream failed", _REFUSED, ("504",), _spoilt, ("connect-timeout", "out-of-time")),
    Rule("429, with 20 of its address in flight", _REFUSED, ("429",), _full, (TOO_MANY,)),
    # Others wait 100 ms for whoever is stopped inside the mutex; then nobody can say whether there is a slot.
    Rule("503, while a stopped relay had the slots' mutex", _REFUSED, ("503",), _held_up, ("overloaded",)),
    Rule("changed under a doorbell that was removed", _REFUSED, ("200", "401", "403"), _unheard),
)
