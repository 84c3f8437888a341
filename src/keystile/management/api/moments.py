"""Moments on the wire: RFC 3339 with its zone, and Unix seconds inside.

Law: texts and numbers only. A text without a zone is no moment; what is written is UTC with whole seconds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def moment(text: str) -> float:
    """Return the Unix seconds of a date-time of RFC 3339 section 5.6; ValueError where it is none.

    Leap seconds are refused: Unix seconds have none.
    """
    if not _DATE_TIME.fullmatch(text):
        raise ValueError("a moment is written like 2026-12-31T18:00:00Z")
    # fromisoformat has six digits of a second at most, and before Python 3.11 knew no Z.
    return datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text.upper())).timestamp()


def written(at: float) -> str:
    """Return Unix seconds as ``2026-12-31T00:00:00Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def written_or_null(at: float | None) -> str | None:
    """Return what ``written`` does, and None for None."""
    return None if at is None else written(at)
