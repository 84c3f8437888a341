"""Figures as a small table on standard output.

Law: text; knows nothing of what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime


def show(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print the rows under the names of the first, as Markdown."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_text(row[name]) for name in names] for row in rows)]
    print(f"\n{title} ({datetime.now():%Y-%m-%d %H:%M})\n", flush=True)
    print("\n".join("| " + " | ".join(line) + " |" for line in lines), flush=True)


def show_facts(title: str, facts: Mapping[str, object]) -> None:
    """Print one fact a line."""
    show(title, [{"what": name, "figure": value} for name, value in facts.items()])


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
