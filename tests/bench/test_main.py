from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import __main__ as program
from bench.cases import EACH_CAP
from bench.gateways import GATEWAYS
from bench.plan import Step
from bench.record import Record, read
from bench.turn import Turn

from tests.bench.fakes import Plain, Played

LITTLE = Path(__file__).with_name("little.py")


class CutOff(Played):
    """Somebody ends the run in its third turn."""

    def turn(self, step: Step) -> Turn:
        if len(self.asked) == 2:
            raise KeyboardInterrupt
        return super().turn(step)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the results go; the programs around a turn are stand-ins, and turns are played by ``play_by``."""
    before = signal.getsignal(signal.SIGTERM)
    for name in list(GATEWAYS):
        monkeypatch.delitem(GATEWAYS, name)
    for gateway in (Plain("keystile"), Plain("haproxy"), Plain("less", EACH_CAP)):
        monkeypatch.setitem(GATEWAYS, gateway.name, gateway)
    monkeypatch.setattr(program, "_missing_programs", list)
    monkeypatch.setattr(program, "make_stages", lambda *_: {})
    monkeypatch.setattr("bench.__main__.os.sched_setaffinity", lambda *_: None)
    monkeypatch.setattr("bench.backend.write_configuration", lambda _, port: port)
    monkeypatch.setattr("bench.backend.command", lambda port: [sys.executable, str(LITTLE), str(port)])
    play_by(monkeypatch, Played())
    yield tmp_path / "results"
    signal.signal(signal.SIGTERM, before)


def play_by(monkeypatch: pytest.MonkeyPatch, bench: Played) -> None:
    monkeypatch.setattr(program, "Bench", lambda *_: bench)


def run(results: Path, *words: str) -> tuple[int, Record]:
    code = program.main(["--results", str(results), "--rounds", "2", *words])
    return code, read(sorted(results.glob("*.json")))


def test_a_run_leaves_its_figures_its_tables_and_its_picture(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, record = run(results, "--cases", "same")
    assert code == 0
    assert len(record.turns) == 6
    assert record.runs[0]["planned"] == 6
    assert record.versions()["haproxy"] == "haproxy 1.0"
    out = capsys.readouterr().out
    assert "| same request each time | keystile | 20.0" in out
    picture = next(results.glob("*.svg"))
    assert f"The picture: {picture}" in out
    assert picture.with_suffix(".json").exists()


def test_a_failing_turn_is_told_at_the_end_with_1(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play_by(monkeypatch, Played({"less": RuntimeError("died")}))
    code, record = run(results, "--cases", "same")
    assert code == 1
    assert [failure.gateway for failure in record.failures] == ["less", "less"]
    assert len(record.turns) == 4
    assert "Failed 2 ×: less in same: died" in capsys.readouterr().out


def test_a_run_that_is_cut_off_has_what_there_was_and_says_so(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play_by(monkeypatch, CutOff())
    code, record = run(results, "--cases", "same")
    assert code == 1
    assert len(record.turns) == 2
    told = capsys.readouterr()
    assert "bench: cut off" in told.err
    assert "| same request each time | keystile |" in told.out


def test_what_cannot_be_is_skipped_with_a_word_and_is_no_fault(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "cores", lambda: [0, 1])
    code, record = run(results, "--cases", "429,relays-2", "--gateway-core", "1", "--load-core", "0")
    assert code == 0
    assert {(turn.case, turn.gateway) for turn in record.turns} == {("429", "keystile"), ("429", "haproxy")}
    assert record.skipped == ["relays-2: 2 cores, and it needs 4", f"less in 429: it leaves out {EACH_CAP}"]
    assert "skipped: relays-2" in capsys.readouterr().err


def test_a_gateway_that_is_not_installed_is_skipped_and_missed_where_it_is_asked_for(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Plain, "missing", lambda self: f"{self.name}: install it" if self.name == "less" else None)
    code, record = run(results, "--cases", "same")
    assert code == 0
    assert record.skipped == ["less: install it"]
    assert program.main(["--gateways", "less", "--results", str(results)]) == 2
    assert "less: install it" in capsys.readouterr().err
