"""A real relay is filled up to its ``max_memory``: whom it refuses, whom it serves, and that it is over by itself.

Law: strangers whose heads do not end fill it, as many as the bytes it has left; nothing of the relay's insides. Memory
of other builds of Python differs, so every number of strangers comes from what /proc says of this one.
"""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.soak.answers import AnswerReader
from tests.soak.client import Client, request
from tests.soak.gateway import RealGateway, fill
from tests.soak.idle import raise_descriptors
from tests.soak.patience import until
from tests.soak.upstream import Upstream

BOUND = 128 << 20
#: Of the bound, how far above it a relay may be seen while strangers send as fast as they can.
MARGIN = 0.1
LONG = 90_000
HEAD = b"GET /soak/now HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * LONG
HEALTH = "/healthz"
LIMITS = (f"max_memory: {BOUND}B", "max_lag: none", "head_timeout: 60s", "max_head_size: 128KiB")
BUSY, QUIET, NEW = "127.0.9.1", "127.0.9.2", "127.0.9.3"
#: One stranger of so many stays when the others go, and keeps its bytes where they are.
STAYS = 10


class Stranger(Client):
    """Whatever it gets, it does not mind."""

    def too_much(self, data: bytes) -> None: ...


class Filling:
    """One gateway of one relay, and those who fill its memory."""

    def __init__(self, gateway: RealGateway, upstream: Upstream, key: bytes) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.key = key
        [self.relay] = gateway.pids()
        self.most = 0
        self.strangers: list[Stranger] = []

    def resident(self) -> int:
        pages = int(Path(f"/proc/{self.relay}/statm").read_text().split()[1])
        found = pages * resource.getpagesize()
        self.most = max(self.most, found)
        return found

    async def come(self) -> None:
        """Half as many strangers again as it has room for, before anybody is refused."""
        for number in range(3 * (BOUND - self.resident()) // LONG // 2):
            self.strangers.append(await Stranger.connect(self.gateway.port, f"127.0.8.{number % 200 + 1}"))

    async def fill(self, part: float, kept: Client) -> None:
        """Have strangers send their heads until the relay has so much of the bound, or all have sent."""
        waiting = [stranger for stranger in self.strangers if not stranger.busy]
        while waiting and self.resident() < part * BOUND:
            for _ in range(10):
                if waiting:
                    waiting.pop().send_bytes(HEAD)
            assert await kept.ask(HEALTH, b"") == 200, "which shows that these were read"

    def newcomer(self, path: str = "/soak/now") -> tuple[int, bytes]:
        """The answer to one call on a connection of its own, and its Retry-After."""
        with socket.create_connection(("127.0.0.1", self.gateway.port), 30, (NEW, 0)) as client:
            client.sendall(request(path, self.key))
            reader, answer = AnswerReader(), None
            while answer is None and (data := client.recv(1 << 16)):
                answer = reader.feed(data)
        assert answer is not None
        return answer.status, answer.field(b"Retry-After")

    async def refused(self, calls: int) -> list[bytes]:
        """What Retry-After said to those of so many newcomers that were refused; the others were served."""
        answers = [await asyncio.to_thread(self.newcomer) for _ in range(calls)]
        assert {status for status, _ in answers} <= {200, 503}
        return [waits for status, waits in answers if status == 503]

    async def health(self) -> str:
        url = f"{self.gateway.management}/health"
        with await asyncio.to_thread(urllib.request.urlopen, url, timeout=20) as answer:
            return str(json.load(answer)["status"])

    async def holds_back(self, name: str, value: int = 1) -> bool:
        """Whether a metric that begins with ``relays_`` gets there."""
        return await until(lambda: self.gateway.metric(f"relays_{name}") == value, 30)

    def leave(self, stays: int = 1) -> None:
        """All strangers but one of so many."""
        for number, stranger in enumerate(self.strangers):
            if number % stays or stays == 1:
                stranger.close()


@asynccontextmanager
async def filling(folder: Path) -> AsyncIterator[Filling]:
    raise_descriptors(4 * BOUND // LONG)
    async with Upstream() as upstream:
        [key] = await fill(folder / "keystile.db", 1)
        with RealGateway(folder, upstream.port, 1, limits=LIMITS, health_path=HEALTH) as gateway:
            work = Filling(gateway, upstream, key)
            yield work
            work.leave()
            await asyncio.sleep(0.1)  # or their ends would go out after the gateway has waited for them


async def test_a_relay_at_its_bound_refuses_in_turn_and_recovers_by_itself(tmp_path: Path) -> None:
    async with filling(tmp_path) as work:
        gateway, key = work.gateway, work.key
        holding, busy, quiet = [await Client.connect(gateway.port, source) for source in (BUSY, BUSY, QUIET)]
        held = asyncio.ensure_future(holding.ask("/soak/hold", key))
        assert await until(lambda: bool(work.upstream.held), 30)
        await work.come()

        await work.fill(0.88, quiet)
        assert await work.holds_back("holding_back")
        refused = await work.refused(10)
        assert len(refused) >= 5
        assert all(int(waits) > 0 for waits in refused)
        assert [await client.ask("/soak/now", key) for client in (busy, quiet)] == [200, 200]

        await work.fill(2, quiet)
        assert await work.holds_back("shedding")
        assert await busy.ask("/soak/now", key) == 503
        assert busy.answer is not None
        assert int(busy.answer.field(b"Retry-After")) > 0
        assert await quiet.ask("/soak/now", key) == 200
        assert len(await work.refused(10)) >= 5
        assert (await asyncio.to_thread(work.newcomer, HEALTH))[0] == await quiet.ask(HEALTH, b"") == 200
        assert await work.health() == "degraded", "and it answers"
        work.resident()
        assert work.most < (1 + MARGIN) * BOUND
        # Counted four times a second, and cut when it is looked at.
        assert await until(lambda: gateway.metric("connections_cut_for_memory_total") > 0, 30)

        work.leave(STAYS)
        assert await work.holds_back("holding_back", 0)
        assert await work.refused(20) == []
        assert [await client.ask("/soak/now", key) for client in (busy, quiet)] == [200, 200]
        assert work.upstream.release(BUSY) == 1
        assert await held == 200, "it was admitted"
        assert gateway.slots_left(10) == 0
        assert gateway.pids() == [work.relay]
