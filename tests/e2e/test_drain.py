"""A gateway is stopped under traffic: a load balancer that goes by health loses no request."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.soak.gateway import RealGateway, fill
from tests.soak.traffic import Traffic, answer_of, with_tls
from tests.soak.upstream import Upstream

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def under_traffic(folder: Path, *limits: str, pause: float = 0.0) -> AsyncIterator[tuple[RealGateway, Traffic]]:
    async with Upstream() as upstream:
        gateway = RealGateway(folder, upstream.port, 2, limits=limits, health_path="/healthz")
        tls = with_tls(gateway)
        [key] = await fill(gateway.store, 1)
        with gateway:
            traffic = Traffic(gateway.port, tls, key)
            traffic.start(pause=pause)
            await asyncio.sleep(0.3)
            try:
                yield gateway, traffic
            finally:
                await traffic.stop()


def ended(gateway: RealGateway) -> int:
    return gateway.process.wait(30)


def terminate(gateway: RealGateway) -> None:
    gateway.process.send_signal(signal.SIGTERM)


def management_says(gateway: RealGateway) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(f"{gateway.management}/health", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def test_health_says_so_first_and_who_goes_by_it_loses_nothing(tmp_path: Path) -> None:
    async with under_traffic(tmp_path, "drain_wait: 60s") as (gateway, traffic):
        assert (await answer_of(gateway.port, HEALTH)).startswith(b"HTTP/1.1 200 ")
        terminate(gateway)
        while not (await answer_of(gateway.port, HEALTH)).startswith(b"HTTP/1.1 503 "):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        status, said = await asyncio.to_thread(management_says, gateway)
        assert (status, said["reasons"]) == (503, ["gateway: stopping"])
        # The balancer takes a moment to notice, in which everything is served.
        before, connections = traffic.sent, traffic.connections
        await asyncio.sleep(0.5)
        assert (traffic.sent > before, traffic.connections > connections) == (True, True)
        await traffic.stop()
        assert gateway.process.poll() is None
        terminate(gateway)  # else it would wait for the rest of the minute
        assert await asyncio.to_thread(ended, gateway) == 0
        assert not traffic.faults()
        assert traffic.moved > 8
        assert await answer_of(gateway.port, HEALTH) == b""


async def test_it_ends_by_itself_when_the_wait_is_over(tmp_path: Path) -> None:
    async with under_traffic(tmp_path, "drain_wait: 1s") as (gateway, traffic):
        await traffic.stop()
        began = time.monotonic()
        terminate(gateway)
        assert await asyncio.to_thread(ended, gateway) == 0
        assert time.monotonic() - began >= 1.0
        assert not traffic.faults()


async def test_a_second_sigterm_ends_at_once_also_while_the_first_waits(tmp_path: Path) -> None:
    async with under_traffic(tmp_path, "drain_wait: 60s") as (gateway, traffic):
        traffic.path = b"/soak/hold"
        await asyncio.sleep(0.2)
        terminate(gateway)
        await asyncio.sleep(0.5)
        assert gateway.process.poll() is None
        terminate(gateway)
        assert await asyncio.to_thread(ended, gateway) == 0
