"""Slow clients do not keep others from being served. The full measure is ``python -m tests.soak slow``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lacking import lacks
from tests.soak.slow import MODES, Slow, is_there, slow


@pytest.mark.parametrize("mode", MODES)
async def test_others_are_served_while_an_address_attacks(mode: str, tmp_path: Path) -> None:
    if not is_there():
        lacks("no slowhttptest (Debian: apt install slowhttptest), which pip does not have")
    found = await slow(mode, 400, 3, tmp_path)
    assert not found.failed
    assert found.came > 0
    assert len(found.attacked) > 100
    assert found.slots_left == 0


def measured(attacked: float, control: float) -> Slow:
    return Slow("x", 1, attacked=[attacked] * 200, control=[control] * 200, came=1)


def test_who_is_served_as_fast_as_the_control_has_noticed_nothing() -> None:
    assert measured(1.1, 1.0).faults() == []


def test_what_others_notice_is_a_fault() -> None:
    assert len(measured(5.0, 1.0).faults()) == 2
    found = measured(1.0, 1.0)
    found.failed[503] = 2
    assert found.faults() == ["x: others got 503 2 times"]
    found = measured(1.0, 1.0)
    found.slots_left = 1
    assert found.faults() == ["x: 1 slots were not given back"]
    found = measured(1.0, 1.0)
    found.came = 0
    assert found.faults() == ["x: nobody attacked"]
