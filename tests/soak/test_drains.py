from __future__ import annotations

from tests.soak.drains import Found
from tests.soak.traffic import Traffic

# One drain with real processes is tests/e2e/test_drain.py's.


def test_a_request_that_fails_and_an_end_that_is_none_would_be_noticed() -> None:
    lost = Traffic(0, 0, b"", sent=2)
    lost.statuses.update({200: 1, 503: 1})
    assert len(Found(lost, codes=[0, 1]).faults()) == 2
    whole = Traffic(0, 0, b"", sent=1)
    whole.statuses[200] = 1
    found = Found(whole, drains=1, codes=[0], took=[2.5])
    assert found.faults() == []
    assert found.row()["one drain, median s"] == 2.5
