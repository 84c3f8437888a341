from __future__ import annotations

from pathlib import Path

import pytest

from keystile.config import units
from keystile.config.written import Written
from keystile.config.yamltext import read


@pytest.fixture
def written() -> Written:
    root, _ = read(
        "limits:\n  request_timeout: soon\n  idle_timeout: 5s\nlist: [1, [2], {a: 3}]\nnothing: null\nempty: []\n"
    )
    assert root is not None
    return Written(Path("folder/gateway.yaml"), root)


def test_a_fault_stands_where_its_setting_does(written: Written) -> None:
    fault = written.fault(("limits", "request_timeout"), "is wrong", show=True)
    assert str(fault) == "folder/gateway.yaml:2: limits.request_timeout: 'soon' is wrong"


def test_a_fault_of_a_whole_section_shows_no_content(written: Written) -> None:
    assert written.fault(("limits",), "is wrong", show=True).value == "a mapping"
    assert written.fault(("list",), "is wrong", show=True).value == "a list"


def test_what_is_not_there_and_null_are_both_nothing(written: Written) -> None:
    places: list[tuple[str | int, ...]] = [("x",), ("nothing",), ("list", 9), ("limits", 0), ("list", "a")]
    assert [written.get(*place) for place in places] == [None] * len(places)
    assert written.get("list", 2, "a") is not None


def test_items_are_places(written: Written) -> None:
    assert written.items("list") == [("list", 0), ("list", 1), ("list", 2)]
    assert written.items("limits") == [("limits", "request_timeout"), ("limits", "idle_timeout")]
    assert written.items("empty") == written.items("x") == written.items("nothing") == []


def test_what_cannot_be_read_is_nothing_here(written: Written) -> None:
    assert written.read(units.duration, "limits", "idle_timeout") == 5.0
    assert written.read(units.duration, "limits", "request_timeout") is None
    assert written.read(units.text, "limits") is None
    assert written.read(units.text, "list") is None


def test_a_source_names_file_and_line(written: Written) -> None:
    assert written.source(("list", 0)) == "gateway.yaml:4"


def test_relative_paths_start_at_the_file(written: Written) -> None:
    assert written.folder == Path.cwd() / "folder"
