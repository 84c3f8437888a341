"""Servers that stop, die, get slow and answer with errors, one after the other, under traffic of GETs and POSTs.

Law: measures, and accounts for every request: each has an id, and each server writes down the ids that it gets. One
server at least is well at every moment. Then no GET may fail, no id may ever reach two servers by a POST, and a POST
may fail only where a server died with it. A 5xx that a server itself said is an answer; how many there are is told.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.client import ENDED, Client
from tests.soak.gateway import RealGateway, fill
from tests.soak.patience import until

ADDRESSES = ["127.0.7.1", "127.0.7.2"]
CALLERS = 6
"""For each address, half of them with POSTs."""
PAUSE = 0.002
"""Seconds between two calls of one caller: enough calls, and not the whole machine."""
DIED_WITHIN = 3.0
"""Seconds after the death of a server within which a POST may fail of it."""
BACK_WITHIN = 30.0
"""Seconds after the last disturbance within which every server is used again."""
UPSTREAM = """\
    balance: {balance}
    health_check: {{path: /health, interval: 500ms, timeout: 400ms, healthy_after: 1, unhealthy_after: 2}}
    breaker: {{connect_failures: 3, open_for: 500ms, of_at_least: 10, within: 5s}}
    retries: {{attempts: 2, budget: 20%}}
"""


@dataclass
class Account:
    """What was counted."""

    relays: int
    gets: Counter[int] = field(default_factory=Counter)
    posts: Counter[int] = field(default_factory=Counter)
    lost_posts: list[tuple[str, float]] = field(default_factory=list)
    deaths: list[float] = field(default_factory=list)
    disturbances: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    answered_posts: set[str] = field(default_factory=set)
    slowest: float = 0.0
    seconds: float = 0.0
    recovered: float = -1.0
    after: Counter[int] = field(default_factory=Counter)
    retries: int = 0
    left_out: int = 0

    @property
    def failed_gets(self) -> int:
        """Those that no server answered."""
        return self.gets.total() - self.gets[200] - self.gets[500]

    @property
    def twice(self) -> list[str]:
        """POSTs that were received more than once."""
        return [name for name, times in self.seen.items() if name.startswith("POST ") and times > 1]

    @property
    def unexplained(self) -> int:
        """POSTs that failed though no server had just died."""
        return sum(not any(0 <= at - died < DIED_WITHIN for died in self.deaths) for _, at in self.lost_posts)

    def faults(self) -> list[str]:
        """What should not have been."""
        found = []
        if self.failed_gets:
            found.append(f"{self.failed_gets} GETs failed: {dict(self.gets)}")
        if self.twice:
            found.append(f"{len(self.twice)} POSTs were sent twice, such as {self.twice[0]}")
        if self.unexplained:
            found.append(f"{self.unexplained} POSTs failed though no server had died: {dict(self.posts)}")
        unseen = [name for name in self.answered_posts if not self.seen[f"POST {name}"]]
        if unseen:
            found.append(f"{len(unseen)} POSTs were answered that no server has seen")
        if self.recovered < 0:
            found.append(f"not every server was used again within {BACK_WITHIN:g} s")
        if set(self.after) - {200}:
            found.append(f"afterwards not all was well: {dict(self.after)}")
        if not (self.deaths and self.gets.total() and self.posts.total()):
            found.append("nothing was measured: no server died, or nobody called")
        return found

    def row(self) -> dict[str, object]:
        """For the table."""
        return {
            "relays": self.relays,
            "seconds": self.seconds,
            "disturbances": ", ".join(f"{times} {what}" for what, times in sorted(self.disturbances.items())),
            "GETs": self.gets.total(),
            "of these failed": self.failed_gets,
            "of these answered 500 by a server": self.gets[500],
            "POSTs": self.posts.total(),
            "of these failed as their server died": len(self.lost_posts),
            "of these sent twice": len(self.twice),
            "sent again to another server": self.retries,
            "servers left out by relays": self.left_out,
            "slowest answer, ms": 1000 * self.slowest,
            "all used again after, s": self.recovered,
        }


class Servant:
    """One server process on its port, which it keeps over its deaths."""

    def __init__(self, directory: Path, number: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.file = directory / f"server{number}"
        self.behave("well")
        self.process: subprocess.Popen[bytes] | None = None

    def behave(self, mode: str) -> None:
        """From the next request on."""
        beside = self.file.with_name(f"{self.file.name}.new")
        beside.write_text(mode)
        beside.replace(self.file.with_name(f"{self.file.name}.mode"))

    async def start(self) -> None:
        """Start it, and wait until it accepts."""
        command = [sys.executable, "-m", "tests.soak.server", str(self.port), str(self.file)]
        self.process = await asyncio.to_thread(subprocess.Popen, command)
        if not await until(self._accepts, 20):
            raise TimeoutError(f"the server on port {self.port} does not begin")

    def _accepts(self) -> bool:
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", self.port)) == 0

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def end(self) -> None:
        """Kill it, stopped or not."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def seen(self) -> list[str]:
        """The requests that it got, as ``METHOD id``."""
        return self.file.read_text().splitlines() if self.file.exists() else []


