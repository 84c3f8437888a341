"""How many of one address were there at each moment: for judges, who know only when each began and ended."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Crowd:
    """How many of one address there were at each moment."""

    def __init__(self, spans: list[tuple[float, float]]) -> None:
        steps = sorted(step for began, ended in spans for step in ((began, 1), (ended, -1)))
        self._moments = [at for at, _ in steps]
        self._counts: list[int] = []
        now = 0
        for _, step in steps:
            now += step
            self._counts.append(now)

    def most(self, began: float, ended: float) -> int:
        """How many there were at the moment between these when most were."""
        first = max(0, bisect_left(self._moments, began) - 1)
        return max(self._counts[first : bisect_right(self._moments, ended)], default=0)
