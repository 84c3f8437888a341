"""A line of the access log: read, wanted or not, and shown to people.

Law: what a line says is a stranger's text (paths, addresses, whatever else stands in a file of this name): it is never
believed to be of the right type, and no control character of it reaches a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from keystile.cli.terminal import printable, styled
from keystile.config.log_fields import FIELDS

Entry = Mapping[str, Any]

ANY: Final = "any"
"""The word for every refusal."""
NOTHING: Final = "-"
LONGEST_CELL: Final = 200
"""Characters of one cell; more are cut."""
WIDEST: Final = 48
"""Characters up to which a column grows with what stands in it."""


def read(line: bytes) -> Entry | None:
    """The members of a line of the access log; None for any other line."""
    if not line.startswith(b"{"):
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, a number of 5,000 digits, nested without end
        return None
    return entry if isinstance(entry, dict) and not FIELDS.keys().isdisjoint(entry) else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are: those that fit everything that is said. ``since``: Unix seconds."""

    statuses: frozenset[int] | None = None
    refusal: str | None = None
    key: str | None = None
    account: str | None = None
    since: float | None = None

    @property
    def needs(self) -> frozenset[str]:
        """The members that are looked at."""
        said = {
            "status": self.statuses, "refusal": self.refusal, "key": self.key, "account": self.account,
            "time": self.since,
        }  # fmt: skip
        return frozenset(name for name, value in said.items() if value is not None)

    @property
    def anything_in_particular(self) -> bool:
        """Whether not just all of them are wanted."""
        return bool(self.needs)

    def takes(self, entry: Entry) -> bool:
        """Whether this one is."""
        refusal, account = entry.get("refusal"), entry.get("account")
        return (
            (self.statuses is None or _number(entry.get("status")) in self.statuses)
            and (self.refusal is None or refusal == self.refusal or (self.refusal == ANY and refusal is not None))
            and (self.key is None or entry.get("key") == self.key)
            and (self.account is None or (isinstance(account, str) and account.lower() == self.account.lower()))
            and (self.since is None or self._is_late_enough(entry.get("time")))
        )

    def _is_late_enough(self, moment: object) -> bool:
        at = _moment(moment)
        return at is not None and self.since is not None and at.timestamp() >= self.since


def _number(value: object) -> int:
    return value if isinstance(value, int) else -1


def _moment(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


# -- for people ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Column:
    """One column: ``head``, the least ``width``, what stands in it, its colour, and on which side it is aligned."""

    head: str
    width: int
    of: Callable[[Entry], str]
    style: Callable[[Entry], str] = lambda entry: ""
    right: bool = False

    def cell(self, entry: Entry) -> str:
        """Padded, and coloured where colours are wanted."""
        text = _safe(self.of(entry)) or NOTHING
        style = self.style(entry)
        padded = self._padded(text)
        return styled(padded, style) if style else padded

    def _padded(self, text: str) -> str:
        self.width = max(self.width, min(len(text), WIDEST))
        return text.rjust(self.width) if self.right else text.ljust(self.width)

    def title(self) -> str:
        """Its head, in its width."""
        return self._padded(self.head)


@dataclass(slots=True)
class Printer:
    """Prints lines to standard output. ``local``: times as on this machine's clock."""

    as_json: bool = False
    local: bool = False
    _columns: list[Column] = field(default_factory=list, init=False)

    def show(self, entry: Entry, line: bytes) -> None:
        """A line of the access log."""
        if self.as_json:
            self.as_it_is(line)
            return
        if not self._columns:
            self._columns = _columns(self.local)
            print(styled("  ".join(column.title() for column in self._columns).rstrip(), "bold"))
        print("  ".join(column.cell(entry) for column in self._columns).rstrip())

    def as_it_is(self, line: bytes) -> None:
        """Byte for byte; but on a terminal no control character of it, since that would be an order to the terminal."""
        if sys.stdout.isatty():
            text = line.decode("utf-8", "backslashreplace").removesuffix("\n")
            print("\t".join(map(printable, text.split("\t"))))
            return
        sys.stdout.flush()
        sys.stdout.buffer.write(line if line.endswith(b"\n") else line + b"\n")
        sys.stdout.buffer.flush()


def _safe(text: str) -> str:
    return printable(text if len(text) <= LONGEST_CELL else text[: LONGEST_CELL - 1] + "…")


def _columns(local: bool) -> list[Column]:
    zone = datetime.now().astimezone().tzname() or "local" if local else "UTC"
    return [
        Column(f"TIME ({_safe(zone)})", 23, lambda entry: _time(entry, local), lambda _: "dim"),
        Column("STATUS", 6, lambda entry: _text(entry, "status"), _status_style, right=True),
        Column("MS", 7, _milliseconds, right=True),
        Column("METHOD", 6, lambda entry: _text(entry, "method")),
        Column("PATH", 32, _target),
        Column("ADDRESS", 15, lambda entry: _text(entry, "address")),
        Column("ACCOUNT", 20, lambda entry: _text(entry, "account")),
        Column("KEY", 8, lambda entry: _text(entry, "key")),
        Column("SERVER", 14, lambda entry: _text(entry, "server")),
        Column("REFUSAL", 7, _ending, lambda _: "red"),
    ]


def _text(entry: Entry, name: str) -> str:
    value = entry.get(name)
    return "" if value is None else str(value)


def _time(entry: Entry, local: bool) -> str:
    at = _moment(entry.get("time"))
    if at is None:
        return _text(entry, "time")
    try:
        shown = at.astimezone(None if local else UTC)
    except (OverflowError, ValueError, OSError):  # a year that no clock has
        return _text(entry, "time")
    return shown.strftime("%Y-%m-%d %H:%M:%S.") + f"{shown.microsecond // 1000:03d}"


def _status_style(entry: Entry) -> str:
    status = _number(entry.get("status"))
    return "red" if status >= 500 else "yellow" if status >= 400 else "green" if status >= 200 else ""


def _milliseconds(entry: Entry) -> str:
    took = entry.get("milliseconds")
    parts = entry.get("microseconds")
    if took is None and isinstance(parts, dict):
        took = sum(_number(part) for part in parts.values()) // 1000
    return "" if took is None else str(took)


def _target(entry: Entry) -> str:
    query = entry.get("query")
    return _text(entry, "path") + (f"?{query}" if query else "")


def _ending(entry: Entry) -> str:
    """Why it was refused, and whether it was cut."""
    told = [_text(entry, "refusal"), "cut" if entry.get("cut") is True else ""]
    return " ".join(word for word in told if word)
