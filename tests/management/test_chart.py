from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from keystile.management import chart
from keystile.management.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Series, Step, draw, scale, series

COUNTS = st.one_of(st.just(0), st.integers(1, 3), st.integers(0, 10**15))
STROKE = re.compile(r"([MHVZ])([\d.]*)(?: (\d+))?")
WIDTHS = st.sampled_from([(24, 1), (168, 1), (168, 6), (720, 6), (720, 24)])


@st.composite
def any_series(draw_: st.DrawFn) -> Series:
    hours, width = draw_(WIDTHS)
    start = draw_(st.integers(0, 600_000))
    pairs = st.lists(st.tuples(COUNTS, COUNTS), min_size=hours // width, max_size=hours // width)
    return Series(tuple(Step(start + at * width, *pair) for at, pair in enumerate(draw_(pairs))), width, ())


def points(path: str) -> list[tuple[float, int]]:
    """Every corner of a path."""
    found: list[tuple[float, int]] = []
    x, y = 0.0, 0
    for kind, first, second in STROKE.findall(path):
        if kind == "Z":
            continue
        x = float(first) if kind in "MH" else x
        y = int(second) if kind == "M" else int(first) if kind == "V" else y
        found.append((x, y))
    return found


def height_at(path: str, x: float) -> int:
    """How much of a vertical line at ``x`` lies within the path: by crossing its horizontal strokes."""
    inside = 0
    for outline in path.split("Z"):
        corners = points(outline)
        strokes = zip(corners, corners[1:] + corners[:1], strict=True)
        crossed = sorted(a[1] for a, b in strokes if min(a[0], b[0]) < x < max(a[0], b[0]))
        inside += sum(crossed[1::2]) - sum(crossed[::2])
    return inside


@hypothesis(deadline=None)
@given(any_series())
def test_nothing_is_drawn_outside_the_box(figures: Series) -> None:
    drawn = draw(figures)

    for x, y in points(drawn.answered) + points(drawn.refused):
        assert LEFT <= x <= RIGHT
        assert TOP <= y <= BOTTOM
    for line in drawn.lines:
        assert TOP <= line.y <= BOTTOM
    for mark in drawn.marks:
        assert LEFT <= mark.x <= WIDTH - 40
    assert drawn.bottom + 16 < HEIGHT


@hypothesis(deadline=None)
@given(any_series())
def test_a_bar_is_as_high_as_its_number_says_and_what_is_not_nothing_can_be_seen(figures: Series) -> None:
    drawn, tall = draw(figures), BOTTOM - TOP

    for at, step in enumerate(figures.steps):
        middle = LEFT + (RIGHT - LEFT) * (at + 0.5) / len(figures.steps)
        answered, refused = height_at(drawn.answered, middle), height_at(drawn.refused, middle)
        for height, count in ((answered, step.answered), (refused, step.refused)):
            assert (height > 0) == (count > 0)
            assert abs(height - count * tall / drawn.top) <= 2
        assert answered + refused <= tall


def test_a_key_that_was_never_used_has_an_empty_chart_with_a_scale() -> None:
    figures = series([], chart.window(500_000, 7), 1)
    drawn = draw(figures)

    assert (drawn.answered, drawn.refused, figures.busiest) == ("", "", None)
    assert [line.label for line in drawn.lines] == ["0", "1", "2"]
    assert len(drawn.marks) == 7


def test_one_huge_hour_leaves_the_others_visible() -> None:
    hours = chart.window(500_000, 1)
    drawn = draw(series([("k", hours[3], "", 10**9), ("k", hours[9], "", 1), ("k", hours[9], "two-keys", 1)], hours, 1))

    assert drawn.answered.count("M") == 2
    assert drawn.refused.count("M") == 1
    assert drawn.top == 10**9


def test_what_happened_no_time_is_no_reason() -> None:
    assert series([("k", 5, "two-keys", 0)], range(24), 1).reasons == ()


def test_refusals_stand_upon_what_was_answered() -> None:
    hours = chart.window(500_000, 1)
    drawn = draw(series([("k", hours[0], "", 5), ("k", hours[0], "two-keys", 5)], hours, 1))

    bottom_of_refused = max(y for _, y in points(drawn.refused))
    assert bottom_of_refused == min(y for _, y in points(drawn.answered))


@hypothesis(deadline=None)
@given(st.integers(0, 10**18))
def test_the_scale_begins_at_zero_holds_the_most_and_wastes_less_than_two_thirds(most: int) -> None:
    top = scale(most)

    assert top >= max(2, most)
    assert top % 2 == 0
    assert most <= 2 or most > top / 3


@hypothesis(deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 800), st.sampled_from(["", "two-keys", "scope-missing"]), COUNTS)), WIDTHS)
def test_no_request_of_the_window_is_lost_or_counted_twice(
    given_: list[tuple[int, str, int]], shape: tuple[int, int]
) -> None:
    hours = range(10, 10 + shape[0])
    figures = series([("k", *each) for each in given_], hours, shape[1])

    inside = [(why, n) for hour, why, n in given_ if hour in hours]
    assert figures.answered == sum(n for why, n in inside if not why)
    assert figures.refused == sum(n for why, n in inside if why)
    assert sum(count for _, count in figures.reasons) == figures.refused
    assert [count for _, count in figures.reasons] == sorted((n for _, n in figures.reasons), reverse=True)


def test_steps_that_do_not_fill_the_window_are_an_error() -> None:
    with pytest.raises(ValueError, match="do not fill"):
        series([], range(24), 5)


@hypothesis(deadline=None)
@given(st.integers(24 * 40, 600_000), st.sampled_from([7, 30]))
def test_a_window_is_whole_days_in_utc_and_today_is_the_last(now: int, days: int) -> None:
    hours = chart.window(now, days)

    assert hours.start % 24 == hours.stop % 24 == 0
    assert now in hours
    assert now + 24 not in hours
    assert len(hours) == days * 24


def test_one_day_is_the_last_24_hours_also_shortly_after_midnight() -> None:
    midnight = 24 * 20_000

    assert list(chart.window(midnight, 1)) == list(range(midnight - 23, midnight + 1))


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1000, "1k"), (2500, "2.5k"), (10**6, "1M"), (4 * 10**12, "4T")]
)
def test_numbers_on_the_scale_are_short(number: int, text: str) -> None:
    assert chart.short(number) == text


def test_hours_are_written_in_utc() -> None:
    assert chart.hour_text(0) == "1 Jan 00:00"
    assert chart.hour_text(24 * 31 + 7) == "1 Feb 07:00"
    assert [chart.step_text(width) for width in (1, 6, 24)] == ["hour", "6 hours", "day"]
