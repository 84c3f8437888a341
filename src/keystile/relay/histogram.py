"""How long things take, counted in buckets: what a relay keeps of its requests' times.

Law: numbers under names; where they are kept, and how they are shown, is others' business. A name ends in a bucket's
upper bound in seconds (``:0.005``, ``:+Inf``), each bucket counted by itself, or in ``:sum``, in nanoseconds.

The bounds are fixed, so that what relays count, or versions, can be added up. Hot path: a time is put on a list
(``fresh.append``), and those of a batch are counted together, which costs less than a third of a search for each.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

#: Of what the gateway does itself: mostly far less than a millisecond.
OWN_BOUNDS: Final[tuple[float, ...]] = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
    *(1.0, 10.0),
)
#: Of what others do, or are waited for: up to the longest that anybody may take.
BOUNDS: Final[tuple[float, ...]] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Histogram:
    """``fresh``: seconds that were not counted yet. ``bounds`` rise; each belongs to its own bucket."""

    __slots__ = ("_counts", "_total", "bounds", "fresh")

    def __init__(self, bounds: Sequence[float]) -> None:
        assert all(lower < upper for lower, upper in pairwise(bounds))
        self.bounds = bounds
        self.fresh: list[float] = []
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def values(self) -> list[int]:
        """In the order of ``names``; what is fresh is counted."""
        if self.fresh:
            self._count()
        return [*self._counts, max(0, int(self._total * 1e9))]

    def _count(self) -> None:
        fresh = self.fresh
        fresh.sort()
        below = 0
        for at, bound in enumerate(self.bounds):
            end = bisect_right(fresh, bound, below)
            self._counts[at] += end - below
            below = end
        self._counts[-1] += len(fresh) - below
        self._total += sum(fresh)
        fresh.clear()


def names(name: str, bounds: Sequence[float]) -> tuple[str, ...]:
    """What the values of a histogram are called."""
    return (*(f"{name}:{bound}" for bound in bounds), f"{name}:+Inf", f"{name}:sum")
