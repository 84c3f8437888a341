"""Memory near its bound (``limits.max_memory``): it is weighed, and what can be is given back.

Law: ``limits/overload.py`` says what memory means for connections and requests; here is what makes it less. Whoever is
admitted and reads and sends at the pace that is asked for stays, until the bound itself is passed.

In this order:

* What is free goes back to the system. The C library keeps free memory that lies below memory in use: after 1,500
  strangers with heads of 31 KB had left but for 35, all 47 MB of theirs stayed resident, and new connections would have
  been refused for ever. malloc_trim(3) gives it back: 3 ms for 45 MB, 0.06 ms where there is little.
* Above the bound those are cut for whom most is held (as by ``max_buffered``), for as many bytes as there are too many.
  Only where that can help: of a bound that is below what the relay itself needs, no caller is to blame.
* Where it is not what is held for peers that fills it, connections do, and idle ones are closed, some at a time. A
  caller whose connection is closed here cannot come again until memory is free: so not before the others.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from keystile.limits.heap import trim
from keystile.limits.overload import MEMORY_EASED, Level, Overload

if TYPE_CHECKING:
    from keystile.relay.gateway import Gateway

#: Seconds between two times that free memory is given back below the bound, and between two attempts above it once one
#: was in vain. While they help they come at every look: strangers fill 100 MB in a second.
TRIM_SECONDS: Final = 1.0
#: Seconds between two times that idle connections are closed.
CLOSE_SECONDS: Final = 5.0
#: What part of the connections is closed at a time, of those that are idle.
CLOSED_PART: Final = 8


class Relief:
    """Of one gateway. ``weigh`` tells its memory in bytes."""

    def __init__(self, gateway: Gateway, weigh: Callable[[], int]) -> None:
        self.gateway = gateway
        self.weigh = weigh
        self._trimmed = self._in_vain = self._closed = float("-inf")

    def look(self, rules: Overload, bound: int, now: float) -> None:
        """Weigh (8 µs), and give back what can be; ``rules`` hear what is left. ``now``: seconds, monotonic."""
        weight = self.weigh()
        since = self._in_vain if weight > bound else self._trimmed
        if (weight > bound or rules.by_memory) and now - since >= TRIM_SECONDS:
            self._trimmed = now
            trim()
            weight = self.weigh()
            if weight > bound:
                if self._cut(weight - bound):
                    rules.weigh(weight)
                    return  # what that has given back is known at the next look
                self._in_vain = now
        rules.weigh(weight)
        if rules.by_memory == Level.SHEDDING and now - self._closed >= CLOSE_SECONDS:
            self._closed = now
            if self._held() < weight - MEMORY_EASED * bound:
                self._close_idle()

    def _held(self) -> int:
        return sum(client.held_bytes() for client in self.gateway.connections)

    def _cut(self, too_much: int) -> bool:
        """Cut the greediest where that can help; whether it can."""
        if self._held() < too_much:
            return False
        self.gateway.looks.cut_greediest(too_much)
        return True

    def _close_idle(self) -> None:
        connections = self.gateway.connections
        idle = [client for client in connections if client.is_idle()]
        for client in idle[: len(connections) // CLOSED_PART + 1]:
            client.close_if_idle()
        gc.collect()
