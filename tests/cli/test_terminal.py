import io
import json

import pytest

from keystile.cli import terminal


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_table(("NAME", "SCOPES"), [("a", "x"), ("longer name", "")], "none")
    assert capsys.readouterr().out.splitlines() == ["NAME         SCOPES", "a            x", "longer name"]


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_table(("NAME",), [], "no keys yet")
    assert capsys.readouterr().out == "no keys yet\n"


def test_colours_are_only_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.styled("x", "red", Tty()) == "\x1b[31mx\x1b[0m"
    assert terminal.styled("x", "red", io.StringIO()) == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert terminal.styled("x", "red", Tty()) == "x"


def test_data_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_table(("NAME",), [("\x1b[2Jgone",)], "none")
    terminal.warn("a\rb")
    terminal.show_error("line one\nline \x07 two")
    out, err = capsys.readouterr()
    assert out == "NAME\n\\x1b[2Jgone\n"
    assert err == "warning: a\\rb\nkeystile: line one\nline \\x07 two\n"


def test_json_keeps_letters_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.show_json({"name": "Zoë", "expires": None})
    out = capsys.readouterr().out
    assert "Zoë" in out
    assert json.loads(out) == {"name": "Zoë", "expires": None}


def test_moments_are_in_utc() -> None:
    assert terminal.iso(1798675200.0) == "2026-12-31T00:00:00Z"
    assert terminal.iso(None) is None
    assert terminal.moment_for_people(1798675200.0, "never") == "2026-12-31 00:00"
    assert terminal.moment_for_people(None, "never") == "never"
