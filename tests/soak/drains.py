"""Gateways that are stopped under traffic, one after the other, while another one takes it: no request may fail.

Law: measures; every request that is sent ends in exactly one count. Two gateways stand behind a balancer that asks for
their health, as all balancers do, and sends new connections to the one that is ready. The one that serves is told to
stop (SIGTERM), ends, and is started again; then it is the other one's turn.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.gateway import RealGateway, fill
from tests.soak.traffic import Traffic, answer_of, with_tls
from tests.soak.upstream import Upstream

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
ASKED_EVERY = 0.1
"""Seconds between two questions of the balancer."""
WAIT = "2s"
"""``drain_wait``: what the balancer needs, with much to spare."""
ENDED_WITHIN = 60.0


@dataclass
class Found:
    """What was counted. ``codes``: with which the gateways ended."""

    traffic: Traffic
    drains: int = 0
    codes: list[int] = field(default_factory=list)
    took: list[float] = field(default_factory=list)

    def faults(self) -> list[str]:
        """What should not have been."""
        odd = [code for code in self.codes if code]
        return [*self.traffic.faults(), *([f"gateways ended with {odd}"] if odd else [])]

    def row(self) -> dict[str, object]:
        """For the table."""
        took = sorted(self.took) or [0.0]
        return {
            "drains": self.drains,
            "one drain, median s": took[len(took) // 2],
            "requests sent": self.traffic.sent,
            "answered with 200": self.traffic.statuses[200],
            "failed": self.traffic.failed,
            "connections": self.traffic.connections,
            "answers that ended their connection": self.traffic.moved,
        }


async def balance(traffic: Traffic, ports: list[tuple[int, int]]) -> None:
    """Send new connections to the first gateway that is ready, beginning with the one that has them."""
    while True:
        now = (traffic.port, traffic.tls)
        for plain, tls in sorted(ports, key=lambda each: each != now):
            if (await answer_of(plain, HEALTH)).startswith(b"HTTP/1.1 200 "):
                traffic.port, traffic.tls = plain, tls
                break
        await asyncio.sleep(ASKED_EVERY)


async def drain(gateway: RealGateway) -> int:
    """Have it end; its exit code."""
    process = gateway.process
    process.send_signal(signal.SIGTERM)
    return await asyncio.to_thread(process.wait, ENDED_WITHIN)


async def soak(count: int, folder: Path, calm: float = 0.005) -> Found:
    """So many drains while callers call, each with a pause of ``calm`` seconds; what was counted."""
    async with Upstream() as upstream:
        gateways = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            wait = (f"drain_wait: {WAIT}",)
            gateways.append(RealGateway(folder / name, upstream.port, 1, limits=wait, health_path="/healthz"))
        tls = [with_tls(gateway) for gateway in gateways]
        ports = [(gateway.fix_port(), port) for gateway, port in zip(gateways, tls, strict=True)]
        [key] = await fill(gateways[0].store, 1)
        shutil.copy(gateways[0].store, gateways[1].store)
        with gateways[0], gateways[1]:
            found = Found(Traffic(*ports[0], key))
            balancing = asyncio.ensure_future(balance(found.traffic, ports))
            found.traffic.start(pause=calm)
            for turn in range(count):
                await asyncio.sleep(0.5)
                began = time.monotonic()
                found.codes.append(await drain(gateways[turn % 2]))
                found.took.append(time.monotonic() - began)
                found.drains += 1
                await asyncio.to_thread(gateways[turn % 2].start)
            await found.traffic.stop()
            balancing.cancel()
            return found


async def main(count: int) -> tuple[list[dict[str, object]], list[str]]:
    """The row of the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await soak(count, Path(directory))
    return [found.row()], found.faults()
