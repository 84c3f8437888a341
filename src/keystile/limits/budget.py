"""How many requests may be sent again: a share of the recent ones, so that retries never multiply an outage.

Law: numbers and a clock that is handed in. Requests are not told one by one: whoever asks knows how many there were.
"""

from __future__ import annotations

from collections import deque
from typing import Final

#: Seconds that count as recent.
RECENT: Final = 10.0
#: Retries within that time that may always be: a share of few requests would be none.
ALWAYS: Final = 3


class Budget:
    """``share`` (0 to 1) of the requests of the last ten seconds; 0 for none at all, not even the few."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._spent: deque[float] = deque()
        self._seen: deque[tuple[float, int]] = deque([(float("-inf"), 0)])

    def look(self, now: float, asked: int) -> None:
        """Once a second: how many requests there were so far."""
        seen = self._seen
        if now - seen[-1][0] >= 1.0:
            seen.append((now, asked))
        while len(seen) > 1 and seen[1][0] <= now - RECENT:
            seen.popleft()

    def spend(self, now: float, asked: int) -> bool:
        """Whether one more may be sent again now; then it counts."""
        self.look(now, asked)
        spent = self._spent
        while spent and spent[0] <= now - RECENT:
            spent.popleft()
        if not self._share or len(spent) >= max(ALWAYS, self._share * (asked - self._seen[0][1])):
            return False
        spent.append(now)
        return True
