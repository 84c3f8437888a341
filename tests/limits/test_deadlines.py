"""Time-outs: never early, and late by two looks at the most."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keystile.limits.deadlines import NEVER, CoarseClock


class Watched:
    def __init__(self, due: float = NEVER) -> None:
        self.due = due


def test_an_object_that_waits_for_nothing_is_never_due() -> None:
    assert CoarseClock(1).overdue([Watched()], 1e12) == []


def test_those_that_are_due_are_found_and_others_are_not() -> None:
    clock = CoarseClock(10)
    early, late = Watched(5.0), Watched(6.0)
    assert clock.overdue([early, late], 5.5) == [early]
    assert clock.now == 5.5


@given(
    timeout=st.floats(0.1, 600), begin=st.floats(0, 100), shortest=st.floats(0.05, 10), offset=st.floats(0, 1)
)
def test_a_time_out_is_never_early_and_at_most_two_looks_late(
    timeout: float, begin: float, shortest: float, offset: float
) -> None:
    clock = CoarseClock(shortest)
    look = begin - offset * clock.pause  # the last look before the beginning
    clock.overdue([], look)
    watched = Watched(clock.now + clock.after(timeout))
    while not clock.overdue([watched], look):
        look += clock.pause
    assert timeout - 1e-6 <= look - begin <= timeout + 2 * clock.pause + 1e-6
