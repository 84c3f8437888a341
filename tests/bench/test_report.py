from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench import report
from bench.record import Record
from bench.turn import Failure

from tests.bench.examples import RUN, paced, turn


def stored(file: Path, record: Record) -> str:
    record.write(file)
    return str(file)


def whole() -> Record:
    turns = [
        turn("haproxy", 20),
        turn("keystile", 30),
        turn("haproxy", 25, case="log"),
        turn("keystile", 35, case="log"),
    ]
    turns += [paced("direct", 100, 200), paced("haproxy", 140, 300), paced("keystile", 160, 350)]
    return Record([dict(RUN)], turns, [Failure(1, "tls", "caddy", "died")], ["caddy in 429: it leaves out the cap"])


def test_a_stored_result_becomes_tables_and_a_picture_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main([stored(tmp_path / "one.json", whole())]) == 0
    out = capsys.readouterr().out
    assert "2026-11-28, 2 cores, some processor; `python -m bench`" in out
    assert "| same request each time | keystile | 30.0 (22.5 + 7.5) | 1.50 (1.50–1.50)" in out
    assert "| keystile | 0.160 | 0.350 | 0.060 |" in out
    assert "Failed 1 ×: caddy in tls: died" in out
    assert "Skipped: caddy in 429: it leaves out the cap." in out
    assert "Caddy 2.11.7 leaves out: SHA-256 of the secret, the cap for each address." in out
    ElementTree.parse(tmp_path / "one.svg")


def test_several_files_are_one_report_with_ratios_from_their_own_rounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = stored(tmp_path / "quick.json", Record([dict(RUN)], [turn("haproxy", 20), turn("keystile", 30)]))
    # A machine that is twice as slow.
    slow = stored(tmp_path / "slow.json", Record([dict(RUN)], [turn("haproxy", 40), turn("caddy", 400)]))
    assert report.main([quick, slow, "--plot", str(tmp_path / "both.svg")]) == 0
    out = capsys.readouterr().out
    assert "| keystile | 30.0 (22.5 + 7.5) | 1.50 " in out
    assert "| caddy | 400.0 (300.0 + 100.0) | 10.00 " in out
    assert (tmp_path / "both.svg").exists()
    assert not (tmp_path / "slow.svg").exists()


def test_cases_and_gateways_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = stored(tmp_path / "one.json", whole())
    assert report.main([file, "--cases", "log,latency", "--gateways", "keystile,haproxy"]) == 0
    out = capsys.readouterr().out
    assert "same request each time" not in out
    assert out.index("| keystile | 35.0") < out.index("| haproxy | 25.0")
    assert "| direct | 0.100" in out
    assert "caddy in tls" not in out


def test_cases_stand_in_the_benchs_order_whatever_file_they_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [
        stored(tmp_path / f"{number}.json", Record([dict(RUN)], [turn("haproxy", case=case)]))
        for number, case in enumerate(("forgotten", "log", "same", "varied"))
    ]
    assert report.main(files) == 0
    out = capsys.readouterr().out
    titles = ["same request each time", "every request different", "same request, access log on", "forgotten"]
    assert sorted(titles, key=lambda title: out.index(f"| {title} |")) == titles


def test_a_set_of_cases_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([stored(tmp_path / "one.json", whole()), "--cases", "base"]) == 0
    out = capsys.readouterr().out
    assert "same request, access log on" in out
    assert "| direct |" not in out


def test_nothing_chosen_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([stored(tmp_path / "one.json", whole()), "--cases", "tls"]) == 2
    assert "no turn of these" in capsys.readouterr().err


def test_a_file_of_something_else_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "else.json").write_text("{}")
    assert report.main([str(tmp_path / "else.json")]) == 2
    assert "else.json: not a result" in capsys.readouterr().err


def test_a_load_that_was_late_itself_is_told() -> None:
    turns = [paced("direct", 100, 200, late=20), paced("haproxy", 140, 300, late=100)]
    said = report.words(Record([dict(RUN)], turns))
    assert "The load for haproxy was late by 0.10 ms (p99)" in said
    assert "The load for direct" not in said


def test_a_noisy_machine_is_told() -> None:
    noisy = Record([dict(RUN)], [turn("haproxy")])
    assert "Not a quiet machine" not in report.words(noisy)
    busy = turn("keystile")
    noisy.turns.append(type(busy)(**{name: getattr(busy, name) for name in busy.__slots__} | {"others": 0.4}))
    assert "others used up to 40% of a core" in report.words(noisy)
