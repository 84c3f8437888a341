"""What a request does that finds no connection ready: choose a server, connect, wait, and go to another.

Law: each step is decided at once and then done; a request that has ended meanwhile goes no further. It goes to each
server at most once for being unreachable (nothing was sent), and is sent again only if it is idempotent, nothing of
its body has left and no byte of an answer has come: once on a new connection where a kept one had been closed
meanwhile (RFC 9112 section 9.3.1), and to other servers as ``retries`` allows.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING

from keystile.limits.descriptors import EXHAUSTED
from keystile.relay.member import Member
from keystile.relay.refusal import Refusal
from keystile.wire.grammar import IDEMPOTENT
from keystile.wire.upstream import UpstreamConnection

if TYPE_CHECKING:
    from keystile.relay.exchange import Exchange
    from keystile.relay.line import Line
    from keystile.relay.upstreams import UpstreamGroup


log = logging.getLogger("keystile.relay")


class Search:
    """Of one exchange. ``sent``: how often its head has been sent again."""

    __slots__ = ("_elsewhere", "_fresh", "_refusal", "began", "exchange", "group", "line", "sent", "trial", "tried")

    def __init__(self, exchange: Exchange, group: UpstreamGroup) -> None:
        self.exchange = exchange
        self.group = group
        #: Since when it waits: monotonic seconds, as if it had waited all at once.
        self.began = (exchange.forwarded_at or monotonic()) - exchange.waited
        self.tried: list[Member] = []
        #: The server that this request is trying, until there is an answer.
        self.trial: Member | None = None
        #: Where it waits.
        self.line: Line | None = None
        self.sent = 0
        self._elsewhere = 0
        self._fresh = False  # a kept connection has failed it: the next one must be new
        self._refusal: Refusal | None = None  # why the last server could not serve it

    @property
    def may_try(self) -> bool:
        """Whether it may be the one that finds out if a server is well: it can be sent again."""
        return self.exchange.method in IDEMPOTENT and not self.exchange.announces_body

    def begin(self) -> None:
        """Decide now, behind those who wait already."""
        if self.group.line:
            self.go_to(Refusal.SERVERS_BUSY, may_wait=True)
        else:
            self.go()

    def go(self) -> None:
        """Decide now."""
        self.go_to(self.group.choose(self), may_wait=True)

    def go_to(self, found: Member | Refusal, *, may_wait: bool = False) -> None:
        """Do what has been decided."""
        exchange = self.exchange
        if isinstance(found, Refusal):
            if not (may_wait and found is Refusal.SERVERS_BUSY and self.group.line.enter(self)):
                self._refuse(found)
            return
        found.asked += 1
        connection = None if self._fresh or self.trial is found else found.pool.take()
        if connection is not None:
            self._send(connection)
        else:
            found.pool.reserve()
            exchange.gateway.spawn(self._connect(found))

    def _refuse(self, why: Refusal) -> None:
        if why is Refusal.NO_SERVER and self._refusal is not None:
            why = self._refusal
        elif why is Refusal.NO_SERVER:
            self.group.say_none()
        self.exchange.refuse(why)

    async def _connect(self, member: Member) -> None:
        try:
            await self._connect_to(member)
        except Exception:
            # Memory that ran out above all: the request ends all the same, and its slot goes back.
            log.exception("request %s failed on its way to %s", self.exchange.request_id.decode("ascii"), member.name)
            self.exchange.refuse(Refusal.INTERNAL_ERROR)

    async def _connect_to(self, member: Member) -> None:
        try:
            connection = await member.pool.connect()
        except OSError as error:
            self._failed(member, error)
        else:
            self._connected(member, connection)
        finally:
            member.pool.unreserve()

    def _connected(self, member: Member, connection: UpstreamConnection) -> None:
        self.exchange.gateway.recorder.upstream_opened += 1
        self.group.connected(self, member)
        if self.exchange.answered or self.exchange.ended:
            connection.release(clean=True)
        else:
            self._send(connection)

    def _send(self, connection: UpstreamConnection) -> None:
        exchange = self.exchange
        exchange.send(connection)
        exchange.waited = exchange.forwarded_at - self.began

    def _failed(self, member: Member, error: OSError) -> None:
        """Nothing was sent: the next server may take it, whatever it is."""
        if error.errno in EXHAUSTED:
            self._lacks(member)
            return
        self.exchange.gateway.recorder.upstream_connect_failures += 1
        self._refusal = Refusal.CONNECT_TIMEOUT if isinstance(error, TimeoutError) else Refusal.UPSTREAM_UNREACHABLE
        self.tried.append(member)
        self.group.connect_failed(self, member)
        if not (self.exchange.answered or self.exchange.ended):
            self.go()

    def _lacks(self, member: Member) -> None:
        """What there is none of is this relay's: no server is left out for it, and none can be reached."""
        if self.trial is member:
            self.group.connect_failed(self, member)  # or nobody could try it again
        if not (self.exchange.answered or self.exchange.ended):
            self.exchange.refuse(Refusal.OVERLOADED)

    def again(self, connection: UpstreamConnection, *, repeatable: bool) -> bool:
        """Its connection broke. Send it again where that may be; False where not. ``repeatable``: it could be."""
        member = self.group.member_of(connection.pool)
        kept = connection.reused and not connection.heard
        if kept and repeatable and not self._fresh:
            self._fresh = True
        else:
            if not kept or self._fresh:
                self.group.answered(self, member, well=False)
            self.tried.append(member)
            if not (repeatable and self._elsewhere < self.group.rules.retries.attempts):
                return False
            if not self.group.may_go_elsewhere(self):
                return False
            self._elsewhere += 1
            self.exchange.gateway.recorder.retried_elsewhere += 1
        self._refusal = Refusal.UPSTREAM_BROKEN
        self.sent += 1
        self.go()
        return True

    def leave(self) -> None:
        """The exchange is ending: it waits no more."""
        if self.line is not None:
            self.line.leave(self)

    def change_to(self, group: UpstreamGroup) -> None:
        """Another configuration's servers are the ones to wait for."""
        self.group = self.exchange.group = group
        tried = {member.pool for member in self.tried}
        self.tried = [member for member in group.members if member.pool in tried]
