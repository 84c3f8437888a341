"""That docs/operations.md and docs/hosts.md name tests that there are, at least one for each row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "docs" / name for name in ("operations.md", "hosts.md")]
TEST = re.compile(r"`(test_\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_is_named_is_there(page: Path) -> None:
    sources = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"def (test_\w+)\(", sources))
    named = set(TEST.findall(page.read_text(encoding="utf-8")))
    assert len(named) > 20
    assert named <= there, named - there


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_is_followed_by_who_holds_it(page: Path) -> None:
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if re.match(r"\| (\*\*|\|)", line)]
    assert len(rows) % 2 == 0
    for told, held in zip(rows[::2], rows[1::2], strict=True):
        assert told.startswith("| **"), told
        assert held.startswith("| | | | "), told
        assert TEST.search(held) or "By hand: " in held, told
