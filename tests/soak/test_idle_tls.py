"""Idle TLS connections are cheap. The full number is ``python -m tests.soak idle-tls``."""

from __future__ import annotations

from pathlib import Path

from tests.soak.idle_tls import AFTERWARDS, GOAL, idle_tls


async def test_an_idle_tls_connection_costs_little_and_is_still_served(tmp_path: Path) -> None:
    found = await idle_tls(1000, tmp_path)
    assert [each.goal for each in found] == [GOAL, GOAL, AFTERWARDS]
    assert [fault for each in found for fault in each.faults()] == []
    assert found[0].after > found[0].before
