"""Where proxies disagree on a row, and where Keystile lets through what neither of the others does.

Law: pure comparing of what was seen; no bytes, no processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.differential.seen import Seen

OURS = "Keystile"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the corpus, and what each proxy made of it."""

    family: str
    name: str
    seen: Mapping[str, Seen]


def admits(seen: Seen) -> tuple[int, bool, bool]:
    """What was let through: how many requests, whether a hidden one is among them, whether an answer is no error."""
    hidden = any("smuggled" in line for line in seen.reached)
    return len(seen.reached), hidden, any(status < 400 for status in seen.statuses)


def laxer(row: Row) -> list[str]:
    """In what Keystile is laxer than every other proxy; empty where it is not."""
    ours = admits(row.seen[OURS])
    others = [admits(seen) for name, seen in row.seen.items() if name != OURS]
    if not others:
        return []
    words = []
    if all(ours[0] > other[0] for other in others):
        words.append("more requests reach the upstream")
    if ours[1] and not any(other[1] for other in others):
        words.append("a hidden request reaches the upstream")
    if ours[2] and not any(other[2] for other in others):
        words.append("it is answered without an error")
    return words


def differs(row: Row) -> bool:
    """Whether the proxies let through different things: other requests, or an error here and none there."""
    return len({(seen.reached, admits(seen)[2]) for seen in row.seen.values()}) > 1


def stricter(row: Row) -> bool:
    """Whether less gets through Keystile than through one of the others."""
    ours = admits(row.seen[OURS])
    return any(ours < admits(seen) for name, seen in row.seen.items() if name != OURS)


def markdown(rows: Sequence[Row], versions: Sequence[str]) -> str:
    """The table of differences."""
    different = [row for row in rows if differs(row)]
    lax = [(row, words) for row in rows if (words := laxer(row))]
    names = list(rows[0].seen) if rows else [OURS]
    lines = [
        "# Keystile beside nginx and HAProxy",
        "",
        "Written by `python -m tests.differential --write docs/differential.md`: the rows of the attack suite",
        f"(`tests/wire/client_attacks.py`), through {' and '.join(versions)} with minimal configurations and through",
        "Keystile, each in front of the same recording upstream. A cell says what was answered, whether the connection",
        "was closed, and which requests reached the upstream (as a usual server reads them). The others check no keys",
        "and know no routes: where Keystile refuses more, that is not always its parser's doing.",
        "",
        f"{len(rows)} rows, {len(different)} with differences; stricter than one of the others in"
        f" {sum(map(stricter, rows))}; **laxer than both in {len(lax)}**.",
        "",
    ]
    lines += [f"- LAXER: {row.family}: {row.name}: {', '.join(words)}" for row, words in lax]
    lines += ["", f"| family | row | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for row in different:
        cells = " | ".join(str(row.seen[name]) for name in names)
        lines.append(f"| {row.family} | {row.name.replace('|', '')} | {cells} |")
    return "\n".join(lines) + "\n"
