"""Slow and greedy clients (slowhttptest's four modes), and what others notice of them.

Law: measures; what is right is judged by ``Slow.faults``. Two gateways run side by side, one attacked and one
not, each with one relay, and the same paced client asks both in turn, so whatever the machine does hits both:
latencies are told as a ratio. The attackers hold a valid key (in the query), so their requests reach as far
as any. The control is asked by the same client at the same time and is not attacked.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from tests.processor import cpu_of
from tests.soak.client import ENDED, Client
from tests.soak.gateway import RealGateway, fill
from tests.soak.idle import raise_descriptors

TOOL = "slowhttptest"
#: Its modes; the letters' meanings are in slowhttptest(1). ``{url}`` holds the key.
MODES = {
    "slow headers": "-H -i 1 -x 24 -t GET",
    "slow body": "-B -i 1 -s 8192 -x 10 -t POST",
    "slow read": "-X -w 1 -y 2 -n 1 -z 1 -k 1",
    "range": "-R -a 10 -b 3000 -t HEAD",
}
PACE = 0.005
"""Seconds between two requests of a paced client."""
CLIENTS = 4
OTHERS = "127.0.2.{}"
LARGE = 4 << 20
#: Ratios above which somebody has noticed, and that is a fault. The machine's own noise stays below.
MOST = {"median": 2.0, "99 %": 4.0}


@dataclass
class Slow:
    """What the others noticed of one mode. ``came``: connections of the attackers that were let in; ``most_open``: how
    many of them a look four times a second saw at most (of short ones perhaps none).
    """

    mode: str
    attackers: int
    attacked: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)
    failed: Counter[int] = field(default_factory=Counter)
    counters: dict[str, int] = field(default_factory=dict)
    came: int = 0
    most_open: int = 0
    cpu: float = 0.0
    seconds: float = 0.0
    slots_left: int = 0

    def ratios(self) -> dict[str, float]:
        """Latency of the attacked gateway's other clients to the control's."""
        return {
            "median": median(self.attacked) / median(self.control),
            "99 %": _p99(self.attacked) / _p99(self.control),
        }

    def faults(self) -> list[str]:
        """What should not have been."""
        found = [f"{self.mode}: others got {status or 'no answer'} {n} times" for status, n in self.failed.items()]
        found += [
            f"{self.mode}: {name} of others {ratio:.1f} times the control's"
            for name, ratio in self.ratios().items()
            if ratio > MOST[name]
        ]
        if self.slots_left:
            found.append(f"{self.mode}: {self.slots_left} slots were not given back")
        if not self.came:
            found.append(f"{self.mode}: nobody attacked")
        return found

    def row(self) -> dict[str, object]:
        """For the table."""
        ratios = self.ratios()
        return {
            "mode": self.mode,
            "attackers": self.attackers,
            "came": self.came,
            "most open": self.most_open,
            "refused": self.counters["connections_too_many"],
            "408 and cut": self.counters["slow"],
            "others' requests": len(self.attacked),
            "failed": self.failed.total(),
            "median, ms": median(self.attacked) * 1000,
            "control": median(self.control) * 1000,
            "ratio": ratios["median"],
            "99 %, ms": _p99(self.attacked) * 1000,
            "control ": _p99(self.control) * 1000,
            "ratio ": ratios["99 %"],
            "relay's CPU, %": 100 * self.cpu / self.seconds,
        }


def _p99(latencies: list[float]) -> float:
    return quantiles(latencies, n=100)[98]


@asynccontextmanager
async def _upstream() -> AsyncIterator[int]:
    """A server with a small answer, and a large one for those who read slowly."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                if length:
                    await reader.readexactly(int(length[1]))
                size = LARGE if b"/soak/large" in head else 2
                body = b"" if head.startswith(b"HEAD") else bytes(size)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, body))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def slow(mode: str, attackers: int, seconds: float, directory: Path) -> Slow:
    """Attack one of two gateways for so long."""
    raise_descriptors(2 * attackers + 1000)
    found = Slow(mode, attackers)
    async with _upstream() as port:
        with ExitStack() as stack:
            gateways = []
            for name in ("attacked", "control"):
                place = directory / name
                place.mkdir()
                keys = await fill(place / "keystile.db", 1)
                gateways.append((stack.enter_context(RealGateway(place, port, 1)), keys[0]))
            await _Attack(found, gateways, seconds).run()
    return found


