from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keystile.cli import show_loadtest
from keystile.cli.terminal import CommandFailed
from keystile.loadtest.scenarios import SCENARIOS
from tests.loadtest.examples import record
from tests.loadtest.test_preparing import GIVEN, OURS


def test_verdicts_stand_in_a_table_and_remarks_below(capsys: pytest.CaptureFixture[str]) -> None:
    show_loadtest.show(record(p99=0.06), Path("a.html"))
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["VERDICT", "OBJECTIVE", "LIMIT", "MEASURED"]
    assert out[1].split() == ["MISSED", "p99", "≤", "50", "ms", "60", "ms"]
    assert out[-2:] == ["One remark.", "failed; the report is a.html"]


def test_programs_get_figures_in_seconds_and_shares() -> None:
    told = show_loadtest.for_programs(record(), Path("a.html"))
    assert isinstance(told, dict)
    assert (told["passed"], told["report"], told["numbers"]) == (True, "a.html", "a.json")
    assert told["verdicts"][0] == {"objective": "p99", "limit": 0.05, "measured": 0.01, "passed": True}


def test_whose_gateway_is_loaded_is_said_before_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_loadtest.announce(SCENARIOS["steady"], OURS, ["A remark."])
    show_loadtest.announce(SCENARIOS["steady"], GIVEN, [])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[1:3] == ["load goes to http://127.0.0.1 (a demonstration)", "A remark."]
    assert err.splitlines()[-1] == "load goes to http://127.0.0.1"


def test_a_report_is_named_after_its_scenario_and_moment() -> None:
    assert show_loadtest.file_name(record()) == "loadtest-steady-20261128T050000Z.html"
    assert "/" not in show_loadtest.file_name(replace(record(), scenario="at-once"))


def test_a_page_without_numbers_leaves_one_file_and_a_folder_is_made(tmp_path: Path) -> None:
    show_loadtest.save(tmp_path / "deep" / "a.html", "<p>", None)
    assert [each.name for each in (tmp_path / "deep").iterdir()] == ["a.html"]


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="directory"):
        show_loadtest.save(tmp_path, "<p>", None)
