"""Hypothesis changes a table row by row and asks it in between: paths are admitted by the rules or refused by them.

The whole assertion is in ``ask``: what is admitted is, by the readings of all servers at once, what was checked; and
a table answers as one that was made anew and has never been asked.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from keystile.config.model import Operation
from keystile.routing.conflicts import RouteConflict
from keystile.routing.route import NoRoute, Route
from keystile.routing.table import Habits, RouteTable
from tests.routing.rules import slowly
from tests.routing.test_path_readings import (
    ATTEMPT,
    DROP_EXTENSIONS,
    IGNORES_CASE,
    ROWS,
    SERVERS,
    Reading,
    windows_names,
)
from tests.routing.test_tree import OPERATION

NAMES = frozenset({"api", "other"})
BY_ENDING = (*DROP_EXTENSIONS, windows_names)
#: Where a row ends in the slash its author has told the two apart: servers that do not are left to other tests.
SLASHLESS = OPERATION.filter(lambda operation: operation.path[-1] != "/")
PATH = ATTEMPT | st.sampled_from([path for _, path in ROWS])


class Paths(RuleBasedStateMachine):
    """Rows that come and go, in any order, and upstreams that say how they read."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Operation] = []
        self.habits = Habits()
        self._made()

    def _made(self) -> None:
        self.table = RouteTable(self.rows, self.habits)

    @rule(added=SLASHLESS, at=st.integers(0, 10))
    def a_row_comes(self, added: Operation, at: int) -> None:
        before = list(self.rows)
        self.rows.insert(at % (len(self.rows) + 1), replace(added, override=True))
        try:
            self._made()
        except RouteConflict:
            self.rows = before

    @rule(at=st.integers(0, 10))
    def a_row_goes(self, at: int) -> None:
        if self.rows:
            del self.rows[at % len(self.rows)]
            self._made()

    @rule(case=st.booleans(), endings=st.booleans())
    def the_upstreams_say_how_they_read(self, case: bool, endings: bool) -> None:
        nobody: frozenset[str] = frozenset()
        before = self.habits
        self.habits = Habits(NAMES if case else nobody, NAMES if endings else nobody)
        try:
            self._made()
        except RouteConflict:
            self.habits = before

    @rule(method=st.sampled_from(["GET", "POST", "DELETE"]), path=PATH)
    def ask(self, method: str, path: str) -> None:
        answer = self.table.find(method.encode(), path.encode())
        fresh = RouteTable(self.rows, self.habits).find(method.encode(), path.encode())
        if isinstance(answer, NoRoute):
            assert answer == fresh
            return
        assert isinstance(fresh, Route)
        assert (answer.id, answer.needs) == (fresh.id, fresh.needs)
        self._harmless(answer, method, path)

    def _harmless(self, checked: Route, method: str, path: str) -> None:
        for read in self._readings():
            segments = read(path)
            reached = slowly(self.rows, method, segments, read in IGNORES_CASE) if segments is not None else "not_found"
            assert reached != "wrong_method"
            if isinstance(reached, Operation):
                same = (reached.needs, reached.upstream) == (checked.needs, checked.upstream)
                assert same, f"checked {checked.path}; {read} reaches {reached.path}"

    def _readings(self) -> list[Reading]:
        by_case = self.habits.case_insensitive
        found = [read for read in SERVERS.values() if by_case or read not in IGNORES_CASE]
        return [*found, *BY_ENDING] if self.habits.ignore_extensions else found


TestPaths = Paths.TestCase
TestPaths.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
