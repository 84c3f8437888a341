"""What the terminal shows: tables, JSON, warnings, and the one line of an error.

Law: this file knows columns, colours and moments of time, and nothing of keys,
settings or processes. Results go to standard output, all else to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

from keystile.keys.secret import redact

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


class CommandFailed(Exception):
    """A command could not do its work; the text is one or more lines for the person who asked."""


def colourful(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that wants colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """``text`` in a style (bold, dim, red, green, yellow), or as it is where colours are not wanted."""
    if not colourful(stream or sys.stdout):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def printable(text: str) -> str:
    """``text`` with control characters written as escapes, so that data cannot steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def show_json(value: object) -> None:
    """Print a JSON value, readable and stable."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(heads: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    """Print aligned columns under their heads, or the line ``nothing`` when there are no rows."""
    if not rows:
        print(nothing)
        return
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    print(styled(_line(heads, widths), "bold"))
    for row in cells:
        print(_line(row, widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def warn(text: str) -> None:
    """Print one warning on standard error."""
    print(f"{styled('warning:', 'yellow', sys.stderr)} {printable(text)}", file=sys.stderr)


def show_error(text: str) -> None:
    """Print an error on standard error; lines stay lines."""
    safe = "\n".join(printable(line) for line in text.splitlines())
    safe = redact(safe)  # a key given where something else belongs must not reach a terminal's log
    print(f"{styled('keystile:', 'red', sys.stderr)} {safe}", file=sys.stderr)


def iso(moment: float | None) -> str | None:
    """Unix seconds as ISO 8601 in UTC with whole seconds (``2026-12-31T00:00:00Z``); None stays None."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_for_people(moment: float | None, never: str) -> str:
    """Unix seconds as ``2026-12-31 00:00`` (UTC), or the word ``never`` for None."""
    return never if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
