from __future__ import annotations

from pathlib import Path

from tests.soak.traffic import Traffic
from tests.soak.upgrades import Found, soak


async def test_nobody_who_calls_notices_an_upgrade(tmp_path: Path) -> None:
    found = await soak(1, 2, tmp_path, pause=0.2, calm=0.02)
    assert not found.faults()
    assert found.traffic.statuses[200] > 50
    assert found.traffic.moved >= 4, "those that keep their connection were sent to the new relays"
    assert found.crowded[429] > 0
    assert len(found.pids) >= 2
    said = (tmp_path / "errors.txt").read_text("utf-8")
    assert said.count("no operator has an account yet") == 1, "a newer link would end the one that was offered"


def test_whatever_is_not_as_it_should_be_would_be_noticed() -> None:
    lost = Traffic(0, 0, b"", sent=2)
    lost.statuses[200] = 1
    found = Found(lost, asked=1, highest=21, slots_left=1, supervisors={1, 2}, restarts=1, crowded={502: 1})
    found.faults_told.append("no upgrade")
    assert len(found.faults()) == 9
