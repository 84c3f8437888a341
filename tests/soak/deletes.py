"""Deletes, and every other change of keys, under load: what was answered counts for the next call on every relay.

Law: measures. The service changes the real store from this process, as management and the command line do; keys are
called without a pause on connections to every relay, before, while and after they are changed. Judged are calls
that *began* after the change was answered: those that the load happens to begin, and one more to every relay that is
written in the very turn in which the change is answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keystile.keys import secret as secrets
from keystile.keys.service import KeyService
from keystile.storage.sqlite import SqliteStore
from tests.soak.gateway import ACCOUNT, SCOPE, RealGateway, fill
from tests.soak.lanes import Lanes, Watch
from tests.soak.patience import until
from tests.soak.upstream import Upstream

BY: dict[str, Any] = {"actor": "soak", "origin": "127.0.0.1"}
SOURCE = "127.0.4.1"
IN_USE = 3
"""Keys in use at once: the one that is changed, and the next ones."""
EXPIRES_IN = 0.25
"""Seconds; more than the transaction that says so waits for its turn on a busy machine."""
LINGER = 2
"""Keys that the load goes on calling after they were changed."""


@dataclass
class Changes:
    """One kind of change."""

    what: str
    done: int = 0
    calls: int = 0
    after: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    took: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, watch: Watch) -> None:
        """A key that is no longer in use."""
        self.calls += watch.calls
        self.after += watch.after
        self.wrong += watch.wrong

    def row(self) -> dict[str, object]:
        """For the table."""
        took = sorted(self.took) or [0.0]
        return {
            "what": self.what,
            "done": self.done,
            "calls with these keys": self.calls,
            "began after, judged": self.after,
            "wrong": self.wrong.total(),
            "a change took, ms: median": took[len(took) // 2] * 1000,
            "99 %": took[len(took) * 99 // 100] * 1000,
            "s": self.seconds,
        }


class Soak:
    """Lanes to all relays, and a service on the same store."""

    def __init__(self, gateway: RealGateway, service: KeyService, keys: list[bytes], dice: random.Random) -> None:
        self.gateway = gateway
        self.service = service
        self.keys = keys
        self.dice = dice
        self.used = 0
        self.lanes = Lanes(gateway, SOURCE)
        self.lingering: list[tuple[Changes, Watch]] = []
        self.ahead: list[tuple[str, Watch]] = []

    def next_key(self) -> tuple[str, Watch]:
        """The name of the next key, which is in use already; some more come into use."""
        while len(self.ahead) < IN_USE and self.used < len(self.keys):
            name, watch = f"k{self.used}", Watch(self.keys[self.used])
            self.used += 1
            self.ahead.append((name, watch))
            self.lanes.watched.append(watch)
        return self.ahead.pop(0)

    def put_aside(self, found: Changes, watch: Watch) -> None:
        """The load calls a changed key a little longer."""
        self.lingering.append((found, watch))
        while len(self.lingering) > LINGER:
            self._forget(*self.lingering.pop(0))

    def _forget(self, found: Changes, watch: Watch) -> None:
        self.lanes.watched.remove(watch)
        found.add(watch)

    async def many(
        self, what: str, times: int, change: Callable[[str, Watch], Awaitable[Watch | None]], status: int
    ) -> Changes:
        """Make so many changes, each with a key of its own; afterwards that key must be answered ``status``.

        ``change`` may return a watch of another key that must be admitted from then on.
        """
        found = Changes(what)
        began = time.monotonic()
        for _ in range(times):
            name, watch = self.next_key()
            await self.lanes.in_use(watch)
            await asyncio.sleep(self.dice.random() * 0.001)
            watch.must = None
            asked = time.monotonic()
            other = await change(name, watch)
            watch.must = status
            probed = self.lanes.probe(watch)  # no await between the answer to the change and this
            found.took.append(time.monotonic() - asked)
            await probed
            if other is not None:
                await self.lanes.probe(other)
                found.add(other)
            self.put_aside(found, watch)
            found.done += 1
        while self.lingering:
            self._forget(*self.lingering.pop(0))
        found.seconds = time.monotonic() - began
        return found

    # -- the kinds of change --------------------------------------------------------------------------

    async def delete(self, name: str, _: Watch) -> None:
        await self.service.delete(ACCOUNT, name, **BY)

    async def delete_by_command(self, name: str, _: Watch) -> None:
        words = ("keys", "delete", "-c", str(self.gateway.file), "--account", ACCOUNT, "--name", name)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "keystile", *words, stdout=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() == 0

    async def take_scope(self, name: str, _: Watch) -> None:
        await self.service.edit(ACCOUNT, name, scopes=["Other"], **BY)

    async def restrict(self, name: str, _: Watch) -> None:
        await self.service.edit(ACCOUNT, name, networks=["10.0.0.0/8"], **BY)

    async def change(self, name: str, _: Watch) -> Watch:
        return Watch((await self.service.change(ACCOUNT, name, **BY)).secret.encode())

    async def expire(self, name: str, _: Watch) -> None:
        at = time.time() + EXPIRES_IN
        await self.service.edit(ACCOUNT, name, expires=at, **BY)
        await until(lambda: time.time() > at, 1.0)

    async def create(self, times: int) -> Changes:
        """New keys: the first call with one, on every relay, is admitted."""
        return await self._new("create", times, self._created)

    async def import_keys(self, times: int) -> Changes:
        """Keys issued elsewhere: the same."""
        return await self._new("import", times, self._imported)

    async def _created(self, name: str) -> bytes:
        return (await self.service.create(ACCOUNT, name, [SCOPE], **BY)).secret.encode()

    async def _imported(self, name: str) -> bytes:
        secret = secrets.generate()[:80]  # no check digits, as elsewhere
        digest = hashlib.sha256(secret.encode()).hexdigest()
        await self.service.import_key(ACCOUNT, name, digest, secret[-5:], [SCOPE], **BY)
        return secret.encode()

    async def _new(self, what: str, times: int, make: Callable[[str], Awaitable[bytes]]) -> Changes:
        found = Changes(what)
        began = time.monotonic()
        for number in range(times):
            asked = time.monotonic()
            watch = Watch(await make(f"{what} {number}"))
            probed = self.lanes.probe(watch)
            found.took.append(time.monotonic() - asked)
            await probed
            found.add(watch)
            found.after += watch.calls
            found.done += 1
        found.seconds = time.monotonic() - began
        return found


@asynccontextmanager
async def soaking(relays: int, keys: int, seed: int, directory: Path) -> AsyncIterator[Soak]:
    """A gateway, a service on its store, and keys in use."""
    async with Upstream() as upstream:
        made = await fill(directory / "keystile.db", keys + 1)
        with RealGateway(directory, upstream.port, relays) as gateway:
            async with await SqliteStore.open(gateway.store) as store:
                service = KeyService(store, per_account=10**9)
                soak = Soak(gateway, service, made[:-1], random.Random(seed))
                await soak.lanes.open(made[-1])
                soak.lanes.start()
                try:
                    yield soak
                finally:
                    soak.lanes.close()


async def measure(deletes: int, others: int, by_command: int, relays: int, seed: int, directory: Path) -> list[Changes]:
    """All kinds, one after the other."""
    needed = deletes + by_command + 4 * others + IN_USE
    async with soaking(relays, needed, seed, directory) as soak:
        return [
            await soak.many("delete", deletes, soak.delete, 401),
            await soak.many("delete by command", by_command, soak.delete_by_command, 401),
            await soak.many("edit: scope taken away", others, soak.take_scope, 403),
            await soak.many("edit: networks", others, soak.restrict, 403),
            await soak.many("change (old 401, new 200)", others, soak.change, 401),
            await soak.many(f"expire (in {EXPIRES_IN * 1000:.0f} ms)", others, soak.expire, 401),
            await soak.create(others),
            await soak.import_keys(others),
        ]


async def main(
    deletes: int, others: int, by_command: int, relays: int, seed: int
) -> tuple[list[dict[str, object]], list[str]]:
    """Rows for the table, and faults."""
    with tempfile.TemporaryDirectory(prefix="keystile-soak-") as directory:
        found = await measure(deletes, others, by_command, relays, seed, Path(directory))
    return [each.row() for each in found], [f"{each.what}: {dict(each.wrong)}" for each in found if each.wrong]
