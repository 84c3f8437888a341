"""How long requests took, as counts in buckets, so that a run of any length stays small and two sums can be added.

Law: pure numbers; no clock, no requests. A bucket is at most 1.6 % wide: below 128 µs each microsecond has its own,
above that every doubling has 64. So a percentile is never told smaller than it was, nor more than 1.6 % (or
1 µs) larger (the idea is that of HdrHistogram).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Final, TypeAlias

Counts: TypeAlias = dict[int, int]
"""Requests by bucket."""

_FINE: Final = 128
_STEPS: Final = _FINE // 2
_BITS: Final = _FINE.bit_length() - 1
_MICROSECONDS: Final = 1_000_000
LONGEST: Final = 3600.0
"""Seconds; whatever took longer is counted as this."""


def bucket(seconds: float) -> int:
    """The bucket of a duration; less than nothing (a clock's fault) counts as nothing."""
    micros = ceil(max(0.0, min(seconds, LONGEST)) * _MICROSECONDS)
    if micros < _FINE:
        return micros
    doublings = micros.bit_length() - _BITS
    return _STEPS * doublings + (micros >> doublings)


def highest(place: int) -> float:
    """Seconds: the longest duration that falls into a bucket."""
    if place < _FINE:
        return place / _MICROSECONDS
    doublings = place // _STEPS - 1
    return (((place - _STEPS * doublings + 1) << doublings) - 1) / _MICROSECONDS


def add(counts: Counts, seconds: float) -> None:
    """Count one request."""
    place = bucket(seconds)
    counts[place] = counts.get(place, 0) + 1


def total(sums: Iterable[Mapping[int, int]]) -> Counts:
    """Several sums as one."""
    made: Counts = {}
    for counts in sums:
        for place, count in counts.items():
            made[place] = made.get(place, 0) + count
    return made


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """Seconds within which this share (0 to 1) of the requests were done; None where there were none.

    By the nearest rank: with ten requests, p99 is the longest of them.
    """
    left = sum(counts.values()) * share
    if not counts:
        return None
    ordered = sorted(counts)
    for place in ordered:
        left -= counts[place]
        if left <= 1e-9:  # a share such as 0.07 has no exact binary form
            return highest(place)
    return highest(ordered[-1])
