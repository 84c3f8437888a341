from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keystile.loadtest import comparison
from keystile.loadtest.comparison import Change, compare
from keystile.loadtest.objectives import Figures, Verdict, judge, parse
from keystile.loadtest.records import Record
from tests.loadtest.examples import record


def verdict(text: str, measured: float | None) -> Verdict:
    objective = parse(text)
    return Verdict(objective, measured, judge(objective, Figures({}, 0.0)).passed if measured is None else True)


def change(text: str, old: float | None, new: float | None) -> Change:
    before, after = (replace(record(), verdicts=(verdict(text, value),)) for value in (old, new))
    (found,) = compare(before, after).changes
    return found


@pytest.mark.parametrize(
    ("text", "old", "new", "worse"),
    [
        ("p99=1s", 0.050, 0.054, False),
        ("p99=1s", 0.050, 0.056, True),
        ("p99=1s", 0.050, 0.020, False),
        ("p99=1s", 0.0005, 0.0014, False),
        ("failed=50%", 0.0, 0.0004, False),
        ("failed=50%", 0.0, 0.001, True),
        ("throughput=1/s", 100, 91, False),
        ("throughput=1/s", 100, 89, True),
        ("throughput=1%", 0.9, 1.0, False),
        ("throughput=1%", 1.0, 0.8, True),
        ("cap=exact", 1.0, 0.0, True),
        ("cap=exact", 0.0, 1.0, False),
        ("p99=1s", None, 0.5, False),
        ("p99=1s", 0.5, None, True),
    ],
)
def test_worse_is_what_moved_in_the_wrong_direction_by_more_than_chance(
    text: str, old: float | None, new: float | None, worse: bool
) -> None:
    assert change(text, old, new).is_worse is worse


def test_an_objective_that_was_kept_and_is_missed_is_worse_however_little_it_moved() -> None:
    found = compare(record(p99=0.0499), record(p99=0.0501))
    assert [each.objective.name for each in found.changes if each.is_worse] == ["p99"]
    assert found.is_worse
    assert comparison.verdict(found) == "worse: p99"


def test_a_run_compared_with_itself_is_no_worse() -> None:
    found = compare(record(), record())
    assert not found.is_worse
    assert comparison.verdict(found) == "nothing got worse"
    assert {each.ratio for each in found.changes if each.ratio is not None} == {1.0}
    assert found.notes == ()


def test_a_new_objective_and_another_unit_have_nothing_to_be_compared_with() -> None:
    without = replace(record(), verdicts=())
    assert {each.before for each in compare(without, record()).changes} == {None}
    before = replace(record(), verdicts=(verdict("throughput=1/s", 900.0),))
    after = replace(record(), verdicts=(verdict("throughput=1%", 0.9),))
    (found,) = compare(before, after).changes
    assert (found.before, found.is_worse) == (None, False)


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        ({"scenario": "ramp"}, "two scenarios"),
        ({"users": 11}, "Callers, rate or length"),
        ({"rate": None}, "Callers, rate or length"),
        ({"machine": "64 cores"}, "different machines"),
    ],
)
def test_what_makes_two_runs_hard_to_compare_is_said(changed: dict[str, object], note: str) -> None:
    after: Record = replace(record(), **changed)  # type: ignore[arg-type]  # fields of a record
    assert note in compare(record(), after).notes[0]


def test_a_row_and_what_programs_get_say_the_same() -> None:
    found = compare(record(), record(p99=0.06))
    assert comparison.row(found.changes[0]) == ("WORSE", "p99", "10 ms", "60 ms", "6.00 ×")
    told = comparison.for_programs(found, str(Path("a.html")))
    assert (told["worse"], told["report"]) == (True, "a.html")


def test_figures_without_an_objective_are_compared_too() -> None:
    found = {each.name: each for each in compare(record(), record(windows=())).figures}
    assert found["p50"].after == "unknown"
    assert found["requests a second"].ratio == "0.00 ×"
