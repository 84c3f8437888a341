"""A small overload, measured as the large one is; the full measure is ``python -m tests.soak overload``."""

from __future__ import annotations

import pytest

from tests.soak import overload
from tests.soak.overload import Overloaded, Phase, Turn, measure, row


async def test_a_gateway_with_more_to_do_than_it_can_goes_on_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overload, "CONNECTIONS", (overload.USUAL,))
    monkeypatch.setattr(overload, "PARTS", (0.8,))
    monkeypatch.setattr(overload, "SETTLE", 1.0)
    found = await measure(0.4, 3.0, 0.9, 100, 0.0, (), 20, 1)
    [turn] = found.turns
    assert turn.over.useful > 0
    assert turn.after.answers[200] > 0
    assert not turn.after.answers[503]
    assert row(found, 0.4, 3.0)["overload: useful/s"] == turn.over.useful


def phase(useful: int, latency: float, refused: int = 0, failed: int = 0) -> Phase:
    made = Phase(1.0, latencies=[latency] * 100, health_failed=failed)
    made.answers.update({200: useful, 503: refused})
    return made


def turn(over: Phase, after: Phase) -> Turn:
    return Turn(phase(900, 0.01), phase(1000, 0.01), over, after)


GOOD = turn(phase(800, 0.02, refused=1), phase(1, 1.0))
BAD = turn(phase(799, 0.021, refused=0, failed=1), phase(1, 1.0, refused=1))


def judged(*turns: Turn) -> list[str]:
    return Overloaded("x", list(turns), {}).faults()


def test_who_keeps_serving_fast_and_recovers_has_no_fault() -> None:
    assert judged(GOOD) == []


def test_what_is_lost_or_slow_or_does_not_recover_is_a_fault() -> None:
    assert len(judged(BAD)) == 6


def test_ratios_are_the_median_turns_and_what_must_never_be_is_a_fault_in_any() -> None:
    assert len(judged(GOOD, GOOD, BAD)) == 3
