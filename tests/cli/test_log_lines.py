from __future__ import annotations

import io
import json
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystile.cli.log_lines import Printer, Wanted, read

LINE: dict[str, Any] = {
    "time": "2026-11-28T03:50:44.866Z",
    "address": "192.0.2.1",
    "method": "GET",
    "path": "/v4/contacts",
    "status": 403,
    "refusal": "scope-missing",
    "account": "Ann@example.com",
    "key": "key1",
    "server": None,
    "milliseconds": 12,
    "cut": False,
}
ESCAPES = ["\x1b[2J", "\x1b]0;owned\x07", "\x9b31m", "\r\nfake line", "\u202e", "\u2066", "\x00", "\x7f", "a\nb"]


class Tty(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


def line(**changes: Any) -> bytes:
    return json.dumps({**LINE, **changes}).encode() + b"\n"


def on_a_terminal(*lines: bytes, **how: bool) -> str:
    """What a terminal would get."""
    before, terminal = sys.stdout, Tty()
    sys.stdout = terminal
    try:
        shown(*lines, **how)
        return terminal.text
    finally:
        sys.stdout = before


def shown(*lines: bytes, **how: bool) -> None:
    printer = Printer(**how)
    for each in lines:
        entry = read(each)
        if entry is None:
            printer.as_it_is(each)
        else:
            printer.show(entry, each)


@pytest.fixture(autouse=True)
def any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


# -- attacks: what a stranger wrote is shown on an operator's terminal ---------------------------------------------


@pytest.mark.parametrize("attack", ESCAPES)
@pytest.mark.parametrize(
    "name", ["path", "query", "method", "account", "server", "refusal", "time", "status", "address"]
)
def test_no_value_steers_the_terminal(monkeypatch: pytest.MonkeyPatch, name: str, attack: str) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = on_a_terminal(line(**{name: f"x{attack}y"}))
    assert len(text.splitlines()) == 2
    assert all(character.isprintable() or character == "\n" for character in text)


@pytest.mark.parametrize("attack", ESCAPES)
def test_no_other_line_steers_the_terminal(attack: str) -> None:
    text = on_a_terminal(f"x{attack}\ty\n".encode(), f'{{"no": "{attack}"}}'.encode(), b"\xff\x1b[2J")
    assert all(character.isprintable() or character in "\n\t" for character in text)
    assert "\ty" in text


def test_lines_as_json_steer_no_terminal_either() -> None:
    text = on_a_terminal('{"time":"x","path":"\u202e\x9b31m"}'.encode(), as_json=True)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert text.startswith('{"time":"x"')


@pytest.mark.parametrize(
    "odd",
    [
        b"{" * 100_000,
        b'{"a":' * 100_000,
        b'{"status":' + b"9" * 10_000 + b"}",
        b'{"path": "\xff"}',
        b"{}",
        b"[]",
        b"",
        b"null",
        b'{"other": 1}',
        b"2026-11-28T03:53:45Z keystile: listening on http://127.0.0.1:8080",
    ],
)
def test_what_is_no_line_of_the_access_log_is_passed_on_unchanged(
    odd: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert read(odd) is None
    shown(odd)
    assert capfdbinary.readouterr().out == odd + b"\n"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


@given(st.dictionaries(st.sampled_from([*LINE, "query", "microseconds"]), ANYTHING, min_size=1))
def test_no_types_of_its_members_make_it_fail(entry: dict[str, Any]) -> None:
    wanted = Wanted(frozenset({200}), "any", "k", "a", 0.0)
    assert wanted.takes(entry) in (True, False)
    before, kept = sys.stdout, io.StringIO()
    sys.stdout = kept
    try:
        Printer().show(entry, b"")
        Printer(local=True).show(entry, b"")
        said = kept.getvalue()
    finally:
        sys.stdout = before
    assert len(said.splitlines()) == 4


# -- what is shown -------------------------------------------------------------------------------------------------


def test_lines_are_columns(capsys: pytest.CaptureFixture[str]) -> None:
    shown(line(), line(status=200, refusal=None, server="127.0.0.1:9000", cut=True, path="/x", query="a=1"))
    head, one, two = capsys.readouterr().out.splitlines()
    assert " ".join(head.split()) == "TIME (UTC) STATUS MS METHOD PATH ADDRESS ACCOUNT KEY SERVER REFUSAL"
    assert " ".join(one.split()) == (
        "2026-11-28 03:50:44.866 403 12 GET /v4/contacts 192.0.2.1 Ann@example.com key1 - scope-missing"
    )
    assert two.split()[2:6] == ["200", "12", "GET", "/x?a=1"]
    assert two.split()[-2:] == ["127.0.0.1:9000", "cut"]
    assert one.index("/v4") == two.index("/x") == head.index("PATH")


def test_what_is_not_there_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    shown(b'{"time":"2026-11-28T03:50:44Z","microseconds":{"own":1500,"server":1000}}')
    assert capsys.readouterr().out.splitlines()[1].split() == ["2026-11-28", "03:50:44.000", "-", "2", *"-------"]


def test_a_long_cell_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    shown(line(path="/" + "x" * 5000))
    assert len(capsys.readouterr().out) < 1000


def test_times_are_in_utc_or_said_to_be_local(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        shown(line(), local=True)
    finally:
        monkeypatch.undo()
        time.tzset()
    head, one = capsys.readouterr().out.splitlines()
    assert head.startswith("TIME (JST)")
    assert one.startswith("2026-11-28 12:50:44.866")


def test_colours_are_only_for_terminals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "\x1b[33m   403\x1b[0m" in on_a_terminal(line())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in on_a_terminal(line())
    monkeypatch.delenv("NO_COLOR")
    shown(line())
    assert "\x1b" not in capsys.readouterr().out


def test_json_is_the_line_as_it_is(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    one = b'{"path":"\\u001b[2J","status":200}'
    shown(one + b"\n", one, as_json=True)
    assert capfdbinary.readouterr().out == (one + b"\n") * 2


# -- what is wanted ------------------------------------------------------------------------------------------------

AT = 1_795_837_844.866  # LINE's time


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Wanted(), True),
        (Wanted(statuses=frozenset({403})), True),
        (Wanted(statuses=frozenset({404})), False),
        (Wanted(refusal="scope-missing"), True),
        (Wanted(refusal="any"), True),
        (Wanted(refusal="not-found"), False),
        (Wanted(key="key1"), True),
        (Wanted(key="key2"), False),
        (Wanted(account="ann@EXAMPLE.com"), True),
        (Wanted(account="ann"), False),
        (Wanted(since=AT - 1), True),
        (Wanted(since=AT + 1), False),
        (Wanted(statuses=frozenset({403}), key="key2"), False),
    ],
)
def test_what_is_wanted(wanted: Wanted, takes: bool) -> None:
    assert wanted.takes(LINE) is takes
    assert wanted.takes({}) is (wanted == Wanted())
    assert wanted.anything_in_particular is (wanted != Wanted())


def test_any_refusal_is_not_none() -> None:
    assert not Wanted(refusal="any").takes({**LINE, "refusal": None})