class _Attack:
    def __init__(self, found: Slow, gateways: list[tuple[RealGateway, bytes]], seconds: float) -> None:
        self.found = found
        self.gateways = gateways
        self.length = seconds
        self.over = False
        self.others_came = 0

    async def run(self) -> None:
        attacked, key = self.gateways[0]
        [relay] = attacked.pids()
        asking = [asyncio.create_task(self._ask(number)) for number in range(CLIENTS)]
        await asyncio.sleep(0.5)
        self.found.attacked.clear()
        self.found.control.clear()
        before, began = cpu_of(relay), time.monotonic()
        tool = await self._start(attacked.port, key)
        watching = asyncio.create_task(self._watch(attacked))
        await tool.wait()
        self.found.cpu, self.found.seconds = cpu_of(relay) - before, time.monotonic() - began
        self.over = True
        await asyncio.gather(*asking, watching)
        self.found.slots_left = await asyncio.to_thread(attacked.slots_left, 15)
        self.found.counters = await asyncio.to_thread(_counters, attacked)
        self.found.came = self.found.counters["connections"] - self.others_came

    async def _start(self, port: int, key: bytes) -> asyncio.subprocess.Process:
        path = "large" if self.found.mode == "slow read" else "now"
        options = [*MODES[self.found.mode].split(), "-c", str(self.found.attackers), "-r", "500", "-p", "5"]
        return await asyncio.create_subprocess_exec(
            TOOL,
            *options,
            "-l",
            str(int(self.length)),
            "-u",
            f"http://127.0.0.1:{port}/soak/{path}?apikey={key.decode()}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def _ask(self, number: int) -> None:
        """One paced client: both gateways in turn, the first of them by turns."""
        clients = [await self._connect(gateway, number) for gateway, _ in self.gateways]
        latencies = (self.found.attacked, self.found.control)
        turn = 0
        while not self.over:
            turn += 1
            for which in ((0, 1), (1, 0))[turn % 2]:
                gateway, key = self.gateways[which]
                began = time.perf_counter()
                status = await clients[which].ask("/soak/now", key)
                latencies[which].append(time.perf_counter() - began)
                if status != 200:
                    self.found.failed[status] += 1
                if status == ENDED or turn % 50 == 0:  # newcomers must be let in as well
                    clients[which].close()
                    clients[which] = await self._connect(gateway, number)
            await asyncio.sleep(PACE)
        for client in clients:
            client.close()

    async def _connect(self, gateway: RealGateway, number: int) -> Client:
        self.others_came += gateway is self.gateways[0][0]
        return await Client.connect(gateway.port, OTHERS.format(number + 1))

    async def _watch(self, attacked: RealGateway) -> None:
        while not self.over:
            now = int(await asyncio.to_thread(attacked.metric, "connections"))
            self.found.most_open = max(self.found.most_open, now - CLIENTS)
            await asyncio.sleep(0.25)


def _counters(gateway: RealGateway) -> dict[str, int]:
    time.sleep(0.5)  # for the last batch
    slow_ones = ("head_too_slow", "body_too_slow", "answer_too_slow")
    return {
        "connections": int(gateway.metric('connections_opened_total{version="none"}')),
        "connections_too_many": int(gateway.metric('connections_turned_away_total{reason="too_many"}')),
        "slow": sum(int(gateway.metric(f'refusals_total{{refusal="{name}"}}')) for name in slow_ones),
    }


def is_there() -> bool:
    """Whether the tool is installed."""
    return shutil.which(TOOL) is not None


async def main(modes: list[str], attackers: int, seconds: float) -> tuple[list[dict[str, object]], list[str]]:
    """Rows for the table, and faults."""
    if not is_there():
        return [], [f"{TOOL} is not installed"]
    rows, faults = [], []
    for mode in modes:
        with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
            found = await slow(mode, attackers, seconds, Path(directory))
        rows.append(found.row())
        faults += found.faults()
    return rows, faults
