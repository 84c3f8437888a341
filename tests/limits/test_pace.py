"""Floors under rates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keystile.limits.pace import Floor, Pace

FLOOR = Floor(rate=100.0, window=10.0)


def test_within_the_first_window_nobody_is_too_slow() -> None:
    pace = Pace(0, 0.0)
    assert not any(pace.is_below(FLOOR, 0, now) for now in (1.0, 5.0, 9.9))


def test_who_moved_too_little_in_a_window_is_too_slow() -> None:
    assert Pace(0, 0.0).is_below(FLOOR, 999, 10.0)
    assert not Pace(0, 0.0).is_below(FLOOR, 1000, 10.0)
    assert Pace(-5000, 0.0).is_below(FLOOR, -4001, 10.0)
    assert not Pace(-5000, 0.0).is_below(FLOOR, -4000, 10.0)


def test_a_window_that_is_looked_at_late_is_as_long_as_it_was() -> None:
    assert Pace(0, 0.0).is_below(FLOOR, 1999, 20.0)
    assert not Pace(0, 0.0).is_below(FLOOR, 2000, 20.0)


def test_a_burst_does_not_pay_for_the_next_window() -> None:
    pace = Pace(0, 0.0)
    assert not pace.is_below(FLOOR, 1_000_000, 10.0)
    assert not pace.is_below(FLOOR, 1_000_000, 19.0)
    assert pace.is_below(FLOOR, 1_000_000, 20.0)


def test_when_more_is_owed_than_before_it_starts_afresh() -> None:
    pace = Pace(-10, 0.0)
    assert not pace.is_below(FLOOR, -5000, 9.0)
    assert not pace.is_below(FLOOR, -5000, 18.0)
    assert pace.is_below(FLOOR, -5000, 19.0)


@given(st.lists(st.floats(0.1, 3.0), min_size=1, max_size=40), st.floats(1.0, 1e6))
def test_who_keeps_the_pace_is_never_cut_and_who_moves_nothing_always_is(pauses: list[float], rate: float) -> None:
    floor = Floor(rate, 5.0)
    steady, still, now, moved, cut = Pace(0, 0.0), Pace(0, 0.0), 0.0, 0.0, False
    for pause in pauses:
        now += pause
        moved += pause * rate * 1.01 + 1
        assert not steady.is_below(floor, int(moved), now)
        cut = cut or still.is_below(floor, 0, now)
    assert cut or now < 5.0
