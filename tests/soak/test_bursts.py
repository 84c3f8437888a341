from pathlib import Path

import pytest

from tests.soak.bursts import burst


@pytest.mark.parametrize("relays", [1, 2, 4])
async def test_of_25_at_once_exactly_20_are_let_in(relays: int, tmp_path: Path) -> None:
    found = await burst(relays, 100, 7, tmp_path)
    assert not found.faults()
    assert found.exact == 100
    assert sorted(found.relays_met)[50] == relays


@pytest.mark.parametrize("cap", [19, 21])
async def test_a_gateway_that_lets_in_another_number_would_be_noticed(cap: int, tmp_path: Path) -> None:
    found = await burst(2, 3, 7, tmp_path, cap=cap)
    assert found.exact == 0
    assert len(found.wrong) == 3
    assert bool(found.over) == (cap > 20)
