"""kill -9 of relays under load: who is answered, who is not, and where the slots are.

Law: measures; every request that is sent ends in exactly one count. One kill is one ``_Kill``:

1. a *witness* address takes all its 20 slots, on several relays
2. the victim is killed: every second time just so; otherwise it is stopped first, which gives time to write down
   which connections it has accepted, and to let others come that it will never accept
3. the witness's requests inside the dead relay fail; as many again must be let in (their time counts from the
   kill), and the one after those must be refused
4. those who came while the victim could not accept must all be answered

Meanwhile callers from two addresses, 26 each, call, hang up and come back.
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

from tests.soak.client import ENDED, Client
from tests.soak.gateway import RealGateway, fill, send, stop
from tests.soak.patience import until
from tests.soak.upstream import Upstream

CAP = 20
ADDRESSES = ["127.0.2.1", "127.0.2.2"]
CALLERS = 26
"""For each address: more than the cap, so that some are refused."""
WITNESS = "127.0.3.1"
WAITING = "127.0.3.2"
ALIVE = 1.05
"""Seconds that a relay is left at work, from its first answer; a little more than the supervisor's STEADY_AFTER."""
LATECOMERS = 8
"""Connections made while the victim is stopped."""


@dataclass
class Kills:
    """What was counted."""

    relays: int
    kills: int = 0
    stopped_first: int = 0
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    inside: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    not_connected: int = 0
    slots_lost: int = 0
    whole_after: list[float] = field(default_factory=list)
    latecomers: int = 0
    came_to_victim: int = 0
    waited: list[float] = field(default_factory=list)
    highest: int = 0
    over: int = 0
    slots_left: int = -1
    restarts: int = 0
    seconds: float = 0.0

    @property
    def remainder(self) -> int:
        """Requests that are in no count."""
        return self.sent - self.statuses.total() - self.inside.total() - len(self.lost)

    def faults(self) -> list[str]:
        """What should not have been."""
        found = [*self.wrong, *self.lost]
        if self.remainder:
            found.append(f"{self.remainder} requests are not accounted for")
        if self.over or self.highest > CAP:
            found.append(f"{self.highest} in flight, {self.over} times over the cap")
        if self.slots_left:
            found.append(f"{self.slots_left} slots left after the load")
        if self.not_connected:
            found.append(f"{self.not_connected} could not connect")
        if odd := {status: number for status, number in self.statuses.items() if status not in (200, 429)}:
            found.append(f"other answers: {odd}")
        return found

    def row(self) -> dict[str, object]:
        """For the table."""
        whole, waited = sorted(self.whole_after) or [0.0], sorted(self.waited) or [0.0]
        return {
            "relays": self.relays,
            "kills -9": self.kills,
            "of these stopped just before, to look inside": self.stopped_first,
            "seconds": self.seconds,
            "requests sent": self.sent,
            "answered 200": self.statuses[200],
            "answered 429": self.statuses[429],
            "answered otherwise": dict(self.statuses - Counter({200: 10**9, 429: 10**9})) or 0,
            "failed inside the dead relay, known by an earlier answer": self.inside["answered before"],
            "… by what the upstream saw of it": self.inside["seen upstream"],
            "… by the list of what it had accepted": self.inside["accepted"],
            "… new, ended at the moment of the kill": self.inside["at the kill"],
            "failed otherwise (lost)": len(self.lost),
            "remainder": self.remainder,
            "most in flight of one address": self.highest,
            "over the cap": self.over,
            "witness's slots inside dead relays": self.slots_lost,
            "slots whole after the kill, ms: median": whole[len(whole) // 2] * 1000,
            "… 99 %": whole[len(whole) * 99 // 100] * 1000,
            "… worst of them": whole[-1] * 1000,
            "came while the victim could not accept": self.latecomers,
            "… into the victim's own queue": self.came_to_victim,
            "… all answered after, ms: median": waited[len(waited) // 2] * 1000,
            "… the last of them": waited[-1] * 1000,
            "slots taken after the load": self.slots_left,
            "restarts (management's page)": self.restarts,
        }


class Soak:
    """Callers, witness and killer on one gateway."""

    def __init__(self, gateway: RealGateway, upstream: Upstream, key: bytes, dice: random.Random) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.key = key
        self.dice = dice
        self.found = Kills(gateway.workers)
        self.stopping = False
        self.killed: dict[int, float] = {}
        self.accepted: set[tuple[str, int]] | None = None
        self.killed_at = 0.0
        self.at_work: dict[int, float] = {}
        self.witnesses: list[Client] = []

    # -- one request ----------------------------------------------------------------------------------

    async def connect(self, source: str) -> Client | None:
        try:
            return await Client.connect(self.gateway.port, source)
        except OSError:
            self.found.not_connected += 1
            await asyncio.sleep(0.01)
            return None

    async def ask(self, client: Client, path: str) -> int:
        """One request, counted."""
        self.found.sent += 1
        began = time.monotonic()
        status = await client.ask(path, self.key)
        self.count(client, status, began)
        return status

    def count(self, client: Client, status: int, began: float) -> None:
        """Put one request where it belongs."""
        if status == ENDED:
            self._count_failure(client, began)
            return
        self.found.statuses[status] += 1
        pid = self.gateway.known_pid(client.relay) or self.gateway.pid_of(client.relay, client.address)
        if pid not in self.at_work:
            self.at_work[pid] = time.monotonic()

    def _count_failure(self, client: Client, began: float) -> None:
        relay, how = client.relay, "answered before"
        if not relay:
            relay, how = self.upstream.relay_of.get(client.number, b""), "seen upstream"
        since = time.monotonic() - self.killed_at
        if relay and self.gateway.known_pid(relay) in self.killed:
            self.found.inside[how] += 1
        elif not relay and since < 0.5 and self.accepted is None:
            self.found.inside["at the kill"] += 1
        elif not relay and since < 0.5 and self.accepted is not None and client.address in self.accepted:
            self.found.inside["accepted"] += 1
        else:
            age = time.monotonic() - began
            self.found.lost.append(
                f"request of {client.address} after {age:.3f} s, {since:.3f} s after a kill,"
                f" of relay {self.gateway.known_pid(relay)}"
            )

    # -- callers --------------------------------------------------------------------------------------

    async def call(self, source: str) -> None:
        """One caller: calls a few times on a connection, hangs up, comes back."""
        dice = random.Random(self.dice.random())
        while not self.stopping:
            client = await self.connect(source)
            if client is None:
                continue
            for _ in range(dice.randint(1, 12)):
                if self.stopping or not await self.ask(client, f"/soak/for/{dice.randint(20, 80)}"):
                    break
                await asyncio.sleep(dice.uniform(0.005, 0.03))
            self.upstream.forget(client.number)
            client.close()

    # -- the witness ----------------------------------------------------------------------------------

    async def renew_witnesses(self) -> None:
        """Enough connections, none of a dead relay."""
        self.witnesses = [each for each in self.witnesses if not each.ended and each.relay]
        while len(self.witnesses) < 2 * CAP:
            client = await self.connect(WITNESS)
            if client is not None and await self.ask(client, "/soak/now"):
                self.witnesses.append(client)

    async def take(self, client: Client) -> asyncio.Task[int] | None:
        """Have one request of the witness held by the upstream; None when it is refused or failed."""
        before = self.upstream.calls_of[client.number]
        asked = asyncio.ensure_future(self.ask(client, "/soak/hold"))
        await until(lambda: self.upstream.calls_of[client.number] != before or asked.done(), 10)
        return asked if self.upstream.calls_of[client.number] != before else None

    # -- the killer -----------------------------------------------------------------------------------

    def victim(self) -> int:
        """A relay that has worked long enough; 0 when there is none yet."""
        now = time.monotonic()
        ready = [pid for pid in self.gateway.pids() if now - self.at_work.get(pid, now) > ALIVE]
        return self.dice.choice(ready) if ready else 0

    async def kill(self, pid: int) -> None:
        """One kill, from the witness's 20 to the last latecomer."""
        found = self.found
        await self.renew_witnesses()
        order = self.dice.sample(self.witnesses, len(self.witnesses))
        held: list[asyncio.Task[int]] = []
        for client in order[:CAP]:
            asked = await self.take(client)
            if asked is None:
                found.wrong.append(f"kill {found.kills}: the witness had {len(held)} of {CAP} and got no more")
                break
            held.append(asked)
        latecomers = await self._end_it(pid)
        await self._whole_again(pid, order, held)
        await self._served(latecomers)
        while self.upstream.held.get(WITNESS):
            self.upstream.release(WITNESS)
            await asyncio.sleep(0)
        await asyncio.gather(*held)
        found.kills += 1

    async def _end_it(self, pid: int) -> list[asyncio.Task[None]]:
        latecomers: list[asyncio.Task[None]] = []
        self.accepted = None
        if self.dice.random() < 0.5:
            self.found.stopped_first += 1
            stop(pid)
            clients = [await self.connect(WAITING) for _ in range(LATECOMERS)]
            latecomers = [asyncio.ensure_future(self._late(client)) for client in clients if client]
            await asyncio.sleep(0.005)  # those that came to other relays are answered by now
            self.accepted = self.gateway.clients_of(pid)
            self.found.latecomers += len(latecomers)
            self.found.came_to_victim += sum(not each.done() for each in latecomers)
        self.killed_at = self.killed[pid] = time.monotonic()
        send(pid, signal.SIGKILL)
        return latecomers

    async def _late(self, client: Client) -> None:
        began = time.monotonic()
        status = await self.ask(client, "/soak/now")
        if status == ENDED:
            self.found.wrong.append("a connection that waited to be accepted was lost")
        self.found.waited.append(time.monotonic() - began)
        client.close()

    async def _served(self, latecomers: list[asyncio.Task[None]]) -> None:
        if latecomers:
            _, waiting = await asyncio.wait(latecomers, timeout=5)
            if waiting:
                self.found.wrong.append(f"{len(waiting)} that waited to be accepted have no answer after 5 s")

    async def _whole_again(self, pid: int, order: list[Client], held: list[asyncio.Task[int]]) -> None:
        """As many of the witness's requests as died must be let in again, and not one more."""
        found = self.found
        inside = sum(self.gateway.known_pid(client.relay) == pid for client in order[:CAP])
        give_up = self.killed_at + 1.0
        spare = [each for each in order[CAP:] if self.gateway.known_pid(each.relay) != pid]
        await until(lambda: sum(each.done() for each in held) >= inside, give_up - time.monotonic())
        held[:] = [each for each in held if not each.done()]
        if len(held) != CAP - inside:
            found.wrong.append(f"kill {found.kills}: {CAP - len(held)} of the witness's failed, {inside} were inside")
        found.slots_lost += inside
        while len(held) < CAP and spare and time.monotonic() < give_up:
            asked = await self.take(spare[-1])
            if asked is None:  # refused: not yet back
                continue
            spare.pop()
            held.append(asked)
        found.whole_after.append(time.monotonic() - self.killed_at)
        if len(held) < CAP and spare:
            taken = self.gateway.status()["slots_taken"]
            found.wrong.append(f"kill {found.kills}: {len(held)} of {CAP} slots after 1 s, {taken} taken of all")
        elif spare and (asked := await self.take(spare[-1])) is not None:
            found.wrong.append(f"kill {found.kills}: a 21st was let in")
            held.append(asked)

    async def run(self, kills: int, minutes: float, pause: float) -> None:
        """Callers all the time, kills one after the other."""
        began = time.monotonic()
        callers = [asyncio.ensure_future(self.call(source)) for source in ADDRESSES for _ in range(CALLERS)]
        while self.found.kills < kills and time.monotonic() < began + 60 * minutes:
            if pid := self.victim():
                due = time.monotonic() + pause
                await self.kill(pid)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            else:
                await asyncio.sleep(0.02)
        self.stopping = True
        await asyncio.gather(*callers)
        for client in self.witnesses:
            client.close()
        self.found.seconds = time.monotonic() - began
        await asyncio.sleep(0.2)
        self.found.slots_left = self.gateway.slots_left(1.0)
        self.found.restarts = int(self.gateway.status()["restarts"])
        self.found.highest, self.found.over = self.upstream.highest, self.upstream.over


async def soak(relays: int, kills: int, seed: int, directory: Path, minutes: float = 15, pause: float = 0.5) -> Kills:
    """So many kills on so many relays."""
    async with Upstream(CAP) as upstream:
        [key] = await fill(directory / "keystile.db", 1)
        with RealGateway(directory, upstream.port, relays) as gateway:
            work = Soak(gateway, upstream, key, random.Random(seed))
            await work.run(kills, minutes, pause)
    return work.found


async def main(
    kills: int, relays: int, seed: int, minutes: float, pause: float
) -> tuple[list[dict[str, object]], list[str]]:
    """Facts for the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await soak(relays, kills, seed, Path(directory), minutes, pause)
    return [found.row()], found.faults()
