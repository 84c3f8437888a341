"""Options that several commands share, and what their texts mean.

Law: this file knows argparse and texts; it opens nothing and imports nothing heavy,
so that ``keystile --help`` answers at once.
"""

from __future__ import annotations

import argparse
import getpass
import os
import platform
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

Run = Callable[[argparse.Namespace], int]
if TYPE_CHECKING:
    # What add_subparsers returns has no public name in argparse, and is generic for type checkers only.
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_FILE = Path("gateway.yaml")
EXPIRES_HELP = "2026-12-31 (00:00 UTC of that day) or 2026-12-31T18:00:00Z (without a zone: UTC)"
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def file_option() -> argparse.ArgumentParser:
    """A parent that adds ``-c``; absent it sets nothing, so it may stand before or after a subcommand."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        "-c",
        "--config",
        dest="file",
        type=Path,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the gateway's settings (default: gateway.yaml)",
    )
    return parent


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print JSON for programs")


def expiry(text: str) -> float:
    """Unix seconds of a date or date-time of ISO 8601; raises ArgumentTypeError.

    A bare date means 00:00 UTC of that day; a time without a zone is UTC.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; write {EXPIRES_HELP}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def expiry_or_never(text: str) -> float | None:
    """As ``expiry``, and None for the word ``never``."""
    return None if text == "never" else expiry(text)


def seconds(text: str) -> float:
    """Seconds of a duration such as ``90``, ``90s``, ``10m``, ``24h`` or ``7d``; raises ArgumentTypeError."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 90s, 10m, 24h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def statuses(text: str) -> frozenset[int]:
    """The statuses that are meant by such as ``404``, ``4xx`` or ``4xx,503``; raises ArgumentTypeError."""
    found: set[int] = set()
    for word in text.split(","):
        if re.fullmatch(r"[1-5][0-9]{2}", word):
            found.add(int(word))
        elif re.fullmatch(r"[1-5]xx", word):
            found |= set(range(int(word[0]) * 100, int(word[0]) * 100 + 100))
        else:
            raise argparse.ArgumentTypeError(f"{text!r} is no status; write such as 404, 4xx or 4xx,503")
    return frozenset(found)


def asked_by() -> tuple[str, str]:
    """Who runs this command and on which host, as (actor, origin) for the audit table."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        name = f"uid {os.getuid()}"
    return f"{name} (command line)", platform.node() or "unknown host"
