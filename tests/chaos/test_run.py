"""A short run as a whole: real processes, few events; the long one is ``make chaos``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import account
from tests.chaos.rules import Column
from tests.chaos.run import Plan, chaos

SECONDS = 4.0
"""Of chaos; with the start, what comes to an end afterwards, and two reloads it is about twice that. It is here so
that the command cannot break unseen; what only minutes find is not looked for."""


@pytest.mark.timeout(300)
async def test_a_short_run_leaves_no_remainder(tmp_path: Path) -> None:
    few = "relay: kill,server: garbage,rings for nothing,reload: routes"
    result = await chaos(Plan(SECONDS, seed=5, reloads=2, upgrades=0, only=few, quiet=True), tmp_path)
    assert account.told(result) == []
    assert result.code == 0
    assert result.account.sent == sum(map(result.account.column, Column)) > 300
    assert result.facts["slots taken at the end"] == result.facts["failed without kills"] == 0
    assert {each.what for each in result.story.done()} >= {"relay: kill -9", "reload: routes"}
