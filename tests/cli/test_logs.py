from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest

from keystile.cli.main import main
from tests.cli.conftest import SETTINGS, Run


def lines(*statuses: int, moment: str = "2026-11-28T03:50:44.866Z") -> str:
    told = ({"time": moment, "status": status, "path": f"/{status}", "key": f"k{status}"} for status in statuses)
    return "".join(json.dumps(each) + "\n" for each in told)


@pytest.fixture
def logged(gateway_file: Path) -> Path:
    """The log that gateway.yaml names."""
    gateway_file.write_text(SETTINGS.replace("access_log: off", "access_log: {to: a.log}"), encoding="utf-8")
    file = gateway_file.parent / "a.log"
    file.write_text(lines(200, 404, 503), encoding="utf-8")
    return file


def paths(said: str) -> list[str]:
    return [row.split()[5] for row in said.splitlines()[1:]]


def test_the_file_of_the_settings_is_shown(run: Run, logged: Path) -> None:
    said = run("logs")
    assert (said.code, said.err) == (0, "")
    assert paths(said.out) == ["/200", "/404", "/503"]


def test_another_file_needs_no_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "other.log"
    file.write_text(lines(201))
    assert main(["-c", "nowhere.yaml", "logs", str(file)]) == 0
    assert paths(capsys.readouterr().out) == ["/201"]


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    piped = "keystile: listening\n" + lines(200) + "{not json\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(piped.encode())))
    assert main(["-c", "nowhere.yaml", "logs", "-"]) == 0
    out = capfd.readouterr().out.splitlines()
    assert (out[0], out[-1]) == ("keystile: listening", "{not json")
    assert out[2].split()[5] == "/200"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--status", "4xx"], ["/404"]),
        (["--status", "200,5xx"], ["/200", "/503"]),
        (["--key", "k503"], ["/503"]),
        (["--status", "404", "--key", "k503"], []),
    ],
)
def test_only_some(run: Run, logged: Path, words: list[str], found: list[str]) -> None:
    with logged.open("a") as file:
        file.write("no line of the access log\n")
    assert paths(run("logs", *words).out) == found


def test_only_late_ones(run: Run, logged: Path) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    logged.write_text(lines(200, moment="2001-01-01T00:00:00Z") + lines(201, moment=now))
    assert paths(run("logs", "--since", "10m").out) == ["/201"]


def test_json_is_for_programs(run: Run, logged: Path) -> None:
    out = run("logs", "--json", "--status", "404").out
    assert out == lines(404)


def test_what_lines_do_not_have_cannot_be_asked_for(run: Run, logged: Path) -> None:
    said = run("logs", "--account", "a@example.com")
    assert said.out == ""
    assert said.err.count("warning") == 1
    assert "lines have no account; access_log.fields says what they have" in said.err


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("off", "the access log is off"),
        ("stdout", "pipe that in: … | keystile logs -"),
        ("b.log", "b.log: cannot be read"),
    ],
)
def test_where_there_is_no_file_it_says_so(run: Run, gateway_file: Path, setting: str, told: str) -> None:
    gateway_file.write_text(SETTINGS.replace("access_log: off", f"access_log: {setting}"), encoding="utf-8")
    said = run("logs")
    assert (said.code, said.out) == (1, "")
    assert told in said.err
