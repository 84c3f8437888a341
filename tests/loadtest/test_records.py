from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keystile.loadtest import records
from keystile.loadtest.records import BadRecord, Window, summed
from tests.loadtest.examples import record


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(records.write(record()))
    assert records.load(file) == record()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("format", 2),
        ("seconds", -1),
        ("seconds", "NaN"),
        ("width", 0),
        ("cap", 10**30),
        ("windows", [{"at": 0, "latency": {"99999": 1}}]),
        ("windows", [{"at": 0, "answered": -1}]),
        ("notes", ["x" * 3000]),
        ("keys", [{"name": "all", "hint": "A" * 96}]),
        ("verdicts", [{"objective": {"name": "p99", "limit": 1, "unit": "pints"}, "measured": 1, "passed": True}]),
    ],
)
def test_a_document_that_is_none_of_ours_is_refused_with_its_place(tmp_path: Path, place: str, value: Any) -> None:
    file = tmp_path / "run.json"
    document = json.loads(records.write(record()))
    document[place] = value
    text = json.dumps(document).replace('"NaN"', "NaN")
    file.write_text(text)
    with pytest.raises(BadRecord, match=place):
        records.load(file)


def test_a_file_that_is_no_document_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text("<html>")
    with pytest.raises(BadRecord):
        records.load(file)


def test_reasons_are_summed_most_first() -> None:
    windows = [Window(0, refused={"a": 1, "b": 2}), Window(1, refused={"a": 3, "c": 2}, wrong={"d": 1})]
    assert summed(windows, "refused") == (("a", 4), ("b", 2), ("c", 2))
    assert summed(windows, "wrong") == (("d", 1),)


def test_one_missed_objective_fails_the_run() -> None:
    assert record().passed
    assert not record(p99=0.5).passed
