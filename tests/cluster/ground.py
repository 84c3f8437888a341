"""Several hosts on one machine: gateways with folders of their own, one server that lends slots, one API that counts.

Law: processes and traffic, no judgement. Each gateway is a host of its own: nothing is shared between them but the
server. Clients say who they are in X-Forwarded-For, since all come from this machine.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.cluster.server import free_port

CONFIGURATION = """
listeners: [{{address: "127.0.0.1:{port}"}}]
management: {{address: "127.0.0.1:{management}"}}
workers: {workers}
slots: {slots}
store: sqlite:///keystile.db
access_log: off
trusted_proxies: [127.0.0.1]
limits: {{concurrent_requests_per_ip: 20, connections_per_ip: 4096, max_lag: none{limits}}}
upstreams: {{api: {{servers: ["http://127.0.0.1:{upstream}"], breaker: null}}}}
routes: [{{path: "/*", public: true, upstream: api}}]
"""


class Api(asyncio.Protocol):
    """The API behind: ``GET /MS`` is answered after so many milliseconds. Counts what it has in hand, by address."""

    in_hand: ClassVar[Counter[bytes]] = Counter()
    highest: ClassVar[Counter[bytes]] = Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.address = b""
        self.timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        head, _, _ = data.partition(b"\r\n\r\n")
        target = head.split(b" ", 2)[1]
        at = head.lower().index(b"x-forwarded-for: ") + 17
        self.address = head[at : head.index(b"\r\n", at)].split(b",")[0]
        self.in_hand[self.address] += 1
        self.highest[self.address] = max(self.highest[self.address], self.in_hand[self.address])
        delay = int(target.rpartition(b"/")[2]) / 1000
        self.timer = asyncio.get_running_loop().call_later(delay, self._answer)

    def _answer(self) -> None:
        self._done()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")  # type: ignore[attr-defined]

    def _done(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.in_hand[self.address] -= 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()


class Gateway:
    """One host. ``port`` of its listener, ``management`` of its metrics."""

    def __init__(self, folder: Path, slots: str, upstream: int, workers: int = 1, limits: str = "") -> None:
        folder.mkdir(parents=True)
        self.folder, self.port, self.management = folder, free_port(), free_port()
        text = CONFIGURATION.format(
            port=self.port, management=self.management, workers=workers, slots=slots, upstream=upstream, limits=limits
        )
        (folder / "gateway.yaml").write_text(text, encoding="utf-8")
        self.start()

    def start(self) -> None:
        log = (self.folder / "log").open("ab")
        command = [sys.executable, "-m", "keystile", "serve", "-c", str(self.folder / "gateway.yaml")]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        log.close()

    async def ready(self, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"GET /0 HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
                said = await reader.read(100)
                writer.close()
                if said:
                    return
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < end
                await asyncio.sleep(0.05)

    def signal(self, number: int) -> None:
        """To every process of this host."""
        os.killpg(self.process.pid, number)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self.process.wait()

    def relays(self) -> list[int]:
        """Their process ids."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes()
                    group = os.getpgid(int(entry.name))
                except OSError:
                    continue
                if group == self.process.pid and b"keystile.process.relay" in line:
                    found.append(int(entry.name))
        return found

    async def metrics(self) -> dict[str, float]:
        """What /metrics says, sums over labels."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.management)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
        writer.close()
        found: defaultdict[str, float] = defaultdict(float)
        for line in text.splitlines():
            if line.startswith("keystile_"):
                name, _, value = line.rpartition(" ")
                found[name.partition("{")[0]] += float(value)
        return found


@dataclass
class Account:
    """What became of each request: by status, or ``cut`` (no whole answer), or ``unreachable`` (never sent)."""

    ends: Counter[str] = field(default_factory=Counter)
    by_host: defaultdict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    times: list[float] = field(default_factory=list)
    last: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, host: int, end: str, took: float) -> None:
        self.ends[end] += 1
        self.by_host[host][end] += 1
        if end == "200":
            self.times.append(took)


class Client:
    """One client: a request at a time, each to a host by chance, over connections that it keeps."""

    def __init__(self, address: str, gateways: list[Gateway], account: Account, delay: int, pause: float = 0.0) -> None:
        self.address, self.gateways, self.account, self.delay, self.pause = address, gateways, account, delay, pause
        self._kept: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self._dice = random.Random()
        self.stopped = False

    async def run(self) -> None:
        """Call until it is stopped."""
        try:
            await self._run()
        finally:
            self.close()

    def close(self) -> None:
        for _, writer in self._kept.values():
            writer.close()
        self._kept.clear()

    async def _run(self) -> None:
        while not self.stopped:
            host = self._dice.randrange(len(self.gateways))
            began = time.monotonic()
            end = await self.call(host)
            self.account.add(host, end, time.monotonic() - began)
            if end in ("429", "503", "unreachable"):
                await asyncio.sleep(0.01)
            if self.pause:
                await asyncio.sleep(self._dice.expovariate(1 / self.pause))

    async def call(self, host: int) -> str:
        try:
            if host not in self._kept:
                self._kept[host] = await asyncio.open_connection("127.0.0.1", self.gateways[host].port)
        except OSError:
            return "unreachable"
        reader, writer = self._kept[host]
        try:
            writer.write(
                f"GET /{self.delay} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {self.address}\r\n\r\n".encode("ascii")
            )
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
            await reader.readexactly(size)
            if b"\r\nconnection: close" in head.lower():
                self._kept.pop(host)[1].close()
            return head[9:12].decode("ascii")
        except (OSError, asyncio.IncompleteReadError):
            self._kept.pop(host)[1].close()
            return "cut"


async def api() -> tuple[asyncio.Server, int]:
    """The API, and its port."""
    Api.in_hand, Api.highest = Counter(), Counter()
    server = await asyncio.get_running_loop().create_server(Api, "127.0.0.1", 0)
    return server, int(server.sockets[0].getsockname()[1])
