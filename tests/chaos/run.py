"""One run: traffic, events, a phase without kills, the end; then the account.

Law: order, and bounds in time. Whatever happens, every process that was started is ended.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keystile.process.control import NotRunning
from tests.chaos import faults, seen, watch
from tests.chaos.account import Result, failed
from tests.chaos.calls import Calls
from tests.chaos.changes import OWNER, PASSWORD, ByApi, Changes, ask, run
from tests.chaos.facts import Facts
from tests.chaos.ground import SCOPE, WORKERS, Ground
from tests.chaos.happenings import Happenings
from tests.chaos.judge import Fault, judge
from tests.chaos.ledger import Ledger
from tests.chaos.orphans import Adopted
from tests.chaos.schedule import Planned, schedule
from tests.chaos.servers import Servers
from tests.chaos.story import Story
from tests.chaos.traffic import Traffic

CHAOS, QUIET = "chaos", "without kills"
RELOAD_TAKES = 6.0
"""Seconds for each reload and upgrade of the second phase on a slow machine; more than that, and it is given up."""
PROGRESS = 5.0
SETTLED_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """``seconds`` of chaos, of ``only`` some events; then so many ``reloads`` and ``upgrades`` without kills."""

    seconds: float = 120.0
    seed: int = 1
    reloads: int = 100
    upgrades: int = 20
    only: str = ""
    quiet: bool = False


class Run:
    """All that belongs to one run."""

    def __init__(self, plan: Plan, directory: Path, ground: Ground, servers: Servers, key: bytes, api: ByApi) -> None:
        dice = random.Random(plan.seed)
        self.plan = plan
        self.story = Story()
        self.ledger = Ledger()
        self.ground = ground
        self.pids: dict[bytes, int] = {}
        self.key = key
        self._began = time.monotonic()
        self._servers = servers
        self.watch = watch.Watch(ground.gateway)
        self._calls = Calls(self.ledger, self._met)
        self._traffic = Traffic(self._calls, servers, ground.ports, key, random.Random(dice.random()))
        self.changes = Changes(self._calls, ground, api, self.story, random.Random(dice.random()))
        self.happenings = Happenings(ground, servers, self._calls, self.changes, self.watch, self.story, key)
        self.faults: list[str] = []

    def _met(self, relay: bytes, client: tuple[str, int]) -> None:
        """A relay has answered on this connection: which process is it, and since when does it work?"""
        if not self.pids.get(relay):
            try:
                self.pids[relay] = self.ground.gateway.pid_of(relay, client)
            except NotRunning:
                return
        if self.pids[relay]:
            self.watch.note_work(self.pids[relay])

    # -- phases ---------------------------------------------------------------------------------------

    async def all_of_it(self) -> None:
        """Both phases, one after the other, under the same traffic."""
        self.happenings.can_upgrade = (await run(self.ground, "upgrade", "--help"))[0] == 0
        telling = asyncio.ensure_future(self._tell())
        self.watch.start()
        self._traffic.start()
        self.changes.start()
        try:
            await self._chaos(schedule(self.plan.seed, self.plan.seconds, self.plan.only))
            await self._settle()
            self.ledger.phase = QUIET
            await self._quiet()
        finally:
            telling.cancel()
            await self._traffic.stop()
            await self.changes.stop()
            await self.watch.stop()

    async def _chaos(self, planned: list[Planned]) -> None:
        began = time.monotonic()
        going: list[asyncio.Task[None]] = []
        for event in planned:
            await asyncio.sleep(max(0.0, began + event.at - time.monotonic()))
            going.append(asyncio.ensure_future(self.happenings.happen(event)))
        if going:
            await asyncio.gather(*going)

    async def _settle(self) -> None:
        """All processes are at work again, and what was cut is over."""
        give_up = time.monotonic() + SETTLED_WITHIN
        while not (await self.watch.steady("relay") and await self.watch.steady("management")):
            if time.monotonic() > give_up:
                self.faults.append(f"not all processes were at work {SETTLED_WITHIN:g} s after the last event")
                return
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.0)

    async def _quiet(self) -> None:
        """Reloads and upgrades only, spread over each other."""
        dice = random.Random(self.plan.seed)
        kinds = ["reload: limits", "reload: routes", "reload: listeners", "reload: upstreams"]
        what = [dice.choice(kinds) for _ in range(self.plan.reloads)] + ["upgrade"] * self.plan.upgrades
        dice.shuffle(what)
        give_up = time.monotonic() + RELOAD_TAKES * len(what)
        for done, each in enumerate(what):
            if time.monotonic() > give_up:
                self.faults.append(f"of {len(what)} reloads and upgrades only {done} were done in time")
                return
            await self.happenings.happen(Planned(0.0, each, 0.0, dice.getrandbits(32)))

    async def _tell(self) -> None:
        while not self.plan.quiet:
            await asyncio.sleep(PROGRESS)
            open_ones = sum(not entry.outcome for entry in self.ledger.entries[-2000:])
            last = next((each for each in reversed(self.story.events)), None)
            print(
                f"{time.monotonic() - self._began:6.0f} s  {self.ledger.phase}: {len(self.ledger.entries):,} sent,"
                f" {open_ones} open, {len(self.story.events)} events, {self.changes.done.total()} key changes,"
                f" {self.watch.counters.samples} samples; last: {last.what if last else 'nothing yet'}",
                flush=True,
            )

    # -- the end --------------------------------------------------------------------------------------

    async def look_at_the_end(self) -> dict[str, object]:
        """What must be when all traffic has ended; returns figures."""
        status = await self._at_rest()
        self.faults += watch.at_the_end(status)
        self.faults += self.changes.shadow.compare(await ask(self.ground, "keys", "list"))
        return {
            "slots taken at the end": status["slots_taken"],
            "processes started again": status["restarts"],
            "configuration at the end": status["configuration"],
        }

    async def _at_rest(self) -> dict[str, Any]:
        give_up = time.monotonic() + SETTLED_WITHIN
        while True:
            status = await asyncio.to_thread(self.ground.gateway.status)
            if (not status["slots_taken"] and len(status["processes"]) == WORKERS + 2) or time.monotonic() > give_up:
                return status
            await asyncio.sleep(0.05)

    def result(self, facts: dict[str, object]) -> Result:
        """The account, once the gateway and the servers have ended."""
        gateway = self.ground.gateway
        log = gateway.errors.read_text()
        doomed = watch.doomed(log, self.happenings.stopped)
        records = seen.read(self._servers.records.values())
        account = judge(self.ledger, records, self.story, Facts(self.ledger, records, self.story, self.pids, doomed))
        killed = {event.pid for event in self.story.done()}
        secrets = [self.key, *(secret.encode() for secret in self.changes.shadow.secrets)]
        found = [
            *self.faults,
            *self.happenings.faults,
            *watch.of_log(log, killed | doomed),
            *watch.secrets_in([gateway.errors, self.ground.log], secrets),
            *faults.integrity(gateway.store),
            *(f"a counter went backwards: {each}" for each in self.watch.counters.fell),
        ]
        account.remainder += [*self.changes.faults, *(Fault(text) for text in found)]
        done = [each for each in self.story.done() if each.what.startswith("reload") and "bad" not in each.what]
        upgrades = [each for each in self.story.events if each.what == "upgrade"]
        more = {
            "requests seen by the servers": len(records.seen),
            "good reloads": len(done),
            "upgrades": sum(not each.skipped for each in upgrades),
            "upgrades skipped": next((each.skipped for each in upgrades if each.skipped), "none"),
            f"failed {QUIET}": failed(account, QUIET),
            "key changes answered": dict(self.changes.done),
            "key changes whose answer was lost with management": self.changes.lost,
            "samples of all counters": self.watch.counters.samples,
            "samples that management did not answer": dict(self.watch.unanswered),
            "store": "integrity ok" if not faults.integrity(gateway.store) else "damaged",
            "relays killed by the supervisor, stopped in the slots' mutex": len(doomed),
        }
        return Result(self.plan.seed, account, self.story, {**facts, **more})


@asynccontextmanager
async def _prepared(plan: Plan, directory: Path) -> AsyncIterator[Run]:
    """Servers, a gateway with an account and a key, and a session of the management API."""
    async with AsyncExitStack() as stack:
        stack.enter_context(Adopted())
        servers = await stack.enter_async_context(Servers(directory))
        ground = Ground(directory, servers.ports)
        await ask(ground, "accounts", "create", OWNER, "--password-stdin", stdin=f"{PASSWORD}\n")
        made = await ask(ground, "keys", "create", "--account", OWNER, "--name", "main", "--scope", SCOPE)
        stack.enter_context(ground.gateway)
        api = await stack.enter_async_context(ByApi(ground.gateway.management))
        yield Run(plan, directory, ground, servers, str(made["key"]).encode(), api)


async def chaos(plan: Plan, directory: Path) -> Result:
    """Do it, and judge it."""
    async with _prepared(plan, directory) as one:
        await one.all_of_it()
        facts = await one.look_at_the_end()
    return one.result(facts)
