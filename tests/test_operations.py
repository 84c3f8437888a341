"""That docs/operations.md names tests that there are, at least one for each row."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "operations.md"
TEST = re.compile(r"`(test_\w+)`")


def test_every_test_that_is_named_is_there() -> None:
    sources = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", sources))
    named = set(TEST.findall(PAGE.read_text(encoding="utf-8")))
    assert len(named) > 20
    assert named <= there, named - there


def test_every_row_is_followed_by_who_holds_it() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| (\*\*|\|)", line)]
    assert len(rows) % 2 == 0
    for told, held in zip(rows[::2], rows[1::2], strict=True):
        assert told.startswith("| **"), told
        assert held.startswith("| | | | "), told
        assert TEST.search(held) or "By hand: " in held, told
