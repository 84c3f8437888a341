"""Events done to a gateway under traffic: reloads, upgrades, kills, stops, failing servers, store faults.

Law: does one event as planned, notes in the diary when it began and ended, and tells what the gateway itself answered
otherwise than it must. What events excuse stands in ``story.py``.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from keystile.process.control import NotRunning, ask_to_reload
from tests.chaos import faults
from tests.chaos.calls import Calls, head
from tests.chaos.changes import Changes, run
from tests.chaos.ground import WORKERS, Ground
from tests.chaos.schedule import Planned
from tests.chaos.servers import Servers
from tests.chaos.story import EVENTS, Event, Story
from tests.chaos.watch import Watch
from tests.soak.gateway import send, stop

SOURCE, HOLDING = "127.0.1.40", "127.0.1.41"
PROBES = 3
"""New connections on which a reload is tried after it was answered."""
HELD = 4
"""Requests in flight over each reload."""
TAKEN_WITHIN = 60.0
READY_WITHIN = 60.0
"""Seconds on a machine that has much else to do."""
FAILING = ("shaky1", "shaky2")


class Happenings:
    """All that can happen. ``faults``: what came of an event that must not come of it."""

    def __init__(
        self, ground: Ground, servers: Servers, calls: Calls, changes: Changes, watch: Watch, story: Story, key: bytes
    ) -> None:
        self.faults: list[str] = []
        self.stopped: set[int] = set()
        self.can_upgrade = False
        self._ground = ground
        self._store: Path = ground.gateway.store
        self._servers = servers
        self._calls = calls
        self._changes = changes
        self._watch = watch
        self._story = story
        self._key = key
        self._turns = {row.field: asyncio.Lock() for row in EVENTS.values()}
        self._extra = 0

    async def happen(self, planned: Planned) -> None:
        """One event, when those of its field that were before it are over."""
        kind = EVENTS[planned.what]
        async with self._turns[kind.field]:
            event = self._story.begin(planned.what, time.monotonic())
            dice = random.Random(planned.seed)
            what, _, how = planned.what.partition(": ")
            try:
                await self._done(event, what, how, planned.lasts, dice)
            except NotRunning as error:
                self.faults.append(f"{planned.what}: {error}")
            event.ended = time.monotonic()

    async def _done(self, event: Event, what: str, how: str, lasts: float, dice: random.Random) -> None:
        match what:
            case "reload":
                await self._reload(event, how, dice)
            case "upgrade":
                await self.upgrade(event)
            case "relay" | "management":
                await self._to_process(event, what, how, lasts, dice)
            case "server":
                await self._to_server(event, how, lasts, dice)
            case _:
                await self._to_store(event, f"{what}: {how}", lasts)

    # -- configuration --------------------------------------------------------------------------------

    async def _reload(self, event: Event, how: str, dice: random.Random) -> None:
        wanted = self._ground.wanted
        gone = 0
        match how:
            case "limits":
                wanted.request_timeout, wanted.max_fields = dice.randint(590, 610), dice.randint(90, 110)
            case "routes":
                gone, self._extra = wanted.extra, self._extra + 1
                wanted.extra = self._extra
            case "listeners":
                wanted.listens = not wanted.listens
            case "upstreams":
                wanted.swapped = not wanted.swapped
            case _:
                await self._bad_reload(event)
                return
        await self.over(event, "over a reload", lambda: self._take(event, dice))
        await self._try_out(how, gone)

    async def over(self, event: Event, kind: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do it while requests are held by the server: begun before it, answered after it."""
        entries = [self._calls.ledger.begin(kind, time.monotonic(), HOLDING) for _ in range(HELD)]
        lines = [await self._calls.connect(entry, self._ground.ports.plain, HOLDING) for entry in entries]
        asked = [
            asyncio.ensure_future(self._calls.ask(entry, line, head(entry, "GET", "/calm/hold", self._key)))
            for entry, line in zip(entries, lines, strict=True)
            if line is not None
        ]
        await asyncio.sleep(0.02)
        await work()
        while any(not each.done() for each in asked):
            await self._servers.order("calm", f"release {HOLDING}")
            await asyncio.wait(asked, timeout=0.05)
        for line in lines:
            if line is not None:
                line.hang_up()

    async def _take(self, event: Event, dice: random.Random) -> None:
        """Have a good gateway.yaml taken, by one of three ways; again where management was just being started."""
        before = int((await self._status())["configuration"])
        self._ground.write()
        give_up = time.monotonic() + TAKEN_WITHIN
        by = dice.choices(["command", "SIGHUP", "itself", "word"], [1, 2, 1, 4])[0]
        while int((await self._status())["configuration"]) == before and time.monotonic() < give_up:
            await self._ask_for_it(by)
            await asyncio.sleep(0.02 if by in ("command", "word") else 0.1)
            by = "itself" if by == "SIGHUP" else by
        after = int((await self._status())["configuration"])
        event.said = f"by {by}, {before} → {after}"
        if after == before:
            self.faults.append(f"{event.what} by {by}: still configuration {before} after {TAKEN_WITHIN:g} s")

    async def _ask_for_it(self, by: str) -> None:
        if by == "word":
            await asyncio.to_thread(ask_to_reload, self._store)
        elif by == "command":
            await run(self._ground, "reload")
        elif by == "SIGHUP":
            [supervisor] = await asyncio.to_thread(self._ground.gateway.pids, "supervisor")
            send(supervisor, signal.SIGHUP)

    async def _bad_reload(self, event: Event) -> None:
        """It is refused, and nothing changes."""
        before = (await self._status())["configuration"]
        self._ground.write("no_such_setting")
        try:
            answer = await self._refusal()
            if "no_such_setting" not in str(answer["fault"]):
                self.faults.append(f"a bad gateway.yaml was answered with {answer}")
            event.said = "refused"
            if (after := (await self._status())["configuration"]) != before:
                self.faults.append(f"a bad gateway.yaml made configuration {after} of {before}")
        finally:
            self._ground.write()

    async def _refusal(self) -> dict[str, Any]:
        """What is said to it, by a management that was not killed meanwhile."""
        give_up = time.monotonic() + TAKEN_WITHIN
        while True:
            answer = await asyncio.to_thread(ask_to_reload, self._store)
            if not str(answer["fault"]).startswith("management ") or time.monotonic() > give_up:
                return answer
            await asyncio.sleep(0.05)

    async def _try_out(self, how: str, gone: int) -> None:
        """The next requests after the answer know what it has changed."""
        ports = self._ground.ports
        if how == "routes":
            await self._probe("route that a reload made", f"/extra{self._extra}/now", ports.plain)
            if gone:
                await self._probe("route that a reload took", f"/extra{gone}/now", ports.plain)
        elif how == "listeners" and self._ground.wanted.listens:
            await self._probe("listener that a reload made", "/calm/now", ports.extra)

    async def _probe(self, kind: str, path: str, port: int) -> None:
        for _ in range(PROBES):
            entry = self._calls.ledger.begin(kind, time.monotonic(), SOURCE)
            line = await self._calls.connect(entry, port, SOURCE)
            if line is not None:
                await self._calls.ask(entry, line, head(entry, "GET", path, self._key))
                line.hang_up()

    async def upgrade(self, event: Event) -> None:
        """``keystile upgrade``, with requests in flight; afterwards all processes are others, and whole."""
        if not self.can_upgrade:
            event.skipped = "there is no keystile upgrade"
            return
        async with self._turns["processes"]:
            await self.over(event, "over an upgrade", lambda: self._upgrade(event))

    async def _upgrade(self, event: Event) -> None:
        before = set(await self._watch.pids("relay"))
        code, out, err = await run(self._ground, "upgrade")
        event.said = " ".join((out.strip() or err.strip()).splitlines()[-1:])
        if code:
            self.faults.append(f"keystile upgrade: exit code {code}: {err.strip()}")
            return
        after = set(await self._watch.pids("relay"))
        if len(after) != WORKERS or before & after:
            self.faults.append(f"after keystile upgrade there are the relays {sorted(after)}, before {sorted(before)}")

    # -- processes ------------------------------------------------------------------------------------

    async def _to_process(self, event: Event, role: str, how: str, lasts: float, dice: random.Random) -> None:
        ready = await self._ready(role)
        if not ready:
            event.skipped = f"no {role} has worked for long enough"
            return
        event.pid = dice.choice(ready)
        event.began = time.monotonic()
        if "moment" in how:
            await self._stop(event.pid, lasts)
        elif "looked into" in how:
            self.stopped.add(event.pid)
            stop(event.pid)
            event.accepted = self._ground.gateway.clients_of(event.pid)
            event.began = time.monotonic()
            send(event.pid, signal.SIGKILL)
        else:
            send(event.pid, signal.SIGKILL)
        if "kill" in how and not await self._replaced(role, event.pid):
            self.faults.append(f"{role} {event.pid} was killed and no other came within {READY_WITHIN:g} s")

    async def _ready(self, role: str) -> list[int]:
        give_up = time.monotonic() + READY_WITHIN
        while not (pids := await self._watch.steady(role)) and time.monotonic() < give_up:
            if role == "management":
                await self._watch.look()
            await asyncio.sleep(0.1)
        return pids

    async def _stop(self, pid: int, seconds: float) -> None:
        self.stopped.add(pid)
        stop(pid)
        try:
            await asyncio.sleep(seconds)
        finally:
            send(pid, signal.SIGCONT)

    async def _replaced(self, role: str, pid: int) -> bool:
        give_up = time.monotonic() + READY_WITHIN
        wanted = WORKERS if role == "relay" else 1
        while time.monotonic() < give_up:
            pids = await self._watch.pids(role)
            if pid not in pids and len(pids) == wanted:
                return True
            await asyncio.sleep(0.05)
        return False

    # -- servers and store ----------------------------------------------------------------------------

    async def _to_server(self, event: Event, how: str, lasts: float, dice: random.Random) -> None:
        name = event.server = "shaky2" if how == "refuses" else dice.choice(FAILING)
        if how == "kill -9":
            await self._servers.kill(name)
            await asyncio.sleep(lasts)
            await self._servers.start(name)
            return
        await self._servers.order(name, f"mode {how.removesuffix('s')}")
        await asyncio.sleep(lasts)
        await self._servers.order(name, "mode ok")

    async def _to_store(self, event: Event, what: str, lasts: float) -> None:
        match what:
            case "store: locked":
                await faults.lock(self._store, lasts)
            case "store: moved away and back":
                # A process that starts, or a command that runs, without its store would make another one.
                async with self._turns["processes"], self._changes.turn:
                    event.began = time.monotonic()
                    if await self._ready("relay") and await self._ready("management"):
                        await faults.move_away(self._store, lasts)
                    else:
                        event.skipped = "not all processes were at work"
            case "doorbell: rings for nothing":
                faults.ring_for_nothing(self._store)
            case "doorbell: truncated":
                faults.truncate(self._store)
            case _:
                faults.remove(self._store)

    async def _status(self) -> dict[str, Any]:
        """What the gateway says of itself; on a busy machine it may be asked again. Raises NotRunning."""
        give_up = time.monotonic() + TAKEN_WITHIN
        while True:
            try:
                return await asyncio.to_thread(self._ground.gateway.status)
            except NotRunning:
                if time.monotonic() > give_up:
                    raise
