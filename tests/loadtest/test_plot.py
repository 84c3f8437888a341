from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from keystile.loadtest.plot import Series, draw
from keystile.management.chart import BOTTOM, LEFT, RIGHT, TOP

VALUES = st.lists(st.one_of(st.none(), st.just(0.0), st.floats(0, 1e12)), max_size=70)
POINT = re.compile(r"[ML]([\d.]+) ([\d.]+)")


def points(d: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in POINT.findall(d)]


@given(st.lists(VALUES, max_size=4), st.floats(0.25, 10), st.floats(0, 600), st.one_of(st.none(), st.floats(0, 1e12)))
def test_nothing_is_drawn_outside_the_box(
    many: list[list[float | None]], width: float, seconds: float, limit: float | None
) -> None:
    series = [Series(f"s{at}", at + 1, values, width) for at, values in enumerate(many)]
    plot = draw(series, seconds, None if limit is None else (limit, "limit"), always=True)

    for path in plot.paths:
        assert not re.search("nan|inf|e", path.d)
        for x, y in points(path.d):
            assert LEFT <= x <= RIGHT
            assert TOP <= y <= BOTTOM
    for line in (*plot.lines, *([plot.limit] if plot.limit else [])):
        assert TOP <= line.y <= BOTTOM
    for mark in plot.marks:
        assert LEFT <= mark.x <= RIGHT


@given(VALUES)
def test_every_stretch_of_values_is_one_stroke(values: list[float | None]) -> None:
    plot = draw([Series("s", 1, values, 1.0)], 1.0)
    stretches = [run for run in "".join("x" if value is not None else " " for value in values).split(" ") if run]
    assert plot.paths[0].d.count("M") == len(stretches)


def test_the_scale_begins_at_zero_and_a_larger_value_stands_higher() -> None:
    (path,) = draw([Series("s", 1, [0.0, 5.0, 10.0], 1.0)], 3.0).paths
    heights = [y for _, y in points(path.d)]
    assert heights == [BOTTOM, (BOTTOM + TOP) / 2, TOP]


def test_a_value_that_stands_alone_can_be_seen() -> None:
    (path,) = draw([Series("s", 1, [None, 5.0, None], 1.0)], 3.0).paths
    (first, last) = points(path.d)
    assert first[0] < last[0]


def test_a_limit_far_above_is_left_out_unless_it_is_always_wanted() -> None:
    series = [Series("s", 1, [1.0, 2.0], 1.0)]
    assert draw(series, 2.0, (8.0, "l")).limit is not None
    assert draw(series, 2.0, (9.0, "l")).limit is None
    assert draw(series, 2.0, (900.0, "l"), always=True).limit is not None


def test_moments_are_few_and_begin_at_zero() -> None:
    for seconds in (1, 7, 15, 20, 60, 600):
        marks = draw([], seconds).marks
        assert marks[0].label == "0 s"
        assert 2 <= len(marks) <= 7


def test_runs_of_different_lengths_share_one_time() -> None:
    short, long = draw([Series("a", 1, [1.0, 1.0], 1.0), Series("b", 2, [1.0, 1.0], 2.0)], 2.0).paths
    assert max(x for x, _ in points(short.d)) < max(x for x, _ in points(long.d))
