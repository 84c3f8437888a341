"""The servers behind the gateway, upstream by upstream; and its own management process.

Law: which servers of an upstream are used, and what each event does to that. In which order they are used stands in
``balance.py``, what a request does that has no connection at once in ``search.py``. What is sent is not known here.

A request asks ``take`` for a connection. That is all there is on the way of most, so what it looks at is arranged
beforehand, whenever something changes: nothing is asked of a server's state at a request.
"""

from __future__ import annotations

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from keystile.config.model import MANAGEMENT_UPSTREAM, Server, Upstream
from keystile.limits.breaker import Breaker, State
from keystile.limits.budget import Budget
from keystile.limits.servers import DOWN, Said
from keystile.relay.line import Line
from keystile.relay.member import NO_POOL, Member
from keystile.relay.refusal import Refusal
from keystile.wire import unix
from keystile.wire.pool import Pool, UnixPool
from keystile.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from keystile.relay.exchange import Exchange
    from keystile.relay.search import Search

log = logging.getLogger("keystile.relay")

#: Seconds between two lines that say that no server of an upstream is used.
SAY_AGAIN_AFTER: Final = 60.0
#: Intervals of health checks after which what they said is forgotten: management has been gone for long.
BELIEVED_FOR: Final = 5


class UpstreamGroup(ABC):
    """What answers under one name. ``host_field``: what is sent to all of its servers as Host.

    ``is_management``: it is the gateway's own management process, which is told more of who calls. ``made_of``:
    what it was made of.
    """

    is_management = False
    made_of: object = None

    def __init__(self, rules: Upstream, members: Sequence[Member]) -> None:
        self.name = rules.name
        self.quoted_name = json.dumps(rules.name).encode("ascii")
        self.rules = rules
        self.members = list(members)
        self.host_field = host_field(rules.servers[0]) if rules.servers else b""
        self.preserves_host = rules.host_field == "preserve"
        self.line = Line(rules.queue)
        self.usable: list[Member] = []
        #: A server that was left out should be tried: the next request that can do that decides the long way.
        self.trial_due = False
        self.opened = 0
        self._budget = Budget(rules.retries.budget)
        self._loop = asyncio.get_running_loop()
        self._silent_until = float("-inf")
        self._heard_at = self._loop.time()
        self._restless = False
        for member in self.members:
            member.pool.freed = self.line.wake
        self.refresh()

    # -- which server ---------------------------------------------------------------------------------

    @abstractmethod
    def take(self, exchange: Exchange) -> UpstreamConnection | None:
        """A connection that is ready, to the server whose turn it is; None where it takes longer to say."""

    @abstractmethod
    def order(self, exchange: Exchange) -> Iterable[Member]:
        """Those that are used, each once, in the order in which this request should go to them."""

    @abstractmethod
    def arrange(self, now: float) -> None:
        """Prepare ``take`` and ``order`` for what is ``usable`` now, and ``trial_due``."""

    def choose(self, search: Search) -> Member | Refusal:
        """The server for a request that has been to ``search.tried``; or why there is none. Begins a trial."""
        now = self._loop.time()
        if self.trial_due and search.may_try and (member := self._on_trial(search, now)):
            return member
        full = False
        for member in self.order(search.exchange):
            if member not in search.tried:
                if member.has_room:
                    return member
                full = True
        if full:
            return Refusal.SERVERS_BUSY
        # It would be refused: then it loses nothing by being the one that tries, whatever it is.
        return self._on_trial(search, now) or Refusal.NO_SERVER

    def _on_trial(self, search: Search, now: float) -> Member | None:
        for member in self.members:
            if member.wants_trial(now) and member not in search.tried:
                assert member.breaker is not None
                member.breaker.begin_trial(now)
                search.trial = member
                self.refresh()
                return member
        return None

    def may_go_elsewhere(self, search: Search) -> bool:
        """Whether a request may be sent again, to another server; then that is counted."""
        others = any(member not in search.tried and member.has_room for member in self.usable)
        return others and self._budget.spend(self._loop.time(), sum(member.asked for member in self.members))

    def member_of(self, pool: Pool) -> Member:
        """Whose connections these are."""
        return next(member for member in self.members if member.pool is pool)

    # -- what happens to a server -----------------------------------------------------------------------

    def connect_failed(self, search: Search, member: Member) -> None:
        """No connection could be made."""
        breaker, now = member.breaker, self._loop.time()
        if breaker is None:
            return
        if search.trial is member:
            self._end_trial(search, member, breaker, well=False)
        elif breaker.connect_failed(now):
            member.left_out_for_errors = False
            self._leave_out(member, breaker, f"{breaker.rules.connect_failures} connections in a row could not be made")

    def connected(self, search: Search, member: Member) -> None:
        """A connection has been made: nobody has to wait for an answer to know that it can be reached."""
        breaker = member.breaker
        if breaker is None:
            return
        breaker.connected()
        if breaker.state is not State.CLOSED and not member.left_out_for_errors:
            self._end_trial(search, member, breaker, well=True)

    def answered(self, search: Search | None, member: Member, *, well: bool) -> None:
        """An answer has begun; ``well`` False: it is an error, or there will be none."""
        breaker = member.breaker
        if breaker is None:
            return
        if search is not None and search.trial is member:
            self._end_trial(search, member, breaker, well=well)
        elif not well:
            self._error(member, breaker)

    def _error(self, member: Member, breaker: Breaker) -> None:
        """One caller's errors should not shut out all: the last server stays, unless the settings say otherwise."""
        breaker.error()
        rules, now = breaker.rules, self._loop.time()
        if breaker.too_many(now, member.asked) and (rules.even_the_last or self.usable != [member]):
            breaker.open(now)
            member.left_out_for_errors = True
            share = f"{rules.errors:.0%} of its answers within {rules.within:g} s"
            self._leave_out(member, breaker, f"{share} were errors, or there were none")

    def _leave_out(self, member: Member, breaker: Breaker, why: str) -> None:
        self.opened += 1
        log.warning("upstream %s: %s is left out for %g s: %s", self.name, member.name, breaker.stays_open_for, why)
        self.refresh()

    def _end_trial(self, search: Search, member: Member, breaker: Breaker, *, well: bool) -> None:
        search.trial = None
        now = self._loop.time()
        if breaker.end_trial(now, member.asked, well=well):
            member.back_since = now
            log.warning("upstream %s: %s is used again", self.name, member.name)
        self.refresh()

    def refresh(self) -> None:
        """See anew which servers are used; who waits for one is told."""
        now = self._loop.time()
        self.usable = [member for member in self.members if member.usable]
        self.trial_due = any(member.wants_trial(now) for member in self.members)
        self.arrange(now)
        self._restless = len(self.usable) < len(self.members) or any(
            member.back_since is not None for member in self.members
        )
        self.line.wake()

    # -- by the clock -----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Once a second: unused connections, what counts no more, shares that grow, trials that are due."""
        for member in self.members:
            member.pool.close_unused(now)
            if member.breaker is not None:
                member.breaker.look(now, member.asked)
        self._budget.look(now, sum(member.asked for member in self.members))
        if self._restless:
            self.refresh()

    def hear(self, said: Said | None, first: int) -> None:
        """What the health checks say; this upstream's servers begin at ``first``. None: nothing of this configuration.

        What they said last holds for a while, and then nothing is known: a server of which nothing is known is used.
        """
        check = self.rules.health_check
        if check is None:
            return
        now, patience = self._loop.time(), BELIEVED_FOR * check.interval
        if said is not None and said.age <= patience:
            self._heard_at = now
            states = said.states[first : first + len(self.members)]
        elif now - self._heard_at > patience:
            states = b""
        else:
            return
        down = [at < len(states) and states[at] == DOWN for at in range(len(self.members))]
        if down != [member.checked_down for member in self.members]:
            for member, is_down in zip(self.members, down, strict=True):
                if member.checked_down and not is_down:
                    self._well_again(member, now)
                member.checked_down = is_down
            self.refresh()

    def _well_again(self, member: Member, now: float) -> None:
        """The checks say so: it need not be tried, and begins slowly."""
        member.back_since = now
        if member.breaker is not None:
            member.breaker.close(now, member.asked)

    def say_none(self) -> None:
        """No server is used: said once a minute, however many requests are refused for it."""
        now = self._loop.time()
        if now >= self._silent_until:
            self._silent_until = now + SAY_AGAIN_AFTER
            log.error("upstream %s: none of its %d servers can be used now", self.name, len(self.members))

    # -- another configuration, and the end -----------------------------------------------------------

    def hand_over_to(self, other: UpstreamGroup | None) -> None:
        """``other`` stands in this one's place: connections that it does not go on with end after their use."""
        kept = [] if other is None else [member.pool for member in other.members]
        for member in self.members:
            if member.pool not in kept:
                member.pool.close()
        if other is not None:
            self.line.move_to(other)

    def close(self) -> None:
        """Close every unused connection, and each other one when it has been used."""
        for member in self.members:
            member.pool.close()


