from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from keystile.cli import loadtest
from keystile.cli.main import main
from keystile.keys import secret as secrets
from keystile.loadtest import records, running
from keystile.loadtest.records import Record
from keystile.loadtest.scenarios import SCENARIOS
from tests.cli.conftest import Run
from tests.loadtest.examples import record

SECRET = secrets.generate()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Record], None]:
    """Let a run yield a record at once, in a directory of its own."""
    monkeypatch.chdir(tmp_path)

    def arrange(yielded: Record) -> None:
        monkeypatch.setattr(loadtest, "_run", lambda *_: yielded)

    return arrange


def test_a_run_that_kept_everything_is_0_and_leaves_a_report_and_its_numbers(
    ran: Callable[[Record], None], run: Run, tmp_path: Path
) -> None:
    ran(record())
    said = run("loadtest")
    page = tmp_path / "loadtest-steady-20261128T050000Z.html"
    assert (said.code, said.out.splitlines()[-1]) == (0, f"passed; the report is {page.name}")
    assert "<title>Load test steady: passed" in page.read_text()
    assert records.load(page.with_suffix(".json")) == record()


def test_a_run_that_missed_an_objective_is_1(ran: Callable[[Record], None], run: Run, tmp_path: Path) -> None:
    ran(record(p99=0.06))
    said = run("loadtest", "--json", "--report", str(tmp_path / "deep" / "a.html"))
    assert said.code == 1
    assert (said.json["passed"], said.json["verdicts"][0]["passed"]) == (False, False)
    assert Path(said.json["report"]).exists()
    assert Path(said.json["numbers"]).exists()


def test_a_report_that_cannot_be_written_is_one_line(ran: Callable[[Record], None], run: Run, tmp_path: Path) -> None:
    ran(record())
    (tmp_path / "file").write_text("")
    said = run("loadtest", "--report", str(tmp_path / "file" / "a.html"))
    assert said.code == 1
    assert said.err.count("\n") == 1


def test_without_the_extra_one_line_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "find_spec", lambda name: None)
    said = run("loadtest")
    assert (said.code, said.out) == (1, "")
    assert said.err == f"keystile: {running.MISSING}\n"


def test_the_scenarios_can_be_listed(run: Run) -> None:
    assert [each["name"] for each in run("loadtest", "--list", "--json").json] == list(SCENARIOS)
    assert all(name in run("loadtest", "--list").out for name in SCENARIOS)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str, Record], str]:
    def save(name: str, one: Record) -> str:
        (tmp_path / name).write_text(records.write(one))
        return str(tmp_path / name)

    return save


def test_two_reports_are_compared_and_a_worse_one_is_1(
    saved: Callable[[str, Record], str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good, bad = saved("good.json", record()), saved("bad.json", record(p99=0.06))
    said = run("loadtest", "compare", good, bad)
    assert (said.code, said.out.splitlines()[-1]) == (1, "worse: p99; the comparison is loadtest-compare.html")
    assert "worse: p99" in (tmp_path / "loadtest-compare.html").read_text()
    better = run("loadtest", "compare", bad, good, "--json", "--report", str(tmp_path / "b.html"))
    assert (better.code, better.json["worse"]) == (0, False)
    assert (tmp_path / "b.html").exists()


def test_what_is_no_report_is_one_line(run: Run, tmp_path: Path, saved: Callable[[str, Record], str]) -> None:
    (tmp_path / "other.json").write_text("{}")
    for name in ("other.json", "missing.json"):
        said = run("loadtest", "compare", saved("good.json", record()), str(tmp_path / name))
        assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)


def test_a_whole_run_shows_progress_and_writes_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loose = [word for name in ("p50", "p99", "throughput") for word in ("--objective", f"{name}=none")]
    code = main(["loadtest", "permissions", "--seconds", "2", "--report", "a.html", *loose])
    out, err = capsys.readouterr()
    assert code == 0, (out, err)
    assert "kept     failed" in out
    assert "kept     cap" in out
    assert "/2 s · " in err
    made = records.load(tmp_path / "a.json")
    assert {key.name for key in made.keys} == {"all", "reader", "elsewhere", "unknown", "none"}
    for text in (out, err, (tmp_path / "a.html").read_text(), (tmp_path / "a.json").read_text()):
        assert secrets.redact(text) == text
    assert replace(made, notes=()).passed
    assert json.loads((tmp_path / "a.json").read_text())["scenario"] == "permissions"
