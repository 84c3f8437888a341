"""What is told of a store in a database: how far this host is behind, in metrics and in health.

Law: numbers of ``storage/postgresql/keeper.py`` into samples and words; it asks nobody, so it answers while nothing
else does. Whether the database can be read at this moment is another question, and asked elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final, Protocol

from keystile.management.metrics import Sample, labels

LATE: Final = 3.0
"""Seconds after which it is told that this host has heard nothing; relays count from the same moment."""
_NEVER: Final = 1e9
"""For an age that nobody knows: metrics have no use for infinity, and alarms have one for a large number."""
_FAMILY: Final = "store_change_delay_seconds"


class Delays(Protocol):
    """A histogram: ``counts`` in buckets up to each of ``bounds``, and beyond."""

    counts: list[int]
    total: float

    @property
    def bounds(self) -> Sequence[float]:
        """Seconds."""


class Keeper(Protocol):
    """Whoever keeps this host's file up to date."""

    connected: bool
    found_by_polling: int

    @property
    def delays(self) -> Delays:
        """How long changes of other hosts took until this one knew."""

    def age(self) -> float:
        """Seconds since this host knew everything."""


def trouble(keeper: Keeper) -> str | None:
    """What is wrong, for health."""
    age = keeper.age()
    if age <= LATE:
        return None
    return f"nothing heard of their changes for {age:.0f} s" if age < _NEVER else "nothing heard of their changes yet"


def samples(keeper: Keeper) -> list[Sample]:
    """The families that begin with ``store_`` of which only a store in a database has any."""
    delays = keeper.delays
    below = list(accumulate(delays.counts))
    bounds = [*(f"{bound:g}" for bound in delays.bounds), "+Inf"]
    return [
        ("store_connected", "", int(keeper.connected)),
        ("store_known_age_seconds", "", min(keeper.age(), _NEVER)),
        ("store_changes_by_polling_total", "", keeper.found_by_polling),
        *((f"{_FAMILY}_bucket", labels(le=bound), count) for bound, count in zip(bounds, below, strict=True)),
        (f"{_FAMILY}_sum", "", delays.total),
        (f"{_FAMILY}_count", "", below[-1]),
    ]
