"""CPU per request with one relay and with several, from /proc.

Law: measures, in turns, so that a slow minute of the machine hits all alike; judges nothing. The upstream is nginx
and the load wrk where they are installed; otherwise this directory's own, which make fewer requests.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import backend
from bench.processes import Running, free_port

from tests.processor import cpu_of
from tests.soak.client import Client
from tests.soak.gateway import RealGateway, fill
from tests.soak.upstream import Upstream

CONNECTIONS = 64
CAP = 1000
PATH = "/v4/contacts"
DONE = re.compile(r"(\d+) requests in")
BAD = re.compile(r"Non-2xx[^:]*: (\d+)|Socket errors: (.+)")


@dataclass(frozen=True, slots=True)
class Turn:
    """``relays``' and ``all`` processes' CPU, in microseconds for each of so many requests."""

    requests: int
    seconds: float
    relays: float
    all: float


@asynccontextmanager
async def _upstream(directory: Path) -> AsyncIterator[int]:
    if shutil.which("nginx") is None or shutil.which("taskset") is None:
        async with Upstream(CAP) as upstream:
            yield upstream.port
        return
    port = free_port()
    os.chmod(directory, 0o755)  # nginx's worker is another user
    command = backend.command(backend.write_configuration(directory, port))
    core = min(os.sched_getaffinity(0))
    with Running(command, core, directory, "backend") as running:
        await asyncio.to_thread(running.wait_for_answer, port)
        yield port


async def _load(port: int, key: bytes, seconds: float) -> tuple[int, str]:
    """How many requests were answered, and what was wrong with others."""
    if shutil.which("wrk") is None:
        return await _own_load(port, key, seconds)
    process = await asyncio.create_subprocess_exec(
        *("wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{max(1, round(seconds))}s"),
        *("-H", f"X-Api-Key: {key.decode()}", f"http://127.0.0.1:{port}{PATH}"),
        stdout=asyncio.subprocess.PIPE,
    )
    said = (await process.communicate())[0].decode()
    done, bad = DONE.search(said), BAD.search(said)
    assert done is not None, said
    return int(done[1]), bad[0] if bad else ""


async def _own_load(port: int, key: bytes, seconds: float) -> tuple[int, str]:
    end = time.monotonic() + seconds

    async def call() -> int:
        client = await Client.connect(port, "127.0.0.1")
        answered = 0
        while time.monotonic() < end:
            assert await client.ask(PATH, key) == 200
            answered += 1
        client.close()
        return answered

    return sum(await asyncio.gather(*(call() for _ in range(CONNECTIONS)))), ""


def _used(gateway: RealGateway) -> tuple[float, float]:
    used = {pid: cpu_of(pid) for role in ("supervisor", "management", "relay") for pid in gateway.pids(role)}
    return sum(used[pid] for pid in gateway.pids()), sum(used.values())


async def turn(gateway: RealGateway, key: bytes, seconds: float) -> Turn:
    """One load on one gateway."""
    before, began = _used(gateway), time.monotonic()
    requests, bad = await _load(gateway.port, key, seconds)
    after = _used(gateway)
    assert not bad, bad
    relays, every = ((later - earlier) / requests * 1e6 for earlier, later in zip(before, after, strict=True))
    return Turn(requests, time.monotonic() - began, relays, every)


async def measure(rounds: int, seconds: float, relays: list[int], directory: Path) -> dict[int, list[Turn]]:
    """So many turns for each number of relays; all gateways run all the time, one at a time is loaded."""
    turns: dict[int, list[Turn]] = {count: [] for count in relays}
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(_upstream(directory))
        gateways = {}
        for count in relays:
            place = directory / f"{count}"
            place.mkdir()
            [key] = await fill(place / "keystile.db", 1)
            gateways[count] = (stack.enter_context(RealGateway(place, port, count, CAP)), key)
        for number in range(rounds):
            for count in relays if number % 2 == 0 else relays[::-1]:
                turns[count].append(await turn(*gateways[count], seconds))
    return turns


async def main(rounds: int, seconds: float, relays: list[int]) -> tuple[list[dict[str, object]], list[str]]:
    """Rows for the table; nothing here is a fault."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        turns = await measure(rounds, seconds, relays, Path(directory))
    first = turns[relays[0]]
    rows: list[dict[str, object]] = []
    for count in relays:
        these = turns[count]
        ratios = [one.relays / other.relays for one, other in zip(these, first, strict=True)]
        rows.append(
            {
                "relays": count,
                "µs CPU/request, relays": median(one.relays for one in these),
                "all processes": median(one.all for one in these),
                f"to {relays[0]} (paired)": f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
                "requests/s": median(one.requests / one.seconds for one in these),
                "turns": json.dumps([round(one.relays, 1) for one in these]),
            }
        )
    return rows, []
