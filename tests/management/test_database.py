from __future__ import annotations

from math import inf

from keystile.management.database import LATE, samples, trouble
from keystile.management.metrics import exposition
from keystile.storage.postgresql.keeper import Delays


class Kept:
    """A keeper that says what it is told to."""

    def __init__(self, age: float) -> None:
        self.connected = age < LATE
        self.found_by_polling = 3
        self.delays = Delays()
        self._age = age

    def age(self) -> float:
        return self._age


def test_health_tells_of_silence_only() -> None:
    assert trouble(Kept(LATE)) is None
    assert trouble(Kept(61.4)) == "nothing heard of their changes for 61 s"
    assert trouble(Kept(inf)) == "nothing heard of their changes yet"


def test_metrics_tell_how_far_this_host_is_behind() -> None:
    keeper = Kept(0.5)
    keeper.delays.note(0.02)
    keeper.delays.note(2.0)
    said = exposition(samples(keeper))
    for line in (
        "keystile_store_connected 1",
        "keystile_store_known_age_seconds 0.5",
        "keystile_store_changes_by_polling_total 3",
        "# TYPE keystile_store_change_delay_seconds histogram",
        'keystile_store_change_delay_seconds_bucket{le="0.01"} 0',
        'keystile_store_change_delay_seconds_bucket{le="0.025"} 1',
        'keystile_store_change_delay_seconds_bucket{le="+Inf"} 2',
        "keystile_store_change_delay_seconds_sum 2.02",
        "keystile_store_change_delay_seconds_count 2",
    ):
        assert line in said.splitlines()
    assert "keystile_store_known_age_seconds 1000000000" in exposition(samples(Kept(inf)))
