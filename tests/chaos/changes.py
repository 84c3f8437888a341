"""Keys that are created, edited, changed and deleted all the while, and the very next requests with them.

Law: a change goes through the command line or the management API, as the dice say; what was answered goes into the
shadow, and requests that begin after the answer are judged by it. A change that fails is told.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from typing import Any

import aiohttp

from tests.chaos.calls import Calls, Line, head
from tests.chaos.ground import OTHER, SCOPE, Ground
from tests.chaos.judge import Fault
from tests.chaos.shadow import Kept, Shadow
from tests.chaos.story import Excuse, Story

SOURCE = "127.0.1.50"
LINES = 5
"""Connections that a changed key is tried on: enough to meet every relay."""
OWNER, PASSWORD = "owner@chaos.example", "correct horse battery staple"
CSRF = re.compile(r'name="csrf" value="([^"]+)"')
PAUSE = 0.4
WAITS = 30.0


class Lost(Exception):
    """The answer to a change did not come: nobody knows whether it was made."""


class Refused(Exception):
    """A change was not made; the message says why."""


async def run(ground: Ground, *words: str, stdin: str = "") -> tuple[int, str, str]:
    """Another command of keystile: exit code, what it said, and its complaints."""
    command = (sys.executable, "-m", "keystile", "-c", str(ground.commands_file), *words)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE if stdin else DEVNULL, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate(stdin.encode() if stdin else None)
    return process.returncode or 0, out.decode(), err.decode()


async def ask(ground: Ground, *words: str, stdin: str = "") -> Any:
    """What another command prints as JSON. Raises Refused."""
    code, out, err = await run(ground, *words, "--json", stdin=stdin)
    if code:
        raise Refused(f"{' '.join(words[:2])}: {err.strip()}")
    return json.loads(out)


class ByCommand:
    """Changes through ``keystile keys``."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def create(self, name: str) -> Any:
        return await self._keys("create", name, "--scope", SCOPE)

    async def edit(self, name: str, _: Kept, scope: str) -> Any:
        return await self._keys("edit", name, "--scope", scope)

    async def change(self, name: str, _: Kept) -> Any:
        return await self._keys("change", name)

    async def delete(self, name: str, _: Kept) -> Any:
        return await self._keys("delete", name)

    async def _keys(self, what: str, name: str, *more: str) -> Any:
        return await ask(self._ground, "keys", what, "--account", OWNER, "--name", name, *more)


