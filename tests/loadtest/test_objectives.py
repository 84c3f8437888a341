from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.loadtest.objectives import (
    MEANING,
    BadObjective,
    Figures,
    Objective,
    duration,
    judge,
    parse,
    settle,
    written,
)

FIGURES = Figures({"p50": 0.01, "p99": 0.05, "failed": 0.001, "refused": 0.2}, 95.0, 100.0, True)


@pytest.mark.parametrize(
    ("text", "objective"),
    [
        ("p99=50ms", Objective("p99", 0.05, "seconds")),
        ("p50=750us", Objective("p50", 0.00075, "seconds")),
        ("p95=1.5s", Objective("p95", 1.5, "seconds")),
        ("failed=0.1%", Objective("failed", 0.001, "share")),
        ("refused=100%", Objective("refused", 1, "share")),
        ("throughput=250/s", Objective("throughput", 250, "rate")),
        ("throughput=95%", Objective("throughput", 0.95, "share")),
        ("cap=exact", Objective("cap", 1, "exact")),
    ],
)
def test_objectives_are_read_as_they_are_written(text: str, objective: Objective) -> None:
    found = parse(text)
    assert (found.name, found.unit) == (objective.name, objective.unit)
    assert found.limit == pytest.approx(objective.limit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "p99",
        "p99=",
        "p99=50",
        "p99=-1ms",
        "p99=0.1%",
        "p98=50ms",
        "failed=5",
        "failed=101%",
        "throughput=5ms",
        "cap=20",
        "cap=none",
        "p99=1e3ms",
        "p99=½s",
        "failed=NaN%",
        "throughput=inf/s",
        "P99=50ms",
        "p99 = 50ms",
    ],
)
def test_what_cannot_be_read_is_told_and_not_guessed(text: str) -> None:
    with pytest.raises(BadObjective):
        parse(text)


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_text_makes_anything_but_an_objective_or_a_complaint(name: str, limit: str) -> None:
    try:
        found = parse(f"{name}={limit}")
    except BadObjective:
        return
    assert found.name in MEANING
    assert found.limit >= 0


def test_what_is_given_takes_the_place_of_the_usual_and_none_takes_it_away() -> None:
    found = settle(["p50=20ms", "p99=50ms", "failed=0%"], ["p99=1s", "p50=none", "cap=exact"])
    assert [(each.name, each.limit) for each in found] == [("p99", 1.0), ("failed", 0.0), ("cap", 1.0)]


def test_an_unknown_name_cannot_be_taken_away() -> None:
    with pytest.raises(BadObjective):
        settle([], ["p98=none"])


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("p99=50ms", True),
        ("p99=49ms", False),
        ("failed=0.1%", True),
        ("failed=0%", False),
        ("refused=20%", True),
        ("refused=19%", False),
        ("throughput=95/s", True),
        ("throughput=96/s", False),
        ("throughput=95%", True),
        ("throughput=96%", False),
        ("cap=exact", True),
    ],
)
def test_a_limit_is_kept_up_to_itself(text: str, kept: bool) -> None:
    assert judge(parse(text), FIGURES).passed is kept


@pytest.mark.parametrize("text", ["p95=1s", "throughput=1%", "cap=exact"])
def test_what_nobody_measured_is_missed(text: str) -> None:
    found = judge(parse(text), Figures({}, 95.0))
    assert (found.measured, found.passed) == (None, False)


def test_a_cap_that_was_not_kept_is_missed() -> None:
    found = judge(parse("cap=exact"), Figures({}, 0, cap=False))
    assert (found.measured, found.passed) == (0.0, False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 µs"), (0.00064, "640 µs"), (0.0123, "12.3 ms"), (0.9999, "1000 ms"), (1.25, "1.25 s"), (3600, "3600 s")],
)
def test_durations_have_three_digits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_figures_are_written_in_their_units() -> None:
    assert [written(0.001, "share"), written(2500, "rate"), written(0, "exact"), written(None, "rate")] == [
        "0.1 %",
        "2,500 / s",
        "not exact",
        "unknown",
    ]
