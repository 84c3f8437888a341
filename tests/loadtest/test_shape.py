from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.loadtest.shape import RAMP, SPIKE, STEADY, Points, users_at

SHAPES = st.sampled_from([STEADY, RAMP, SPIKE])


@given(SHAPES, st.floats(-1, 2, allow_nan=False), st.integers(1, 1000))
def test_there_is_always_somebody_and_never_more_than_were_asked_for(shape: Points, share: float, most: int) -> None:
    assert 1 <= users_at(shape, share, most) <= most


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 1000))
def test_a_ramp_only_rises(one: float, other: float, most: int) -> None:
    earlier, later = sorted((one, other))
    assert users_at(RAMP, earlier, most) <= users_at(RAMP, later, most)


@pytest.mark.parametrize(
    ("share", "users"), [(0, 6), (0.34, 6), (0.35, 60), (0.5, 60), (0.59, 60), (0.6, 6), (0.99, 6), (1, 6)]
)
def test_a_spike_comes_and_goes_at_once(share: float, users: int) -> None:
    assert users_at(SPIKE, share, 60) == users


@given(st.floats(0, 1), st.integers(1, 1000))
def test_a_steady_run_has_everybody_all_the_time(share: float, most: int) -> None:
    assert users_at(STEADY, share, most) == most


def test_a_ramp_is_half_way_up_in_the_middle_of_its_rise() -> None:
    assert users_at(RAMP, 0.45, 100) == round(100 * (0.05 + 0.95 / 2))
