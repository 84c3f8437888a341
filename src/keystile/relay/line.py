"""Requests that wait for a server with room (``max_in_flight``, ``queue``).

Law: first come, first served, of one upstream on one relay, and newcomers behind those who wait. Nothing runs while
nobody waits. A request that ends otherwise leaves its place at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystile.config.model import ServerQueue
from keystile.relay.refusal import Refusal

if TYPE_CHECKING:
    from keystile.relay.search import Search
    from keystile.relay.upstreams import UpstreamGroup


class Line:
    """A line of searches, each with the moment until which it waits; in the order of both."""

    def __init__(self, rules: ServerQueue) -> None:
        self.rules = rules
        self._waiting: dict[Search, float] = {}
        self._loop = asyncio.get_running_loop()
        self._serving: asyncio.Handle | None = None
        self._patience: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, search: Search) -> bool:
        """Let it wait; False when as many wait as may."""
        if len(self._waiting) >= self.rules.size:
            return False
        self._wait(search, self._loop.time() + self.rules.wait_up_to)
        return True

    def _wait(self, search: Search, until: float) -> None:
        search.line = self
        self._waiting[search] = until
        if self._patience is None:
            self._patience = self._loop.call_at(until, self._lose_patience)

    def leave(self, search: Search) -> None:
        """It waits no more."""
        search.line = None
        self._waiting.pop(search, None)

    def wake(self) -> None:
        """A server may have room, or none is left: see at the loop's next turn."""
        if self._waiting and self._serving is None:
            self._serving = self._loop.call_soon(self._serve)

    def _serve(self) -> None:
        """Send on whoever can be, from the front."""
        self._serving = None
        while self._waiting:
            search = next(iter(self._waiting))
            found = search.group.choose(search)
            if found is Refusal.SERVERS_BUSY:
                return
            self.leave(search)
            search.go_to(found)

    def _lose_patience(self) -> None:
        """Refuse those that have waited long enough."""
        self._patience = None
        now = self._loop.time()
        for search, until in list(self._waiting.items()):
            if until > now:
                self._patience = self._loop.call_at(until, self._lose_patience)
                return
            self.leave(search)
            search.go_to(Refusal.SERVERS_BUSY)

    def move_to(self, other: UpstreamGroup) -> None:
        """Everybody waits in another's line from now on, for the rest of their time."""
        for search, until in list(self._waiting.items()):
            self.leave(search)
            search.change_to(other)
            other.line._wait(search, until)
        other.line.wake()
