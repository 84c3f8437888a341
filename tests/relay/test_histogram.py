from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from keystile.relay.histogram import BOUNDS, OWN_BOUNDS, Histogram, names


def test_a_bucket_holds_its_own_bound_and_what_has_none_comes_last() -> None:
    histogram = Histogram((0.1, 1.0))
    for times in ((1.5, 0.0, 1.0), (0.1, 0.10001)):
        histogram.fresh += times
        histogram.values()
    assert histogram.fresh == []
    assert dict(zip(names("own", (0.1, 1.0)), histogram.values(), strict=True)) == {
        "own:0.1": 2,
        "own:1.0": 2,
        "own:+Inf": 1,
        "own:sum": 2_700_010_000,
    }


@given(st.lists(st.floats(0, 1e6, allow_nan=False)))
def test_every_time_is_in_exactly_one_bucket_and_below_its_bound(times: list[float]) -> None:
    for bounds in (BOUNDS, OWN_BOUNDS):
        histogram = Histogram(bounds)
        for seconds in times:
            histogram.fresh.append(seconds)
        edges = [-inf, *bounds, inf]
        for at, count in enumerate(histogram.values()[:-1]):
            assert count == sum(edges[at] < seconds <= edges[at + 1] for seconds in times)


def test_a_sum_that_rounding_has_made_negative_is_nought() -> None:
    histogram = Histogram(BOUNDS)
    histogram.fresh.append(-1e-8)
    assert histogram.values()[-1] == 0
