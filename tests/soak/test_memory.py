from __future__ import annotations

from pathlib import Path

from tests.soak.memory import Shortage, soak


async def test_nobody_who_asks_for_little_notices_that_a_relay_has_no_memory(tmp_path: Path) -> None:
    found = await soak(1.0, tmp_path)
    assert found.faults() == []
    assert found.during > 20


def test_what_would_be_wrong_is_noticed() -> None:
    assert len(Shortage(sent=1, restarts=2).faults()) == 3
