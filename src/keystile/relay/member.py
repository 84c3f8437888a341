"""One server of an upstream, as this relay sees it: its connections, its share, and whether it is used.

Law: what is known of one server. Which one is next is ``upstreams.py``'s and ``balance.py``'s; what management's health
checks say is heard here, and never asked for.
"""

from __future__ import annotations

import json
from typing import Final

from keystile.config.model import Server, Upstream
from keystile.limits.breaker import Breaker, State
from keystile.limits.servers import DOWN, TRIED, UP
from keystile.wire.pool import Pool
from keystile.wire.upstream import UpstreamConnection

#: The share with which a server that comes back begins (``slow_start``).
FIRST_SHARE: Final = 0.1

_SAID: Final = {State.CLOSED: UP, State.OPEN: DOWN, State.TRIED: TRIED}


class Member:
    """``made_of``: what its connections depend on; ``before``: the same server's in the last configuration.

    ``asked`` counts the requests that went to it, but for those of an upstream with nothing to count for.
    """

    __slots__ = (
        "asked",
        "back_since",
        "breaker",
        "cap",
        "checked_down",
        "left_out_for_errors",
        "made_of",
        "name",
        "pool",
        "server",
        "slow_start",
    )

    def __init__(
        self, server: Server, pool: Pool, rules: Upstream, made_of: object = None, before: Member | None = None
    ) -> None:
        self.server = server
        self.name = server.address
        self.pool = pool
        pool.quoted_name = json.dumps(self.name).encode("ascii")
        self.cap = rules.max_in_flight
        self.slow_start = rules.slow_start
        self.made_of = made_of
        self.asked: int = 0 if before is None else before.asked
        #: When it began to be used again; None where it has been all the time.
        self.back_since: float | None = None if before is None else before.back_since
        self.checked_down: bool = before is not None and before.checked_down and rules.health_check is not None
        self.left_out_for_errors: bool = before is not None and before.left_out_for_errors
        kept = None if before is None else before.breaker
        if rules.breaker is None:
            self.breaker: Breaker | None = None
        elif kept is not None and kept.rules == rules.breaker:
            self.breaker = kept
        else:
            self.breaker = Breaker(rules.breaker, self.asked)

    @property
    def usable(self) -> bool:
        """Whether requests go to it."""
        return not self.checked_down and (self.breaker is None or self.breaker.state is State.CLOSED)

    @property
    def has_room(self) -> bool:
        """Whether one more request may be in flight there."""
        return self.cap is None or self.pool.in_flight < self.cap

    @property
    def said(self) -> int:
        """What this relay says of it to others (``limits/servers.py``)."""
        return UP if self.breaker is None else _SAID[self.breaker.state]

    def share(self, now: float) -> float:
        """Its weight; less while it comes back slowly."""
        weight = self.server.weight
        if self.back_since is None:
            return weight
        grown = (now - self.back_since) / self.slow_start if self.slow_start else 1.0
        if grown >= 1.0:
            self.back_since = None
            return weight
        return weight * max(FIRST_SHARE, grown)

    def wants_trial(self, now: float) -> bool:
        """Whether one request should find out if it is well again."""
        return self.breaker is not None and not self.checked_down and self.breaker.wants_trial(now)


class _NoPool(Pool):
    """Where nobody is: it has no connections, and is never asked to make one."""

    def __init__(self) -> None:
        """Without a loop: it belongs to no gateway."""

    def take(self) -> UpstreamConnection | None:
        """None: whoever asks has to decide the long way."""
        return None


NO_POOL: Final = _NoPool()
