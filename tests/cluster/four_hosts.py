"""Four hosts that share one server, the API behind them, and clients: what the measurements of slots run on.

Law: processes and traffic, no judgement.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cluster.ground import Account, Api, Client, Gateway, api
from tests.cluster.pipe import Pipe
from tests.cluster.server import Server, running

ADDRESSES = 3


class Hosts:
    """Four gateways, the API and the server."""

    def __init__(self, gateways: list[Gateway], server: Server, pipes: list[Pipe]) -> None:
        self.gateways, self.server, self.pipes = gateways, server, pipes

    @asynccontextmanager
    async def traffic(self, clients: int, delay: int = 10) -> AsyncIterator[Account]:
        """So many clients for each address, as long as the block lasts."""
        Api.highest.clear()
        account = Account()
        made = [
            Client(f"10.0.0.{at % ADDRESSES + 1}", self.gateways, account, delay) for at in range(clients * ADDRESSES)
        ]
        tasks = [asyncio.create_task(client.run()) for client in made]
        yield account
        for client in made:
            client.stopped = True
        await asyncio.wait(tasks, timeout=20)

    async def sums(self, *names: str) -> list[float]:
        await asyncio.sleep(0.6)  # counters are handed over four times a second
        said = [await gateway.metrics() for gateway in self.gateways]
        return [sum(each.get(f"keystile_{name}", 0.0) for each in said) for name in names]


@asynccontextmanager
async def hosts(rule: str, workers: int = 1) -> AsyncIterator[Hosts]:
    """``rule``: of when_unreachable; ``host`` for slots that each host counts alone."""
    _, upstream = await api()
    gateways: list[Gateway] = []
    with tempfile.TemporaryDirectory(prefix="keystile-slots-") as made, running(_within(made)) as server:
        folder = Path(made)
        pipes = [Pipe(server.port) for _ in range(4)]
        try:
            for at, pipe in enumerate(pipes):
                await pipe.open()
                written = f"{{url: 'valkey://127.0.0.1:{pipe.port}', when_unreachable: {rule}}}"
                gateways.append(Gateway(folder / str(at), "host" if rule == "host" else written, upstream, workers))
            for gateway in gateways:
                await gateway.ready()
            yield Hosts(gateways, server, pipes)
        finally:
            for gateway in gateways:
                gateway.stop()


def _within(folder: str) -> Path:
    made = Path(folder) / "server"
    made.mkdir()
    return made