class Soak:
    """A gateway, its servers, its callers, and who disturbs the servers."""

    def __init__(self, gateway: RealGateway, servants: list[Servant], key: bytes, dice: random.Random) -> None:
        self.gateway = gateway
        self.servants = servants
        self.key = key
        self.dice = dice
        self.account = Account(gateway.workers)
        self.stopping = False
        self.over = False
        self._number = 0

    # -- callers ------------------------------------------------------------------------------------

    async def call(self, source: str, body: bytes | None) -> None:
        """Call until the end, on one connection as long as it lasts."""
        while not self.stopping:
            client = await Client.connect(self.gateway.port, source)
            while not (self.stopping or client.ended):
                if await self.ask(client, body) == ENDED:
                    break
                await asyncio.sleep(PAUSE)
            client.close()

    async def ask(self, client: Client, body: bytes | None) -> int:
        """One counted request."""
        self._number += 1
        name, account = f"r{self._number}", self.account
        began = time.monotonic()
        status = await client.ask(f"/soak/{name}", self.key, body)
        account.slowest = max(account.slowest, time.monotonic() - began)
        if body is None:
            account.gets[status] += 1
        else:
            account.posts[status] += 1
            if status in (200, 500):
                account.answered_posts.add(name)
            else:
                account.lost_posts.append((name, time.monotonic()))
        if self.over:
            account.after[status] += 1
        return status

    # -- disturbances ---------------------------------------------------------------------------------

    async def disturb(self, seconds: float) -> None:
        """One or two servers at a time, each in another way, until the time is over."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            some = self.dice.sample(self.servants, self.dice.choice([1, 1, 2]))
            await asyncio.gather(*(self._disturb_one(servant) for servant in some))
            await asyncio.sleep(self.dice.uniform(0.5, 1.5))  # checks and breakers find them well again

    async def _disturb_one(self, servant: Servant) -> None:
        what = self.dice.choice(["killed", "killed", "stopped", "slow", "ill"])
        self.account.disturbances[what] += 1
        pause = self.dice.uniform(0.2, 1.5)
        if what == "killed":
            self.account.deaths.append(time.monotonic())
            await asyncio.to_thread(servant.end)
            await asyncio.sleep(pause)
            await servant.start()
        elif what == "stopped":
            servant.signal(signal.SIGSTOP)
            await asyncio.sleep(pause)
            servant.signal(signal.SIGCONT)
        else:
            servant.behave(what)
            await asyncio.sleep(pause)
            servant.behave("well")

    # -- all together -----------------------------------------------------------------------------------

    async def run(self, seconds: float) -> None:
        """Callers all the time, disturbances for a while, and then the account."""
        began = time.monotonic()
        bodies = (None, b"body")
        calls = [
            asyncio.ensure_future(self.call(source, bodies[number % 2]))
            for source in ADDRESSES
            for number in range(CALLERS)
        ]
        await asyncio.sleep(0.5)
        # At least one death, whatever the dice say.
        self.account.disturbances["killed"] += 1
        self.account.deaths.append(time.monotonic())
        await asyncio.to_thread(self.servants[0].end)
        await self.servants[0].start()
        await self.disturb(seconds)
        await self._recover()
        self.stopping = True
        await asyncio.gather(*calls)
        self.account.seconds = time.monotonic() - began
        self.account.retries = int(self.gateway.metric("upstream_retries_total"))
        self.account.left_out = int(self.gateway.metric("upstream_breaker_opened_total"))
        self.account.seen.update(line for servant in self.servants for line in servant.seen())

    async def _recover(self) -> None:
        """Wait until every server gets requests again; from then on all must be well."""
        began = time.monotonic()
        before = [len(servant.seen()) for servant in self.servants]

        def all_used() -> bool:
            return all(len(servant.seen()) > count + 20 for servant, count in zip(self.servants, before, strict=True))

        if await until(all_used, BACK_WITHIN):
            self.account.recovered = time.monotonic() - began
        self.over = True
        await asyncio.sleep(1.0)


def write_upstream(gateway: RealGateway, servants: list[Servant], balance: str) -> None:
    """Put these servers into gateway.yaml."""
    servers = ", ".join(f'"http://127.0.0.1:{servant.port}"' for servant in servants)
    upstream = f"api:\n    servers: [{servers}]\n{UPSTREAM.format(balance=balance)}"
    text = re.sub(r"api: \{servers: .*\}\n", lambda _: upstream, gateway.file.read_text())
    gateway.file.write_text(text)


async def soak(seconds: float, relays: int, seed: int, directory: Path, balance: str = "round_robin") -> Account:
    """So many seconds of disturbances of three servers behind so many relays."""
    servants = [Servant(directory, number) for number in range(3)]
    try:
        await asyncio.gather(*(servant.start() for servant in servants))
        [key] = await fill(directory / "keystile.db", 1)
        gateway = RealGateway(directory, servants[0].port, relays)
        write_upstream(gateway, servants, balance)
        with gateway:
            work = Soak(gateway, servants, key, random.Random(seed))
            await work.run(seconds)
    finally:
        for servant in servants:
            servant.end()
    return work.account


async def main(seconds: float, relays: int, seed: int, balance: str) -> tuple[list[dict[str, object]], list[str]]:
    """Facts for the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await soak(seconds, relays, seed, Path(directory), balance)
    return [found.row()], found.faults()
