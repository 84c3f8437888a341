"""Bursts of 25 at once from one address, over all relays: exactly 20 are let in, 5 are refused, every time.

Law: measures; what is right is judged by ``Bursts.faults``. The upstream holds whatever is let in until all 25
have been decided, so a slot cannot come free in between and hide a mistake. Kinds of rounds, by the dice:

- *again*: on kept-alive connections, at the same address at once after the last answer of the round before
- *gathered*: all relays are stopped (SIGSTOP), get their share of the 25, and go on together
- *fresh*: on 25 new connections
"""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.client import Client
from tests.soak.gateway import RealGateway, fill, send, stop
from tests.soak.upstream import Upstream

AT_ONCE = 25
CAP = 20
ADDRESSES = [f"127.0.1.{n}" for n in range(1, 7)]
CONNECTIONS = 32
"""Kept alive for each address; each round picks 25 of them."""


@dataclass
class Bursts:
    """What happened on so many relays."""

    relays: int
    rounds: int = 0
    exact: int = 0
    wrong: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    relays_met: list[int] = field(default_factory=list)
    highest: int = 0
    over: int = 0
    slots_asked: int = 0
    slots_left: int = 0
    seconds: float = 0.0

    def faults(self) -> list[str]:
        """What should not have been."""
        found = list(self.wrong)
        if self.over or self.highest > CAP:
            found.append(f"{self.highest} in flight, {self.over} times over the cap")
        if self.slots_left:
            found.append(f"slots were left {self.slots_left} times")
        return found

    def row(self) -> dict[str, object]:
        """For the table."""
        return {
            "relays": self.relays,
            "rounds": self.rounds,
            "20 in, 5 × 429": self.exact,
            "otherwise": len(self.wrong),
            "gathered": self.kinds["gathered"],
            "fresh": self.kinds["fresh"],
            "relays in a round, median": sorted(self.relays_met)[len(self.relays_met) // 2] if self.relays_met else 0,
            "most in flight": self.highest,
            "over": self.over,
            "slots asked / not 0": f"{self.slots_asked:,} / {self.slots_left}",
            "s": self.seconds,
        }


class Round:
    """25 requests from one address, all written in one turn of the loop."""

    def __init__(self, upstream: Upstream, address: str, clients: list[Client]) -> None:
        self.upstream = upstream
        self.address = address
        self.clients = clients
        self.statuses: Counter[int] = Counter()
        self.arrived = 0
        loop = asyncio.get_running_loop()
        self.decided: asyncio.Future[None] = loop.create_future()
        self.answered: asyncio.Future[None] = loop.create_future()

    def write(self, key: bytes) -> None:
        self.upstream.on_arrival = self._on_arrival
        for client in self.clients:
            client.done = self._on_answer
            client.send("/soak/hold", key)

    def _on_arrival(self, _: str) -> None:
        self.arrived += 1
        self._look()

    def _on_answer(self, _: Client, status: int) -> None:
        self.statuses[status] += 1
        self._look()

    def _look(self) -> None:
        answered = self.statuses.total()
        if not self.decided.done():
            if answered + self.arrived == len(self.clients):
                self.decided.set_result(None)
        elif answered == len(self.clients) and not self.answered.done():
            self.answered.set_result(None)

    async def judge(self) -> str:
        """Wait until all are decided, let them be answered; empty when it was as it should be."""
        try:
            await asyncio.wait_for(self.decided, 10)
            let_in = self.arrived
            self.upstream.release(self.address)
            await asyncio.wait_for(self.answered, 10)
        except TimeoutError:
            let_in = self.arrived
            self.upstream.release(self.address)
            return f"not decided in time: {let_in} let in, answers {dict(self.statuses)}"
        right = {200: min(CAP, len(self.clients)), 429: max(0, len(self.clients) - CAP)}
        if let_in != right[200] or self.statuses != Counter(right):
            return f"{let_in} let in, answers {dict(self.statuses)}"
        return ""


async def burst(relays: int, rounds: int, seed: int, directory: Path, cap: int = CAP) -> Bursts:
    """So many rounds on so many relays; another ``cap`` is for the proof that a wrong one is noticed."""
    found = Bursts(relays)
    async with Upstream(CAP) as upstream:
        [key] = await fill(directory / "keystile.db", 1)
        with RealGateway(directory, upstream.port, relays, cap) as gateway:
            work = _Work(found, upstream, gateway, key, random.Random(seed))
            began = time.monotonic()
            await work.run(rounds)
            found.seconds = time.monotonic() - began
    found.highest, found.over = upstream.highest, upstream.over
    return found


class _Work:
    def __init__(
        self, found: Bursts, upstream: Upstream, gateway: RealGateway, key: bytes, dice: random.Random
    ) -> None:
        self.found = found
        self.upstream = upstream
        self.gateway = gateway
        self.key = key
        self.dice = dice
        self.clients: dict[str, list[Client]] = {}

    async def run(self, rounds: int) -> None:
        for address in ADDRESSES:
            self.clients[address] = await self._connect(address, CONNECTIONS)
            for client in self.clients[address]:
                assert await client.ask("/soak/now", self.key) == 200
        relays = self.gateway.pids()
        address = ADDRESSES[0]
        for number in range(rounds):
            address = self.dice.choice([address, *ADDRESSES])
            await self._round(number, address, relays)
            if number % 10 == 9:
                self.found.slots_asked += 1
                self.found.slots_left += self.gateway.slots_left(0.2) != 0
        for each in self.clients.values():
            for client in each:
                client.close()

    async def _connect(self, address: str, count: int) -> list[Client]:
        return [await Client.connect(self.gateway.port, address) for _ in range(count)]

    async def _round(self, number: int, address: str, relays: list[int]) -> None:
        kind = self.dice.choices(["again", "gathered", "fresh"], [0.7, 0.25, 0.05])[0]
        if kind == "fresh":
            clients = await self._connect(address, AT_ONCE)
        else:
            clients = self.dice.sample(self.clients[address], AT_ONCE)
        this = Round(self.upstream, address, clients)
        if kind == "gathered":
            for pid in self.dice.sample(relays, len(relays)):
                stop(pid)
            this.write(self.key)
            for pid in self.dice.sample(relays, len(relays)):
                send(pid, signal.SIGCONT)
        else:
            this.write(self.key)
        wrong = await this.judge()
        self._note(number, kind, clients, wrong)
        if kind == "fresh":
            for client in clients:
                client.close()
        elif wrong:
            await self._replace(address)

    def _note(self, number: int, kind: str, clients: list[Client], wrong: str) -> None:
        self.found.rounds += 1
        self.found.kinds[kind] += 1
        self.found.relays_met.append(len({client.relay for client in clients if client.relay}))
        if wrong:
            self.found.wrong.append(f"round {number} ({kind}): {wrong}")
        else:
            self.found.exact += 1

    async def _replace(self, address: str) -> None:
        """After a round that went wrong nothing of it may disturb the next."""
        for client in self.clients[address]:
            client.close()
        self.upstream.release(address)
        self.gateway.slots_left(2)
        self.clients[address] = await self._connect(address, CONNECTIONS)


async def main(rounds: int, relays: list[int], seed: int) -> tuple[list[dict[str, object]], list[str]]:
    """The rounds spread over the numbers of relays; rows for the table, and faults."""
    rows, faults = [], []
    for at, count in enumerate(relays):
        share = rounds // len(relays) + (at < rounds % len(relays))
        with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
            found = await burst(count, share, seed + count, Path(directory))
        rows.append(found.row())
        faults += [f"{count} relays: {fault}" for fault in found.faults()]
    return rows, faults
