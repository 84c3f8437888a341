"""From SQLite's placeholders, in which all statements are written, to PostgreSQL's.

Law: text in, text out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_PLACEHOLDER: Final = re.compile(r"'[^']*'|\?(\d*)")


@lru_cache(maxsize=512)
def translated(sql: str) -> bytes:
    """The statement with PostgreSQL's placeholders: ``?2`` is ``$2``; ``?`` is the one after the highest before it."""
    highest = 0

    def place(found: re.Match[str]) -> str:
        nonlocal highest
        if found[0].startswith("'"):
            return found[0]
        number = int(found[1]) if found[1] else highest + 1
        highest = max(highest, number)
        return f"${number}"

    return _PLACEHOLDER.sub(place, sql).encode("utf-8")
