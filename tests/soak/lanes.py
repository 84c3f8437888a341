"""Connections to every relay, and keys that are called on all of them without a pause.

Law: it calls and judges. Every call belongs to one ``Watch``, whose ``must`` says what calls that begin from now on
have to be answered; a call remembers what was asked of it when it began. All in one loop: between setting ``must``
and writing a request nothing else can happen.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from tests.soak.client import Client
from tests.soak.gateway import RealGateway
from tests.soak.patience import until

PATH = "/soak/now"
GAP = 0.001
"""Seconds between two calls on one connection: enough calls, and not the whole machine."""


@dataclass(eq=False)
class Watch:
    """A key in use. ``must`` None: while it is being changed, either answer is right."""

    key: bytes
    must: int | None = 200
    admitted: Counter[bytes] = field(default_factory=Counter)
    calls: int = 0
    after: int = 0
    refused: int = 0
    wrong: Counter[str] = field(default_factory=Counter)

    def judge(self, relay: bytes, status: int, must: int | None) -> None:
        """Count one answer, to a call that began when ``must`` was asked."""
        if must == 200 and self.must != 200:
            must = None  # the change began while the call was under way
        self.calls += 1
        if status == 200:
            self.admitted[relay] += 1
        else:
            self.refused += 1
        if must is not None:
            self.after += must != 200
            if status != must:
                self.wrong[f"{status} instead of {must}"] += 1


class Lanes:
    """``each`` busy and one idle connection to every relay, from ``source``."""

    def __init__(self, gateway: RealGateway, source: str, each: int = 2) -> None:
        self._gateway = gateway
        self._source = source
        self._each = each
        self._busy: list[Client] = []
        self._idle: list[Client] = []
        self._at: dict[Client, int] = {}
        self._running = False
        self.relays: list[bytes] = []
        self.watched: list[Watch] = []

    async def open(self, key: bytes) -> None:
        """Connect until every relay has its share; raises TimeoutError when some relay never answers."""
        found: dict[bytes, list[Client]] = {}
        async with asyncio.timeout(30):
            while len(found) < self._gateway.workers or min(map(len, found.values())) <= self._each:
                client = await Client.connect(self._gateway.port, self._source)
                assert await client.ask(PATH, key) == 200
                mine = found.setdefault(client.relay, [])
                if len(mine) <= self._each:
                    mine.append(client)
                else:
                    client.close()
        self.relays = list(found)
        self._idle = [mine[0] for mine in found.values()]
        self._busy = [client for mine in found.values() for client in mine[1:]]

    def start(self) -> None:
        """Call the watched keys in turn, on every busy connection, until ``close``."""
        self._running = True
        for number, client in enumerate(self._busy):
            self._at[client] = number
            self._next(client)

    def _next(self, client: Client) -> None:
        if not self._running:
            return
        if not self.watched:
            asyncio.get_running_loop().call_later(0.001, self._next, client)
            return
        at = self._at[client] = self._at[client] + 1
        watch = self.watched[at % len(self.watched)]
        must = watch.must

        def done(answered: Client, status: int) -> None:
            watch.judge(answered.relay, status, must)
            asyncio.get_running_loop().call_later(GAP, self._next, answered)

        client.done = done
        client.send(PATH, watch.key)

    def probe(self, watch: Watch) -> asyncio.Future[None]:
        """Write a call to every relay now, in this very turn; done when all are judged."""
        must = watch.must
        loop = asyncio.get_running_loop()
        all_done: asyncio.Future[None] = loop.create_future()
        waiting = set(self._idle)

        def done(answered: Client, status: int) -> None:
            watch.judge(answered.relay, status, must)
            waiting.discard(answered)
            if not waiting:
                all_done.set_result(None)

        for client in self._idle:
            client.done = done
            client.send(PATH, watch.key)
        return all_done

    async def in_use(self, watch: Watch) -> None:
        """Wait until every relay has admitted the key."""
        if not await until(lambda: len(watch.admitted) >= len(self.relays), 10):
            raise TimeoutError(f"admitted by {len(watch.admitted)} of {len(self.relays)} relays")

    def close(self) -> None:
        """Hang up."""
        self._running = False
        for client in (*self._busy, *self._idle):
            client.close()
