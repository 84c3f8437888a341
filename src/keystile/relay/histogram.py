"""How long things take, counted in buckets: what a relay keeps of its requests' times.

Law: numbers under names; where they are kept, and how they are shown, is others' business. A name ends in a bucket's
upper bound in seconds (``:0.005``, ``:+Inf``), each bucket counted by itself, or in ``:sum``, in nanoseconds.

The bounds are fixed, so that what relays count, or versions, can be added up. Hot path: ``Recorder.record`` counts by
itself what ``add`` would (a call costs as much as the counting).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

#: Of what the gateway does itself: mostly far less than a millisecond.
OWN_BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
#: Of what others do, or are waited for: up to the longest that anybody may take.
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Histogram:
    """``counts``: of the buckets, the last one has no bound; ``total``: seconds. ``bounds`` rise."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        assert all(lower < upper for lower, upper in pairwise(bounds))
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """One more; a bucket's bound is its own."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def values(self) -> list[int]:
        """In the order of ``names``."""
        return [*self.counts, max(0, int(self.total * 1e9))]


def names(name: str, bounds: Sequence[float]) -> tuple[str, ...]:
    """What the values of a histogram are called."""
    return (*(f"{name}:{bound}" for bound in bounds), f"{name}:+Inf", f"{name}:sum")