class OneServer(UpstreamGroup):
    """The one server, and nothing to count: it costs one look at its idle connections."""

    _ready: Pool

    def take(self, exchange: Exchange) -> UpstreamConnection | None:
        """A connection to it."""
        return self._ready.take()

    def order(self, exchange: Exchange) -> Iterable[Member]:
        """It, or nobody."""
        return self.usable

    def arrange(self, now: float) -> None:
        """While it is not used there is no connection."""
        self._ready = self.usable[0].pool if self.usable else NO_POOL


class ManagementGroup(OneServer):
    """The management process of the gateway on this ``store``, behind its Unix socket."""

    is_management = True

    def __init__(self, store: Path, connect_timeout: float) -> None:
        path = unix.beside(store, MANAGEMENT_UPSTREAM)
        server = Server("localhost", 0, unix=path)
        rules = Upstream(MANAGEMENT_UPSTREAM, (server,), breaker=None)
        super().__init__(rules, [Member(server, UnixPool(path, connect_timeout), rules)])
        self.host_field = MANAGEMENT_UPSTREAM.encode("ascii")


def host_field(server: Server) -> bytes:
    """A server's own name, as a Host field has it."""
    if server.unix is not None:
        return b"localhost"
    usual = 443 if server.tls else 80
    return (server.address.removesuffix(f":{usual}") if server.port == usual else server.address).encode("ascii")
