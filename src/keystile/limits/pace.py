"""Floors under rates: a peer that moves bytes more slowly than one holds what others could use.

Law: amounts and instants; no idea of what is counted. Nothing runs for it: whoever looks at all connections
once a second asks here about those that owe bytes just then.

A rate is measured over a whole window, and then anew, so a burst does not pay for a later silence, and a
connection that owes bytes only now and then (we did not read, or had nothing to send) starts afresh.
"""

from __future__ import annotations

from typing import NamedTuple


class Floor(NamedTuple):
    """``rate``: bytes a second; ``window``: seconds over which it is measured, and before which it says nothing."""

    rate: float
    window: float


class Pace:
    """One flow since it began to owe bytes. ``amount`` is any count that grows by one with each byte."""

    __slots__ = ("_amount", "_since")

    def __init__(self, amount: int, now: float) -> None:
        self._amount = amount
        self._since = now

    def is_below(self, floor: Floor, amount: int, now: float) -> bool:
        """Whether less than the floor was moved in a window that is over now; then the next one begins."""
        elapsed = now - self._since
        moved = amount - self._amount
        if elapsed < floor.window and moved >= 0:
            return False
        # A count that has shrunk is another one: more was put on top of what was owed.
        self._amount, self._since = amount, now
        return 0 <= moved < floor.rate * elapsed
