"""Keys that are created, edited and deleted over the management API of hosts at random, and used on all hosts.

Law: what was asked and answered goes into the diary, as the state that the key has since. A change without an answer
may have happened or not: its key is called no more.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from typing import Any

import aiohttp

from tests.cluster.crowd import Caller
from tests.cluster.diary import CUT, Change, Diary, Step
from tests.cluster.fleet import OTHER, SCOPE, Fleet, Host

AFTERWARDS = 8.0
"""Seconds for which a deleted key is still tried on every host."""
MOST = 3
"""Keys of each who changes them; an account may have 15."""


@dataclass(slots=True)
class Kept:
    """A key that is used. ``by``: who changes it; ``until``: when it is forgotten, once it was deleted."""

    id: str
    secret: str
    by: int
    scope: str = SCOPE
    until: float = inf


class KeyChanges:
    """See the module."""

    def __init__(self, fleet: Fleet, diary: Diary, dice: random.Random, pause: float = 0.25) -> None:
        self.fleet, self.diary, self.dice, self.pause = fleet, diary, dice, pause
        self.keys: dict[str, Kept] = {}
        self.stopped = False
        self._made = 0
        self._session: aiohttp.ClientSession

    @asynccontextmanager
    async def going_on(self, users: int = 4, changers: int = 4) -> AsyncIterator[None]:
        """So many who change keys of their own, and callers that use all of them, while the block lasts."""
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(total=30)
        headers = {"Authorization": f"Bearer {self.fleet.token}", "If-Match": "*"}
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as self._session:
            tasks = [asyncio.create_task(self._change(at)) for at in range(changers)]
            tasks += [asyncio.create_task(self._use(at)) for at in range(users)]
            try:
                yield
            finally:
                self.stopped = True
                await asyncio.gather(*tasks)

    async def _use(self, at: int) -> None:
        caller = Caller(self.fleet, self.diary, f"10.0.9.{at + 1}", 1, self.dice)
        while not self.stopped:
            await asyncio.sleep(0.02)
            offered = [host.at for host in self.fleet.hosts if host.is_offered]
            if self.keys and offered:
                gone = [name for name, key in self.keys.items() if key.until < inf]
                name = self.dice.choice(gone if gone and self.dice.random() < 0.5 else list(self.keys))
                await caller.call(self.dice.choice(offered), 0, name, self.keys[name].secret)
        caller.close()

    async def _change(self, by: int) -> None:
        while not self.stopped:
            now = time.monotonic()
            self.keys = {name: key for name, key in self.keys.items() if key.until > now}
            alive = [name for name, key in self.keys.items() if key.until == inf and key.by == by]
            steps = [self._create, self._edit, self._delete]
            weights = [3, 3, 2] if len(alive) < MOST else [0, 2, 3]
            step = self.dice.choices(steps, weights)[0] if alive else self._create
            offered = [host for host in self.fleet.hosts if host.is_offered]
            if offered:
                await step(self.dice.choice(offered), self.dice.choice(alive) if alive else "", by)
            await asyncio.sleep(self.dice.uniform(0.5, 1.5) * self.pause)

    async def _create(self, host: Host, _: str, by: int) -> None:
        self._made += 1
        name = f"{self.diary.phase[:20]}-{self._made}"
        asked = time.monotonic()
        made = await self._call("create", host, "POST", "/api/keys", {"name": name, "scopes": [SCOPE]})
        if made is not None:
            self.diary.steps[name].append(Step(host.at, asked, time.monotonic(), "200"))
            self.keys[name] = Kept(made["id"], made["key"], by)

    async def _edit(self, host: Host, name: str, _: int) -> None:
        key = self.keys[name]
        scope = OTHER if key.scope == SCOPE else SCOPE
        state = "200" if scope == SCOPE else "403"
        if await self._step("edit", host, name, state, "PATCH", {"scopes": [scope]}):
            key.scope = scope

    async def _delete(self, host: Host, name: str, _: int) -> None:
        if await self._step("delete", host, name, "401", "DELETE", None):
            self.keys[name].until = time.monotonic() + AFTERWARDS

    async def _step(self, what: str, host: Host, name: str, state: str, method: str, body: Any) -> bool:
        """Change a key; from when it is asked for, the new state is right too."""
        steps, asked = self.diary.steps[name], time.monotonic()
        steps.append(Step(host.at, asked, inf, state))
        done = await self._call(what, host, method, f"/api/keys/{self.keys[name].id}", body)
        if done is None:
            del self.keys[name]
            return False
        steps[-1] = Step(host.at, asked, time.monotonic(), state)
        return True

    async def _call(self, what: str, host: Host, method: str, path: str, body: Any) -> Any:
        """What is answered; None where it was not made, or nobody knows."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        url, sent, found = f"http://127.0.0.1:{host.management}{path}", time.monotonic(), None
        phase = self.diary.phase
        try:
            headers = {"Content-Type": kind}
            async with self._session.request(method, url, json=body, headers=headers) as answer:
                outcome = str(answer.status)
                if answer.status < 300:
                    found = await answer.json() if answer.status != 204 else {}
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            outcome = CUT if not isinstance(error, TimeoutError) else "no answer"
        self.diary.changes.append(Change(phase, what, host.at, sent, time.monotonic(), outcome))
        return found
