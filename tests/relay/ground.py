"""Groups of servers without sockets: pools that connect when told to, a clock that is set, exchanges that remember.

Everything of ``relay/`` that chooses servers is real; only what it would send stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keystile.config.model import Server, Upstream
from keystile.relay.balance import class_for, needs_counts
from keystile.relay.exchange import Exchange
from keystile.relay.member import Member
from keystile.relay.refusal import Refusal
from keystile.relay.search import Search
from keystile.relay.upstreams import UpstreamGroup
from keystile.wire.pool import Pool
from keystile.wire.upstream import UpstreamConnection

#: What is tried on this ground; with compiled parts, whole gateways try the same (test_reaching.py, tests/e2e).
of_the_source = pytest.mark.source_only("its connections and pools stand in the place of compiled ones")


class Held(UpstreamConnection):
    """A connection to nobody; ``ready`` says whether it may be used again."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.transport = cast(Any, SimpleNamespace(abort=lambda: None, is_closing=lambda: False))
        self.ended = False

    def silent(self) -> bool:
        return True

    def abort(self) -> None:
        self.ended = True
        super().abort()


class Still(Pool):
    """Connects at once where ``fails`` is None; ``may`` holds it up."""

    def __init__(self, host: str, port: int, timeout: float, *, counts: bool = False) -> None:
        super().__init__(host, port, timeout, counts=counts)
        self.fails: OSError | None = None
        self.may = asyncio.Event()
        self.may.set()
        self.asked = 0

    async def _connect(self) -> UpstreamConnection:
        self.asked += 1
        await self.may.wait()
        if self.fails is not None:
            raise self.fails
        return Held(self)


class Ground:
    """A group of servers ``a``, ``b`` … with these settings; ``now`` is its clock."""

    def __init__(self, servers: int | tuple[Server, ...] = 2, **settings: Any) -> None:
        self.now = 1000.0
        if isinstance(servers, int):
            servers = tuple(Server("abcdefgh"[at], 80) for at in range(servers))
        self.rules = Upstream("api", servers, **settings)
        self.loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[None]] = set()
        self.recorder = SimpleNamespace(retried_elsewhere=0, upstream_opened=0, upstream_connect_failures=0)
        counts = needs_counts(self.rules)
        self.members = [Member(each, Still(each.host, each.port, 1.0, counts=counts), self.rules) for each in servers]
        self.group: UpstreamGroup = class_for(self.rules)(self.rules, self.members)
        self.group._loop = cast(Any, SimpleNamespace(time=lambda: self.now))
        for member in self.members:
            member.pool.freed = self.group.line.wake

    def pool(self, at: int) -> Still:
        return cast(Still, self.members[at].pool)

    def down(self, at: int) -> None:
        self.pool(at).fails = ConnectionRefusedError("refused")

    def up(self, at: int) -> None:
        self.pool(at).fails = None

    def pass_time(self, seconds: float) -> None:
        """Second by second, as the relay's clock does."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 1.0)
            self.group.tick(self.now)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def ask(self, **how: Any) -> Asking:
        """A request begins; see ``Asking``."""
        asking = Asking(self, **how)
        asking.forward()
        return asking

    async def settled(self) -> None:
        """Let everything happen that can."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def asked(self, **how: Any) -> Asking:
        """One that is done with looking for a server."""
        asking = self.ask(**how)
        await self.settled()
        return asking


class Asking:
    """Stands where an exchange does: ``to`` is where it was sent (names), ``refusal`` why it was not."""

    def __init__(
        self, ground: Ground, method: bytes = b"GET", body: bool = False, key: str = "k", address: bytes = b"12345678"
    ) -> None:
        self.ground = ground
        self.method = method
        self.announces_body = body
        self.key = SimpleNamespace(id=key) if key else None
        self.note = SimpleNamespace(peer=SimpleNamespace(slot=address))
        self.gateway = ground
        self.group = ground.group
        self.search: Search | None = None
        self.upstream: Held | None = None
        self.to: list[str] = []
        self.refusal: Refusal | None = None
        self.answered = self.ended = False
        self.forwarded_at = self.waited = 0.0

    def forward(self) -> None:
        connection = self.group.take(cast(Exchange, self))
        if connection is not None:
            self.send(connection)
        else:
            self.search = Search(cast(Exchange, self), self.group)
            self.search.begin()

    def send(self, connection: UpstreamConnection) -> None:
        self.upstream = cast(Held, connection)
        self.to.append(connection.pool.host)

    def refuse(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self.leave()

    def leave(self) -> None:
        """It ends: its client has gone, or its time is over."""
        self.answered = self.ended = True
        connection, self.upstream = self.upstream, None
        if connection is not None:
            connection.abort()
        elif self.search is not None:
            self.search.leave()

    def answer(self, status: int = 200) -> None:
        """The server answers, and all is over."""
        connection = self.upstream
        assert connection is not None
        if status >= 500 or self.search is not None:
            self.group.answered(self.search, self.group.member_of(connection.pool), well=status < 500)
        self.upstream = None
        self.answered = self.ended = True
        connection.release(clean=True)

    def breaks(self, *, heard: bool = False, sent: bool = False) -> None:
        """Its connection breaks. ``heard``: a byte of the answer had come; ``sent``: some of its body had left."""
        connection, self.upstream = self.upstream, None
        assert connection is not None
        connection.heard = heard
        connection.abort()
        self.search = self.search or Search(cast(Exchange, self), self.group)
        repeatable = not heard and not sent and self.method in (b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS")
        if not self.search.again(connection, repeatable=repeatable):
            self.refuse(Refusal.UPSTREAM_BROKEN)
