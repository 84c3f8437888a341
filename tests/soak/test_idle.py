"""Idle connections are cheap. The full number is ``python -m tests.soak idle``."""

from __future__ import annotations

from pathlib import Path

from tests.soak.idle import Idle, idle


async def test_an_idle_connection_costs_little_and_is_still_served(tmp_path: Path) -> None:
    fresh, kept = await idle(1500, tmp_path)
    assert fresh.faults() + kept.faults() == []
    assert kept.after > kept.before


def test_what_costs_too_much_or_is_not_served_is_a_fault() -> None:
    found = Idle("open", 100, before=1000, after=2000, unserved=3, seconds=1.0)
    assert len(found.faults()) == 2
    assert found.each == 10.0