class ByApi:
    """Changes through the management API, signed in as a person does it."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._client: aiohttp.ClientSession
        self._csrf = ""

    async def __aenter__(self) -> ByApi:
        timeout = aiohttp.ClientTimeout(total=WAITS)
        self._client = aiohttp.ClientSession(self._base, cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=timeout)
        async with self._client.get("/sign-in") as page:
            csrf = CSRF.findall(await page.text())[0]
        fields = {"email": OWNER, "password": PASSWORD, "csrf": csrf}
        async with self._client.post("/sign-in", data=fields) as page:
            self._csrf = CSRF.findall(await page.text())[0]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def create(self, name: str) -> Any:
        return await self._call("POST", "/api/keys", {"name": name, "scopes": [SCOPE]})

    async def edit(self, _: str, kept: Kept, scope: str) -> Any:
        return await self._call("PATCH", f"/api/keys/{kept.id}", {"scopes": [scope]})

    async def change(self, _: str, kept: Kept) -> Any:
        return await self._call("POST", f"/api/keys/{kept.id}/change", {})

    async def delete(self, _: str, kept: Kept) -> Any:
        return await self._call("DELETE", f"/api/keys/{kept.id}", None)

    async def _call(self, method: str, path: str, body: Any) -> Any:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"X-CSRF-Token": self._csrf, "Content-Type": kind, "If-Match": "*"}
        data = None if body is None else json.dumps(body)
        await _see_ends()
        try:
            async with self._client.request(method, path, data=data, headers=headers) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Lost(repr(error)) from None
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {answer.status} {text[:200]}")
        return json.loads(text) if text else {}


async def _see_ends() -> None:
    """Let the loop read what has come, so that a kept connection that has been ended is not written on.

    A management that has been replaced ends idle connections after a while. Clients look for that before they use one
    again (urllib3, curl, Go's); aiohttp knows what its loop has read, and ours is busy with all the traffic for tens of
    milliseconds. The moment in which an end and a request cross remains, as everywhere (RFC 9112 section 9.3.1).
    """
    for _ in range(3):  # a turn to be called in, one to find the socket readable, one to have read it
        await asyncio.sleep(0)


class Changes:
    """One change after the other. ``turn``: held while one is made, so that the store is not taken away meanwhile."""

    def __init__(self, calls: Calls, ground: Ground, api: ByApi, story: Story, dice: random.Random) -> None:
        self.shadow = Shadow()
        self.done: Counter[str] = Counter()
        self.lost = 0
        self.faults: list[Fault] = []
        self.turn = asyncio.Lock()
        self._calls = calls
        self._ground = ground
        self._story = story
        self._dice = dice
        self._ways: list[ByCommand | ByApi] = [ByCommand(ground), api]
        self._lines: list[Line | None] = [None] * LINES
        self._number = 0
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to change keys."""
        self._stopping = False
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Change nothing more."""
        self._stopping = True
        if self._task is not None:
            await self._task
        for line in self._lines:
            if line is not None:
                line.hang_up()

    async def _run(self) -> None:
        while not self._stopping:
            steps = [self._create, self._edit, self._change, self._delete]
            step = self._dice.choices(steps, [3, 3, 2, 2])[0] if self.shadow.keys else self._create
            way = self._dice.choices(self._ways, [1, 3])[0]
            async with self.turn:
                await self._try(step.__name__.strip("_"), step, way)
            await asyncio.sleep(self._dice.uniform(0.5, 1.5) * PAUSE)

    async def _try(self, what: str, step: Any, way: ByCommand | ByApi) -> None:
        name = self._dice.choice(sorted(self.shadow.keys)) if what != "create" else self._new_name()
        began = time.monotonic()
        by = "command" if isinstance(way, ByCommand) else "API"
        try:
            await step(name, way)
        except Lost as error:
            self.lost += 1
            self.shadow.settle(name)
            ended = time.monotonic()
            if not any(self._story.excusing(Excuse.CALL, began, ended, 1.0)):
                text = f"no answer to {what} of key {name} ({error}) after {ended - began:.3f} s"
                self.faults.append(Fault(f"{text}, though management was not killed", began, ended))
        except Refused as error:
            self.shadow.settle(name)
            self.faults.append(Fault(f"{what} of key {name} by {by} was not made: {error}", began, time.monotonic()))
        else:
            self.done[f"{what} by {by}"] += 1

    def _new_name(self) -> str:
        self._number += 1
        return f"k{self._number}"

    async def _create(self, name: str, way: ByCommand | ByApi) -> None:
        kept = self.shadow.made(name, await way.create(name))
        await self._try_it(name, kept.secret, "key that was created")

    async def _edit(self, name: str, way: ByCommand | ByApi) -> None:
        kept = self.shadow.keys[name]
        scope = OTHER if SCOPE in kept.scopes else SCOPE
        await way.edit(name, kept, scope)
        kept.scopes = frozenset({scope})
        kind = "key that lost its scope" if scope == OTHER else "key that has its scope again"
        await self._try_it(name, kept.secret, kind)

    async def _change(self, name: str, way: ByCommand | ByApi) -> None:
        before = self.shadow.keys[name]
        after = self.shadow.made(name, await way.change(name, before))
        await self._try_it(name, before.secret, "old secret of a changed key")
        if SCOPE in after.scopes:
            await self._try_it(name, after.secret, "new secret of a changed key")

    async def _delete(self, name: str, way: ByCommand | ByApi) -> None:
        kept = self.shadow.keys[name]
        await way.delete(name, kept)
        self.shadow.deleted(name)
        await self._try_it(name, kept.secret, "key that was deleted")

    async def _try_it(self, name: str, secret: str, kind: str) -> None:
        """The next request on each of the lines."""
        await asyncio.gather(*(self._one(at, name, secret, kind) for at in range(LINES)))

    async def _one(self, at: int, name: str, secret: str, kind: str) -> None:
        entry = self._calls.ledger.begin(kind, time.monotonic(), SOURCE)
        entry.note = f"key {name}"
        line = self._lines[at]
        if line is None or line.ended:
            line = self._lines[at] = await self._calls.connect(entry, self._ground.ports.plain, SOURCE)
        if line is not None:
            await self._calls.ask(entry, line, head(entry, "GET", "/calm/now", secret.encode()))
