"""The shape of a run: how many users there are at which moment.

Law: pure arithmetic over points of (share of the time, share of the users), joined by straight lines; two points
of the same time are a step. What a user does stands elsewhere.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, TypeAlias

Points: TypeAlias = tuple[tuple[float, float], ...]

STEADY: Final[Points] = ((0, 1), (1, 1))
RAMP: Final[Points] = ((0, 0.05), (0.9, 1), (1, 1))
SPIKE: Final[Points] = ((0, 0.1), (0.35, 0.1), (0.35, 1), (0.6, 1), (0.6, 0.1), (1, 0.1))


def users_at(points: Points, share: float, most: int) -> int:
    """Users at this share of the time (0 to 1), of at most so many; at least one."""
    return max(1, min(most, round(most * _height(points, share))))


def _height(points: Points, share: float) -> float:
    if share <= points[0][0]:
        return points[0][1]
    # Backwards, so that a moment at a step already counts as after it.
    for (left, low), (right, high) in reversed(list(pairwise(points))):
        if left <= share and left < right:
            return low + (high - low) * min(1.0, (share - left) / (right - left))
    return points[-1][1]
